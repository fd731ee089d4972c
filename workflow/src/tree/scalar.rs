//! What a plain YAML scalar means: YAML 1.2's core schema, so `yes` and `on` are text and `010` is ten.

use serde_json::Number;

use super::Data;

/// The value of an unquoted scalar.
pub(super) fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" => Data::Boolean(true),
        "false" | "False" | "FALSE" => Data::Boolean(false),
        _ => number(text).unwrap_or_else(|| Data::Text(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Data> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Data::NotFinite(text.to_owned()));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return integer(text).or_else(|| float(text));
    }
    if is_float(unsigned) { float(text) } else { None }
}

fn radix(digits: &str, radix: u32) -> Option<Data> {
    // `from_str_radix` takes a sign; the core schema does not.
    if digits.starts_with(['-', '+']) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(|number| Data::Number(number.into()))
}

fn integer(text: &str) -> Option<Data> {
    let signed = text.parse::<i64>().ok().map(Number::from);
    signed.or_else(|| text.parse::<u64>().ok().map(Number::from)).map(Data::Number)
}

fn float(text: &str) -> Option<Data> {
    let number: f64 = text.parse().ok()?;
    Some(match Number::from_f64(number) {
        Some(number) => Data::Number(number),
        None => Data::NotFinite(text.to_owned()),
    })
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    let exponent_is_right = exponent.is_none_or(|text| {
        let text = text.strip_prefix(['-', '+']).unwrap_or(text);
        !text.is_empty() && digits(text)
    });
    has_digits && digits(whole) && digits(fraction) && exponent_is_right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let number = |text: &str| match resolve(text) {
            Data::Number(number) => number.to_string(),
            other => panic!("{text} is {other:?}"),
        };
        for (text, expected) in [
            ("12", "12"),
            ("-3", "-3"),
            ("+3", "3"),
            ("010", "10"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        for text in ["yes", "on", "1m", "60s", "1_000", "0x", "0x-1", "-", ".", "e3", "1e", "12:30", "1.2.3"]
        {
            assert_eq!(resolve(text), Data::Text(text.to_owned()));
        }
        for text in [".nan", "-.inf", "1e999"] {
            assert_eq!(resolve(text), Data::NotFinite(text.to_owned()));
        }
    }
}
