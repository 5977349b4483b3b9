//! Attaching a database that is there already: which of its tables could be the root, and the `rejoin.toml` to begin with.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::store::error::StoreError;
use crate::store::pool::Database;
use crate::store::prepare;

/// A table whose rows could be what travels to a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// `table`, or `schema.table` outside of `public`.
    pub table: String,
    /// How many other tables hang from it by references that are never NULL.
    pub reached_by: usize,
}

/// A table as far as the search for a root needs it: its name, whether it can be synced, and which tables each of its rows refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) fit: bool,
    pub(crate) parents: Vec<usize>,
}

/// The tables that could be the root, those from which most others hang first; and how many tables there are.
///
/// # Errors
/// The store failed.
pub async fn candidates(db: &Database) -> Result<(Vec<Candidate>, usize), StoreError> {
    let nodes = prepare::nodes(db).await?;
    Ok((rank(&nodes), nodes.len()))
}

/// What everything reaches by way of one and the same table (the currencies of organizations) is shared: last.
fn rank(nodes: &[Node]) -> Vec<Candidate> {
    let reached: Vec<usize> = (0..nodes.len()).map(|at| if nodes[at].fit { reach(nodes, at) } else { 0 }).collect();
    let shared = |at: usize| {
        (0..nodes.len()).any(|child| nodes[child].parents.contains(&at) && reached[child] > 1 && reached[child] + 1 == reached[at])
    };
    let mut ranked: Vec<(bool, Candidate)> = (0..nodes.len())
        .filter(|at| reached[*at] > 1)
        .map(|at| (shared(at), Candidate { table: nodes[at].name.clone(), reached_by: reached[at] - 1 }))
        .collect();
    ranked.sort_by(|left, right| {
        left.0.cmp(&right.0).then_with(|| right.1.reached_by.cmp(&left.1.reached_by)).then_with(|| left.1.table.cmp(&right.1.table))
    });
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

/// How many tables hang from this one, itself included.
fn reach(nodes: &[Node], root: usize) -> usize {
    let mut found = BTreeSet::from([root]);
    loop {
        let hangs = |node: &Node| node.fit && node.parents.iter().any(|parent| found.contains(parent));
        let next: Vec<usize> = (0..nodes.len()).filter(|at| !found.contains(at) && hangs(&nodes[*at])).collect();
        if next.is_empty() {
            return found.len();
        }
        found.extend(next);
    }
}

/// The `rejoin.toml` that a first attach writes.
#[must_use]
pub fn first_settings(root: &str) -> String {
    let mut text = "\
# What Rejoin cannot see in the database. `rejoin attach --dry-run` says what becomes of each table, and the line that would change it.

# One row of this table, and every row that hangs from it by references, travels to a site together.
"
    .to_owned();
    let _ = writeln!(text, "root = {}", toml::Value::String(root.to_owned()));
    text.push_str(
        "
# Shared tables that every site holds whole, besides those that a synced table refers to.
# global = [\"countries\"]

# Tables that never leave the cloud.
# left_out = [\"audit_log\"]
",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn node(name: &str, parents: &[usize]) -> Node {
        Node { name: name.to_owned(), fit: true, parents: parents.to_vec() }
    }

    #[test]
    fn the_table_from_which_most_hang_comes_first() {
        let mut nodes = vec![node("org", &[]), node("project", &[0]), node("task", &[1, 3]), node("person", &[0]), node("log", &[])];
        let names = |nodes: &[Node]| rank(nodes).into_iter().map(|one| (one.table, one.reached_by)).collect::<Vec<_>>();
        let pair = |name: &str, by| (name.to_owned(), by);
        assert_eq!(names(&nodes), [pair("org", 3), pair("person", 1), pair("project", 1)]);
        // Through what cannot be synced nothing hangs.
        nodes[3].fit = false;
        nodes[1].parents.clear();
        assert_eq!(names(&nodes), [pair("project", 1)]);
        let shared = [node("currency", &[]), node("org", &[0]), node("project", &[1]), node("person", &[1])];
        assert_eq!(names(&shared), [pair("org", 2), pair("currency", 3)]);
    }

    #[test]
    fn a_circle_ends() {
        let nodes = vec![node("a", &[1]), node("b", &[0])];
        assert_eq!(rank(&nodes).len(), 2);
    }

    #[test]
    fn the_first_settings_are_settings() {
        let settings = Settings::parse(&first_settings("odd \"name\"")).unwrap();
        assert_eq!(settings.root.unwrap().get_ref(), "odd \"name\"");
        assert!(settings.global.is_empty());
    }
}
