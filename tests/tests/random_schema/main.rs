//! Migrations made up from a seed, mixed with plain SQL on both sides: while sites are away columns and tables come, go, change their names and
//! types, and are made anew. A model says what must come of it: every row as it must be, the conflicts that there must be, and nothing lost.
//!
//! Each row is written by one party only, so that the one thing under trial is the schema. `REJOIN_SEED` tries one seed and tells what
//! happens, `REJOIN_SEEDS` so many.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "a test says what went wrong by panicking")]

mod model;
mod moves;

use std::collections::{BTreeMap, BTreeSet};

use rejoin_tests::World;
use serde_json::{Value, json};

use model::{Cell, Column, Model, Place, Type, Unsent};

const STEPS: usize = 40;
const SITES: [&str; 2] = ["a", "b"];

/// SplitMix64.
pub(crate) struct Dice {
    state: u64,
    counted: std::cell::Cell<usize>,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self { state: seed, counted: std::cell::Cell::new(0) }
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    /// A number that was never given before.
    pub(crate) fn count(&self) -> usize {
        self.counted.set(self.counted.get() + 1);
        self.counted.get()
    }

    /// A name that was never given before; some need quotes.
    pub(crate) fn name(&mut self, of: &str) -> String {
        match self.roll(3) {
            0 => format!("{of} {}", self.count()),
            1 => format!("{}{}", of.to_uppercase(), self.count()),
            _ => format!("{of}{}", self.count()),
        }
    }

    /// A value that was never given before; some fit other types, too.
    fn value(&mut self, ty: Type) -> String {
        let number = self.count();
        match (ty, self.roll(2)) {
            (Type::Text, 0) => format!("w{number}"),
            (Type::Int4, 0) => format!("{}", 100_000 + number),
            (Type::Int8, 0) => format!("{}", 10_000_000_000 + number),
            _ => number.to_string(),
        }
    }
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

struct History {
    world: World,
    model: Model,
    dice: Dice,
    loud: bool,
}

impl History {
    async fn begin(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut model = Model::default();
        let tables = [moves::create(&mut dice, &mut model), moves::create(&mut dice, &mut model)].join("; ");
        let sql = format!("CREATE TABLE room (id text PRIMARY KEY); {tables}; INSERT INTO room VALUES ('one'), ('two')");
        let world = World::of(&sql, "root = \"room\"\n", &SITES).await;
        (0..SITES.len()).for_each(|site| model.land(site));
        Self { world, model, dice, loud: std::env::var("REJOIN_SEED").is_ok() }
    }

    fn tell(&self, what: &str) {
        if self.loud {
            println!("{what}");
        }
    }

    async fn step(&mut self) {
        match self.dice.roll(10) {
            0 | 1 => self.migrate().await,
            2 | 3 => self.write_at_cloud().await,
            4..=7 => self.write_at_site(),
            _ => {
                let site = self.dice.roll(SITES.len());
                self.sync(site).await;
            }
        }
    }

    async fn migrate(&mut self) {
        for _ in 0..=self.dice.roll(2) {
            let Some(sql) = moves::migration(&mut self.dice, &mut self.model) else { continue };
            self.tell(&format!("cloud: {sql}"));
            self.world.psql(&format!("BEGIN; {sql}; COMMIT")).await;
            self.world.cloud.post("/api/rejoin/catalog/refresh", json!({})).await.ok();
        }
    }

    async fn sync(&mut self, site: usize) {
        self.tell(&format!("{}: sync", SITES[site]));
        // The first run may find the new catalog when it has sent everything; the second one leaves nothing behind.
        self.world.sync(SITES[site]).await;
        self.world.sync(SITES[site]).await;
        self.model.land(site);
    }

