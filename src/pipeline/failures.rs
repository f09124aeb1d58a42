//! [`Failures`]: skipped and failed samples in groups, by their stage and by what their messages have in common.

use std::collections::BTreeMap;
use std::hash::Hasher;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::sample::{Reason, Sample};

/// How many groups are told apart.
const GROUPS_MAX: usize = 10_000;

/// Failures of one stage whose messages differ only in numbers, ids and quoted texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureGroup {
    /// Eight hexadecimal digits that stand for stage and pattern, the same in every process and version.
    pub group: String,
    /// The stage that gave up.
    pub stage: String,
    /// The message with what differs left out: see [`pattern`](Self::pattern_of).
    pub pattern: String,
    /// How many samples.
    pub count: u64,
    /// When the first of them failed.
    pub first: DateTime<Utc>,
    /// When the last of them failed.
    pub last: DateTime<Utc>,
    /// The id of one of them, the first that was seen.
    pub example: String,
}

impl FailureGroup {
    /// What messages have in common: numbers, and words with digits in them, become `#`, what is between quotes `'…'`.
    ///
    /// ```
    /// use samplestore::FailureGroup;
    ///
    /// let pattern = FailureGroup::pattern_of("row 17: no \"temp\" at 0x7ffe, id 5e6f-77aa");
    /// assert_eq!(pattern, "row #: no '…' at #, id #");
    /// ```
    #[must_use]
    pub fn pattern_of(message: &str) -> String {
        let mut pattern = String::with_capacity(message.len());
        let mut rest = message;
        while let Some(first) = rest.chars().next() {
            // One within a word is an apostrophe.
            let begins = !pattern.ends_with(char::is_alphanumeric);
            if let Some((inner, behind)) = quoted(rest, first).filter(|_| begins) {
                pattern.push_str(if inner.is_empty() { "''" } else { "'…'" });
                rest = behind;
                continue;
            }
            if !is_word(first) {
                pattern.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let end = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            // A full stop behind a word is not of it.
            let bare = word.trim_end_matches(['.', '-', ':']);
            match bare.bytes().any(|byte| byte.is_ascii_digit()) {
                // `#5` is a number, too.
                true if pattern.ends_with('#') => {}
                true => pattern.push('#'),
                false => pattern.push_str(bare),
            }
            pattern.push_str(&word[bare.len()..]);
            rest = behind;
        }
        pattern
    }

    /// The group that a reason belongs to.
    #[must_use]
    pub fn group_of(reason: &Reason) -> String {
        group(reason.stage(), &Self::pattern_of(reason.message()))
    }
}

/// Letters, digits and what numbers, dates, addresses and ids have in them.
fn is_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | ':')
}

/// What is between quotes at the beginning of a text, and what follows them.
fn quoted(text: &str, first: char) -> Option<(&str, &str)> {
    let close = match first {
        '"' | '\'' | '`' => first,
        '“' => '”',
        '‘' => '’',
        '«' => '»',
        _ => return None,
    };
    text[first.len_utf8()..].split_once(close)
}

fn group(stage: &str, pattern: &str) -> String {
    let mut hash = XxHash3_64::new();
    for text in [stage, pattern] {
        hash.write(&(text.len() as u64).to_le_bytes());
        hash.write(text.as_bytes());
    }
    format!("{:08x}", hash.finish() >> 32)
}

/// Failed samples in groups.
///
/// ```
/// use samplestore::{Failures, Reason, Sample, Status};
///
/// let mut failures = Failures::new();
/// for row in 1..=3 {
///     let reason = Reason::new("parse", format!("row {row}: no number"), 1, chrono::Utc::now());
///     failures.add(&Sample::builder("weather").status(Status::Dlq).reason(reason).build()?);
/// }
/// let groups = failures.into_groups();
/// assert_eq!((groups[0].pattern.as_str(), groups[0].count), ("row #: no number", 3));
/// # Ok::<(), samplestore::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Failures {
    groups: BTreeMap<String, FailureGroup>,
    without_reason: u64,
    dropped: u64,
}

impl Failures {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one sample. Memory is bounded by 10,000 groups; others are only [counted](Self::dropped).
    pub fn add(&mut self, sample: &Sample) {
        let Some(reason) = sample.reason() else {
            self.without_reason += 1;
            return;
        };
        let pattern = FailureGroup::pattern_of(reason.message());
        let name = group(reason.stage(), &pattern);
        if let Some(group) = self.groups.get_mut(&name) {
            group.count += 1;
            group.first = group.first.min(reason.at());
            group.last = group.last.max(reason.at());
            return;
        }
        if self.groups.len() == GROUPS_MAX {
            self.dropped += 1;
            return;
        }
        let group = FailureGroup {
            group: name.clone(),
            stage: reason.stage().to_owned(),
            pattern,
            count: 1,
            first: reason.at(),
            last: reason.at(),
            example: sample.id().to_owned(),
        };
        self.groups.insert(name, group);
    }

    /// How many samples have no reason.
    #[must_use]
    pub fn without_reason(&self) -> u64 {
        self.without_reason
    }

    /// How many samples were left out, since they are of groups beyond the first 10,000.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The groups, the largest first.
    #[must_use]
    pub fn into_groups(self) -> Vec<FailureGroup> {
        let mut groups: Vec<_> = self.groups.into_values().collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.group.cmp(&b.group)));
        groups
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_from_sample_to_sample_is_left_out() {
        for (message, pattern) in [
            ("no number", "no number"),
            ("row #5", "row #"),
            ("field 'temp' is \"NA\"", "field '…' is '…'"),
            ("an empty '' stays", "an empty '' stays"),
            ("don't, can't", "don't, can't"),
            ("it's one", "it's one"),
            ("timeout after 30s.", "timeout after #."),
            ("10.0.0.1:5432 refused", "# refused"),
            ("at 2013-06-01T12:00:00Z: -3.5e7 < 0", "at #: # < #"),
            (
                "id 0190f5fe-7c00-7a00-8000-000000000000 is gone",
                "id # is gone",
            ),
            ("HTTP 503", "HTTP #"),
            ("température 日本", "température 日本"),
            ("", ""),
        ] {
            assert_eq!(FailureGroup::pattern_of(message), pattern, "{message}");
        }
    }

    #[test]
    fn a_group_has_a_name_that_stays() {
        let reason = |stage, message| Reason::new(stage, message, 1, DateTime::UNIX_EPOCH);
        let name = FailureGroup::group_of(&reason("parse", "row 1"));
        assert_eq!(name, FailureGroup::group_of(&reason("parse", "row 22")));
        assert_ne!(name, FailureGroup::group_of(&reason("fetch", "row 1")));
        assert_eq!(name.len(), 8);
    }

    proptest! {
        #[test]
        fn a_pattern_is_its_own_pattern_but_for_quotes(message in "[a-z0-9 .:_#-]{0,40}") {
            let pattern = FailureGroup::pattern_of(&message);
            prop_assert_eq!(FailureGroup::pattern_of(&pattern), pattern);
        }

        #[test]
        fn any_message_has_a_pattern(message: String) {
            let _ = FailureGroup::pattern_of(&message);
        }
    }
}
