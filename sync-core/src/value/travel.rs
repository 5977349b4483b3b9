//! How values travel and are stored: MessagePack on the wire, JSON in catalogs.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{ColumnType, Real, Value};

/// Uuids travel as MessagePack extension 1, all else as the plain MessagePack type. JSON, in which catalogs are stored, has neither
/// uuids nor bytes nor infinity: there they are an object of one member named after the kind.
const UUID_EXTENSION: i8 = 1;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = serializer.is_human_readable();
        match self {
            Self::Bytes(_) if named => serializer.collect_map([("bytes", self.to_text())]),
            Self::Uuid(_) if named => serializer.collect_map([("uuid", self.to_text())]),
            Self::Float(real) if named && !real.0.is_finite() => serializer.collect_map([("float", self.to_text())]),
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(real) => serializer.serialize_f64(real.0),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Uuid(id) => {
                serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &(UUID_EXTENSION, Blob(id.as_bytes())))
            }
        }
    }
}

struct Blob<'a>(&'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column value: nil, boolean, integer, float, text, bytes or uuid")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(|_| E::custom("an integer beyond 64 bits with sign"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(Real::new(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let member: Option<(String, String)> = members.next_entry()?;
        let value = match member.as_ref().map(|(kind, text)| (kind.as_str(), text)) {
            Some(("bytes", text)) => ColumnType::Bytea.parse(text),
            Some(("uuid", text)) => ColumnType::Uuid.parse(text),
            // The second is how serde_json hands over a number with a point, since it keeps all its digits.
            Some(("float" | "$serde_json::private::Number", text)) => ColumnType::Float8.parse(text),
            _ => return Err(de::Error::custom("an object that is no value")),
        };
        value.map_err(de::Error::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ExtensionVisitor)
    }
}

struct ExtensionVisitor;

impl<'de> Visitor<'de> for ExtensionVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a uuid: MessagePack extension 1 of 16 bytes")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let tag: Option<i8> = parts.next_element()?;
        let bytes: Option<RawBytes> = parts.next_element()?;
        match (tag, bytes) {
            (Some(UUID_EXTENSION), Some(RawBytes(bytes))) => Uuid::from_slice(&bytes).map(Value::Uuid).map_err(de::Error::custom),
            _ => Err(de::Error::custom("an unknown MessagePack extension")),
        }
    }
}

struct RawBytes(Vec<u8>);

impl<'de> Deserialize<'de> for RawBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = RawBytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<RawBytes, E> {
                Ok(RawBytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<RawBytes, E> {
                Ok(RawBytes(bytes))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}
