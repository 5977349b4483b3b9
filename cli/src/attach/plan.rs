//! The plan as a person reads it: counts first, then the tables in groups, a long list as short as it can be said.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cloud_server::store::prepare::{Plan, PlanEntry, Travels};
use sync_core::catalog::Travel;

/// Where a line of names is broken.
const WIDTH: usize = 110;

/// The whole plan. `piped`: a line of names is not broken.
pub(super) fn text(plan: &Plan, place: &str, piped: bool) -> String {
    let width = if piped { usize::MAX } else { WIDTH };
    let of = |wanted: fn(&Travels) -> bool| plan.tables.iter().filter(|entry| wanted(&entry.travels)).collect::<Vec<_>>();
    let travel = of(|travels| matches!(travels, Travels::Root | Travels::WithRoot { .. }));
    let (global, left) = (of(|travels| *travels == Travels::Global), of(|travels| *travels == Travels::LeftOut));
    let columns = plan.tables.iter().map(|entry| entry.left_out.len()).sum::<usize>();
    let mut text = format!(
        "{place}: {} tables; {} travel with the root, {} are global, {} are left out; {columns} columns stay at the cloud\n",
        plan.tables.len(),
        travel.len(),
        global.len(),
        left.len()
    );
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    by_reason(&mut text, "Travel with the root", &travel, width, names);
    if !global.is_empty() {
        let _ = writeln!(text, "\nGlobal: every site holds all of them ({})", global.len());
        names(&mut text, &global, width);
    }
    by_reason(&mut text, "Left out; beside each, the line of rejoin.toml that would include it", &left, width, lines);
    nowhere(&mut text, plan);
    mapped(&mut text, plan, width);
    secrets(&mut text, plan, columns);
    notes(&mut text, plan);
    delete_rules(&mut text, plan);
    text
}

/// Tables of which the same is said, under one heading.
fn by_reason(text: &mut String, heading: &str, entries: &[&PlanEntry], width: usize, say: fn(&mut String, &[&PlanEntry], usize)) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{heading} ({})", entries.len());
    let mut groups: BTreeMap<&str, Vec<&PlanEntry>> = BTreeMap::new();
    for entry in entries {
        groups.entry(&entry.reason).or_default().push(entry);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(reason, entries)| (entries[0].travels != Travels::Root, *reason));
    for (reason, entries) in groups {
        let _ = writeln!(text, "  {reason}:");
        say(text, &entries, width);
    }
}

/// Names, as many as go into a line.
fn names(text: &mut String, entries: &[&PlanEntry], width: usize) {
    let mut line = String::new();
    for (at, entry) in entries.iter().enumerate() {
        let way = match entry.direction {
            Travel::Both => "",
            Travel::Up => " (only to the cloud)",
            Travel::Down => " (only from the cloud)",
        };
        let comma = if at + 1 == entries.len() { "" } else { "," };
        let word = format!(" {}{way}{comma}", entry.table);
        if line.len().saturating_add(word.len()) > width && !line.is_empty() {
            let _ = writeln!(text, "   {line}");
            line.clear();
        }
        line.push_str(&word);
    }
    let _ = writeln!(text, "   {line}");
}

/// A line for each, with what would include it.
fn lines(text: &mut String, entries: &[&PlanEntry], width: usize) {
    if entries.iter().all(|entry| entry.otherwise.is_none()) {
        return names(text, entries, width);
    }
    let longest = entries.iter().map(|entry| entry.table.len()).max().unwrap_or(0);
    for entry in entries {
        let otherwise = entry.otherwise.as_deref().unwrap_or_default();
        let _ = writeln!(text, "    {:longest$}  {}", entry.table, one_line(otherwise));
    }
}

/// Rows that stay at the cloud though their table travels.
fn nowhere(text: &mut String, plan: &Plan) {
    let said = |entry: &&PlanEntry| entry.nowhere.is_some_and(|nowhere| nowhere.rows != Some(0));
    let entries: Vec<&PlanEntry> = plan.tables.iter().filter(said).collect();
    if entries.is_empty() {
        return;
    }
    text.push_str("\nRows that name no parent and stay at the cloud\n");
    for entry in entries {
        let counted = entry.nowhere.and_then(|nowhere| nowhere.rows.zip(nowhere.of));
        let count = counted.map_or_else(|| "not counted: it takes too long".to_owned(), |(rows, of)| format!("{rows} of {of}"));
        let _ = writeln!(text, "  {}: {count}", entry.table);
    }
}

