//! [`Decoder`]: MessagePack bytes straight into a type of the caller.
//!
//! Reads what `rmp_serde` writes of any type that serde knows, structs by name or by position, as
//! `rmp_serde` does; tests compare the two. It is not used for this since it reads through [`std::io::Read`]
//! and checks the UTF-8 of every field's name: measured on a struct of two strings and a number and one of
//! four floats, it took 1.6 times as long. Here a name that stands where the struct has it is only
//! compared. What lists, maps and enums hold is `decoder/access.rs`.

mod access;
mod mismatch;
#[cfg(test)]
mod tests;

use rmp::Marker;
use serde::de::value::SeqDeserializer;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use self::access::{Entries, Fields, Items, UnitVariant, Variant};
pub(super) use self::mismatch::Mismatch;
use super::wire::Reader;

type Result<T> = std::result::Result<T, Mismatch>;

/// Decodes the value at the front of `bytes`, wherein lists and maps nest at most `depth` deep.
pub(super) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8], depth: usize) -> Result<T> {
    T::deserialize(&mut Decoder { rest: bytes, depth })
}

/// A place in encoded bytes.
struct Decoder<'de> {
    rest: &'de [u8],
    /// How much deeper lists and maps may nest.
    depth: usize,
}

/// What a visitor gets for bytes.
#[derive(Clone, Copy, PartialEq)]
enum Bytes {
    /// Bytes.
    Whole,
    /// A list of numbers.
    Listed,
}

impl<'de> Decoder<'de> {
    #[inline]
    fn peek(&self) -> Result<Marker> {
        match self.rest.first() {
            Some(byte) => Ok(Marker::from_u8(*byte)),
            None => Err(Mismatch::cut_off()),
        }
    }

    #[inline]
    fn marker(&mut self) -> Result<Marker> {
        let [byte] = self.array()?;
        Ok(Marker::from_u8(byte))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(Mismatch::cut_off)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'de [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(Mismatch::cut_off)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn u8(&mut self) -> Result<usize> {
        Ok(u8::from_be_bytes(self.array()?).into())
    }

    #[inline]
    fn u16(&mut self) -> Result<usize> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    #[inline]
    fn u32(&mut self) -> Result<usize> {
        // More than an address can hold is more than there is.
        Ok(usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    /// The bytes of the string that stands here; `None`, and nothing taken, if none does.
    #[inline(always)]
    fn string(&mut self) -> Result<Option<&'de [u8]>> {
        let whole = self.rest;
        let length = match self.marker()? {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.u8()?,
            Marker::Str16 => self.u16()?,
            Marker::Str32 => self.u32()?,
            _ => {
                self.rest = whole;
                return Ok(None);
            }
        };
        self.take(length).map(Some)
    }

    #[inline]
    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let marker = self.marker()?;
        self.number_of(marker, visitor)
    }

    /// The number, truth value or null of this marker, which is taken already.
    #[inline]
    fn number_of<V: Visitor<'de>>(&mut self, marker: Marker, visitor: V) -> Result<V::Value> {
        match marker {
            Marker::FixPos(number) => visitor.visit_u8(number),
            Marker::FixNeg(number) => visitor.visit_i8(number),
            Marker::U8 => visitor.visit_u8(u8::from_be_bytes(self.array()?)),
            Marker::U16 => visitor.visit_u16(u16::from_be_bytes(self.array()?)),
            Marker::U32 => visitor.visit_u32(u32::from_be_bytes(self.array()?)),
            Marker::U64 => visitor.visit_u64(u64::from_be_bytes(self.array()?)),
            Marker::I8 => visitor.visit_i8(i8::from_be_bytes(self.array()?)),
            Marker::I16 => visitor.visit_i16(i16::from_be_bytes(self.array()?)),
            Marker::I32 => visitor.visit_i32(i32::from_be_bytes(self.array()?)),
            Marker::I64 => visitor.visit_i64(i64::from_be_bytes(self.array()?)),
            Marker::F32 => visitor.visit_f32(f32::from_be_bytes(self.array()?)),
            Marker::F64 => visitor.visit_f64(f64::from_be_bytes(self.array()?)),
            Marker::Null => visitor.visit_unit(),
            Marker::True => visitor.visit_bool(true),
            Marker::False => visitor.visit_bool(false),
            other => Err(Mismatch::marker(other)),
        }
    }

    /// Something else than what a type expects, kept apart from the way that is usual.
    #[inline(never)]
    fn other<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.any(visitor, Bytes::Whole)
    }

    #[inline(never)]
    fn other_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.number(visitor)
    }

    /// Whatever stands here.
    #[inline]
    fn any<V: Visitor<'de>>(&mut self, visitor: V, bytes: Bytes) -> Result<V::Value> {
        let length = match self.marker()? {
            Marker::FixStr(length) => return text(self.take(length.into())?, visitor),
            Marker::Str8 => {
                let length = self.u8()?;
                return text(self.take(length)?, visitor);
            }
            Marker::Str16 => {
                let length = self.u16()?;
                return text(self.take(length)?, visitor);
            }
            Marker::Str32 => {
                let length = self.u32()?;
                return text(self.take(length)?, visitor);
            }
            Marker::FixArray(length) => return self.list(length.into(), visitor),
            Marker::Array16 => {
                let length = self.u16()?;
                return self.list(length, visitor);
            }
            Marker::Array32 => {
                let length = self.u32()?;
                return self.list(length, visitor);
            }
            Marker::FixMap(length) => return self.map(length.into(), visitor),
            Marker::Map16 => {
                let length = self.u16()?;
                return self.map(length, visitor);
            }
            Marker::Map32 => {
                let length = self.u32()?;
                return self.map(length, visitor);
            }
            Marker::Bin8 => self.u8()?,
            Marker::Bin16 => self.u16()?,
            Marker::Bin32 => self.u32()?,
            other => return self.number_of(other, visitor),
        };
        let taken = self.take(length)?;
        match bytes {
            Bytes::Whole => visitor.visit_borrowed_bytes(taken),
            Bytes::Listed => visitor.visit_seq(SeqDeserializer::new(taken.iter().copied())),
        }
    }

    fn list<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value> {
        self.nested(|decoder| {
            let mut items = Items::new(decoder, length);
            let value = visitor.visit_seq(&mut items)?;
            all(value, length, items.left)
        })
    }

    fn map<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value> {
        self.nested(|decoder| {
            let mut entries = Entries::new(decoder, length);
            let value = visitor.visit_map(&mut entries)?;
            all(value, length, entries.left)
        })
    }

    /// The length of the map that stands here; `None`, and nothing taken, if none does.
    #[inline]
    fn map_length(&mut self) -> Result<Option<usize>> {
        let whole = self.rest;
        match self.marker()? {
            Marker::FixMap(length) => Ok(Some(length.into())),
            Marker::Map16 => self.u16().map(Some),
            Marker::Map32 => self.u32().map(Some),
            _ => {
                self.rest = whole;
                Ok(None)
            }
        }
    }

    #[inline]
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == 0 {
            return Err(Mismatch::depth());
        }
        self.depth -= 1;
        let value = read(self);
        self.depth += 1;
        value
    }
}

