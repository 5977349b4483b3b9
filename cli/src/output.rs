//! What a command prints as its result: a table for people, JSON for programs. Results go to stdout, everything else to stderr.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat};
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::exit::{Failure, Result};

/// Writes one line to stdout. A reader that went away (`| head`) is no failure.
pub(crate) fn line(text: &str) -> Result {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result {
    line(&serde_json::to_string(value).map_err(|error| Failure::failed(error.to_string()))?)
}

/// Writes rows under a heading; nothing but the heading's absence tells an empty list.
pub(crate) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return note("none");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    line(&table.trim_fmt())
}

/// Writes names with their values, one a line.
pub(crate) fn fields<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Result {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in pairs {
        table.add_row([name.to_owned(), value]);
    }
    line(&table.trim_fmt())
}

/// Writes a remark for the person at the terminal to stderr.
pub(crate) fn note(text: &str) -> Result {
    match writeln!(io::stderr().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A point in time in the one form in which all commands print it; `None` for any other text.
fn time(text: &str) -> Option<String> {
    // Cheaply: hardly any text is a time.
    let looks_like = text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T');
    let at = DateTime::parse_from_rfc3339(text).ok().filter(|_| looks_like)?;
    Some(at.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A member of a JSON object as a cell: text bare, a time to the second, a list of texts joined, null, absent and empty as a dash, the rest as JSON.
pub(crate) fn cell(value: &Value, member: &str) -> String {
    match value.get(member) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => time(text).unwrap_or_else(|| text.clone()),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    }
}

/// The items of a list as a server sends it: bare, or in the one array of an object.
pub(crate) fn items(list: &Value) -> &[Value] {
    let array = match list {
        Value::Object(members) => members.values().find_map(Value::as_array),
        other => other.as_array(),
    };
    array.map_or(&[], Vec::as_slice)
}

/// Writes a list: its items with `--json`, else a table of these members.
pub(crate) fn list(as_json: bool, list: &Value, members: &[(&str, &str)]) -> Result {
    if as_json {
        return json(&items(list));
    }
    let heading: Vec<_> = members.iter().map(|(heading, _)| *heading).collect();
    table(&heading, items(list).iter().map(|item| members.iter().map(|(_, member)| cell(item, member)).collect()))
}
