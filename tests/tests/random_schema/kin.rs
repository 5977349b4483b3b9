//! Tables that everybody writes: edits that clash, rows that a check refuses, unique values, keys that change, parents that go.
//!
//! What comes of a row is not foretold. Instead every value is written once only, and as long as nobody who saw it wrote over it, it must be
//! in the cloud's rows or in a conflict.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Kin, Table};
use crate::writes::list;
use crate::{History, SITES, quoted};

/// Who wrote a value, where: the party (0 the cloud, else a site), the row's first id, the column.
pub(crate) type Writer = (usize, String, usize);

/// A statement, and what it writes.
#[derive(Default)]
struct Edit {
    sql: String,
    values: Vec<(String, usize, String)>,
    /// The old id and the new one.
    rekey: Option<(String, String)>,
}

impl History {
    pub(crate) async fn write_kin(&mut self) {
        let party = self.dice.roll(SITES.len() + 1);
        let tables = self.kin(party);
        let Some(table) = self.dice.one_of(&tables) else { return };
        let ids = self.ids(party, &table).await;
        let parents = match table.kin {
            Some(Kin::Child(no)) => self.ids(party, tables.iter().find(|table| table.no == no).unwrap()).await,
            _ => Vec::new(),
        };
        let edit = self.edit(&table, &ids, &parents);
        let before = self.seen(party).await;
        let refused = self.try_write(party, &edit.sql).await.err();
        self.tell(&format!("{}: {}{}", name(party), edit.sql, refused.as_ref().map(|why| format!(" -- {why}")).unwrap_or_default()));
        if refused.is_some() {
            return;
        }
        let after = self.seen(party).await;
        self.overwritten(&before, &after);
        if let Some((old, new)) = &edit.rekey {
            self.first_ids.insert(new.clone(), self.first_id(old));
        } else {
            // Who deletes a row has no edit of it parked any more.
            let gone: BTreeSet<String> = before.difference(&after).map(|id| self.first_id(id)).collect();
            self.alive.retain(|_, writer| writer.0 != party || !gone.contains(&writer.1));
        }
        for (id, no, value) in edit.values {
            if after.contains(&value) {
                let writer = (party, self.first_id(&id), no);
                self.alive.retain(|_, other| *other != writer);
                self.alive.insert(value, writer);
            }
        }
    }

    fn edit(&mut self, table: &Table, ids: &[String], parents: &[String]) -> Edit {
        let name = quoted(&table.name);
        let parent = self.dice.one_of(parents).map_or_else(|| "NULL".to_owned(), |id| format!("'{id}'"));
        let code = ["NULL".to_owned(), format!("'c{}'", self.dice.roll(5))][self.dice.roll(2)].clone();
        let (own, own_value) = if table.kin == Some(Kin::Parent) { ("code", code) } else { ("parent_id", parent) };
        let fit = usize::from(self.dice.roll(5) > 0);
        let Some(id) = self.dice.one_of(ids).filter(|_| self.dice.roll(5) > 0) else {
            let (id, room) = (format!("k{}", self.dice.count()), ["one", "two"][self.dice.roll(2)]);
            let values = self.rare_values(table);
            let (names, texts): (Vec<String>, Vec<String>) = list(table, &values).into_iter().unzip();
            let sql = format!(
                "INSERT INTO {name} ({}) VALUES ({})",
                [["id", "room_id", own, "fit"].map(str::to_owned).to_vec(), names].concat().join(", "),
                [vec![format!("'{id}'"), format!("'{room}'"), own_value, fit.to_string()], texts].concat().join(", ")
            );
            return Edit { sql, values: written(&id, values), rekey: None };
        };
        match self.dice.roll(10) {
            0 | 1 => Edit { sql: format!("DELETE FROM {name} WHERE id = '{id}'"), ..Edit::default() },
            2 => {
                let new = format!("k{}", self.dice.count());
                Edit { sql: format!("UPDATE {name} SET id = '{new}' WHERE id = '{id}'"), rekey: Some((id, new)), values: Vec::new() }
            }
            3 => Edit { sql: format!("UPDATE {name} SET {own} = {own_value} WHERE id = '{id}'"), ..Edit::default() },
            4 => Edit { sql: format!("UPDATE {name} SET fit = {fit} WHERE id = '{id}'"), ..Edit::default() },
            _ => {
                let values = self.rare_values(table);
                let mut sets: Vec<String> = list(table, &values).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
                sets.push(format!("fit = {fit}"));
                Edit { sql: format!("UPDATE {name} SET {} WHERE id = '{id}'", sets.join(", ")), values: written(&id, values), rekey: None }
            }
        }
    }

    fn rare_values(&mut self, table: &Table) -> BTreeMap<usize, Option<String>> {
        let mut values = BTreeMap::new();
        for column in &table.columns {
            if self.dice.roll(2) == 0 {
                values.insert(column.no, Some(self.dice.rare_value(column.ty)));
            }
        }
        values
    }

