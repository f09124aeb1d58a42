//! Samples in their JSON text form, as people and programs give them to `import` and `put`.
//!
//! The library's reader takes a whole number beyond 64 bits for the nearest float, as most readers of JSON do, since PostgreSQL
//! writes large floats so. Here nobody has stored anything yet, and digits must not be lost without a word.

use samplestore::{Error, ErrorKind, Result, Sample};
use serde_json::{Map as JsonMap, Value as Json};

use super::once::parse_once;

/// Numbers of so few digits fit always.
const DIGITS_FIT: usize = 18;
/// So much of a number is shown.
const SHOWN_MAX: usize = 40;

/// Reads one sample, of which `change` may change the fields before.
pub(crate) fn sample_of_text(
    text: &str,
    change: impl FnOnce(&mut JsonMap<String, Json>),
) -> Result<Sample> {
    let refused = |message| Error::new(ErrorKind::Decode, "read JSON").with_message(message);
    check_whole_numbers(text).map_err(refused)?;
    let mut json = match parse_once(text) {
        Ok(json) => json,
        Err(cause) if cause.is_data() => return Err(refused(cause.to_string())),
        Err(cause) => return Err(refused("it is no JSON".to_owned()).with_cause(cause)),
    };
    if let Json::Object(object) = &mut json {
        change(object);
    }
    Sample::from_json(json)
}

/// Gives a sample a new id if it has none.
pub(crate) fn make_id(sample: &mut JsonMap<String, Json>) {
    if sample.get("id").is_none_or(Json::is_null) {
        sample.insert("id".to_owned(), uuid::Uuid::now_v7().to_string().into());
    }
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
            assert!(sample_of_text(text, |_| {}).is_err());
            let [first, second] = [(); 2].map(|()| sample_of_text(text, make_id));
            assert_ne!(first.unwrap().id(), second.unwrap().id());
        }
        let given = sample_of_text(r#"{"id":"a","pipeline":"p"}"#, make_id);
        assert_eq!(given.unwrap().id(), "a");
        assert!(sample_of_text("[", make_id).is_err());
    }
}
