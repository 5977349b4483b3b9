//! Arrays: of any number of dimensions that PostgreSQL has, as nested JSON arrays of their elements.
//!
//! Where an array does not begin at 1 it is an object, `{"items":[7,8],"lower":[0]}`. Elements that JSON cannot hold exactly are strings:
//! numerics, times, bytes; and so are elements of `jsonb[]`, as JSON text, since `[[1]]` could otherwise be two things, and so could `null`.

use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::{ColumnType, Value, canonical_decimal, real_text};
use crate::limits::VALUE_BYTES_MAX;

/// PostgreSQL's MAXDIM.
const DIMENSIONS_MAX: usize = 6;

/// An array under way.
enum Node {
    Leaf(Value),
    List(Vec<Node>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounded<'a> {
    #[serde(borrow)]
    items: &'a RawValue,
    lower: Vec<i32>,
}

/// The canonical form of an array in JSON, or in PostgreSQL's text form.
pub(super) fn canonical(element: &ColumnType, text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with('[') && serde_json::from_str::<&RawValue>(text).is_ok() {
        return written(&from_json(element, text, 0)?, &[]);
    }
    match serde_json::from_str::<Bounded<'_>>(text) {
        Ok(bounded) => written(&from_json(element, bounded.items.get(), 0)?, &bounded.lower),
        Err(_) => from_postgres(element, text),
    }
}

/// The canonical form of PostgreSQL's text form of an array.
pub(super) fn from_postgres(element: &ColumnType, text: &str) -> Option<String> {
    let (bounds, mut rest) = if text.starts_with('[') { text.split_once('=')? } else { ("", text) };
    let lower: Option<Vec<i32>> =
        bounds.split_terminator(']').map(|bound| bound.strip_prefix('[')?.split(':').next()?.parse().ok()).collect();
    let node = list(element, &mut rest, 0)?;
    rest.is_empty().then(|| written(&node, &lower?)).flatten()
}

fn from_json(element: &ColumnType, text: &str, depth: usize) -> Option<Node> {
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok().filter(|_| depth < DIMENSIONS_MAX)?;
        let items: Option<Vec<Node>> = items.into_iter().map(|item| from_json(element, item.get(), depth + 1)).collect();
        return items.map(Node::List);
    }
    let json: Json = serde_json::from_str(text).ok()?;
    let value = match (element, &json) {
        (_, Json::Null) => Value::Null,
        (ColumnType::Json | ColumnType::JsonText, Json::String(text)) => element.parse(text).ok()?,
        _ => element.from_json(&json).ok()?,
    };
    Some(Node::Leaf(value))
}

/// `{a,"b\"c",NULL,{..}}` at the beginning of `rest`, which then begins behind it.
fn list(element: &ColumnType, rest: &mut &str, depth: usize) -> Option<Node> {
    *rest = rest.strip_prefix('{').filter(|_| depth < DIMENSIONS_MAX)?;
    let mut items = Vec::new();
    if let Some(behind) = rest.strip_prefix('}') {
        *rest = behind;
        return Some(Node::List(items));
    }
    loop {
        *rest = rest.trim_start();
        let item = match rest.as_bytes().first()? {
            b'{' => list(element, rest, depth + 1)?,
            b'"' => Node::Leaf(element.parse_postgres(&quoted(rest)?).ok()?),
            _ => {
                let text = bare(rest)?;
                Node::Leaf(if text.eq_ignore_ascii_case("NULL") { Value::Null } else { element.parse_postgres(&text).ok()? })
            }
        };
        items.push(item);
        *rest = rest.trim_start();
        match rest.as_bytes().first()? {
            b',' => *rest = &rest[1..],
            b'}' => {
                *rest = &rest[1..];
                return Some(Node::List(items));
            }
            _ => return None,
        }
    }
}

fn quoted(rest: &mut &str) -> Option<String> {
    let mut out = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                *rest = &rest[at + 1..];
                return Some(out);
            }
            '\\' => out.push(letters.next()?.1),
            _ => out.push(letter),
        }
    }
    None
}