    fn kin(&self, party: usize) -> Vec<Table> {
        let tables = if party == 0 { &self.model.tables } else { &self.model.sites[party - 1].tables };
        tables.iter().filter(|table| table.kin.is_some()).cloned().collect()
    }

    /// What a row was called before its key was changed, if it was.
    fn first_id(&self, id: &str) -> String {
        self.first_ids.get(id).map_or_else(|| id.to_owned(), Clone::clone)
    }

    /// Every text in the rows that a party sees.
    pub(crate) async fn seen(&self, party: usize) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for table in self.kin(party) {
            seen.extend(self.texts(party, &format!("SELECT * FROM {}", visible(party, &table))).await);
        }
        seen
    }

    async fn ids(&self, party: usize, table: &Table) -> Vec<String> {
        self.texts(party, &format!("SELECT id FROM {} ORDER BY id", visible(party, table))).await
    }

    async fn texts(&self, party: usize, sql: &str) -> Vec<String> {
        if party > 0 {
            return texts_of_file(&self.file(party - 1), sql);
        }
        let mut texts = Vec::new();
        for message in self.client.simple_query(sql).await.unwrap() {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                texts.extend((0..row.len()).filter_map(|at| row.get(at).map(str::to_owned)));
            }
        }
        texts
    }

    async fn try_write(&self, party: usize, sql: &str) -> Result<(), String> {
        match party {
            0 => self.client.batch_execute(sql).await.map_err(|error| error.as_db_error().unwrap().to_string()),
            _ => self.file(party - 1).execute_batch(sql).map_err(|error| error.to_string()),
        }
    }

    /// Somebody who saw these values wrote over some of them.
    pub(crate) fn overwritten(&mut self, before: &BTreeSet<String>, after: &BTreeSet<String>) {
        self.alive.retain(|value, _| after.contains(value) || !before.contains(value));
    }

    /// What rows below held ones hold: they wait at their site.
    async fn waiting(&self, party: usize) -> Vec<String> {
        let tables = self.kin(party);
        let (parent, child) = (quoted(&tables[0].name), quoted(&tables[1].name));
        self.texts(party, &format!("SELECT * FROM {child} WHERE parent_id IN (SELECT id FROM {parent} WHERE rejoin_held = 1)")).await
    }

    /// Every value that nobody wrote over is in the cloud's rows or in a conflict.
    pub(crate) async fn nothing_of_kin_is_lost(&self) {
        let mut there = self.seen(0).await;
        // What was decided for a site's edit must be in the rows, but for columns
        // that are gone; and the conflict keeps what it was written over.
        let kept = "SELECT concat(cloud_data, CASE WHEN resolution <> 'LOCAL_WINS' THEN local_data ELSE (
                        SELECT jsonb_object_agg(key, value) FROM jsonb_each(local_data) WHERE NOT EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = to_regclass(quote_ident(c.table_name)) AND a.attname = key AND NOT a.attisdropped)) END)
                    FROM rejoin.sync_conflicts c";
        for text in self.texts(0, kept).await {
            there.extend(text.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned));
        }
        for party in 1..=SITES.len() {
            there.extend(self.waiting(party).await);
        }
        let lost: Vec<_> = self.alive.iter().filter(|(value, _)| !there.contains(*value)).collect();
        if !lost.is_empty() {
            let records: String = lost.iter().map(|(_, writer)| format!(", '{}'", writer.1)).collect();
            let told = "kind, resolution, resolved_by, columns, reason, base_data, cloud_data, local_data, root_id IS NOT NULL, held";
            let told = format!("SELECT concat_ws(' | ', record_id, {told}) FROM rejoin.sync_conflicts WHERE record_id IN (''{records})");
            let mut told = self.texts(0, &told).await;
            for party in 1..=SITES.len() {
                for table in self.kin(party) {
                    let rows = format!("SELECT '{}: ' || id || ' ' || rejoin_held FROM {}", name(party), quoted(&table.name));
                    told.extend(self.texts(party, &rows).await);
                }
            }
            panic!("lost, with who wrote it in which row and column: {lost:?}\n{told:#?}");
        }
    }
}

fn name(party: usize) -> &'static str {
    ["cloud", SITES[0], SITES[1]][party]
}

fn written(id: &str, values: BTreeMap<usize, Option<String>>) -> Vec<(String, usize, String)> {
    values.into_iter().filter_map(|(no, value)| Some((id.to_owned(), no, value?))).collect()
}

/// At a site without the rows that only wait there for what refers to them.
fn visible(party: usize, table: &Table) -> String {
    format!("{}{}", quoted(&table.name), if party > 0 { " WHERE rejoin_held <> 2" } else { "" })
}

fn texts_of_file(file: &rusqlite::Connection, sql: &str) -> Vec<String> {
    use rusqlite::types::ValueRef;
    let mut statement = file.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut texts = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        texts.extend((0..columns).filter_map(|at| match row.get_ref(at).unwrap() {
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }));
    }
    texts
}