    fn values(&mut self, columns: &[Column], all: bool) -> BTreeMap<usize, Option<String>> {
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

    fn new_id(&mut self) -> String {
        format!("r{:x}{}", self.dice.roll(16), self.dice.count())
    }

    async fn write_at_cloud(&mut self) {
        let table = self.model.tables[self.dice.roll(self.model.tables.len())].clone();
        let mine: Vec<Place> =
            self.model.rows.keys().filter(|place| place.0 == table.no && self.model.owners.get(*place) == Some(&0)).cloned().collect();
        let place = if mine.is_empty() { None } else { Some(mine[self.dice.roll(mine.len())].clone()) };
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
    fn write_at_site(&mut self) {
        let site = self.dice.roll(SITES.len());
        let away = &self.model.sites[site];
        if away.tables.is_empty() {
            return;
        }
        let table = away.tables[self.dice.roll(away.tables.len())].clone();
        let there = away.base.keys().chain(away.unsent.keys()).filter(|place| place.0 == table.no);
        let living = |place: &&Place| !matches!(away.unsent.get(*place), Some(Unsent::Delete)) && !self.model.is_settled(&place.1);
        let there: Vec<Place> = there.filter(living).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let place = if there.is_empty() { None } else { Some(there[self.dice.roll(there.len())].clone()) };
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
            let file = rusqlite::Connection::open(self.world.site(SITES[site]).database()).unwrap();
            file.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
            file.execute_batch(&sql).unwrap();
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

    async fn end(mut self) {
        for site in [0, 1, 0, 1] {
            self.sync(site).await;
        }
        let conflicts = self.world.pending_conflicts().await;
        let at_cloud = self.rows_at_cloud().await;
        self.nothing_is_lost(&conflicts, &at_cloud);
        self.as_the_model_says(&conflicts, &at_cloud);
        // What is decided for the cloud is gone from the sites too, and nothing stays hidden.
        for _ in 0..3 {
            for conflict in self.world.pending_conflicts().await {
                self.world.resolve(&conflict, "CLOUD_WINS", &Value::Null).await;
            }
            self.world.converge().await;
        }
        assert_eq!(self.world.pending_conflicts().await.len(), 0);
        for site in SITES {
            let file = rusqlite::Connection::open(self.world.site(site).database()).unwrap();
            let hidden: i64 = file.query_row("SELECT count(*) FROM rejoin_hidden", [], |row| row.get(0)).unwrap();
            assert_eq!(hidden, 0, "{site} still hides what was dropped");
        }
    }

    async fn rows_at_cloud(&self) -> BTreeMap<Place, BTreeMap<usize, Option<String>>> {
        let client = self.world.postgres().await;
        let mut rows = BTreeMap::new();
        for table in &self.model.tables {
            let columns: String = table.columns.iter().map(|column| format!(", {}::text", quoted(&column.name))).collect();
            for row in client.query(&format!("SELECT id{columns} FROM {}", quoted(&table.name)), &[]).await.unwrap() {
                let cells = table.columns.iter().enumerate().map(|(at, column)| (column.no, row.get(at + 1)));
                rows.insert((table.no, row.get(0)), cells.collect());
            }
        }
        rows
    }

    fn nothing_is_lost(&self, conflicts: &[Value], at_cloud: &BTreeMap<Place, BTreeMap<usize, Option<String>>>) {
        for ((place, no), value) in &self.model.written {
            let is_live = at_cloud.get(place).and_then(|row| row.get(no)).is_some_and(|cell| cell.as_ref() == Some(value));
            let told = |conflict: &&Value| {
                let holds = |json: &Value| json.as_str().map_or_else(|| json.to_string(), str::to_owned) == *value;
                conflict["recordId"] == place.1.as_str() && conflict["localData"].as_object().is_some_and(|data| data.values().any(holds))
            };
            assert!(is_live || conflicts.iter().any(|conflict| told(&conflict)), "{value} of {place:?} is lost: {conflicts:#?}");
        }
    }

    fn as_the_model_says(&self, conflicts: &[Value], at_cloud: &BTreeMap<Place, BTreeMap<usize, Option<String>>>) {
        let id = |conflict: &Value| conflict["recordId"].as_str().unwrap().to_owned();
        let parked: BTreeSet<String> = conflicts.iter().map(id).filter(|id| !self.model.open.contains(id)).collect();
        assert_eq!(parked, self.model.parked.keys().cloned().collect(), "{conflicts:#?}");
        for conflict in conflicts {
            if let Some(kinds) = self.model.parked.get(&id(conflict)) {
                assert!(kinds.contains(&conflict["kind"].as_str().unwrap()), "{kinds:?}: {conflict:#}");
            }
        }
        let told = |id: &str| !self.model.open.contains(id);
        let expected: Vec<&Place> = self.model.rows.keys().filter(|place| told(&place.1)).collect();
        let found: Vec<&Place> = at_cloud.keys().filter(|place| told(&place.1)).collect();
        assert_eq!(found, expected);
        for place in expected {
            for (no, cell) in &self.model.rows[place] {
                if let Cell::Known(value) = cell {
                    assert_eq!(&at_cloud[place][no], value, "{place:?}, column {no}");
                }
            }
        }
    }
}

fn list(table: &model::Table, values: &BTreeMap<usize, Option<String>>) -> Vec<(String, String)> {
    let named = table.columns.iter().filter_map(|column| Some((quoted(&column.name), values.get(&column.no)?)));
    named.map(|(name, value)| (name, value.as_ref().map_or_else(|| "NULL".to_owned(), |value| format!("'{value}'")))).collect()
}

fn insert_sql(table: &model::Table, id: &str, room: &str, values: &BTreeMap<usize, Option<String>>) -> String {
    let (names, values): (Vec<_>, Vec<_>) = list(table, values).into_iter().unzip();
    let join = |parts: Vec<String>| parts.into_iter().map(|part| format!(", {part}")).collect::<String>();
    format!("INSERT INTO {} (id, room_id{}) VALUES ('{id}', '{room}'{})", quoted(&table.name), join(names), join(values))
}

fn update_sql(table: &model::Table, id: &str, values: &BTreeMap<usize, Option<String>>) -> String {
    let sets: Vec<String> = list(table, values).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if sets.is_empty() { String::new() } else { format!("UPDATE {} SET {} WHERE id = '{id}'", quoted(&table.name), sets.join(", ")) }
}

fn delete_sql(table: &str, id: &str) -> String {
    format!("DELETE FROM {} WHERE id = '{id}'", quoted(table))
}

/// Names the seed of a history that failed in the middle.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("REJOIN_SEED={} cargo test -p rejoin-tests --test random_schema -- --nocapture", self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_schema_does_every_edit_lands_or_parks_and_all_end_equal() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("REJOIN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("REJOIN_SEEDS").unwrap_or(8),
    };
    for seed in seeds {
        let _told = Told(seed);
        let mut history = History::begin(seed).await;
        for _ in 0..STEPS {
            history.step().await;
        }
        history.end().await;
    }
}
