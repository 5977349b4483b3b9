//! Ranges, which a site keeps as they were written, in PostgreSQL's spelling.

use super::written;
use crate::value::{ColumnType, moment};

fn element(name: &str) -> Option<ColumnType> {
    Some(match name {
        "int4range" => ColumnType::Int4,
        "int8range" => ColumnType::Int8,
        "numrange" => ColumnType::Numeric,
        "daterange" => ColumnType::Date,
        "tsrange" => ColumnType::Timestamp,
        "tstzrange" => ColumnType::Timestamptz,
        _ => return None,
    })
}

pub(super) fn is_range(name: &str) -> bool {
    element(name).is_some()
}

/// A range as PostgreSQL writes it: `[1,5)` of `[1,4]`; `None` where it is no range of that type.
pub(super) fn canonical(name: &str, text: &str) -> Option<String> {
    let (element, text) = (element(name)?, text.trim());
    if text.eq_ignore_ascii_case("empty") {
        return Some("empty".to_owned());
    }
    let (mut opens, mut closes) = (text.starts_with('['), text.ends_with(']'));
    let body = text.strip_prefix(['[', '(']).and_then(|rest| rest.strip_suffix([']', ')']))?;
    let mut rest = body;
    let mut lower = bound(&element, &mut rest)?;
    let mut upper = bound(&element, &mut rest.strip_prefix(',')?)?;
    if matches!(element, ColumnType::Int4 | ColumnType::Int8 | ColumnType::Date) {
        let finite = |bound: &Option<String>| bound.as_ref().is_some_and(|text| !text.ends_with("infinity"));
        if finite(&lower) && !opens {
            (lower, opens) = (next(&element, &lower?), true);
        }
        if finite(&upper) && closes {
            (upper, closes) = (next(&element, &upper?), false);
        }
    }
    if lower.is_some() && lower == upper && !(opens && closes) {
        return Some("empty".to_owned());
    }
    let open = if opens && lower.is_some() { '[' } else { '(' };
    let close = if closes && upper.is_some() { ']' } else { ')' };
    let quoted =
        |bound: Option<String>| bound.map(|text| if text.contains(' ') { format!("\"{text}\"") } else { text }).unwrap_or_default();
    Some(format!("{open}{},{}{close}", quoted(lower), quoted(upper)))
}

/// The bound at the beginning of `rest`, which then begins behind it, as PostgreSQL writes it; `Some(None)` where there is none.
fn bound(element: &ColumnType, rest: &mut &str) -> Option<Option<String>> {
    let (text, behind) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
    };
    *rest = behind;
    if text.is_empty() {
        return Some(None);
    }
    let value = element.parse(text.trim()).ok()?;
    // The cloud keeps the zeros of a number.
    let as_it_is = *element == ColumnType::Numeric && !text.contains(['e', 'E']);
    Some(Some(if as_it_is { text.trim().to_owned() } else { written::plain(element, &value) }))
}

fn next(element: &ColumnType, text: &str) -> Option<String> {
    match element {
        ColumnType::Date => moment::next_day(text),
        _ => element.parse(&text.parse::<i64>().ok()?.checked_add(1)?.to_string()).ok().map(|value| value.to_text().into_owned()),
    }
}
