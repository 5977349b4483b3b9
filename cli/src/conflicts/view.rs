//! A conflict as a person reads it: what happened in a sentence, the three sides, what hangs from it, what came before.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::output::{cell, items};

/// All of it.
pub(crate) fn whole(conflict: &Value) -> String {
    let of = |member: &str| cell(conflict, member);
    let mut out = format!("{}\n{}\n", sentence(conflict), side_by_side(conflict));
    out.push_str(&format!(
        "conflict {}, {} of {} {}, revision {}, cloud ETag {}, {}\nreason: {}\n",
        of("id"),
        of("kind"),
        of("tableName"),
        of("recordId"),
        of("revision"),
        of("cloudEtag"),
        standing(conflict),
        of("reason"),
    ));
    if let Some(root) = text(conflict, "root") {
        out.push_str(&format!("hangs from conflict {root}: decide that one first\n"));
    }
    section(&mut out, conflict, "dependentsTree", "hang from it", |dependent| {
        let depth = usize::try_from(dependent.get("depth").and_then(Value::as_u64).unwrap_or(1)).unwrap_or(1).min(32);
        let of = |member: &str| cell(dependent, member);
        format!("{}{} {} {} ({}): {}", "  ".repeat(depth), of("tableName"), of("recordId"), of("id"), of("kind"), of("reason"))
    });
    section(&mut out, conflict, "besides", "would change besides with --local", |row| {
        format!("  {} {}: {}", cell(row, "tableName"), cell(row, "recordId"), cell(row, "effect"))
    });
    if let Some(digest) = text(conflict, "besidesDigest") {
        out.push_str(&format!("name them with --besides {digest}\n"));
    }
    section(&mut out, conflict, "history", "history of the row, newest first", |entry| {
        let changes = entry.get("changes").and_then(Value::as_object).into_iter().flatten();
        let changes: Vec<_> = changes.map(|(column, change)| format!("{column}: {} -> {}", part(change, 0), part(change, 1))).collect();
        let site = text(entry, "site").map_or_else(String::new, |site| format!(" at {site}"));
        format!("  {} {} by {}{site}: {}", cell(entry, "at"), cell(entry, "op"), cell(entry, "author"), changes.join(", "))
    });
    out.truncate(out.trim_end().len());
    out
}

/// How the conflict stands, in a list.
pub(super) fn standing_briefly(conflict: &Value) -> String {
    let resolution = cell(conflict, "resolution");
    let state = conflict.get("decision").and_then(|decision| decision.get("state")).and_then(Value::as_str);
    match (resolution.as_str(), state) {
        ("PENDING", Some("refused")) => "open, decision refused".to_owned(),
        ("PENDING", Some("sent")) => "decided, sent".to_owned(),
        ("PENDING", Some("done")) => "decided, on its way back".to_owned(),
        ("PENDING", Some(_)) => "decided, not sent".to_owned(),
        _ => resolution,
    }
}

/// How the conflict stands.
pub(super) fn standing(conflict: &Value) -> String {
    let of = |member: &str| cell(conflict, member);
    let decision = conflict.get("decision").filter(|decision| !decision.is_null());
    match (of("resolution").as_str(), decision) {
        ("PENDING", Some(decision)) if cell(decision, "state") == "refused" => {
            format!("open; {} was refused: {}", cell(decision, "resolution"), cell(decision, "refused"))
        }
        ("PENDING", Some(decision)) => format!("decided here ({}), {}", cell(decision, "resolution"), cell(decision, "state")),
        ("PENDING", None) if conflict.get("decidedNotSent") == Some(&Value::Bool(true)) => "decided here, not sent yet".to_owned(),
        ("PENDING", None) => "open".to_owned(),
        (resolution, _) => {
            let undo = if conflict.get("undoable") == Some(&Value::Bool(true)) { "; can be undone" } else { "" };
            format!("{resolution} by {} at {}{undo}", of("resolvedBy"), of("resolvedAt"))
        }
    }
}

