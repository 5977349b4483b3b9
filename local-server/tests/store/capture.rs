//! What the triggers must keep true, whatever SQL a program runs: a reference model and random programs.

use std::collections::BTreeMap;

use local_server::store::settle::trade_keys;
use proptest::prelude::*;
use rusqlite::Connection;

use crate::fixture::capture_catalog;
use crate::shell::{Program, Shell, Site, step};

/// Three confirmed rows and one child each for the first two.
pub(crate) const CONFIRMED: &str = "
    INSERT INTO t (id, a, b, u, version, updated_at, last_modified_by, synced_at, rejoin_scope, rejoin_tick) VALUES
        ('k1', 1, 'one', 'u1', 5, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 7),
        ('k2', 2, 'two', 'u2', 6, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 8),
        ('k3', 3, 'three', NULL, 7, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 9);
    INSERT INTO c (id, t, x, rejoin_version, rejoin_synced_at, rejoin_scope, rejoin_tick) VALUES
        ('c1', 'k1', 1, 3, '2026-01-01T00:00:00.000000Z', 'global', 7),
        ('c2', 'k2', 2, 3, '2026-01-01T00:00:00.000000Z', 'global', 7);";

/// The values of a row but its key.
type Content = Vec<String>;

/// A live row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) rejoin_row: i64,
    pub(crate) content: Content,
    pub(crate) version: i64,
    pub(crate) synced: bool,
    pub(crate) author: String,
}

/// A base row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) rejoin_row: i64,
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) content: Content,
    pub(crate) gone_version: Option<i64>,
}

/// One table as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) live: BTreeMap<String, Live>,
    pub(crate) base: Vec<Base>,
}

impl State {
    pub(crate) fn read(connection: &Connection, table: &str) -> Self {
        let catalog = capture_catalog();
        let table = catalog.by_name(table).unwrap();
        let content = |row: &rusqlite::Row<'_>, first: usize| -> Content {
            (0..table.columns.len() - 1).map(|at| format!("{:?}", row.get_ref(first + at).unwrap())).collect()
        };
        let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        // Keys of any type, by their text.
        let names = format!("CAST(id AS TEXT), {}", names[1..].join(", "));
        let width = table.columns.len();
        let stamps = &table.stamps;
        let sql = format!(
            "SELECT {names}, rejoin_row, {}, {} IS NOT NULL, {} FROM {}",
            stamps.version, stamps.synced_at, stamps.last_modified_by, table.name
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let live = statement.query_map([], |row| {
            let live = Live {
                rejoin_row: row.get(width)?,
                content: content(row, 1),
                version: row.get(width + 1)?,
                synced: row.get(width + 2)?,
                author: row.get::<_, Option<String>>(width + 3)?.unwrap_or_default(),
            };
            Ok((row.get::<_, String>(0)?, live))
        });
        let live = live.unwrap().collect::<Result<_, _>>().unwrap();
        let sql = format!("SELECT {names}, rejoin_row, rejoin_kind, rejoin_gone_version FROM rejoin_base_{} ORDER BY rejoin_row", table.no);
        let mut statement = connection.prepare(&sql).unwrap();
        let base = statement.query_map([], |row| {
            Ok(Base {
                rejoin_row: row.get(width)?,
                kind: row.get(width + 1)?,
                key: row.get(0)?,
                content: content(row, 1),
                gone_version: row.get(width + 2)?,
            })
        });
        let base = base.unwrap().collect::<Result<_, _>>().unwrap();
        Self { live, base }
    }

    fn base_of(&self, live: &Live) -> Option<&Base> {
        self.base.iter().find(|base| base.rejoin_row == live.rejoin_row)
    }

    fn is_live(&self, base: &Base) -> bool {
        self.live.values().any(|live| live.rejoin_row == base.rejoin_row)
    }

