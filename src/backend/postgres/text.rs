//! Texts as PostgreSQL can keep them: NUL, which it refuses in `text` and `jsonb` alike, escaped.
//!
//! The escape is U+001A, the control character SUBSTITUTE: `U+001A 0` stands for NUL and `U+001A 1` for
//! U+001A itself. Every other text stays as it is, so that SQL by hand finds what it looks for.

use std::borrow::Cow;

const ESCAPE: char = '\u{1a}';
const ESCAPED: [char; 2] = ['\0', ESCAPE];

/// The text without NUL; different texts stay different.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(ESCAPED) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, '1']),
            other => escaped.push(other),
        }
    }
    escaped.into()
}

/// What [`escape`] made the text of. U+001A that escapes nothing, as in rows written by others, stays.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(ESCAPE) else {
        return text.into();
    };
    let (start, mut rest) = text.split_at(first);
    let mut unescaped = start.to_owned();
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        let meant = match (character, rest.as_bytes().first()) {
            (ESCAPE, Some(b'0')) => Some('\0'),
            (ESCAPE, Some(b'1')) => Some(ESCAPE),
            _ => None,
        };
        if meant.is_some() {
            rest = &rest[1..];
        }
        unescaped.push(meant.unwrap_or(character));
    }
    unescaped.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_comes_back(text in "[\0\u{1a}01aé]{0,12}|\\PC*") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains('\0'));
            prop_assert_eq!(unescape(&escaped), &*text);
        }
    }

    #[test]
    fn most_texts_stay_as_they_are() {
        for text in ["", "a", r"C:\new\0", "é\u{10ffff}", "'; drop table"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
            assert!(matches!(unescape(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(escape("a\0\u{1a}"), "a\u{1a}0\u{1a}1");
        assert_eq!(unescape("\u{1a}x\u{1a}"), "\u{1a}x\u{1a}");
    }
}
