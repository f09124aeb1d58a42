//! Texts from samples, made safe for a terminal, and counts and instants in words.

use std::borrow::Cow;
use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::HumanCount;

/// The same text with control characters, those that turn the direction of writing and those that are not seen written as
/// `\n` or `\u{1b}`: data cannot move the cursor, change colours or pretend to be other text.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            char if is_unsafe(char) => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(char)); // a String takes it
            }
            char => safe.push(char),
        }
    }
    Cow::Owned(safe)
}

/// So many of what this noun names: `1 sample`, `26,115 samples`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", HumanCount(count))
}

/// A share of something in hundredths, rounded down: what is not whole is never told as 100 %.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", (100.0 * share).floor())
}

/// An instant as it stands in data.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The same text without its middle where it is longer than so many characters: mistakes are told of at the end.
pub(crate) fn shorten(text: &str, chars_max: usize) -> Cow<'_, str> {
    if text.chars().nth(chars_max).is_none() {
        return Cow::Borrowed(text);
    }
    let end_chars = chars_max / 3;
    let begin = text.chars().take(chars_max - end_chars);
    let end = text.chars().skip(text.chars().count() - end_chars);
    Cow::Owned(begin.chain(['…']).chain(end).collect())
}

/// The same JSON text with these characters written as `\u009b`, which reads back as the same value. Control characters
/// below 32 are written so in any JSON; those above, those that turn the direction of writing and those that are not seen need not be.
pub(crate) fn escape_json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            // Between values.
            '\n' => safe.push('\n'),
            char if is_unsafe(char) => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let _ = write!(safe, "\\u{unit:04x}"); // a String takes it
                }
            }
            char => safe.push(char),
        }
    }
    Cow::Owned(safe)
}

/// Whether it moves the cursor, turns the direction of writing or is not seen, so that a text would look like another one. Of
/// the selectors of variants those pass that emoji have behind them.
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            // Of the general category Cf, and line and paragraph separators.
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                // Fillers, joiners, vowels and selectors of other categories, of which nothing is seen either.
                | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}'
                | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_terminal_passes() {
        for (text, safe) in [
            ("plain, grün 日本", "plain, grün 日本"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("a\u{61c}b\u{2066}c", "a\\u{61c}b\\u{2066}c"),
            (
                "J\u{200b}F\u{200d}K\u{2060}\u{ad}\u{feff}",
                "J\\u{200b}F\\u{200d}K\\u{2060}\\u{ad}\\u{feff}",
            ),
            ("tag\u{e0041}\u{e007f}", "tag\\u{e0041}\\u{e007f}"),
        ] {
            assert_eq!(escape(text), safe);
        }
    }

    #[test]
    fn whatever_is_not_seen_is_written_out() {
        let unseen = regex::Regex::new(r"^[\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]$");
        let unseen = unseen.unwrap();
        let of_emoji = '\u{fe00}'..='\u{fe0f}';
        for char in '\0'..=char::MAX {
            let is_meant = unseen.is_match(char.encode_utf8(&mut [0; 4])) || char.is_control();
            let is_meant = is_meant && !of_emoji.contains(&char);
            assert_eq!(is_unsafe(char), is_meant, "{char:?}");
        }
    }

    #[test]
    fn one_of_something_is_told_as_one() {
        let told = [0, 1, 2, 26_115].map(|count| counted(count, "sample"));
        assert_eq!(
            told,
            ["0 samples", "1 sample", "2 samples", "26,115 samples"]
        );
    }

    #[test]
    fn nothing_less_than_all_is_100_percent() {
        for (share, told) in [
            (0.0, "0 %"),
            (0.655, "65 %"),
            (0.9953, "99 %"),
            (1.0 - 1e-12, "99 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), told);
        }
    }

    #[test]
    fn what_is_long_loses_its_middle() {
        assert_eq!(shorten("grün", 4), "grün");
        assert_eq!(shorten("grün", 3), "gr…n");
        assert_eq!(shorten("", 0), "");
        assert_eq!(shorten("ab", 0), "…");
    }

    #[test]
    fn json_is_made_safe_and_stays_the_same_value() {
        for text in [
            "plain, grün 日本",
            "\u{1b}[31m\n\t\0",
            "\u{9b}2J\u{7f}\u{202e}\u{2069}",
            "\u{61c}\u{200b}\u{feff}\u{ad}\u{e0001}\u{e007f}",
        ] {
            for json in [
                serde_json::json!({ text: [text, 1] }),
                serde_json::json!(text),
            ] {
                for written in [json.to_string(), format!("{json:#}")] {
                    let safe = escape_json(&written);
                    let is_plain = |char| char == '\n' || !is_unsafe(char);
                    assert!(safe.chars().all(is_plain), "{safe:?}");
                    let back: serde_json::Value = serde_json::from_str(&safe).unwrap();
                    assert_eq!(back, json);
                }
            }
        }
    }
}
