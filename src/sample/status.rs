//! [`Status`]: where a sample stands, one of six words (rule M3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Limit};

/// Where a sample stands. Ordered as a sample usually moves.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, not yet measured.
    #[default]
    Pending,
    /// Measured, not yet fit for use.
    Measured,
    /// Fit for use.
    Ready,
    /// Labelled.
    Labeled,
    /// Left out on purpose; its reason says why.
    Skipped,
    /// Failed, and put aside in the dead-letter queue; its reason says why.
    Dlq,
}

impl Status {
    /// All six, in order.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Measured,
        Self::Ready,
        Self::Labeled,
        Self::Skipped,
        Self::Dlq,
    ];

    /// The word for it, as files and the command line have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Measured => "measured",
            Self::Ready => "ready",
            Self::Labeled => "labeled",
            Self::Skipped => "skipped",
            Self::Dlq => "dlq",
        }
    }

    /// Its place in [`Status::ALL`], 0 to 5.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == word)
            .ok_or_else(|| {
                Error::invalid_sample(Limit::UnknownStatus {
                    found: word.to_owned(),
                    nearest: crate::query::nearest(word, Self::ALL.map(Self::as_str)),
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_names_its_status_and_no_other_word_does() {
        for (index, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status.as_str().parse::<Status>().unwrap(), status);
            assert_eq!(status.index(), index);
        }
        for word in ["", "Ready", "reday", "ready "] {
            let error = word.parse::<Status>().unwrap_err();
            assert_eq!(error.limit().unwrap().field(), "status");
        }
        let error = "reday".parse::<Status>().unwrap_err();
        let limit = error.limit().unwrap().to_string();
        assert!(limit.contains("did you mean ready?"), "{limit}");
    }
}
