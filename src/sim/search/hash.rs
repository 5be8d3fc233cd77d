//! Values as numbers: serde gives each of their fields and elements, and [`Canon`] hashes them.

use core::fmt::Display;

use serde::ser::{self, Serialize};

use super::canon::Canon;

/// Nothing goes wrong while hashing.
#[derive(Debug)]
pub(super) struct Never;

impl Display for Never {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("never")
    }
}

impl core::error::Error for Never {}

impl ser::Error for Never {
    fn custom<T: Display>(_text: T) -> Self {
        Self
    }
}

/// A part with fields or elements, being hashed.
pub(super) struct Part<'a> {
    canon: &'a mut Canon,
    name: &'static str,
}

macro_rules! hash_number {
    ($($method:ident: $number:ty),*) => {
        $(fn $method(self, number: $number) -> Result<(), Never> {
            self.number(number as u64);
            Ok(())
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Canon {
    type Ok = ();
    type Error = Never;
    type SerializeSeq = Part<'a>;
    type SerializeTuple = Part<'a>;
    type SerializeTupleStruct = Part<'a>;
    type SerializeTupleVariant = Part<'a>;
    type SerializeMap = Part<'a>;
    type SerializeStruct = Part<'a>;
    type SerializeStructVariant = Part<'a>;

    hash_number!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_char: char
    );

    fn serialize_f32(self, number: f32) -> Result<(), Never> {
        self.add(u64::from(number.to_bits()));
        Ok(())
    }

    fn serialize_f64(self, number: f64) -> Result<(), Never> {
        self.add(number.to_bits());
        Ok(())
    }

    fn serialize_str(self, text: &str) -> Result<(), Never> {
        self.serialize_bytes(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Never> {
        self.add(bytes.len() as u64);
        for byte in bytes {
            self.add(u64::from(*byte));
        }
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Never> {
        self.option(false);
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Never> {
        self.option(true);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Never> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Never> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), Never> {
        self.number(u64::from(index));
        Ok(())
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        self.identity(name, value)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        self.add(u64::from(index));
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Part<'a>, Never> {
        self.add(len.unwrap_or(usize::MAX) as u64);
        Ok(Part::new(self, ""))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Part<'a>, Never> {
        Ok(Part::new(self, ""))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Part<'a>, Never> {
        Ok(Part::new(self, name))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Part<'a>, Never> {
        self.add(u64::from(index));
        Ok(Part::new(self, variant))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Part<'a>, Never> {
        self.serialize_seq(len)
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Part<'a>, Never> {
        Ok(Part::new(self, name))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Part<'a>, Never> {
        self.add(u64::from(index));
        Ok(Part::new(self, variant))
    }
}

impl<'a> Part<'a> {
    fn new(canon: &'a mut Canon, name: &'static str) -> Self {
        Self { canon, name }
    }

    fn element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Never> {
        value.serialize(&mut *self.canon)
    }
}

macro_rules! hash_elements {
    ($($of:ident $method:ident),*) => {
        $(impl ser::$of for Part<'_> {
            type Ok = ();
            type Error = Never;

            fn $method<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Never> {
                self.element(value)
            }

            fn end(self) -> Result<(), Never> {
                Ok(())
            }
        })*
    };
}

hash_elements!(
    SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field
);

macro_rules! hash_fields {
    ($($of:ident),*) => {
        $(impl ser::$of for Part<'_> {
            type Ok = ();
            type Error = Never;

            fn serialize_field<T: ?Sized + Serialize>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Never> {
                self.canon.field(self.name, key, value)
            }

            fn end(self) -> Result<(), Never> {
                Ok(())
            }
        })*
    };
}

hash_fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Part<'_> {
    type Ok = ();
    type Error = Never;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Never> {
        self.element(key)
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Never> {
        self.element(value)
    }

    fn end(self) -> Result<(), Never> {
        Ok(())
    }
}
