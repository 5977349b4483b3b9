//! Migrations made up from a seed, mixed with plain SQL on both sides: while sites are away columns and tables come, go, change their names and
//! types, and are made anew. A model says what must come of it: every row as it must be, the conflicts that there must be, and nothing lost.
//!
//! In most tables each row is written by one party only, so that the one thing under trial is the schema. Two tables are written by
//! everybody (`kin`), so that rows are held, clash, and are decided about while the schema moves. `REJOIN_SEED` tries one seed and tells
//! what happens, `REJOIN_SEEDS` tries so many from it on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "a test says what went wrong by panicking")]

mod decisions;
mod dice;
mod kin;
mod model;
mod moves;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use rejoin_tests::World;
use serde_json::{Value, json};

use dice::Dice;
use model::{Cell, Model, Place};

const STEPS: usize = 70;
const SITES: [&str; 2] = ["a", "b"];

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

struct History {
    world: World,
    model: Model,
    dice: Dice,
    loud: bool,
    /// A session of a program at the cloud.
    client: tokio_postgres::Client,
    /// Values of the tables that everybody writes which nobody wrote over, with who wrote them.
    alive: BTreeMap<String, kin::Writer>,
    /// The first ids of rows whose keys were changed.
    first_ids: BTreeMap<String, String>,
    /// Whether a site has decided something and not said so.
    decided: [bool; 2],
}

impl History {
    async fn begin(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut model = Model::default();
        let tables = [moves::create(&mut dice, &mut model), moves::create(&mut dice, &mut model), moves::create_kin(&mut dice, &mut model)]
            .join("; ");
        let sql = format!("CREATE TABLE room (id text PRIMARY KEY); {tables}; INSERT INTO room VALUES ('one'), ('two')");
        let world = World::of(&sql, "root = \"room\"\n", &SITES).await;
        (0..SITES.len()).for_each(|site| model.land(site));
        let loud = std::env::var("REJOIN_SEED").is_ok() && std::env::var("REJOIN_SEEDS").is_err();
        let client = world.postgres().await;
        Self { world, model, dice, loud, client, alive: BTreeMap::new(), first_ids: BTreeMap::new(), decided: [false; 2] }
    }

    /// A site's file, as a program beside the site opens it.
    fn file(&self, site: usize) -> rusqlite::Connection {
        let file = rusqlite::Connection::open(self.world.site(SITES[site]).database()).unwrap();
        file.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        file
    }

    fn tell(&self, what: &str) {
        if self.loud {
            println!("{what}");
        }
    }

    async fn step(&mut self) {
        match self.dice.roll(24) {
            0 | 1 => self.migrate().await,
            2 | 3 => self.write_at_cloud().await,
            4..=6 => self.write_at_site(),
            7 | 8 => self.decide().await,
            9..=20 => self.write_kin().await,
            _ => {
                let site = self.dice.roll(SITES.len());
                self.sync(site).await;
            }
        }
    }

    async fn migrate(&mut self) {
        for _ in 0..=self.dice.roll(2) {
            let before = self.seen(0).await;
            let Some(sql) = moves::migration(&mut self.dice, &mut self.model) else { continue };
            self.tell(&format!("cloud: {sql}"));
            self.world.psql(&format!("BEGIN; {sql}; COMMIT")).await;
            // What a migration takes away, it takes away knowingly.
            let after = self.seen(0).await;
            self.overwritten(&before, &after);
            self.world.cloud.post("/api/rejoin/catalog/refresh", json!({})).await.ok();
        }
    }

    async fn sync(&mut self, site: usize) {
        self.tell(&format!("{}: sync", SITES[site]));
        let before = self.seen(0).await;
        // The first run may find the new catalog when it has sent everything; the second one leaves nothing behind.
        self.world.sync(SITES[site]).await;
        self.world.sync(SITES[site]).await;
        if std::mem::take(&mut self.decided[site]) {
            let after = self.seen(0).await;
            self.overwritten(&before, &after);
        }
        self.model.land(site);
    }

