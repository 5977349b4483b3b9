//! Edits of rows that one party alone writes: what must come of each is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Cell, Column, Place, Table, Unsent};
use crate::{History, SITES, quoted};

impl History {
    pub(crate) fn values(&mut self, columns: &[Column], all: bool) -> BTreeMap<usize, Option<String>> {
        let mut values = BTreeMap::new();
        for column in columns {
            match self.dice.roll(4) {
                0 if !column.not_null && all => drop(values.insert(column.no, None)),
                1 if !column.not_null || column.default != Cell::Known(None) => {}
                2 if !all => {}
                _ => drop(values.insert(column.no, Some(self.dice.value(column.ty)))),
            }
        }
        values
    }

    pub(crate) fn new_id(&mut self) -> String {
        format!("r{:x}{}", self.dice.roll(16), self.dice.count())
    }

    pub(crate) async fn write_at_cloud(&mut self) {
        let tables: Vec<Table> = self.model.tables.iter().filter(|table| table.kin.is_none()).cloned().collect();
        let table = self.dice.one_of(&tables).unwrap();
        let mine: Vec<Place> =
            self.model.rows.keys().filter(|place| place.0 == table.no && self.model.owners.get(*place) == Some(&0)).cloned().collect();
        let place = self.dice.one_of(&mine);
        let sql = match (self.dice.roll(4), place) {
            (0, Some(place)) => {
                self.model.rows.remove(&place);
                delete_sql(&table.name, &place.1)
            }
            (1 | 2, Some(place)) => {
                let values = self.values(&table.columns, false);
                let sql = update_sql(&table, &place.1, &values);
                let row = self.model.rows.get_mut(&place).unwrap();
                row.extend(values.into_iter().map(|(no, value)| (no, Cell::Known(value))));
                sql
            }
            _ => {
                let (id, values) = (self.new_id(), self.values(&table.columns, true));
                let sql = insert_sql(&table, &id, ["one", "two"][self.dice.roll(2)], &values);
                let place = (table.no, id);
                self.model.owners.insert(place.clone(), 0);
                self.model.insert(place, &values);
                sql
            }
        };
        if !sql.is_empty() {
            self.tell(&format!("cloud: {sql}"));
            self.world.psql(&sql).await;
        }
    }

    /// By its own names: it knows nothing of what happened to the schema.
    pub(crate) fn write_at_site(&mut self) {
        let site = self.dice.roll(SITES.len());
        let away = &self.model.sites[site];
        let tables: Vec<Table> = away.tables.iter().filter(|table| table.kin.is_none()).cloned().collect();
        let Some(table) = self.dice.one_of(&tables) else { return };
        let there = away.base.keys().chain(away.unsent.keys()).filter(|place| place.0 == table.no);
        let living = |place: &&Place| !matches!(away.unsent.get(*place), Some(Unsent::Delete)) && !self.model.is_settled(&place.1);
        let there: Vec<Place> = there.filter(living).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let place = self.dice.one_of(&there);
        let sql = match (self.dice.roll(6), place) {
            (0, Some(place)) => {
                self.model.written.retain(|(of, _), _| *of != place);
                let unsent = &mut self.model.sites[site].unsent;
                if matches!(unsent.insert(place.clone(), Unsent::Delete), Some(Unsent::Insert(_))) {
                    unsent.remove(&place);
                }
                delete_sql(&table.name, &place.1)
            }
            (1..=3, Some(place)) => {
                let values = self.values(&table.columns, false);
                self.note_written(&place, &values);
                let sql = update_sql(&table, &place.1, &values);
                let unsent = self.model.sites[site].unsent.entry(place).or_insert_with(|| Unsent::Update(BTreeMap::new()));
                if let Unsent::Insert(all) | Unsent::Update(all) = unsent {
                    all.extend(values);
                }
                sql
            }
            _ => {
                let (id, mut values) = (self.new_id(), self.values(&table.columns, true));
                let sql = insert_sql(&table, &id, ["one", "two"][self.dice.roll(2)], &values);
                let place = (table.no, id);
                self.note_written(&place, &values);
                self.model.owners.insert(place.clone(), site + 1);
                // A constant default is made at the site.
                for column in &table.columns {
                    if let Cell::Known(default) = &column.default {
                        values.entry(column.no).or_insert_with(|| default.clone());
                    }
                }
                self.model.sites[site].unsent.insert(place, Unsent::Insert(values));
                sql
            }
        };
        if !sql.is_empty() {
            self.tell(&format!("{}: {sql}", SITES[site]));
            self.file(site).execute_batch(&sql).unwrap();
        }
    }

    fn note_written(&mut self, place: &Place, values: &BTreeMap<usize, Option<String>>) {
        for (no, value) in values {
            let at = (place.clone(), *no);
            match value {
                Some(value) => drop(self.model.written.insert(at, value.clone())),
                None => drop(self.model.written.remove(&at)),
            }
        }
    }
}

pub(crate) fn list(table: &Table, values: &BTreeMap<usize, Option<String>>) -> Vec<(String, String)> {
    let named = table.columns.iter().filter_map(|column| Some((quoted(&column.name), values.get(&column.no)?)));
    named.map(|(name, value)| (name, value.as_ref().map_or_else(|| "NULL".to_owned(), |value| format!("'{value}'")))).collect()
}

fn insert_sql(table: &Table, id: &str, room: &str, values: &BTreeMap<usize, Option<String>>) -> String {
    let (names, values): (Vec<String>, Vec<String>) = list(table, values).into_iter().unzip();
    let names: String = names.iter().map(|name| format!(", {name}")).collect();
    let values: String = values.iter().map(|value| format!(", {value}")).collect();
    format!("INSERT INTO {} (id, room_id{names}) VALUES ('{id}', '{room}'{values})", quoted(&table.name))
}

fn update_sql(table: &Table, id: &str, values: &BTreeMap<usize, Option<String>>) -> String {
    let sets: Vec<String> = list(table, values).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if sets.is_empty() { String::new() } else { format!("UPDATE {} SET {} WHERE id = '{id}'", quoted(&table.name), sets.join(", ")) }
}

fn delete_sql(table: &str, id: &str) -> String {
    format!("DELETE FROM {} WHERE id = '{id}'", quoted(table))
}
