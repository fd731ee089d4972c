//! Thrift values of any shape, read and written by the protocol's own types: the few calls of HiveServer2 that are
//! needed name their fields by number, so no generated code is.

use thrift::protocol::{
    TFieldIdentifier, TInputProtocol, TListIdentifier, TMapIdentifier, TOutputProtocol, TStructIdentifier,
    TType,
};
use thrift::{ProtocolError, ProtocolErrorKind};

/// Values in values in values: HiveServer2 has no more than nine levels.
const DEPTH_MAX: u32 = 32;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    /// An integer of eight bits.
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    Double(f64),
    /// A text, or just bytes: Thrift does not tell them apart.
    Bytes(Vec<u8>),
    /// Fields by their numbers; those that are not set are not there.
    Struct(Vec<(i16, Value)>),
    /// A list or a set.
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Value::Bytes(text.into().into_bytes())
    }

    /// The field of a struct.
    pub fn field(&self, id: i16) -> Option<&Value> {
        match self {
            Value::Struct(fields) => fields.iter().find(|(number, _)| *number == id).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The same, to be kept.
    pub fn into_field(self, id: i16) -> Option<Value> {
        match self {
            Value::Struct(fields) => {
                fields.into_iter().find(|(number, _)| *number == id).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The integer in a field, whatever its size.
    pub fn integer(&self, id: i16) -> Option<i64> {
        match self.field(id)? {
            Value::I8(number) => Some((*number).into()),
            Value::I16(number) => Some((*number).into()),
            Value::I32(number) => Some((*number).into()),
            Value::I64(number) => Some(*number),
            _ => None,
        }
    }

    /// The text in a field.
    pub fn string(&self, id: i16) -> Option<String> {
        match self.field(id)? {
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The list in a field; none is an empty one.
    pub fn list(&self, id: i16) -> &[Value] {
        match self.field(id) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    fn kind(&self) -> TType {
        match self {
            Value::Bool(_) => TType::Bool,
            Value::I8(_) => TType::I08,
            Value::I16(_) => TType::I16,
            Value::I32(_) => TType::I32,
            Value::I64(_) => TType::I64,
            Value::Double(_) => TType::Double,
            Value::Bytes(_) => TType::String,
            Value::Struct(_) => TType::Struct,
            Value::List(_) => TType::List,
            Value::Map(_) => TType::Map,
        }
    }

    /// Writes it. All items of a list, and all keys and values of a map, are taken to be like the first one.
    pub fn write(&self, to: &mut dyn TOutputProtocol) -> thrift::Result<()> {
        match self {
            Value::Bool(truth) => to.write_bool(*truth),
            Value::I8(number) => to.write_i8(*number),
            Value::I16(number) => to.write_i16(*number),
            Value::I32(number) => to.write_i32(*number),
            Value::I64(number) => to.write_i64(*number),
            Value::Double(number) => to.write_double(*number),
            Value::Bytes(bytes) => to.write_bytes(bytes),
            Value::Struct(fields) => {
                to.write_struct_begin(&TStructIdentifier::new(""))?;
                for (id, value) in fields {
                    to.write_field_begin(&TFieldIdentifier::new("", value.kind(), *id))?;
                    value.write(to)?;
                    to.write_field_end()?;
                }
                to.write_field_stop()?;
                to.write_struct_end()
            }
            Value::List(items) => {
                let kind = items.first().map_or(TType::String, Value::kind);
                to.write_list_begin(&TListIdentifier::new(kind, size(items.len())?))?;
                items.iter().try_for_each(|item| item.write(to))?;
                to.write_list_end()
            }
            Value::Map(entries) => {
                let kinds = entries.first().map(|(key, value)| (key.kind(), value.kind()));
                let (keys, values) = kinds.unwrap_or((TType::String, TType::String));
                to.write_map_begin(&TMapIdentifier::new(keys, values, size(entries.len())?))?;
                for (key, value) in entries {
                    key.write(to)?;
                    value.write(to)?;
                }
                to.write_map_end()
            }
        }
    }
}

/// Reads a struct, such as the result of a call.
pub fn read_struct(from: &mut dyn TInputProtocol) -> thrift::Result<Value> {
    read(from, TType::Struct, 0)
}

fn read(from: &mut dyn TInputProtocol, kind: TType, depth: u32) -> thrift::Result<Value> {
    if depth > DEPTH_MAX {
        return Err(malformed(ProtocolErrorKind::DepthLimit, "values are nested too deeply"));
    }
    Ok(match kind {
        TType::Bool => Value::Bool(from.read_bool()?),
        TType::I08 => Value::I8(from.read_i8()?),
        TType::I16 => Value::I16(from.read_i16()?),
        TType::I32 => Value::I32(from.read_i32()?),
        TType::I64 => Value::I64(from.read_i64()?),
        TType::Double => Value::Double(from.read_double()?),
        TType::String | TType::Utf7 => Value::Bytes(from.read_bytes()?),
        TType::Struct => {
            from.read_struct_begin()?;
            let mut fields = Vec::new();
            loop {
                let field = from.read_field_begin()?;
                if field.field_type == TType::Stop {
                    break;
                }
                let value = read(from, field.field_type, depth + 1)?;
                from.read_field_end()?;
                fields.push((field.id.unwrap_or_default(), value));
            }
            from.read_struct_end()?;
            Value::Struct(fields)
        }
        TType::List => {
            let list = from.read_list_begin()?;
            let items = items(from, list.element_type, list.size, depth)?;
            from.read_list_end()?;
            Value::List(items)
        }
        TType::Set => {
            let set = from.read_set_begin()?;
            let items = items(from, set.element_type, set.size, depth)?;
            from.read_set_end()?;
            Value::List(items)
        }
        TType::Map => {
            let map = from.read_map_begin()?;
            // An empty map need not say of what.
            let (keys, values) =
                (map.key_type.unwrap_or(TType::String), map.value_type.unwrap_or(TType::String));
            let mut entries = Vec::new();
            for _ in 0..map.size {
                entries.push((read(from, keys, depth + 1)?, read(from, values, depth + 1)?));
            }
            from.read_map_end()?;
            Value::Map(entries)
        }
        TType::Stop | TType::Void | TType::Uuid => {
            return Err(malformed(ProtocolErrorKind::InvalidData, &format!("a value of type {kind}")));
        }
    })
}

/// Grows as the items come: what the sender says of their number is not believed before.
fn items(from: &mut dyn TInputProtocol, kind: TType, size: i32, depth: u32) -> thrift::Result<Vec<Value>> {
    let mut items = Vec::new();
    for _ in 0..size {
        items.push(read(from, kind, depth + 1)?);
    }
    Ok(items)
}

fn size(length: usize) -> thrift::Result<i32> {
    i32::try_from(length).map_err(|_| malformed(ProtocolErrorKind::SizeLimit, "too many items"))
}

fn malformed(kind: ProtocolErrorKind, message: &str) -> thrift::Error {
    thrift::Error::Protocol(ProtocolError::new(kind, message))
}

#[cfg(test)]
mod tests {
    use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entry = |key: &str, value: &str| (Value::text(key), Value::text(value));
        let value = Value::Struct(vec![
            (1, Value::Struct(vec![(1, Value::Bytes(vec![0, 255])), (2, Value::I8(-1))])),
            (2, Value::List(vec![Value::I32(7), Value::I32(-7)])),
            (3, Value::Map(vec![entry("a", "b"), entry("ü", "")])),
            (4, Value::Bool(true)),
            (5, Value::I16(300)),
            (6, Value::I64(i64::MIN)),
            (7, Value::Double(0.5)),
            (8, Value::Map(Vec::new())),
        ]);
        let mut bytes = Vec::new();
        value.write(&mut TBinaryOutputProtocol::new(&mut bytes, true)).unwrap();
        let read = read_struct(&mut TBinaryInputProtocol::new(&bytes[..], true)).unwrap();
        assert_eq!(read, value);
        assert_eq!((read.integer(6), read.list(2).len(), read.string(9)), (Some(i64::MIN), 2, None));
        // Whatever comes, there is an end.
        for cut in 0..bytes.len() {
            assert!(read_struct(&mut TBinaryInputProtocol::new(&bytes[..cut], true)).is_err(), "{cut}");
        }
        let deep: Vec<u8> = [12, 0, 1].repeat(10_000);
        assert!(read_struct(&mut TBinaryInputProtocol::new(&deep[..], true)).is_err());
        // A list that says it is longer than any machine's memory.
        let long = [15, 0, 1, 10, 127, 255, 255, 255];
        assert!(read_struct(&mut TBinaryInputProtocol::new(&long[..], true)).is_err());
    }
}
