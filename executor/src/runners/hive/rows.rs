//! Results as HiveServer2 sends them, column by column, into JSON values: integers, doubles and truth values as such;
//! decimals, dates, times and nested values as the server writes them; bytes in Base64; what JSON has no number for as a name.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Number, Value as Json};

use super::service::Error;
use super::wire::Value;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Its type as Hive names it, e.g. `bigint`.
    pub kind: &'static str,
}

/// Types by their numbers in the Thrift definition.
const KINDS: [&str; 23] = [
    "boolean",
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "float",
    "double",
    "string",
    "timestamp",
    "binary",
    "array",
    "map",
    "struct",
    "union",
    "user_defined",
    "decimal",
    "null",
    "date",
    "varchar",
    "char",
    "interval_year_month",
    "interval_day_time",
    "timestamp_with_local_time_zone",
];

impl Column {
    /// All columns of a table schema.
    pub fn all(schema: &Value) -> Result<Vec<Column>, Error> {
        schema.list(1).iter().map(Column::of).collect()
    }

    fn of(described: &Value) -> Result<Column, Error> {
        let name = described.string(1).ok_or_else(|| Error::Strange("a column without a name".to_owned()))?;
        // The type is a tree; a result's columns have a primitive one at its root.
        let root = described.field(2).and_then(|kind| kind.list(1).first());
        let number = root.and_then(|root| root.field(1)).and_then(|primitive| primitive.integer(1));
        let kind = number.and_then(|number| KINDS.get(usize::try_from(number).ok()?).copied());
        Ok(Column { name, kind: kind.unwrap_or("unknown") })
    }
}

/// Some rows of a result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowSet {
    columns: Vec<Vec<Json>>,
}

impl RowSet {
    /// What a `FetchResults` gave.
    pub fn of(sent: Option<Value>) -> Result<RowSet, Error> {
        let Some(sent) = sent else { return Ok(RowSet::default()) };
        if sent.field(4).is_some() && sent.list(3).is_empty() {
            let message =
                "results serialised by tasks; set hive.server2.thrift.resultset.serialize.in.tasks=false";
            return Err(Error::Strange(message.to_owned()));
        }
        let columns: Vec<Vec<Json>> = sent.list(3).iter().map(cells).collect::<Result<_, _>>()?;
        if columns.iter().any(|column| column.len() != columns[0].len()) {
            return Err(Error::Strange("columns of different lengths".to_owned()));
        }
        Ok(RowSet { columns })
    }

    /// Rows of one column.
    #[cfg(test)]
    pub fn of_texts(texts: &[&str]) -> RowSet {
        RowSet { columns: vec![texts.iter().map(|text| Json::from(*text)).collect()] }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = Vec<&Json>> {
        (0..self.len()).map(|row| self.columns.iter().map(|column| &column[row]).collect())
    }
}

/// A column: a union of lists by type, each with a bitmap of those that are null.
fn cells(column: &Value) -> Result<Vec<Json>, Error> {
    let Value::Struct(fields) = column else {
        return Err(Error::Strange("a column that is no struct".to_owned()));
    };
    let Some((which, typed)) = fields.first() else {
        return Err(Error::Strange("a column without values".to_owned()));
    };
    let nulls = match typed.field(2) {
        Some(Value::Bytes(nulls)) => &nulls[..],
        _ => &[],
    };
    let is_null = |row: usize| nulls.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1);
    let is_binary = *which == BINARY_COLUMN;
    let cell = |(row, value)| if is_null(row) { Ok(Json::Null) } else { cell(value, is_binary) };
    typed.list(1).iter().enumerate().map(cell).collect()
}

/// The list of a column in which bytes are just bytes.
const BINARY_COLUMN: i16 = 8;

fn cell(value: &Value, is_binary: bool) -> Result<Json, Error> {
    Ok(match value {
        Value::Bool(truth) => Json::Bool(*truth),
        Value::I8(number) => Json::from(*number),
        Value::I16(number) => Json::from(*number),
        Value::I32(number) => Json::from(*number),
        Value::I64(number) => Json::from(*number),
        Value::Double(number) => match Number::from_f64(*number) {
            Some(number) => Json::Number(number),
            None if number.is_nan() => Json::from("NaN"),
            None => Json::from(if *number > 0.0 { "Infinity" } else { "-Infinity" }),
        },
        Value::Bytes(bytes) if is_binary => Json::String(BASE64_STANDARD.encode(bytes)),
        Value::Bytes(bytes) => Json::String(String::from_utf8_lossy(bytes).into_owned()),
        Value::Struct(_) | Value::List(_) | Value::Map(_) => {
            return Err(Error::Strange("a value that is neither number nor text".to_owned()));
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(which: i16, values: Vec<Value>, nulls: &[u8]) -> Value {
        let typed = Value::Struct(vec![(1, Value::List(values)), (2, Value::Bytes(nulls.to_vec()))]);
        Value::Struct(vec![(which, typed)])
    }

    #[test]
    fn columns_become_rows() {
        let texts = (0..9).map(|number| Value::text(number.to_string())).collect();
        let doubles = [0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 0.0, 0.0, 0.0, 0.0];
        let sent = Value::Struct(vec![(
            3,
            Value::List(vec![
                column(7, texts, &[0b1000_0001, 1]),
                column(6, doubles.map(Value::Double).into(), &[]),
                column(8, vec![Value::Bytes(vec![0, 255]); 9], &[2]),
            ]),
        )]);
        let set = RowSet::of(Some(sent)).unwrap();
        let rows: Vec<_> = set.rows().map(|row| json!(row)).collect();
        assert_eq!(rows.len(), 9);
        assert_eq!(rows[0], json!([null, 0.5, "AP8="]));
        assert_eq!(rows[1], json!(["1", "NaN", null]));
        assert_eq!((&rows[2][1], &rows[3][1]), (&json!("Infinity"), &json!("-Infinity")));
        assert_eq!((&rows[7][0], &rows[8][0]), (&json!(null), &json!(null)));
    }

    #[test]
    fn nonsense_is_told() {
        let uneven = Value::List(vec![column(4, vec![Value::I32(1)], &[]), column(4, vec![], &[])]);
        assert!(RowSet::of(Some(Value::Struct(vec![(3, uneven)]))).is_err());
        assert!(RowSet::of(Some(Value::Struct(vec![(3, Value::List(vec![Value::Bool(true)]))]))).is_err());
        assert!(RowSet::of(Some(Value::Struct(vec![(4, Value::text("x"))]))).is_err());
        assert_eq!(RowSet::of(None).unwrap().len(), 0);
    }
}
