//! Samples in their JSON text form, as people and programs give them to `import` and `put`.
//!
//! The library's reader takes a whole number beyond 64 bits for the nearest float, as most readers of JSON do, since PostgreSQL
//! writes large floats so. Here nobody has stored anything yet, and digits must not be lost without a word.

use samplestore::{Error, ErrorKind, Result, Sample};
use serde_json::Value as Json;

/// Numbers of so few digits fit always.
const DIGITS_FIT: usize = 18;
/// So much of a number is shown.
const SHOWN_MAX: usize = 40;

/// Reads one sample. `makes_ids` gives it a new id if it has none.
pub(crate) fn sample_of_text(text: &str, makes_ids: bool) -> Result<Sample> {
    check_whole_numbers(text)
        .map_err(|message| Error::new(ErrorKind::Decode, "read JSON").with_message(message))?;
    let mut json = match serde_json::from_str::<Json>(text) {
        Ok(json) if makes_ids => json,
        // It also says what is wrong.
        _ => return Sample::from_json_text(text),
    };
    if let Json::Object(object) = &mut json
        && object.get("id").is_none_or(Json::is_null)
    {
        object.insert("id".to_owned(), uuid::Uuid::now_v7().to_string().into());
    }
    Sample::from_json(json)
}

/// Refuses JSON with a whole number that no value can hold exactly. Whether it is JSON is not looked at.
pub(crate) fn check_whole_numbers(text: &str) -> std::result::Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find(|char: char| char == '"' || char == '-' || char.is_ascii_digit())
    {
        rest = &rest[at..];
        if rest.starts_with('"') {
            rest = behind_string(rest);
            continue;
        }
        let is_of_number = |char: char| char.is_ascii_digit() || "+-.eE".contains(char);
        let end = rest.find(|char| !is_of_number(char)).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        rest = behind;
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_whole
            && digits.len() > DIGITS_FIT
            && number.parse::<u64>().is_err()
            && number.parse::<i64>().is_err()
        {
            let dots = if number.len() > SHOWN_MAX { "…" } else { "" };
            let shown = &number[..number.len().min(SHOWN_MAX)];
            return Err(format!(
                "the whole number {shown}{dots} is beyond 64 bits and would lose digits; write it as a text, or with .0 as a float"
            ));
        }
    }
    Ok(())
}

/// What stands behind the string that `text` begins with.
fn behind_string(text: &str) -> &str {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| match byte {
        _ if is_escaped => {
            is_escaped = false;
            false
        }
        b'\\' => {
            is_escaped = true;
            false
        }
        byte => byte == b'"',
    });
    end.map_or("", |end| &text[end + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        for text in [
            r#"{"a":18446744073709551615,"b":-9223372036854775808}"#,
            r#"{"a":18446744073709551616.0,"b":1e300,"c":-0}"#,
            r#"{"18446744073709551616":"18446744073709551616 \\\"18446744073709551616"}"#,
            r#"["\\\\", 1]"#,
            "\"18446744073709551616",
            "",
        ] {
            assert_eq!(check_whole_numbers(text), Ok(()), "{text}");
        }
        for text in [
            "18446744073709551616",
            r#"{"a":[1,-9223372036854775809]}"#,
            r#"{"x\\\\":99999999999999999999}"#,
            "9".repeat(10_000).as_str(),
        ] {
            let refused = check_whole_numbers(text).unwrap_err();
            assert!(refused.contains("beyond 64 bits"), "{refused}");
            assert!(refused.len() < 200, "{refused}");
        }
    }

    #[test]
    fn an_id_is_made_where_there_is_none_and_only_then() {
        for text in [r#"{"pipeline":"p"}"#, r#"{"id":null,"pipeline":"p"}"#] {
            assert!(sample_of_text(text, false).is_err());
            let (first, second) = (sample_of_text(text, true), sample_of_text(text, true));
            assert_ne!(first.unwrap().id(), second.unwrap().id());
        }
        let given = sample_of_text(r#"{"id":"a","pipeline":"p"}"#, true);
        assert_eq!(given.unwrap().id(), "a");
        assert!(sample_of_text("[", true).is_err());
    }
}
