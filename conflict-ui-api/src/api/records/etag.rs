//! Conditional requests: `If-Match` before a write, `If-None-Match` on a read.

use axum::http::{HeaderMap, HeaderName, header};
use sync_core::catalog::Table;
use sync_core::change::etag;

use crate::backend::Record;

/// A record's ETag.
#[must_use]
pub fn of(table: &Table, record: &Record) -> String {
    etag(table, record.stamp.version, &record.row)
}

/// The ETags of `If-Match`; `None` where any will do (no such header, or `*`).
#[must_use]
pub fn if_match(headers: &HeaderMap) -> Option<Vec<String>> {
    tags(headers, header::IF_MATCH).filter(|tags| !tags.iter().any(|tag| tag == "*"))
}

/// Whether the client has this version already.
#[must_use]
pub fn is_known(headers: &HeaderMap, current: &str) -> bool {
    tags(headers, header::IF_NONE_MATCH).is_some_and(|tags| tags.iter().any(|tag| tag == "*" || tag == current))
}

/// The tags of all headers of this name. `W/` is dropped: proxies that compress put it there, and ours name the record, not its bytes.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<Vec<String>> {
    headers.contains_key(&name).then(|| {
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        let tags = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|tag| !tag.is_empty());
        tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag).to_owned()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), axum::http::HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn lists_weak_tags_and_the_star() {
        let of = |lines| if_match(&headers(header::IF_MATCH, lines));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["*"]), None);
        assert_eq!(of(&["\"1-a\" ,W/\"2-b\"", "\"3-c\""]).unwrap(), ["\"1-a\"", "\"2-b\"", "\"3-c\""]);
        assert_eq!(of(&[""]).unwrap(), Vec::<String>::new(), "an empty header matches nothing");
        assert!(is_known(&headers(header::IF_NONE_MATCH, &["\"1-a\", \"2-b\""]), "\"2-b\""));
        assert!(!is_known(&headers(header::IF_NONE_MATCH, &["\"1-a\""]), "\"2-b\""));
    }
}
