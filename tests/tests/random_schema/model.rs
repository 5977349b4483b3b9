//! What must come of it: the schema, the rows, and what each site has not sent yet. Knows nothing of Rejoin.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Row = BTreeMap<usize, Cell>;
/// A table's number and a row's id.
pub(crate) type Place = (usize, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int2,
    Int4,
    Int8,
}

impl Type {
    pub(crate) const ALL: [Self; 4] = [Self::Text, Self::Int2, Self::Int4, Self::Int8];

    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
        }
    }

    pub(crate) fn holds(self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Int2 => value.parse::<i16>().is_ok(),
            Self::Int4 => value.parse::<i32>().is_ok(),
            Self::Int8 => value.parse::<i64>().is_ok(),
        }
    }
}

/// A value that is known, or one that the cloud alone makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Known(Option<String>),
    Any,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) no: usize,
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) not_null: bool,
    /// What an insert without the column gets.
    pub(crate) default: Cell,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) no: usize,
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// Whether everybody writes it; else each row has one writer.
    pub(crate) kin: Option<Kin>,
}

/// What a table that everybody writes is to the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kin {
    Parent,
    /// Of the table of this number.
    Child(usize),
}

impl Table {
    pub(crate) fn column(&self, no: usize) -> Option<&Column> {
        self.columns.iter().find(|column| column.no == no)
    }

    /// The row that an insert of these values makes.
    fn row(&self, given: &BTreeMap<usize, Option<String>>) -> Row {
        let cell = |column: &Column| given.get(&column.no).cloned().map_or_else(|| column.default.clone(), Cell::Known);
        self.columns.iter().map(|column| (column.no, cell(column))).collect()
    }
}

/// What a site did with a row since its last sync, under the schema it had then.
#[derive(Debug, Clone)]
pub(crate) enum Unsent {
    Insert(BTreeMap<usize, Option<String>>),
    Update(BTreeMap<usize, Option<String>>),
    Delete,
}

#[derive(Debug, Default)]
pub(crate) struct Away {
    /// The tables as the site has them.
    pub(crate) tables: Vec<Table>,
    pub(crate) unsent: BTreeMap<Place, Unsent>,
    /// The rows that it owns, as of its last sync.
    pub(crate) base: BTreeMap<Place, Row>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) tables: Vec<Table>,
    pub(crate) rows: BTreeMap<Place, Row>,
    /// Who alone writes a row: 0 the cloud, else a site.
    pub(crate) owners: BTreeMap<Place, usize>,
    pub(crate) sites: [Away; 2],
    /// Rows with a conflict, which nobody writes any more, with the kinds that it may be of.
    pub(crate) parked: BTreeMap<String, &'static [&'static str]>,
    /// Rows of which more than one outcome is right; that nothing of them is lost is asked all the same.
    pub(crate) open: BTreeSet<String>,
    /// Values that must be in the cloud's row or in a conflict in the end, with their rows.
    pub(crate) written: BTreeMap<(Place, usize), String>,
}

impl Model {
    pub(crate) fn table(&self, no: usize) -> Option<&Table> {
        self.tables.iter().find(|table| table.no == no)
    }

    pub(crate) fn is_settled(&self, id: &str) -> bool {
        self.parked.contains_key(id) || self.open.contains(id)
    }

    /// Somebody inserts at the cloud.
    pub(crate) fn insert(&mut self, place: Place, given: &BTreeMap<usize, Option<String>>) {
        let row = self.table(place.0).map(|table| table.row(given)).unwrap_or_default();
        self.rows.insert(place, row);
    }

    /// A site syncs: what it has not sent lands, or parks.
    pub(crate) fn land(&mut self, site: usize) {
        let before = std::mem::take(&mut self.sites[site]);
        for (place, unsent) in before.unsent {
            let old = before.tables.iter().find(|table| table.no == place.0);
            match self.table(place.0).cloned() {
                _ if self.is_settled(&place.1) => {}
                None => self.park(&place, &["schema"], matches!(unsent, Unsent::Delete)),
                Some(table) => match unsent {
                    Unsent::Delete => self.land_delete(&place, before.base.get(&place)),
                    Unsent::Insert(values) => self.land_values(&place, &table, old, values, None),
                    Unsent::Update(values) => self.land_values(&place, &table, old, values, before.base.get(&place)),
                },
            }
        }
        // What has landed is in the rows from now on.
        let owners = &self.owners;
        let (parked, open) = (&self.parked, &self.open);
        self.written
            .retain(|(place, _), _| owners.get(place) != Some(&(site + 1)) || parked.contains_key(&place.1) || open.contains(&place.1));
        let mine = |place: &&Place| self.owners.get(*place) == Some(&(site + 1));
        let base = self.rows.keys().filter(mine).map(|place| (place.clone(), self.rows[place].clone())).collect();
        self.sites[site] = Away { tables: self.tables.clone(), unsent: BTreeMap::new(), base };
    }

