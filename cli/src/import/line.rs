//! One line of the file, read and checked.

use serde_json::{Map, Value};
use sync_core::limits::VALUE_BYTES_MAX;

/// A device or a card as the file gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// `device` or `card`.
    pub(crate) kind: Kind,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) part_number: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) ports: Vec<Port>,
    /// The slots' names, in file order.
    pub(crate) card_slots: Vec<String>,
    /// The whole line, out of which the rules take what has a column.
    pub(crate) members: Map<String, Value>,
}

/// What a line describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Device,
    Card,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Card => "card",
        }
    }
}

/// A port.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) io_type: String,
    pub(crate) direction: Direction,
    /// Members that have no column.
    pub(crate) extra: Map<String, Value>,
}

/// Which way a port goes; a port without a direction goes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Input,
    Output,
    Both,
}

impl Direction {
    /// The `port_type` of each row that the port becomes.
    pub(crate) fn port_types(self) -> &'static [&'static str] {
        match self {
            Self::Input => &["INPUT"],
            Self::Output => &["OUTPUT"],
            Self::Both => &["INPUT", "OUTPUT"],
        }
    }
}

/// Reads one line. The error names the column or the field, and what is wrong with it.
pub(crate) fn read(line: &str) -> Result<Item, String> {
    if line.len() > VALUE_BYTES_MAX {
        return Err(format!("the line has {} bytes, {VALUE_BYTES_MAX} are allowed", line.len()));
    }
    let parsed: Value = serde_json::from_str(line).map_err(|error| {
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or_default();
        format!("column {}: {what}", error.column())
    })?;
    let Value::Object(members) = parsed else {
        return Err("column 1: expected a JSON object".to_owned());
    };
    let kind = match text(&members, "", "kind")?.as_str() {
        "device" => Kind::Device,
        "card" => Kind::Card,
        other => return Err(format!("kind: expected device or card, got {other:?}")),
    };
    Ok(Item {
        kind,
        manufacturer: text(&members, "", "manufacturer")?,
        model: text(&members, "", "model")?,
        part_number: optional_text(&members, "part_number")?,
        description: optional_text(&members, "description")?,
        ports: list(&members, "ports")?.iter().enumerate().map(|(at, port)| read_port(at, port)).collect::<Result<_, _>>()?,
        card_slots: list(&members, "card_slots")?
            .iter()
            .enumerate()
            .map(|(at, slot)| {
                slot.as_str().map(str::to_owned).ok_or_else(|| format!("card_slots[{at}]: expected text, got {}", shape(slot)))
            })
            .collect::<Result<_, _>>()?,
        members,
    })
}

fn read_port(at: usize, port: &Value) -> Result<Port, String> {
    let place = format!("ports[{at}]");
    let Value::Object(members) = port else {
        return Err(format!("{place}: expected an object, got {}", shape(port)));
    };
    let place = format!("{place}.");
    let direction = match members.get("direction") {
        None | Some(Value::Null) => Direction::Both,
        Some(Value::String(text)) if text == "INPUT" => Direction::Input,
        Some(Value::String(text)) if text == "OUTPUT" => Direction::Output,
        Some(other) => return Err(format!("{place}direction: expected INPUT, OUTPUT or null, got {other}")),
    };
    let mut extra = members.clone();
    extra.retain(|name, _| !matches!(name.as_str(), "name" | "type" | "direction"));
    Ok(Port { name: text(members, &place, "name")?, io_type: text(members, &place, "type")?, direction, extra })
}

fn text(members: &Map<String, Value>, place: &str, name: &str) -> Result<String, String> {
    match members.get(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        Some(Value::String(_)) => Err(format!("{place}{name}: is empty")),
        Some(other) => Err(format!("{place}{name}: expected text, got {}", shape(other))),
        None => Err(format!("{place}{name}: is missing")),
    }
}

fn optional_text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{name}: expected text, got {}", shape(other))),
    }
}

fn list<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(format!("{name}: expected a list, got {}", shape(other))),
    }
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_says_where_and_why() {
        let with = |rest: &str| format!(r#"{{"kind":"device","manufacturer":"M","model":"X"{rest}}}"#);
        for (line, expected) in [
            ("{\"kind\":", "column 8: EOF while parsing a value"),
            ("[]", "column 1: expected a JSON object"),
            (r#"{"kind":"rack","manufacturer":"M","model":"X"}"#, "kind: expected device or card, got \"rack\""),
            (r#"{"kind":"card","model":"X"}"#, "manufacturer: is missing"),
            (r#"{"kind":"card","manufacturer":" ","model":"X"}"#, "manufacturer: is empty"),
            (&with(r#","part_number":7"#), "part_number: expected text, got a number"),
            (&with(r#","ports":{}"#), "ports: expected a list, got an object"),
            (&with(r#","ports":[{"name":"a","type":"sdi"},3]"#), "ports[1]: expected an object, got a number"),
            (&with(r#","ports":[{"type":"sdi"}]"#), "ports[0].name: is missing"),
            (
                &with(r#","ports":[{"name":"a","type":"sdi","direction":"UP"}]"#),
                "ports[0].direction: expected INPUT, OUTPUT or null, got \"UP\"",
            ),
            (&with(r#","card_slots":[1]"#), "card_slots[0]: expected text, got a number"),
        ] {
            assert_eq!(read(line).unwrap_err(), expected, "{line}");
        }
    }
}
