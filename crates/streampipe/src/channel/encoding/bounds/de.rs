use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::Tally;
use crate::channel::encoding::passing::complain;

/// A deserializer, or a part of one, that counts, and passes everything on.
pub(in crate::channel::encoding) struct Bounded<'tally, D> {
    inner: D,
    bounds: Bounds<'tally>,
}

/// What is counted, how many bytes there are, and of which type the whole value is.
#[derive(Clone, Copy)]
pub(in crate::channel::encoding) struct Bounds<'tally> {
    tally: &'tally Tally,
    bytes: usize,
    type_name: &'static str,
    /// Whether a visitor must take all parts. Of a structure it does not: serde counts its fields' aliases, too.
    takes_all: bool,
}

impl<'tally, D> Bounded<'tally, D> {
    /// For a value of type `T` and so many bytes.
    pub(in crate::channel::encoding) fn new<T>(
        inner: D,
        tally: &'tally Tally,
        bytes: usize,
    ) -> Self {
        let type_name = std::any::type_name::<T>();
        Self { inner, bounds: Bounds { tally, bytes, type_name, takes_all: true } }
    }

    fn with<T>(&self, inner: T) -> Bounded<'tally, T> {
        Bounded { inner, bounds: Bounds { takes_all: true, ..self.bounds } }
    }

    /// For the visitor of a structure.
    fn with_fields<T>(&self, inner: T) -> Bounded<'tally, T> {
        Bounded { inner, bounds: Bounds { takes_all: false, ..self.bounds } }
    }

    /// The error of a type that needs a format that describes itself.
    fn does_not_describe<E: Error>(&self, asked: &str) -> E {
        E::custom(complain(format_args!(
            "{} asks {asked}, and postcard does not say what it carries: no enum that is untagged or has a tag field, \
             nothing flattened, and no type for any value at all (serde_json::Value) can be received",
            self.bounds.type_name
        )))
    }
}

/// The error of a visitor that leaves parts of what it was given: the next part of the value would begin there.
fn some_left<E: Error>() -> E {
    E::custom(complain("more parts of a list or a structure than its type takes"))
}

macro_rules! pass_on {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.with(visitor);
            self.inner.$name(visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    pass_on! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_option deserialize_unit deserialize_seq deserialize_map
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(self.does_not_describe("what comes next (deserialize_any)"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(self.does_not_describe("what it is to pass over (deserialize_ignored_any)"))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(self.does_not_describe("for a name (deserialize_identifier)"))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with_fields(visitor);
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($name:ident($type:ty))*) => {
        $(fn $name<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$name(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    visit! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32)
        visit_f64(f64) visit_char(char) visit_str(&str) visit_borrowed_str(&'de str)
        visit_string(String) visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let _level =
            self.bounds.tally.enter().map_err(|bound| D::Error::custom(complain(bound)))?;
        let inner = self.with(inner);
        self.inner.visit_some(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let _level =
            self.bounds.tally.enter().map_err(|bound| D::Error::custom(complain(bound)))?;
        let inner = self.with(inner);
        self.inner.visit_newtype_struct(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<V::Value, A::Error> {
        let inner = self.with(&mut parts);
        let value = self.inner.visit_seq(inner)?;
        // A unit takes no bytes.
        if self.bounds.takes_all && parts.next_element::<()>()?.is_some() {
            return Err(some_left());
        }
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<V::Value, A::Error> {
        let inner = self.with(&mut entries);
        let value = self.inner.visit_map(inner)?;
        if entries.next_key::<()>()?.is_some() {
            return Err(some_left());
        }
        Ok(value)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let inner = self.with(inner);
        self.inner.visit_enum(inner)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let Bounds { tally, bytes, .. } = self.bounds;
        let _level = tally.enter().map_err(|bound| D::Error::custom(complain(bound)))?;
        if tally.is_beyond(bytes as u64) {
            return Err(D::Error::custom(complain(
                "more parts without bytes than a value may have",
            )));
        }
        let inner = self.with(inner);
        self.inner.deserialize(inner)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        // Memory is taken for what is there, whatever is claimed.
        self.inner.size_hint().map(|claimed| claimed.min(self.bounds.bytes))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|claimed| claimed.min(self.bounds.bytes))
    }
}

impl<'de, 'tally, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'tally, A> {
    type Error = A::Error;
    type Variant = Bounded<'tally, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let bounds = self.bounds;
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Bounded { inner, bounds }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with_fields(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