    /// Somebody decided a conflict of this row, if it is one that the model speaks of; what comes of it is not foretold.
    pub(crate) fn decided(&mut self, id: &str) {
        if self.parked.remove(id).is_some() || self.open.contains(id) {
            self.open.insert(id.to_owned());
            self.written.retain(|(place, _), _| place.1 != id);
        }
    }

    /// A migration takes values away; what landed in doubt may have been among them.
    pub(crate) fn take_away(&mut self, table: usize, column: Option<usize>) {
        let open = &self.open;
        self.written.retain(|(place, no), _| place.0 != table || column.is_some_and(|column| column != *no) || !open.contains(&place.1));
    }

    fn park(&mut self, place: &Place, kinds: &'static [&'static str], doubtful: bool) {
        if doubtful {
            self.open.insert(place.1.clone());
        } else {
            self.parked.insert(place.1.clone(), kinds);
        }
    }

    /// The site deletes what it saw: a migration may have written the row meanwhile.
    fn land_delete(&mut self, place: &Place, base: Option<&Row>) {
        let now = self.rows.get(place);
        let same = base.zip(now).is_none_or(|(base, now)| {
            now.iter().all(|(no, cell)| match base.get(no) {
                Some(known) => known == cell,
                // What the cloud alone made of a new column, the one who deletes has not seen.
                None => *cell != Cell::Any,
            })
        });
        if same {
            self.rows.remove(place);
        } else {
            self.park(place, &["delete_update"], true);
        }
    }

    /// `base`: the row as the site knew it; `None` for an insert.
    fn land_values(
        &mut self,
        place: &Place,
        table: &Table,
        old: Option<&Table>,
        values: BTreeMap<usize, Option<String>>,
        base: Option<&Row>,
    ) {
        let is_insert = base.is_none();
        if !is_insert && !self.rows.contains_key(place) {
            // The table was made anew without the row.
            return self.park(place, &["update_delete"], false);
        }
        let (mut fit, mut kinds): (BTreeMap<usize, Option<String>>, &[&str]) = (BTreeMap::new(), &[]);
        for (no, value) in values {
            let known = base.and_then(|base| base.get(&no));
            if known == Some(&Cell::Known(value.clone())) {
                continue;
            }
            match table.column(no) {
                Some(column) if value.is_none() && column.not_null => return self.park(place, &["schema", "check"], false),
                Some(column) if value.as_deref().is_none_or(|value| column.ty.holds(value)) => {
                    let now = self.rows.get(place).and_then(|row| row.get(&no));
                    let was = old.and_then(|old| old.column(no));
                    if !is_insert && now != known {
                        // The migration wrote the cell, too.
                        return self.park(place, &["update_update"], true);
                    }
                    if was.is_some_and(|was| was.ty != column.ty) && known.is_some_and(|known| !fits(known, column.ty)) {
                        return self.park(place, &["update_update"], true);
                    }
                    fit.insert(no, value);
                }
                None if is_insert && value.is_none() => {}
                _ => kinds = &["schema"],
            }
        }
        if is_insert {
            let missing = table.columns.iter().any(|column| {
                let cell = fit.get(&column.no).cloned().map_or_else(|| column.default.clone(), Cell::Known);
                column.not_null && cell == Cell::Known(None)
            });
            if missing {
                return self.park(place, &["schema", "check"], !kinds.is_empty());
            }
            self.insert(place.clone(), &fit);
        } else if let Some(row) = self.rows.get_mut(place) {
            row.extend(fit.into_iter().map(|(no, value)| (no, Cell::Known(value))));
        }
        if !kinds.is_empty() {
            self.park(place, kinds, false);
        }
    }
}

fn fits(cell: &Cell, ty: Type) -> bool {
    match cell {
        Cell::Known(value) => value.as_deref().is_none_or(|value| ty.holds(value)),
        Cell::Any => true,
    }
}
