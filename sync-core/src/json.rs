//! Canonical JSON text: keys sorted, numbers normal, no white space.
//!
//! Works on the text, so that a number is never squeezed through a float (`1e400` stays exact, as PostgreSQL's jsonb keeps it).

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::limits::{JSON_DEPTH_MAX, VALUE_BYTES_MAX};
use crate::value::canonical_decimal;

/// The canonical form of a JSON text; `None` where it is not JSON, holds a NUL, nests deeper than [`JSON_DEPTH_MAX`], or has so many
/// exponents that it would be far larger than any message when they are written out.
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    Writer::of(text, CANONICAL)
}

/// As `jsonb` writes itself: shorter keys first, and white space. `None` as for [`canonical`].
#[must_use]
pub fn as_jsonb(text: &str) -> Option<String> {
    Writer::of(text, JSONB)
}

/// A JSON text that has no canonical form, as it is written; `None` where it is not JSON or holds a NUL, which `jsonb` refuses.
#[must_use]
pub fn of_any_depth(text: &str) -> Option<String> {
    let text = text.trim();
    let has_nul =
        || text.match_indices("\\u0000").any(|(at, _)| text[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0);
    (as_written(text).is_some() && !has_nul()).then(|| text.to_owned())
}

/// A JSON text as it is written, for `json`, which keeps it; `None` where it is not JSON.
#[must_use]
pub fn as_written(text: &str) -> Option<String> {
    serde_json::from_str::<&RawValue>(text).is_ok().then(|| text.to_owned())
}

/// How a text is laid out.
#[derive(Clone, Copy)]
struct Style {
    comma: &'static str,
    colon: &'static str,
    /// Keys by length, then by bytes; else by bytes alone.
    shorter_first: bool,
}

const CANONICAL: Style = Style { comma: ",", colon: ":", shorter_first: false };
const JSONB: Style = Style { comma: ", ", colon: ": ", shorter_first: true };

struct Writer {
    style: Style,
    /// Bytes that it may write.
    room: usize,
    out: String,
}

impl Writer {
    fn of(text: &str, style: Style) -> Option<String> {
        let mut writer = Self { style, room: text.len() * 2 + VALUE_BYTES_MAX, out: String::with_capacity(text.len()) };
        writer.value(text.trim(), 0)?;
        Some(writer.out)
    }

    fn value(&mut self, text: &str, depth: usize) -> Option<()> {
        if depth > JSON_DEPTH_MAX || self.out.len() > self.room {
            return None;
        }
        match text.as_bytes().first()? {
            b'{' => {
                // A later key of the same name wins, as in jsonb.
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
                let mut members: Vec<_> = members.into_iter().collect();
                if self.style.shorter_first {
                    members.sort_by_key(|(name, _)| name.len());
                }
                self.out.push('{');
                for (index, (name, member)) in members.iter().enumerate() {
                    self.comma(index);
                    self.string(name)?;
                    self.out.push_str(self.style.colon);
                    self.value(member.get(), depth + 1)?;
                }
                self.out.push('}');
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.comma(index);
                    self.value(item.get(), depth + 1)?;
                }
                self.out.push(']');
            }
            b'"' => self.string(&serde_json::from_str::<String>(text).ok()?)?,
            b't' | b'f' | b'n' => {
                serde_json::from_str::<Option<bool>>(text).ok()?;
                self.out.push_str(text);
            }
            _ => {
                let _: &RawValue = serde_json::from_str(text).ok()?;
                self.out.push_str(&canonical_decimal(text)?);
            }
        }
        Some(())
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out.push_str(self.style.comma);
        }
    }

    fn string(&mut self, text: &str) -> Option<()> {
        if text.contains('\0') {
            return None;
        }
        self.out.push_str(&serde_json::to_string(text).ok()?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{as_jsonb, canonical};

    #[test]
    fn keys_are_sorted_and_numbers_normal_at_every_depth() {
        assert_eq!(canonical(r#" {"b":[1.50,{"z":null,"y":"é"}],"a":true} "#).unwrap(), r#"{"a":true,"b":[1.5,{"y":"é","z":null}]}"#);
        assert_eq!(canonical(r#"{"a":1,"a":2}"#).unwrap(), r#"{"a":2}"#);
    }

    #[test]
    fn jsonb_writes_shorter_keys_first() {
        assert_eq!(as_jsonb(r#"{"b":[1.5,{}],"aa":"é","a":null}"#).unwrap(), r#"{"a": null, "b": [1.5, {}], "aa": "é"}"#);
    }

    #[test]
    fn a_number_beyond_any_float_keeps_its_digits() {
        assert_eq!(canonical("123456789012345678901234567890.5").unwrap(), "123456789012345678901234567890.5");
        assert!(canonical("1e400").unwrap().starts_with('1'));
    }

    #[test]
    fn exponents_do_not_fill_the_memory() {
        let many = format!("[{}]", vec!["1e131072"; 20_000].join(","));
        assert_eq!((canonical(&many), as_jsonb(&many)), (None, None));
    }

    #[test]
    fn what_is_not_json_or_too_deep_is_refused() {
        for bad in ["", "{", "[1,]", "nul", "\"a", "01", "\"\\u0000\"", "1 2"] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
        assert_eq!(canonical(&format!("{}{}", "[".repeat(100), "]".repeat(100))), None);
    }
}