/// Which tables keep versions, and marks of deletes, in columns of their own.
fn mapped(text: &mut String, plan: &Plan, width: usize) {
    let mut groups: BTreeMap<String, Vec<&PlanEntry>> = BTreeMap::new();
    for entry in plan.tables.iter().filter(|entry| !entry.mapped.is_empty()) {
        let said: Vec<String> = entry.mapped.iter().map(|(what, column)| format!("{} in {column}", said_of(what))).collect();
        groups.entry(said.join(", ")).or_default().push(entry);
    }
    if groups.is_empty() {
        return;
    }
    text.push_str("\nKept in columns of their own\n");
    for (said, entries) in groups {
        let _ = writeln!(text, "  {said}:");
        names(text, &entries, width);
    }
}

fn said_of(what: &str) -> &str {
    match what {
        "softDelete" => "deletes by the API (soft_delete)",
        "updatedAt" => "updated_at",
        "lastModifiedBy" => "last_modified_by",
        "syncedAt" => "synced_at",
        other => other,
    }
}

fn secrets(text: &mut String, plan: &Plan, count: usize) {
    if count == 0 {
        return;
    }
    let _ = writeln!(text, "\nColumns that stay at the cloud; beside each, the lines that would include it ({count})");
    for entry in &plan.tables {
        for column in &entry.left_out {
            let _ = writeln!(text, "  {}.{} ({})  {}", entry.table, column.column, column.reason, one_line(&column.otherwise));
        }
    }
}

fn notes(text: &mut String, plan: &Plan) {
    let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in &plan.tables {
        for note in &entry.notes {
            said.entry(note).or_default().push(&entry.table);
        }
    }
    if said.is_empty() {
        return;
    }
    text.push_str("\nNotes\n");
    for (note, tables) in said {
        let _ = writeln!(text, "  {}: {}", one_line(note), tables.join(", "));
    }
}

/// What the delete rules of offered references mean: the database has none that could be taken over.
fn delete_rules(text: &mut String, plan: &Plan) {
    if plan.tables.iter().any(|entry| !entry.kinds.is_empty()) {
        text.push_str(
            "\non_delete of such a reference: once it is declared, \"restrict\" (also if nothing is said) refuses to delete a row that others refer to,\n  \
             \"cascade\" deletes those too, \"set_null\" clears the reference in them; until it is declared they stay, and refer to nothing\n",
        );
    }
}

/// Lines of TOML beside each other: a table's heading, and what stands under it.
fn one_line(lines: &str) -> String {
    lines.replace('\n', "  ")
}

#[cfg(test)]
mod tests {
    use cloud_server::store::prepare::LeftOutColumn;

    use super::*;

    fn entry(table: &str, travels: Travels, reason: &str, otherwise: Option<&str>) -> PlanEntry {
        PlanEntry {
            table: table.to_owned(),
            synced: travels != Travels::LeftOut,
            travels,
            direction: Travel::Both,
            reason: reason.to_owned(),
            otherwise: otherwise.map(str::to_owned),
            left_out: Vec::new(),
            notes: Vec::new(),
            kinds: Vec::new(),
            nowhere: None,
            mapped: BTreeMap::new(),
        }
    }

    #[test]
    fn three_hundred_tables_are_a_page_or_two_with_the_counts_first() {
        let through = || Travels::WithRoot { through: vec!["org_id".to_owned()] };
        let mut tables: Vec<PlanEntry> =
            (0..280).map(|no| entry(&format!("table_{no:03}"), through(), "found through org_id", None)).collect();
        tables.push(entry("orgs", Travels::Root, "the root: each row is a scope", None));
        tables.push(entry("jobs", Travels::LeftOut, "reaches no root", Some("global = [\"jobs\"]")));
        let secret = "[tables.table_000]\nwith = [\"token\"]".to_owned();
        tables[0].left_out =
            vec![LeftOutColumn { column: "token".to_owned(), reason: "looks like a secret".to_owned(), otherwise: secret }];
        tables[1].mapped = [("softDelete", "is_deleted".to_owned()), ("version", "version".to_owned())].into();
        let text = text(
            &Plan { tables, warnings: vec!["rejoin.toml, line 4: soft_delete: no table has a column deleted".to_owned()] },
            "here",
            false,
        );
        assert!(text.contains("  deletes by the API (soft_delete) in is_deleted, version in version:\n    table_001\n"), "{text}");
        assert!(text.contains("warning: rejoin.toml, line 4"), "{text}");
        assert!(
            text.lines().next().unwrap().contains("282 tables; 281 travel with the root, 0 are global, 1 are left out; 1 columns"),
            "{text}"
        );
        assert!(text.lines().count() < 50 && text.lines().all(|line| line.len() < 140), "{text}");
        assert!(text.contains("    jobs  global = [\"jobs\"]\n"), "{text}");
        assert!(text.contains("table_000.token (looks like a secret)  [tables.table_000]  with = [\"token\"]"), "{text}");
        assert!(text.find("the root:").unwrap() < text.find("found through").unwrap(), "{text}");
    }
}