fn bare(rest: &mut &str) -> Option<String> {
    let mut out = String::new();
    let mut letters = rest.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            ',' | '}' => {
                *rest = &rest[at..];
                let text = out.trim_end();
                return (!text.is_empty()).then(|| text.to_owned());
            }
            '{' | '"' => return None,
            '\\' => out.push(letters.next()?.1),
            _ => out.push(letter),
        }
    }
    None
}

/// The lengths of the dimensions; `None` where the array is no box. An empty array has none.
fn lengths(node: &Node) -> Option<Vec<usize>> {
    let Node::List(items) = node else { return Some(Vec::new()) };
    let mut inner: Option<Vec<usize>> = None;
    for item in items {
        let found = lengths(item)?;
        let leaf = matches!(item, Node::Leaf(_));
        // A list of nothing within a list is no element.
        if !leaf && found.is_empty() {
            return items.iter().all(is_empty).then(Vec::new);
        }
        if inner.as_ref().is_some_and(|inner| *inner != found) {
            return None;
        }
        inner = Some(found);
    }
    let Some(inner) = inner else { return Some(Vec::new()) };
    Some([items.len()].into_iter().chain(inner).collect())
}

fn is_empty(node: &Node) -> bool {
    matches!(node, Node::List(items) if items.iter().all(is_empty))
}

fn written(node: &Node, lower: &[i32]) -> Option<String> {
    let lengths = lengths(node)?;
    let (node, lower) = if lengths.is_empty() { (&Node::List(Vec::new()), [].as_slice()) } else { (node, lower) };
    if !lower.is_empty() && lower.len() != lengths.len() {
        return None;
    }
    let mut items = String::new();
    write(node, &mut items)?;
    if lower.iter().all(|bound| *bound == 1) {
        return Some(items);
    }
    let lower: Vec<String> = lower.iter().map(ToString::to_string).collect();
    Some(format!("{{\"items\":{items},\"lower\":[{}]}}", lower.join(",")))
}

fn write(node: &Node, out: &mut String) -> Option<()> {
    match node {
        Node::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Node::Leaf(Value::Null) => out.push_str("null"),
        Node::Leaf(value @ (Value::Bool(_) | Value::Int(_))) => out.push_str(&value.to_text()),
        Node::Leaf(Value::Float(real)) if real.get().is_finite() => out.push_str(&canonical_decimal(&real_text(real.get()))?),
        Node::Leaf(value) => out.push_str(&serde_json::to_string(&*value.to_text()).ok()?),
    }
    Some(())
}

/// A canonical array and its bounds.
fn read(element: &ColumnType, text: &str) -> Option<(Node, Vec<i32>)> {
    let (items, lower) = match serde_json::from_str::<Bounded<'_>>(text).ok().filter(|_| text.starts_with('{')) {
        Some(bounded) => (bounded.items.get(), bounded.lower),
        None => (text, Vec::new()),
    };
    Some((from_json(element, items, 0)?, lower))
}

/// A canonical array with other elements; `None` where there is none for one of them.
pub(super) fn map(element: &ColumnType, cast: &dyn Fn(&Value) -> Option<Value>, text: &str) -> Option<String> {
    fn each(node: Node, cast: &dyn Fn(&Value) -> Option<Value>) -> Option<Node> {
        Some(match node {
            Node::Leaf(value) => Node::Leaf(cast(&value)?),
            Node::List(items) => Node::List(items.into_iter().map(|item| each(item, cast)).collect::<Option<_>>()?),
        })
    }
    let (node, lower) = read(element, text)?;
    written(&each(node, cast)?, &lower)
}

/// The text from which PostgreSQL reads a canonical array.
pub(super) fn to_postgres(element: &ColumnType, text: &str) -> Option<String> {
    write_array(element, text, &|value| quote(&element.postgres_text(value)))
}