fn section(out: &mut String, conflict: &Value, member: &str, title: &str, line: impl Fn(&Value) -> String) {
    let entries = conflict.get(member).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !entries.is_empty() {
        out.push_str(&format!("{} {title}:\n", entries.len()));
        for entry in entries {
            out.push_str(&line(entry));
            out.push('\n');
        }
    }
}

/// What happened.
pub(crate) fn sentence(conflict: &Value) -> String {
    let of = |member: &str| cell(conflict, member);
    let by = |member: &str| text(conflict, member).map_or_else(String::new, |name| format!(" ({name})"));
    let at = |member: &str| text(conflict, member).map_or_else(String::new, |_| format!(" at {}", of(member)));
    let site = format!("Site {}{}", of("site"), by("localModifiedBy"));
    let row = format!("{} {}", of("tableName"), of("recordId"));
    let local = at("localUpdatedAt");
    let cloud = format!("{}{}", at("cloudUpdatedAt"), by("cloudModifiedBy"));
    let columns = of("columns").replace(' ', ", ");
    match of("kind").as_str() {
        "update_update" => {
            let clashed: Vec<_> = fields(conflict).iter().filter(|field| cell(field, "verdict") == "clash").collect();
            match clashed.as_slice() {
                [field] => {
                    let since =
                        text(field, "cloudSince").map_or_else(|| cloud.clone(), |_| format!(" since {}", cell(field, "cloudSince")));
                    let (name, mine, theirs) = (cell(field, "name"), side(field, "local"), side(field, "cloud"));
                    format!("{site} changed {name} of {row} to {mine}{local}; the cloud has {theirs}{since}.")
                }
                _ => format!("{site} changed {columns} of {row}{local}; the cloud changed the same{cloud}."),
            }
        }
        "update_delete" => format!("{site} changed {row}{local}; it had been deleted at the cloud{cloud}."),
        "delete_update" => format!("{site} deleted {row}{local}; the cloud had changed it, or rows refer to it{cloud}."),
        "insert_insert" => format!("{site} made {row}{local}; the cloud has another row of the same key{cloud}."),
        "unique" => {
            let other = text(conflict, "against").map_or_else(String::new, |other| format!(" ({other})"));
            let same = if columns == "-" { "values of a unique key" } else { &columns };
            format!("{site} wrote {row}{local}; another row of the cloud{other} has the same {same}.")
        }
        "foreign_key" => {
            let missing = conflict.get("missing").and_then(Value::as_array).into_iter().flatten();
            let missing: Vec<_> = missing.map(|row| format!("{} {}", cell(row, "tableName"), cell(row, "recordId"))).collect();
            match missing.as_slice() {
                [] => format!("{site} wrote {row}{local}, which referred to a row that the cloud did not have."),
                rows => format!("{site} wrote {row}{local}, which refers to what the cloud does not have: {}.", rows.join(", ")),
            }
        }
        "schema" => format!("{site} wrote {row}{local}, of which the schema no longer has a part."),
        _ => format!("{site} wrote {row}{local}; the cloud did not take it."),
    }
}

/// One line for each column, base, cloud and local side by side; clashing ones marked.
pub(crate) fn side_by_side(conflict: &Value) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["", "column", "base", "cloud", "local"]);
    let clashed: Vec<&str> = conflict.get("columns").map_or_else(Vec::new, |list| items(list).iter().filter_map(Value::as_str).collect());
    for field in fields(conflict) {
        let name = cell(field, "name");
        let (verdict, named) = (cell(field, "verdict"), clashed.contains(&name.as_str()));
        // What nobody changed tells nothing, but what stood at parking stays in sight.
        if verdict != "same" || named {
            let mark = if named || verdict == "clash" { "!" } else { "" };
            table.add_row([mark.to_owned(), name, side(field, "base"), side(field, "cloud"), side(field, "local")]);
        }
    }
    table.to_string()
}