    /// What a push would carry: one word, the key (for a rekey both), and for an update the positions of the changed columns.
    pub(crate) fn diff(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (key, live) in &self.live {
            match self.base_of(live) {
                None => {}
                Some(base) if base.kind == "insert" => all.push(format!("insert {key}")),
                Some(base) if base.key != *key => all.push(format!("rekey {} {key}", base.key)),
                Some(base) => {
                    let changed = base.content.iter().zip(&live.content).enumerate().filter(|(_, (old, new))| old != new);
                    let changed: Vec<_> = changed.map(|(at, _)| ["a", "b", "u"][at]).collect();
                    if !changed.is_empty() {
                        all.push(format!("update {key} {}", changed.join(",")));
                    }
                }
            }
        }
        let dead = self.base.iter().filter(|base| base.kind == "change" && !self.is_live(base));
        all.extend(dead.map(|base| format!("delete {}", base.key)));
        all.sort();
        all
    }
}

/// Checks what must hold between the confirmed state and any later one.
///
/// The confirmed state can be rebuilt from live and base rows, and nothing else is claimed to have been confirmed.
pub(crate) fn check_captured(confirmed: &State, now: &State) -> Result<(), String> {
    for (key, was) in &confirmed.live {
        let images: Vec<_> = now.base.iter().filter(|base| base.kind == "change" && base.key == *key).collect();
        match images.as_slice() {
            [image] if image.content == was.content => {}
            [] => {
                let clean = now.live.get(key).filter(|live| now.base_of(live).is_none());
                if clean.is_none_or(|live| live.content != was.content) {
                    return Err(format!("{key} changed and nobody knows what it was"));
                }
            }
            other => return Err(format!("{key} has the images {other:?}, it was {was:?}")),
        }
    }
    for base in now.base.iter().filter(|base| base.kind == "change") {
        if !confirmed.live.contains_key(&base.key) {
            return Err(format!("an image of {} which was never confirmed", base.key));
        }
    }
    for (key, live) in &now.live {
        match now.base_of(live) {
            None if confirmed.live.get(key).is_none_or(|was| was.content != live.content) => {
                return Err(format!("{key} is not known to be dirty"));
            }
            Some(base) if base.kind == "gone" => return Err(format!("{key} hangs from a row of kind gone")),
            Some(base) if base.content != live.content && live.synced => return Err(format!("{key} is dirty and still says synced")),
            _ => {}
        }
        if live.author.starts_with("site:") && live.author != "site:venue" {
            return Err(format!("{key} is signed by {}", live.author));
        }
    }
    Ok(())
}

/// Versions of a key only grow, over delete and insert too.
#[derive(Default)]
pub(crate) struct Versions(BTreeMap<String, (i64, Content)>);

