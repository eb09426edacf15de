use std::fmt::Display;

use serde::Serialize;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::Tally;
use crate::channel::encoding::passing::complain;

/// A serializer that counts, and passes everything on.
pub(in crate::channel::encoding) struct Bounded<'tally, S> {
    inner: S,
    tally: &'tally Tally,
    /// The name of the structure that this is the tag of, if it is its name.
    tag_of: Option<&'static str>,
}

impl<'tally, S> Bounded<'tally, S> {
    pub(in crate::channel::encoding) fn new(inner: S, tally: &'tally Tally) -> Self {
        Self { inner, tally, tag_of: None }
    }
}

const UNKNOWN_SEQ: &str =
    "a list whose length is not known before its end (an iterator): collect it before it is sent";
const UNKNOWN_MAP: &str =
    "a map whose length is not known before its end, as serde's flatten and iterators make one";

/// A part of a value, counted when it is serialized.
struct Part<'value, T: ?Sized> {
    value: &'value T,
    tally: &'value Tally,
    tag_of: Option<&'static str>,
}

impl<'value, T: ?Sized> Part<'value, T> {
    fn new(value: &'value T, tally: &'value Tally) -> Self {
        Self { value, tally, tag_of: None }
    }
}

impl<T: Serialize + ?Sized> Serialize for Part<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let _level = self.tally.enter().map_err(|bound| S::Error::custom(complain(bound)))?;
        let Self { tally, tag_of, .. } = *self;
        self.value.serialize(Bounded { inner: serializer, tally, tag_of })
    }
}

macro_rules! pass_on {
    ($($name:ident($type:ty))*) => {
        $(fn $name(self, value: $type) -> Result<Self::Ok, Self::Error> {
            self.inner.$name(value)
        })*
    };
}

impl<'tally, S: Serializer> Serializer for Bounded<'tally, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Compound<'tally, S::SerializeSeq>;
    type SerializeTuple = Compound<'tally, S::SerializeTuple>;
    type SerializeTupleStruct = Compound<'tally, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<'tally, S::SerializeTupleVariant>;
    type SerializeMap = Compound<'tally, S::SerializeMap>;
    type SerializeStruct = Compound<'tally, S::SerializeStruct>;
    type SerializeStructVariant = Compound<'tally, S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_i128(i128) serialize_u8(u8) serialize_u16(u16)
        serialize_u32(u32) serialize_u64(u64) serialize_u128(u128) serialize_f32(f32)
        serialize_f64(f64) serialize_char(char) serialize_bytes(&[u8])
        serialize_unit_struct(&'static str)
    }

    fn serialize_str(self, value: &str) -> Result<S::Ok, S::Error> {
        if self.tag_of == Some(value) {
            return Err(unsayable(format_args!(
                "{value} has a tag field (serde's tag), and its receiver would take the name in it for a field"
            )));
        }
        self.inner.serialize_str(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Part::new(value, self.tally))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Part::new(value, self.tally))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let part = Part::new(value, self.tally);
        self.inner.serialize_newtype_variant(name, index, variant, &part)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let claimed = len.ok_or_else(|| unsayable(UNKNOWN_SEQ))?;
        Ok(compound(self.tally, "a list", claimed, self.inner.serialize_seq(len)?))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Ok(compound(self.tally, "a tuple", len, self.inner.serialize_tuple(len)?))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let inner = self.inner.serialize_tuple_struct(name, len)?;
        Ok(compound(self.tally, name, len, inner))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let inner = self.inner.serialize_tuple_variant(name, index, variant, len)?;
        Ok(compound(self.tally, variant, len, inner))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let claimed = len.ok_or_else(|| unsayable(UNKNOWN_MAP))?;
        Ok(compound(self.tally, "a map", claimed, self.inner.serialize_map(len)?))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        Ok(compound(self.tally, name, len, self.inner.serialize_struct(name, len)?))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let inner = self.inner.serialize_struct_variant(name, index, variant, len)?;
        Ok(compound(self.tally, variant, len, inner))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A list, a structure or a map on its way out: its parts are counted.
///
/// A receiver goes by the number that was said (a list, a map) or that its type has (all others), whatever follows.
pub(in crate::channel::encoding) struct Compound<'tally, S> {
    inner: S,
    tally: &'tally Tally,
    name: &'static str,
    claimed: usize,
    given: usize,
}

fn compound<'tally, S>(
    tally: &'tally Tally,
    name: &'static str,
    claimed: usize,
    inner: S,
) -> Compound<'tally, S> {
    Compound { inner, tally, name, claimed, given: 0 }
}

impl<'tally, S> Compound<'tally, S> {
    /// Counts a part.
    fn part<'value, T: ?Sized>(&mut self, value: &'value T) -> Part<'value, T>
    where
        'tally: 'value,
    {
        self.given += 1;
        Part::new(value, self.tally)
    }

    /// The same for a field of a structure.
    ///
    /// serde writes the tag of a structure as a first field, a `str` that no field can be, and does not read it.
    fn field<'value, T: ?Sized>(&mut self, value: &'value T) -> Part<'value, T>
    where
        'tally: 'value,
    {
        let may_be_tag = self.given == 0 && std::any::type_name::<T>() == "str";
        let tag_of = may_be_tag.then_some(self.name);
        Part { tag_of, ..self.part(value) }
    }

    /// Returns the inner serializer, if there are as many parts as were said.
    fn complete<E: Error>(self) -> Result<S, E> {
        let Self { name, claimed, given, .. } = self;
        if given != claimed {
            return Err(unsayable(format_args!(
                "{name} said that it has {claimed} parts, and has {given}"
            )));
        }
        Ok(self.inner)
    }

    /// A field that is left out: a structure has all of its fields here.
    fn left_out<E: Error>(&self, field: &str) -> E {
        unsayable(format_args!(
            "field {field} of {} is left out (skip_serializing_if), and its receiver would take the next bytes for it",
            self.name
        ))
    }
}

/// An error about what this encoding has no way to say.
fn unsayable<E: Error>(why: impl Display) -> E {
    E::custom(complain(why))
}

macro_rules! elements {
    ($trait:ident, $method:ident) => {
        impl<S: $trait> $trait for Compound<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let part = self.part(value);
                self.inner.$method(&part)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.complete::<S::Error>()?.end()
            }
        }
    };
}

elements!(SerializeSeq, serialize_element);
elements!(SerializeTuple, serialize_element);
elements!(SerializeTupleStruct, serialize_field);
elements!(SerializeTupleVariant, serialize_field);

macro_rules! fields {
    ($trait:ident) => {
        impl<S: $trait> $trait for Compound<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let part = self.field(value);
                self.inner.serialize_field(key, &part)
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                Err(self.left_out(key))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.complete::<S::Error>()?.end()
            }
        }
    };
}

fields!(SerializeStruct);
fields!(SerializeStructVariant);

impl<S: SerializeMap> SerializeMap for Compound<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.inner.serialize_key(&Part::new(value, self.tally))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let part = self.part(value);
        self.inner.serialize_value(&part)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.complete::<S::Error>()?.end()
    }
}
