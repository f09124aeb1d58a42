//! [`Lineage`]: which writes an object has come through, and [`Version`]: an object's version with it.
//!
//! On a server the answer to a write may be lost, and by the time the object is looked at, others may have written over it. So
//! each write has a name, which goes with the object in its metadata, in front of the names of the writes that it was put upon. Who
//! finds the own name there knows that the write was carried out, whatever became of the object since.

use object_store::UpdateVersion;

/// How many names are kept: about 300 bytes, where servers take 2 KiB. So many others would have to write between a lost
/// answer and the look that follows it.
const NAMES_MAX: usize = 8;
const BETWEEN: char = '.';

/// The names of the writes that made an object what it is, the last one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lineage(String);

/// What an object was when it was looked at.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) of_object: UpdateVersion,
    pub(super) lineage: Lineage,
}

impl Lineage {
    /// From the metadata of an object, which may have none.
    pub(super) fn read(text: Option<&str>) -> Self {
        Self(text.unwrap_or_default().to_owned())
    }

    /// As the metadata of the object has it that the write of this name puts in the place of one of this lineage.
    pub(super) fn text_behind(&self, name: &str) -> String {
        let names = std::iter::once(name).chain(self.names());
        let names: Vec<_> = names.take(NAMES_MAX).collect();
        names.join(&BETWEEN.to_string())
    }

    /// Whether the write of this name is among them.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split(BETWEEN).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_names_are_known() {
        let mut lineage = Lineage::read(None);
        assert!(!lineage.has(""));
        for number in 0..NAMES_MAX + 2 {
            let text = lineage.text_behind(&format!("write{number}"));
            lineage = Lineage::read(Some(&text));
        }
        let is_known = |number: &usize| lineage.has(&format!("write{number}"));
        let known: Vec<_> = (0..NAMES_MAX + 2).filter(is_known).collect();
        assert_eq!(known, (2..NAMES_MAX + 2).collect::<Vec<_>>());
        assert!(!lineage.has("write"));
    }
}
