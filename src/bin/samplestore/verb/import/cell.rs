//! [`Cell`]: what the text in a cell of CSV stands for.
//!
//! A number is what JSON would take for one, so `12`, `-0.5` and `1e9` are numbers, and `0012`, `+1`,
//! `.5`, `nan` and `inf` stay texts: codes with leading zeros and words keep their spelling. Whole
//! numbers are exact; those beyond 64 bits stay texts, since a float would lose digits. `true` and
//! `false`, also as `True` or `TRUE`, are bools.

use serde::{Serialize, Serializer};

/// The value of a cell that is not empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// Reads a cell.
    pub(crate) fn read(text: &'a str) -> Self {
        match text {
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            _ => {}
        }
        match number_kind(text) {
            None => Self::Text(text),
            // There is no whole number -0.
            Some(Kind::Whole) if text == "-0" => Self::Float(-0.0),
            Some(Kind::Whole) => text
                .parse()
                .map(Self::Unsigned)
                .or_else(|_| text.parse().map(Self::Signed))
                .unwrap_or(Self::Text(text)),
            Some(Kind::Broken) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Self::Float(number),
                _ => Self::Text(text),
            },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Digits alone.
    Whole,
    /// With a fraction or an exponent.
    Broken,
}

/// What kind of number a text is by the grammar of RFC 8259, section 6, if it is one.
fn number_kind(text: &str) -> Option<Kind> {
    let digits = |text: &mut &[u8]| {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *text = &text[count..];
        count
    };
    let mut rest = text.as_bytes();
    rest = rest.strip_prefix(b"-").unwrap_or(rest);
    let has_leading_zero = rest.first() == Some(&b'0');
    match digits(&mut rest) {
        0 => return None,
        1 => {}
        _ if has_leading_zero => return None,
        _ => {}
    }
    let mut kind = Kind::Whole;
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = fraction;
        kind = Kind::Broken;
        if digits(&mut rest) == 0 {
            return None;
        }
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        rest = exponent;
        rest = rest
            .strip_prefix(b"+")
            .or_else(|| rest.strip_prefix(b"-"))
            .unwrap_or(rest);
        kind = Kind::Broken;
        if digits(&mut rest) == 0 {
            return None;
        }
    }
    rest.is_empty().then_some(kind)
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Bool(value) => serializer.serialize_bool(value),
            Self::Unsigned(value) => serializer.serialize_u64(value),
            Self::Signed(value) => serializer.serialize_i64(value),
            Self::Float(value) => serializer.serialize_f64(value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_json_takes_for_numbers() {
        for (text, cell) in [
            ("0", Cell::Unsigned(0)),
            ("-7", Cell::Signed(-7)),
            ("18446744073709551615", Cell::Unsigned(u64::MAX)),
            ("-9223372036854775808", Cell::Signed(i64::MIN)),
            ("10.357019999999999", Cell::Float(10.357_019_999_999_999)),
            ("1e3", Cell::Float(1_000.0)),
            ("-0.5E-1", Cell::Float(-0.05)),
            ("1.0", Cell::Float(1.0)),
            ("TRUE", Cell::Bool(true)),
            ("false", Cell::Bool(false)),
        ] {
            assert_eq!(Cell::read(text), cell, "{text}");
        }
        assert!(matches!(Cell::read("-0"), Cell::Float(zero) if zero.is_sign_negative()));
    }

    #[test]
    fn whatever_else_is_text() {
        for text in [
            "0012",
            "-01",
            "+1",
            ".5",
            "5.",
            "1e",
            "1e+",
            "nan",
            "NaN",
            "inf",
            "-Infinity",
            "1_000",
            " 1",
            "1 ",
            "0x10",
            "1e999",
            "18446744073709551616",
            "-9223372036854775809",
            "-",
            "yes",
            "tRUE",
            "2013-01-01",
            "٣",
        ] {
            assert_eq!(Cell::read(text), Cell::Text(text), "{text}");
        }
    }
}