impl Versions {
    pub(crate) fn see(&mut self, now: &State) -> Result<(), String> {
        for (key, live) in &now.live {
            let seen = (live.version, live.content.clone());
            match self.0.insert(key.clone(), seen.clone()) {
                Some((version, content)) if live.version < version || (live.version == version && content != live.content) => {
                    return Err(format!("{key} was {version} {content:?} and is {seen:?}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// One random statement.
fn statement() -> impl Strategy<Value = String> {
    let clause = || prop::sample::select(vec!["", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ABORT"]);
    let key = || prop::sample::select(vec!["'k1'", "'k2'", "'k3'", "'k4'"]);
    let unique = || prop::sample::select(vec!["'u1'", "'u2'", "'u3'", "NULL"]);
    prop_oneof![
        4 => (clause(), key(), 0..4, unique()).prop_map(|(or, key, a, u)| format!("INSERT{or} INTO t (id, a, u) VALUES ({key}, {a}, {u})")),
        4 => (clause(), key(), 0..4).prop_map(|(or, key, a)| format!("UPDATE{or} t SET a = {a} WHERE id = {key}")),
        2 => (clause(), key(), unique()).prop_map(|(or, key, u)| format!("UPDATE{or} t SET b = 'x', u = {u} WHERE id = {key}")),
        2 => (clause(), key(), key()).prop_map(|(or, key, to)| format!("UPDATE{or} t SET id = {to} WHERE id = {key}")),
        3 => key().prop_map(|key| format!("DELETE FROM t WHERE id = {key}")),
        1 => Just("DELETE FROM t".to_owned()),
        2 => (key(), 0..4, unique()).prop_map(|(key, a, u)| format!(
            "INSERT INTO t (id, a, u) VALUES ({key}, {a}, {u}) ON CONFLICT (id) DO UPDATE SET a = excluded.a + 10, u = excluded.u"
        )),
        1 => (key(), unique()).prop_map(|(key, u)| format!(
            "INSERT INTO t (id, u) VALUES ({key}, {u}) ON CONFLICT (u) WHERE rejoin_held = 0 DO UPDATE SET b = 'upserted'"
        )),
        1 => (clause(), key(), key()).prop_map(|(or, key, from)| format!(
            "INSERT{or} INTO t (id, a, b, u, version, synced_at, rejoin_tick) SELECT {key}, a, b, u, version, synced_at, rejoin_tick FROM t WHERE id = {from}"
        )),
        1 => (clause(), key()).prop_map(|(or, key)| format!("UPDATE{or} t SET a = a + 1, version = version + 1 WHERE id = {key}")),
        1 => (clause(), key()).prop_map(|(or, key)| format!("UPDATE{or} t SET b = 'stale', version = 1 WHERE id = {key}")),
    ]
}

fn hold(shell: Shell, steps: &[String]) -> Result<(), TestCaseError> {
    let site = Site::with(CONFIRMED);
    let connection = site.open();
    let confirmed = State::read(&connection, "t");
    let children = State::read(&connection, "c");
    let mut versions = Versions::default();
    versions.see(&confirmed).unwrap();
    for step in steps {
        // A constraint may refuse it; what was written before that stays captured.
        let result = shell.run(&site.file, step);
        let now = State::read(&connection, "t");
        let held = check_captured(&confirmed, &now)
            .and_then(|()| check_captured(&children, &State::read(&connection, "c")))
            .and_then(|()| versions.see(&now));
        prop_assert!(held.is_ok(), "{}\nafter {step}: {result:?}\n{now:#?}", held.unwrap_err());
    }
    settle(&connection, &confirmed)
}

/// What a push would carry says no two things of one key, once the base images stand where they belong.
pub(crate) fn settle(connection: &Connection, confirmed: &State) -> Result<(), TestCaseError> {
    let catalog = capture_catalog();
    let before = State::read(connection, "t");
    trade_keys(connection, &catalog.tables[0]).unwrap();
    let now = State::read(connection, "t");
    prop_assert_eq!(&now.live, &before.live);
    let held = check_captured(confirmed, &now);
    prop_assert!(held.is_ok(), "{}\nbefore {before:#?}\nafter {now:#?}", held.unwrap_err());
    let mut said: Vec<String> = Vec::new();
    for change in now.diff() {
        let mut words = change.split(' ').map(str::to_owned);
        let verb = words.next().unwrap();
        // The old key of a rekey is free for somebody else.
        said.extend(if verb == "rekey" { words.nth(1) } else { words.next() });
    }
    let all = said.len();
    said.sort();
    said.dedup();
    prop_assert_eq!(said.len(), all, "{:?}\n{:#?}", now.diff(), now);
    Ok(())
}

fn pragmas() -> impl Strategy<Value = (bool, bool)> {
    (any::<bool>(), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_program_does_the_confirmed_state_is_known(steps in prop::collection::vec(step(statement()), 1..12), (recursive_triggers, foreign_keys) in pragmas()) {
        hold(Shell { program: Program::Linked, recursive_triggers, foreign_keys }, &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn whatever_sqlite3_does_the_confirmed_state_is_known(steps in prop::collection::vec(step(statement()), 1..8), (recursive_triggers, foreign_keys) in pragmas()) {
        hold(Shell { program: Program::Sqlite3, recursive_triggers, foreign_keys }, &steps)?;
    }
}
