//! What a [`Decoder`] lets a visitor see of lists, maps, structs and enums.

use rmp::Marker;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use super::{Decoder, Mismatch, Result};

/// How many names are looked at from the one that is due: some may be left out of what was stored.
const NAMES_AHEAD_MAX: usize = 4;

/// The items of a list.
pub(super) struct Items<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    pub(super) left: usize,
}

impl<'a, 'de> Items<'a, 'de> {
    #[inline]
    pub(super) fn new(decoder: &'a mut Decoder<'de>, length: usize) -> Self {
        Self {
            decoder,
            left: length,
        }
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Mismatch;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    /// Never more than there are bytes, so that a length that lies allocates little.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.decoder.rest.len()))
    }
}

/// The entries of a map.
pub(super) struct Entries<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    pub(super) left: usize,
}

impl<'a, 'de> Entries<'a, 'de> {
    #[inline]
    pub(super) fn new(decoder: &'a mut Decoder<'de>, length: usize) -> Self {
        Self {
            decoder,
            left: length,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Mismatch;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.decoder.rest.len() / 2))
    }
}

/// The entries of a map that becomes a struct of these names.
pub(super) struct Fields<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    pub(super) left: usize,
    /// The names from the one that is due.
    names: &'static [&'static str],
}

impl<'a, 'de> Fields<'a, 'de> {
    #[inline]
    pub(super) fn new(
        decoder: &'a mut Decoder<'de>,
        length: usize,
        names: &'static [&'static str],
    ) -> Self {
        Self {
            decoder,
            left: length,
            names,
        }
    }

    /// The name that stands here, and what follows it, if it is the one that is due or soon due.
    #[inline(always)]
    fn known(&mut self) -> Option<Known<'de>> {
        let (name, names) = self.names.split_first()?;
        match passed(self.decoder.rest, name) {
            Some(rest) => {
                self.names = names;
                Some(Known { name, rest })
            }
            None => self.known_ahead(),
        }
    }

    #[inline(never)]
    fn known_ahead(&mut self) -> Option<Known<'de>> {
        let ahead = self.names.iter().enumerate().take(NAMES_AHEAD_MAX);
        for (place, name) in ahead.skip(1) {
            if let Some(rest) = passed(self.decoder.rest, name) {
                self.names = &self.names[place + 1..];
                return Some(Known { name, rest });
            }
        }
        None
    }
}

impl<'de> MapAccess<'de> for Fields<'_, 'de> {
    type Error = Mismatch;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let known = self.known();
        let decoder = &mut *self.decoder;
        seed.deserialize(Name { decoder, known }).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.decoder.rest.len() / 2))
    }
}

/// A name of the struct that was found in the bytes.
struct Known<'de> {
    name: &'static str,
    /// What follows it.
    rest: &'de [u8],
}

/// The key of a field.
struct Name<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    known: Option<Known<'de>>,
}

impl Name<'_, '_> {
    #[inline(never)]
    fn other<'de, V: Visitor<'de>>(decoder: &mut Decoder<'de>, visitor: V) -> Result<V::Value> {
        decoder.deserialize_identifier(visitor)
    }
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*))+) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value> {
            self.decoder.$method($($argument,)* visitor)
        }
    )+};
}

impl<'de> Deserializer<'de> for Name<'_, 'de> {
    type Error = Mismatch;

    fn is_human_readable(&self) -> bool {
        self.decoder.is_human_readable()
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.known {
            Some(Known { name, rest }) => {
                self.decoder.rest = rest;
                visitor.visit_borrowed_str(name)
            }
            None => Self::other(self.decoder, visitor),
        }
    }

    forward! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32()
        deserialize_i64() deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32()
        deserialize_u64() deserialize_u128() deserialize_f32() deserialize_f64() deserialize_char()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_struct(name: &'static str, names: &'static [&'static str])
        deserialize_enum(name: &'static str, names: &'static [&'static str])
    }
}

/// What stands behind `name`, if it stands in front, as short strings do.
#[inline]
fn passed<'de>(bytes: &'de [u8], name: &str) -> Option<&'de [u8]> {
    let (marker, rest) = bytes.split_first()?;
    if usize::from(*marker) != 0xa0 | name.len() || name.len() > 31 {
        return None;
    }
    let (found, rest) = rest.split_at_checked(name.len())?;
    is_same(found, name.as_bytes()).then_some(rest)
}

/// Whether two strings of one length are the same; a call of `memcmp` takes longer for so few bytes.
#[inline]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    fn ends<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N])> {
        Some((*bytes.first_chunk()?, *bytes.last_chunk()?))
    }
    if a.len() > 16 {
        a == b
    } else if let (Some(a), Some(b)) = (ends::<8>(a), ends::<8>(b)) {
        a == b
    } else if let (Some(a), Some(b)) = (ends::<4>(a), ends::<4>(b)) {
        a == b
    } else {
        a.iter().eq(b)
    }
}

/// A variant that stands alone, by its name or its number.
pub(super) struct UnitVariant<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
}

impl<'de> EnumAccess<'de> for UnitVariant<'_, 'de> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let variant = seed.deserialize(&mut *self.decoder)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'_, 'de> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value> {
        Err(alone("newtype variant"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value> {
        Err(alone("tuple variant"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _names: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value> {
        Err(alone("struct variant"))
    }
}

#[cold]
fn alone(expected: &str) -> Mismatch {
    Mismatch::invalid_type(Unexpected::UnitVariant, &expected)
}

/// A variant that is the key of a map of one entry, and what it holds the value.
pub(super) struct Variant<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let variant = seed.deserialize(&mut *self.decoder)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<()> {
        match self.decoder.marker()? {
            Marker::Null => Ok(()),
            other => Err(Mismatch::marker(other)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.decoder)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value> {
        self.decoder.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.decoder.deserialize_struct("", names, visitor)
    }
}
