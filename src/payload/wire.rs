//! Walking through MessagePack without decoding it: checking a payload, finding one field.
//!
//! Markers and lengths are read by hand over a slice, since the readers of `rmp` are made for streams and
//! report a cut-off slice as an I/O error. No value is made here.

use rmp::Marker;

/// What is wrong with the bytes.
#[derive(Debug)]
pub(super) enum Fault {
    CutOff,
    Trailing,
    Depth,
    Key,
    Twice(String),
    Utf8,
    Type(Marker),
}

impl Fault {
    /// What was found, in words.
    pub(super) fn found(&self) -> String {
        match self {
            Self::CutOff => "bytes that are cut off".to_owned(),
            Self::Trailing => "bytes behind its end".to_owned(),
            Self::Depth => "values nested too deep".to_owned(),
            Self::Key => "a map key that is no string".to_owned(),
            Self::Twice(key) => format!("the key {key:?} twice in one map"),
            Self::Utf8 => "a string that is no UTF-8".to_owned(),
            Self::Type(marker) => format!("a MessagePack value of type {marker:?}"),
        }
    }
}

type Result<T> = std::result::Result<T, Fault>;

/// Keys of a map up to this many are compared with each other; more go into a set.
const COMPARED_KEYS_MAX: usize = 12;

/// The head of a value: what follows it.
enum Head {
    /// So many bytes and no more.
    Scalar(usize),
    String(usize),
    /// So many values.
    List(usize),
    /// So many pairs of key and value.
    Map(usize),
}

/// A place in encoded bytes.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Whether every string was written from one, so that its UTF-8 need not be checked.
    is_written: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            is_written: false,
        }
    }

    /// A reader of what a serializer wrote here.
    pub(super) fn written(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            is_written: true,
        }
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Fault::CutOff)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian length of this many bytes.
    #[inline]
    fn length(&mut self, bytes: usize) -> Result<usize> {
        let number = self.take(bytes)?;
        Ok(number
            .iter()
            .fold(0, |all, byte| (all << 8) | usize::from(*byte)))
    }

    #[inline(always)]
    fn head(&mut self) -> Result<Head> {
        let marker = Marker::from_u8(self.take(1)?[0]);
        Ok(match marker {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => {
                Head::Scalar(0)
            }
            Marker::U8 | Marker::I8 => Head::Scalar(1),
            Marker::U16 | Marker::I16 => Head::Scalar(2),
            Marker::U32 | Marker::I32 | Marker::F32 => Head::Scalar(4),
            Marker::U64 | Marker::I64 | Marker::F64 => Head::Scalar(8),
            Marker::Bin8 => Head::Scalar(self.length(1)?),
            Marker::Bin16 => Head::Scalar(self.length(2)?),
            Marker::Bin32 => Head::Scalar(self.length(4)?),
            Marker::FixStr(length) => Head::String(length.into()),
            Marker::Str8 => Head::String(self.length(1)?),
            Marker::Str16 => Head::String(self.length(2)?),
            Marker::Str32 => Head::String(self.length(4)?),
            Marker::FixArray(length) => Head::List(length.into()),
            Marker::Array16 => Head::List(self.length(2)?),
            Marker::Array32 => Head::List(self.length(4)?),
            Marker::FixMap(length) => Head::Map(length.into()),
            Marker::Map16 => Head::Map(self.length(2)?),
            Marker::Map32 => Head::Map(self.length(4)?),
            other => return Err(Fault::Type(other)),
        })
    }

    fn text(&mut self, length: usize) -> Result<&'a [u8]> {
        let text = self.take(length)?;
        match self.is_written || std::str::from_utf8(text).is_ok() {
            true => Ok(text),
            false => Err(Fault::Utf8),
        }
    }

    fn key(&mut self) -> Result<&'a [u8]> {
        match self.head()? {
            Head::String(length) => self.text(length),
            _ => Err(Fault::Key),
        }
    }

    /// What stands here in place of a map, if anything else does.
    pub(super) fn not_a_map(self) -> Option<&'static str> {
        let mut reader = self;
        match reader.head() {
            Ok(Head::Map(_)) | Err(_) => None,
            Ok(Head::List(_)) => Some("a list"),
            Ok(Head::String(_)) => Some("a string"),
            Ok(Head::Scalar(_)) => match Marker::from_u8(self.rest[0]) {
                Marker::Null => Some("null"),
                Marker::True | Marker::False => Some("a bool"),
                Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Some("bytes"),
                _ => Some("a number"),
            },
        }
    }

    /// Checks the value that stands here, wherein lists and maps nest at most `depth` deep, and passes
    /// it.
    pub(super) fn check(&mut self, depth: usize) -> Result<()> {
        match self.head()? {
            Head::Scalar(length) => self.take(length).map(drop),
            Head::String(length) => self.text(length).map(drop),
            Head::List(_) | Head::Map(_) if depth == 0 => Err(Fault::Depth),
            Head::List(length) => (0..length).try_for_each(|_| self.check(depth - 1)),
            Head::Map(length) => self.check_map(length, depth - 1),
        }
    }

    fn check_map(&mut self, length: usize, depth: usize) -> Result<()> {
        let mut few = [&b""[..]; COMPARED_KEYS_MAX];
        let mut many = std::collections::HashSet::new();
        for index in 0..length {
            let key = self.key()?;
            let is_new = if length <= COMPARED_KEYS_MAX {
                few[index] = key;
                !few[..index].contains(&key)
            } else {
                many.insert(key)
            };
            if !is_new {
                return Err(Fault::Twice(String::from_utf8_lossy(key).into_owned()));
            }
            self.check(depth)?;
        }
        Ok(())
    }

    /// Checks that nothing follows.
    pub(super) fn end(&self) -> Result<()> {
        match self.rest {
            [] => Ok(()),
            _ => Err(Fault::Trailing),
        }
    }

    /// Passes the value that stands here.
    pub(super) fn skip(&mut self) -> Result<()> {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            match self.head()? {
                Head::Scalar(length) | Head::String(length) => {
                    self.take(length)?;
                }
                Head::List(length) => left = left.saturating_add(length),
                Head::Map(length) => left = left.saturating_add(length.saturating_mul(2)),
            }
        }
        Ok(())
    }

    /// Goes to the value of this name, or in a list at this place. False when there is none.
    pub(super) fn enter(&mut self, step: &str) -> Result<bool> {
        match self.head()? {
            Head::Map(length) => {
                for _ in 0..length {
                    if self.key()? == step.as_bytes() {
                        return Ok(true);
                    }
                    self.skip()?;
                }
                Ok(false)
            }
            Head::List(length) => {
                let Some(place) = step.parse::<usize>().ok().filter(|place| *place < length) else {
                    return Ok(false);
                };
                for _ in 0..place {
                    self.skip()?;
                }
                Ok(true)
            }
            Head::Scalar(_) | Head::String(_) => Ok(false),
        }
    }

    /// The bytes of the value that stands here.
    pub(super) fn value(self) -> Result<&'a [u8]> {
        let mut reader = self;
        reader.skip()?;
        Ok(&self.rest[..self.rest.len() - reader.rest.len()])
    }
}