    async fn end(mut self) {
        self.all_is_fed().await;
        for site in [0, 1, 0, 1] {
            self.sync(site).await;
        }
        let conflicts = self.world.pending_conflicts().await;
        let (of_kin, conflicts): (Vec<Value>, Vec<Value>) = conflicts.into_iter().partition(|conflict| self.is_of_kin(conflict));
        let at_cloud = self.rows_at_cloud().await;
        self.nothing_is_lost(&conflicts, &at_cloud);
        self.as_the_model_says(&conflicts, &at_cloud);
        self.nothing_of_kin_is_lost().await;
        self.nothing_is_pending("before the last decisions").await;
        for conflict in of_kin {
            let resolution = ["CLOUD_WINS", "LOCAL_WINS", "MANUAL"][self.dice.roll(3)];
            self.decide_one(0, &conflict, resolution).await;
        }
        self.world.converge().await;
        self.nothing_of_kin_is_lost().await;
        // What is decided for the cloud is gone from the sites too, and nothing stays hidden.
        for _ in 0..4 {
            for conflict in self.world.pending_conflicts().await {
                self.world.resolve(&conflict, "CLOUD_WINS", &Value::Null).await;
            }
            self.world.converge().await;
        }
        assert_eq!(self.world.pending_conflicts().await, Vec::<Value>::new());
        self.nothing_is_pending("in the end").await;
        self.nothing_is_left_over().await;
    }

    /// The cloud feeds beside everything else, in batches; nobody migrates any more.
    async fn all_is_fed(&self) {
        for _ in 0..600 {
            if self.count_at_cloud("rejoin.feeds").await == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("rows wait to be fed for a minute");
    }

    /// Everything that sites wrote is answered, but for what waits for a row that is held.
    async fn nothing_is_pending(&self, when: &str) {
        for site in SITES {
            let status = self.world.site(site).api.get("/api/sync").await.ok();
            assert!(status["pending"] == 0 || status["held"] != 0, "{when}, {site}: {status:#}");
        }
    }

    /// No migration is half done anywhere, no row is held, nothing is hidden.
    async fn nothing_is_left_over(&self) {
        assert_eq!(self.count_at_cloud("rejoin.feeds").await, 0, "rows wait to be fed");
        for (at, site) in SITES.into_iter().enumerate() {
            let file = self.file(at);
            let count = |of: &str| file.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(count("rejoin_hidden"), 0, "{site} still hides what was dropped");
            assert_eq!(count("rejoin_unsettled"), 0, "{site} still waits for a feed");
            for table in &self.model.tables {
                assert_eq!(count(&format!("{} WHERE rejoin_held <> 0", quoted(&table.name))), 0, "{site} holds rows of {}", table.name);
            }
        }
    }

    async fn count_at_cloud(&self, table: &str) -> i64 {
        self.client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
    }

    fn is_of_kin(&self, conflict: &Value) -> bool {
        conflict["recordId"].as_str().unwrap().starts_with('k')
    }

    async fn rows_at_cloud(&self) -> BTreeMap<Place, BTreeMap<usize, Option<String>>> {
        let client = self.world.postgres().await;
        let mut rows = BTreeMap::new();
        for table in self.model.tables.iter().filter(|table| table.kin.is_none()) {
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

/// Names the seed of a history that failed in the middle.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("replay: REJOIN_SEED={} cargo test -p rejoin-tests --test random_schema -- --nocapture", self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_schema_does_every_edit_lands_or_parks_and_all_end_equal() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, few) = (number("REJOIN_SEED"), number("REJOIN_SEEDS"));
    let seeds = first.unwrap_or(0)..first.unwrap_or(0) + few.unwrap_or(if first.is_some() { 1 } else { 5 });
    for seed in seeds {
        let _told = Told(seed);
        let mut history = History::begin(seed).await;
        for _ in 0..STEPS {
            history.step().await;
        }
        history.end().await;
    }
}