fn fields(conflict: &Value) -> &[Value] {
    conflict.get("fields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// One side's value as it stands in a column: text bare, the rest as JSON, nothing where there is none.
fn side(field: &Value, side: &str) -> String {
    field.get(side).map_or_else(String::new, shown)
}

fn part(change: &Value, at: usize) -> String {
    change.get(at).map_or_else(String::new, shown)
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conflict() -> Value {
        json!({
            "id": "7", "kind": "update_update", "tableName": "sources", "recordId": "s1", "site": "studio-a", "columns": ["rate"],
            "resolution": "PENDING", "revision": 2, "cloudEtag": "\"4-a\"", "reason": "both changed rate", "localModifiedBy": "ann",
            "localUpdatedAt": "2026-11-20T12:00:00.123456Z", "besidesDigest": "d1",
            "fields": [
                { "name": "name", "verdict": "same", "base": "n", "cloud": "n", "local": "n" },
                { "name": "rate", "verdict": "clash", "base": 25, "cloud": 50, "local": 59.94, "cloudSince": "2026-11-18T08:00:00Z" },
            ],
            "dependentsTree": [{ "id": "8", "depth": 2, "tableName": "outputs", "recordId": "o1", "kind": "foreign_key", "reason": "no parent" }],
            "besides": [{ "tableName": "sends", "recordId": "3", "effect": "deleted" }],
            "history": [{ "at": "2026-11-18T08:00:00Z", "op": "update", "author": "bob", "site": null, "changes": { "rate": [25, 50] } }],
        })
    }

    #[test]
    fn a_sentence_says_who_changed_what_and_when() {
        assert_eq!(
            sentence(&conflict()),
            "Site studio-a (ann) changed rate of sources s1 to 59.94 at 2026-11-20T12:00:00Z; the cloud has 50 since 2026-11-18T08:00:00Z."
        );
        for kind in ["update_delete", "delete_update", "insert_insert", "unique", "foreign_key", "check", "schema", "rejected"] {
            let sentence = sentence(&json!({ "kind": kind, "tableName": "sources", "recordId": "s1", "site": "studio-a" }));
            assert!(sentence.starts_with("Site studio-a ") && sentence.contains("sources s1") && sentence.ends_with('.'), "{sentence}");
        }
    }

    #[test]
    fn a_list_says_how_far_a_decision_came() {
        let standing = |state: Value| standing_briefly(&json!({ "resolution": "PENDING", "decision": state }));
        for (decision, said) in [
            (Value::Null, "PENDING"),
            (json!({ "state": "waiting" }), "decided, not sent"),
            (json!({ "state": "sent" }), "decided, sent"),
            (json!({ "state": "refused" }), "open, decision refused"),
        ] {
            assert_eq!(standing(decision), said);
        }
        let unique = json!({ "kind": "unique", "tableName": "sources", "recordId": "s1", "site": "a", "columns": [] });
        assert!(sentence(&unique).ends_with("has the same values of a unique key."), "{}", sentence(&unique));
    }

    #[test]
    fn the_three_sides_stand_side_by_side_and_what_clashed_is_marked() {
        let table = side_by_side(&conflict());
        let row = table.lines().find(|line| line.contains("rate")).unwrap();
        assert!(["!", "25", "50", "59.94"].iter().all(|part| row.contains(part)), "{row}");
        assert!(!table.contains("name"), "what nobody changed is left out: {table}");
    }

    #[test]
    fn all_that_is_needed_to_decide_is_there() {
        let shown = whole(&conflict());
        for part in [
            "1 hang from it:\n    outputs o1 8 (foreign_key): no parent",
            "sends 3: deleted",
            "--besides d1",
            "2026-11-18T08:00:00Z update by bob: rate: 25 -> 50",
            "revision 2",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}
