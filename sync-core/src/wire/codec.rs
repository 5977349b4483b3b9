//! The one bounded codec of the wire: a magic, then MessagePack in zstd level 1.
//!
//! Decoding is bounded before it allocates: compressed and plain bytes, then a scan of the MessagePack that counts elements, depth and
//! string lengths without building anything. After that nothing allocates by a number from the wire.

use std::io::Read;

use rmp::Marker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::limits::{MESSAGE_BYTES_MAX, MESSAGE_DEPTH_MAX, MESSAGE_ELEMENTS_MAX, VALUE_BYTES_MAX, WIRE_BYTES_MAX};

/// The media type of the protocol's bodies.
pub const MEDIA_TYPE: &str = "application/vnd.rejoin.sync";

/// Starts every message: a captive portal's page is never mistaken for one.
const MAGIC: &[u8; 4] = b"RJN1";
/// zstd's fastest ordinary level: 58 bytes for a row of 367 bytes JSON at millions of rows a second.
const LEVEL: i32 = 1;

/// A message that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// It does not begin as our messages do.
    #[error("this is no Rejoin message (a proxy's or portal's page?)")]
    Magic,
    /// It is over a limit.
    #[error("the message is over a limit: {0}")]
    Limit(&'static str),
    /// Its compression is broken.
    #[error("the message's compression is broken: {0}")]
    Compression(#[from] std::io::Error),
    /// Its MessagePack is broken or of another shape.
    #[error("the message is malformed: {0}")]
    Malformed(String),
}

/// Writes a message.
///
/// # Errors
/// The message is over a limit that [`decode`] checks: the caller cuts smaller pages.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    pack(rmp_serde::to_vec(message))
}

/// Writes a message with its fields' names, so that a reader may pass over those that it does not know: the catalog, which grows.
///
/// # Errors
/// As [`encode`].
pub fn encode_named<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    pack(rmp_serde::to_vec_named(message))
}

fn pack(plain: Result<Vec<u8>, rmp_serde::encode::Error>) -> Result<Vec<u8>, CodecError> {
    let plain = plain.map_err(|error| CodecError::Malformed(error.to_string()))?;
    if plain.len() > MESSAGE_BYTES_MAX {
        return Err(CodecError::Limit("plain bytes"));
    }
    // What the other side would refuse is neither sent nor stored.
    scan(&plain)?;
    let mut body = MAGIC.to_vec();
    body.extend(zstd::bulk::compress(&plain, LEVEL)?);
    if body.len() > WIRE_BYTES_MAX {
        return Err(CodecError::Limit("compressed bytes"));
    }
    Ok(body)
}

/// Reads a message within the limits.
///
/// # Errors
/// See [`CodecError`].
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    if body.len() > WIRE_BYTES_MAX {
        return Err(CodecError::Limit("compressed bytes"));
    }
    let compressed = body.strip_prefix(MAGIC.as_slice()).ok_or(CodecError::Magic)?;
    let mut plain = Vec::new();
    zstd::Decoder::new(compressed)?.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut plain)?;
    if plain.len() > MESSAGE_BYTES_MAX {
        return Err(CodecError::Limit("plain bytes"));
    }
    scan(&plain)?;
    let mut decoder = rmp_serde::Deserializer::from_read_ref(&plain);
    decoder.set_max_depth(MESSAGE_DEPTH_MAX * 4);
    T::deserialize(&mut decoder).map_err(|error| CodecError::Malformed(error.to_string()))
}