/// A value that was made of all but `left` of `length` parts, of which none may be left.
#[inline]
fn all<T>(value: T, length: usize, left: usize) -> Result<T> {
    match left {
        0 => Ok(value),
        left => Err(Mismatch::length(length - left)),
    }
}

/// Gives the visitor a string; where it is no UTF-8, as bytes, which a type of bytes takes.
#[inline]
fn text<'de, V: Visitor<'de>>(string: &'de [u8], visitor: V) -> Result<V::Value> {
    match std::str::from_utf8(string) {
        Ok(text) => visitor.visit_borrowed_str(text),
        Err(error) => visitor
            .visit_borrowed_bytes(string)
            .map_err(|_: Mismatch| Mismatch::utf8(error)),
    }
}

macro_rules! numbers {
    ($($method:ident)+) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.number(visitor)
        }
    )+};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Mismatch;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.other(visitor)
    }

    numbers! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.rest.split_first_chunk::<9>() {
            // A float of 64 bits, as `Marker::F64` is written.
            Some(([0xcb, number @ ..], rest)) => {
                self.rest = rest;
                visitor.visit_f64(f64::from_be_bytes(*number))
            }
            _ => self.other_number(visitor),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.sixteen()? {
            Some(bytes) => visitor.visit_i128(i128::from_be_bytes(bytes)),
            None => self.number(visitor),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.sixteen()? {
            Some(bytes) => visitor.visit_u128(u128::from_be_bytes(bytes)),
            None => self.number(visitor),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.string()? {
            Some(string) => text(string, visitor),
            None => self.other(visitor),
        }
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.peek()? {
            Marker::Null => {
                self.marker()?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        match self.peek()? {
            Marker::FixArray(0) => {
                self.marker()?;
                visitor.visit_unit()
            }
            _ => self.deserialize_any(visitor),
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.any(visitor, Bytes::Listed)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let Some(length) = self.map_length()? else {
            return self.deserialize_seq(visitor);
        };
        self.nested(|decoder| {
            let mut fields = Fields::new(decoder, length, names);
            let value = visitor.visit_map(&mut fields)?;
            all(value, length, fields.left)
        })
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.map_length()? {
            Some(1) => self.nested(|decoder| visitor.visit_enum(Variant { decoder })),
            Some(length) => Err(Mismatch::length(length)),
            None => match self.peek()? {
                // Its items would be those of what stands around it.
                list @ (Marker::FixArray(_) | Marker::Array16 | Marker::Array32) => {
                    Err(Mismatch::marker(list))
                }
                _ => visitor.visit_enum(UnitVariant { decoder: self }),
            },
        }
    }

    /// Passes the value without looking at what it holds.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let mut reader = Reader::new(self.rest);
        reader.skip()?;
        self.rest = reader.rest();
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { bytes byte_buf char map unit }
}

impl Decoder<'_> {
    /// The sixteen bytes that a whole number of 128 bits is written as; `None`, and nothing taken, if
    /// no bytes stand here.
    fn sixteen(&mut self) -> Result<Option<[u8; 16]>> {
        if self.peek()? != Marker::Bin8 {
            return Ok(None);
        }
        self.marker()?;
        match self.u8()? {
            16 => self.array().map(Some),
            _ => Err(Mismatch::length(16)),
        }
    }
}