/// A canonical array as PostgreSQL writes it itself, given how it writes the elements: in quotes only where they are needed.
pub(super) fn literal(element: &ColumnType, write: &dyn Fn(&Value) -> String, text: &str) -> Option<String> {
    let bare = |text: &str| {
        let special = |letter: char| matches!(letter, '"' | '\\' | '{' | '}' | ',' | ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
        !text.is_empty() && !text.eq_ignore_ascii_case("NULL") && !text.contains(special)
    };
    write_array(element, text, &|value| {
        let text = write(value);
        if bare(&text) { text } else { quote(&text) }
    })
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn write_array(element: &ColumnType, text: &str, write: &dyn Fn(&Value) -> String) -> Option<String> {
    let (node, lower) = read(element, text)?;
    let mut out = String::with_capacity(text.len().min(VALUE_BYTES_MAX) + 2);
    for (lower, length) in lower.iter().zip(lengths(&node)?) {
        let upper = i64::from(*lower) + i64::try_from(length).ok()? - 1;
        out.push_str(&format!("[{lower}:{upper}]"));
    }
    if !out.is_empty() {
        out.push('=');
    }
    write_node(&node, write, &mut out);
    Some(out)
}

fn write_node(node: &Node, write: &dyn Fn(&Value) -> String, out: &mut String) {
    match node {
        Node::Leaf(Value::Null) => out.push_str("NULL"),
        Node::Leaf(value) => out.push_str(&write(value)),
        Node::List(items) => {
            out.push('{');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_node(item, write, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_keeps_nulls_quotes_dimensions_and_bounds() {
        for (element, literal, json) in [
            (ColumnType::Text, r#"{a,"NULL",NULL,"b\"c\\d",""," e "}"#, r#"["a","NULL",null,"b\"c\\d",""," e "]"#),
            (ColumnType::Int4, "{{1,2},{3,NULL}}", "[[1,2],[3,null]]"),
            (ColumnType::Int4, "[0:1]={7,8}", r#"{"items":[7,8],"lower":[0]}"#),
            (ColumnType::Int4, "[-1:-1][2:3]={{7,8}}", r#"{"items":[[7,8]],"lower":[-1,2]}"#),
            (ColumnType::Numeric, "{1.50,NaN}", r#"["1.5","NaN"]"#),
            (ColumnType::Float8, "{0.1,-Infinity,1e+300}", &format!(r#"[0.1,"-Infinity",1{}]"#, "0".repeat(300))),
            (ColumnType::Bool, "{t,f}", "[true,false]"),
            (ColumnType::Bytea, r#"{"\\x00ff"}"#, r#"["\\x00ff"]"#),
            (ColumnType::Timestamptz, r#"{"2026-01-31 12:00:00+00"}"#, r#"["2026-01-31T12:00:00.000000Z"]"#),
            (
                ColumnType::Json,
                r#"{"{\"b\": 1, \"a\": [2]}",NULL,null,"null","\"x\""}"#,
                r#"["{\"a\":[2],\"b\":1}",null,null,"null","\"x\""]"#,
            ),
            (ColumnType::Other, r#"{"(1,\"a b\")"}"#, r#"["(1,\"a b\")"]"#),
            (ColumnType::Text, "{}", "[]"),
        ] {
            let ty = ColumnType::Array(Box::new(element));
            let value = ty.parse_postgres(literal).unwrap();
            assert_eq!(value, Value::Text(json.to_owned()), "{literal}");
            assert_eq!(ty.parse(json).unwrap(), value, "{json}");
            assert_eq!(ty.parse(literal).unwrap(), value, "{literal}");
            assert_eq!(ty.parse_postgres(&ty.postgres_text(&value)).unwrap(), value, "{literal}");
            assert_eq!(ty.from_json(&ty.to_json(&value)).unwrap(), value, "{literal}");
            assert_eq!(crate::json::canonical(json).as_deref(), Some(json), "a canonical array is canonical JSON");
        }
        let ints = ColumnType::Array(Box::new(ColumnType::Int4));
        for bad in
            ["[[1],[2,3]]", "[1,[2]]", "{1,2", "[0:1]={1,2}x", "[\"x\"]", "{\"items\":[1],\"lower\":[0,0]}", "[[[[[[[1]]]]]]]", "{1}}"]
        {
            assert!(ints.parse(bad).is_err(), "{bad}");
        }
        assert_eq!(ints.parse("[[],[]]").unwrap(), Value::Text("[]".into()));
    }
}