/// A body's SHA-256 in hexadecimal digits: the name of a push.
#[must_use]
pub fn body_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// Walks one MessagePack value to its end, counting, building nothing. Refuses what goes beyond a limit or on after its end.
fn scan(bytes: &[u8]) -> Result<(), CodecError> {
    let malformed = |what: &str| CodecError::Malformed(what.to_owned());
    let mut rest = bytes;
    let mut elements = 0_usize;
    // How many values are still to come at each open level.
    let mut open: Vec<u64> = vec![1];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        elements += 1;
        if elements > MESSAGE_ELEMENTS_MAX {
            return Err(CodecError::Limit("elements"));
        }
        let (&first, tail) = rest.split_first().ok_or_else(|| malformed("it ends too early"))?;
        rest = tail;
        let mut number = |width: usize| -> Result<u64, CodecError> {
            let (head, tail) = rest.split_at_checked(width).ok_or_else(|| malformed("it ends too early"))?;
            rest = tail;
            Ok(head.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        let (skip, children) = match Marker::from_u8(first) {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, 0),
            Marker::U8 | Marker::I8 => (1, 0),
            Marker::U16 | Marker::I16 => (2, 0),
            Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
            Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
            Marker::FixStr(length) => (u64::from(length), 0),
            Marker::Str8 | Marker::Bin8 => (number(1)?, 0),
            Marker::Str16 | Marker::Bin16 => (number(2)?, 0),
            Marker::Str32 | Marker::Bin32 => (number(4)?, 0),
            Marker::FixExt1 => (2, 0),
            Marker::FixExt2 => (3, 0),
            Marker::FixExt4 => (5, 0),
            Marker::FixExt8 => (9, 0),
            Marker::FixExt16 => (17, 0),
            Marker::Ext8 => (number(1)? + 1, 0),
            Marker::Ext16 => (number(2)? + 1, 0),
            Marker::Ext32 => (number(4)? + 1, 0),
            Marker::FixArray(count) => (0, u64::from(count)),
            Marker::Array16 => (0, number(2)?),
            Marker::Array32 => (0, number(4)?),
            Marker::FixMap(count) => (0, 2 * u64::from(count)),
            Marker::Map16 => (0, 2 * number(2)?),
            Marker::Map32 => (0, 2 * number(4)?),
            Marker::Reserved => return Err(malformed("a reserved marker")),
        };
        let skip = usize::try_from(skip).ok().filter(|skip| *skip <= VALUE_BYTES_MAX).ok_or(CodecError::Limit("bytes of one value"))?;
        rest = rest.get(skip..).ok_or_else(|| malformed("it ends too early"))?;
        if children > 0 {
            if open.len() >= MESSAGE_DEPTH_MAX {
                return Err(CodecError::Limit("depth"));
            }
            open.push(children);
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(malformed("bytes after its end")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(plain: &[u8]) -> Vec<u8> {
        [MAGIC.as_slice(), &zstd::bulk::compress(plain, LEVEL).unwrap()].concat()
    }

    #[test]
    fn a_message_comes_back() {
        let message = (vec!["a".to_owned(); 300], 7_u64, Some(true));
        let body = encode(&message).unwrap();
        assert_eq!(decode::<(Vec<String>, u64, Option<bool>)>(&body).unwrap(), message);
    }

    #[test]
    fn a_portals_page_is_no_message() {
        assert!(matches!(decode::<u8>(b"<html>"), Err(CodecError::Magic)));
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let zeros = wrap(&vec![0_u8; MESSAGE_BYTES_MAX + 1]);
        assert!(matches!(decode::<Vec<u8>>(&zeros), Err(CodecError::Limit("plain bytes"))));
        let mut wide = vec![0xdd_u8, 0xff, 0xff, 0xff, 0xff];
        wide.extend(vec![0xc0; MESSAGE_ELEMENTS_MAX + 1]);
        assert!(matches!(decode::<Vec<Option<u8>>>(&wrap(&wide)), Err(CodecError::Limit("elements"))));
        let deep = vec![0x91_u8; 10_000];
        assert!(matches!(decode::<Vec<u8>>(&wrap(&deep)), Err(CodecError::Limit("depth"))));
        assert!(matches!(decode::<String>(&wrap(&[0xdb, 0xff, 0xff, 0xff, 0xff])), Err(CodecError::Limit("bytes of one value"))));
    }

    #[test]
    fn what_could_not_be_read_is_not_written() {
        assert!(encode(&"x".repeat(VALUE_BYTES_MAX)).is_ok());
        assert!(matches!(encode(&"x".repeat(VALUE_BYTES_MAX + 1)), Err(CodecError::Limit("bytes of one value"))));
        assert!(matches!(encode(&vec![(); MESSAGE_ELEMENTS_MAX]), Err(CodecError::Limit("elements"))));
    }

    #[test]
    fn a_cut_or_continued_message_is_refused_at_every_byte() {
        let body = encode(&(vec![1_u32, 70_000, 3], "text")).unwrap();
        for cut in 0..body.len() {
            assert!(decode::<(Vec<u32>, String)>(&body[..cut]).is_err(), "cut at {cut}");
        }
        assert!(decode::<u8>(&wrap(&[1, 2])).is_err());
    }
}
