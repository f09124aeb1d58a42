//! Ids as names of objects: safe on every file system and object store, and reversible.
//!
//! A name is made of `a`–`z`, `0`–`9`, `-`, `_`, `.` and `=`. Every other byte of an id is written as `=` and
//! two digits of hex, `=4a` for `J`, as quoted-printable does it (RFC 2045): capitals too, so that no two
//! names are one where a disk does not tell capitals from small letters. A dot at the beginning and the
//! first letter of a word that Windows keeps for devices (`con`, `nul`) are written so as well. `%` is not
//! used, since the ways in which stores and URLs decode it differ.
//!
//! A name would be too long for a file at 255 bytes, and for S3 at 1,024 with its prefix. One of more than
//! 200 is cut to its first 100 bytes, and `==` and the XXH3 hash of the id follow, 128 bits of it. Two ids
//! may then have one name, by design of somebody if not by chance; so the id in the document is the word
//! that counts, and [`Name::is_hashed`] says when to look.

use std::fmt::Write;

use twox_hash::XxHash3_128;

/// What names end in.
pub(super) const SUFFIX: &str = ".json";

const WHOLE_BYTES_MAX: usize = 200;
const CUT_BYTES: usize = 100;
/// Names that Windows keeps for devices, whatever follows them behind a dot.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The name of a sample's object, with its suffix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name(String);

impl Name {
    /// The name for the sample of this id.
    pub(super) fn of(id: &str) -> Self {
        let stem = id.split('.').next().unwrap_or(id);
        let is_device = DEVICES.contains(&stem);
        let mut text = String::with_capacity(id.len() + 16);
        for (at, byte) in id.bytes().enumerate() {
            let is_plain = match byte {
                b'a'..=b'z' => at > 0 || !is_device,
                b'.' => at > 0,
                b'0'..=b'9' | b'-' | b'_' => true,
                _ => false,
            };
            match is_plain {
                true => text.push(char::from(byte)),
                // Writing to a string does not fail.
                false => drop(write!(text, "={byte:02x}")),
            }
        }
        if text.len() > WHOLE_BYTES_MAX {
            text.truncate(CUT_BYTES);
            let hash = XxHash3_128::oneshot(id.as_bytes());
            let _ = write!(text, "=={hash:032x}");
        }
        text.push_str(SUFFIX);
        Self(text)
    }

    /// The name that stands in a listing, if it is one of samples at all.
    pub(super) fn listed(text: &str) -> Option<Self> {
        text.ends_with(SUFFIX).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name does not hold all of the id.
    pub(super) fn is_hashed(&self) -> bool {
        self.0.contains("==")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn decode(name: &Name) -> String {
        let mut bytes = Vec::new();
        let mut rest = name.as_str().strip_suffix(SUFFIX).unwrap().bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'=' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                plain => plain,
            });
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn names_as_they_are_written() {
        for (id, name) in [
            ("jfk-2013_06.1", "jfk-2013_06.1.json"),
            ("JFK", "=4a=46=4b.json"),
            ("a/../b", "a=2f..=2fb.json"),
            ("..", "=2e..json"),
            (".hidden", "=2ehidden.json"),
            ("con", "=63on.json"),
            ("nul.x", "=6eul.x.json"),
            ("console", "console.json"),
            ("a=b%c\0", "a=3db=25c=00.json"),
            ("é", "=c3=a9.json"),
            (" ", "=20.json"),
        ] {
            assert_eq!(Name::of(id).as_str(), name, "{id:?}");
        }
    }

    #[test]
    fn long_ids_differ_by_their_hash() {
        let long = |last: char| Name::of(&format!("{}{last}", "A".repeat(511)));
        assert!(long('a').is_hashed());
        assert_eq!(long('a').as_str().len(), 100 + 2 + 32 + 5);
        assert_ne!(long('a'), long('b'));
        assert!(!Name::of(&"a".repeat(200)).is_hashed());
        assert!(Name::of(&"a".repeat(201)).is_hashed());
    }

    proptest! {
        #[test]
        fn names_are_safe_and_whole_ones_read_back(id in "\\PC{1,80}|[\\x00-\\x7f]{1,60}") {
            let name = Name::of(&id);
            let text = name.as_str();
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.=".contains(&byte);
            prop_assert!(text.bytes().all(plain), "{}", text);
            prop_assert!(!text.starts_with('.') && text.len() <= 255);
            if !name.is_hashed() {
                prop_assert_eq!(decode(&name), id);
            }
        }

        #[test]
        fn different_ids_have_different_names(ids in prop::collection::btree_set("[aA.=/]{1,6}", 2..40)) {
            let names: BTreeMap<_, _> = ids.iter().map(|id| (Name::of(id), id)).collect();
            prop_assert_eq!(names.len(), ids.len());
        }
    }
}
