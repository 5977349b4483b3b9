//! A production made up from a seed: the same seed gives the same rows, ids included.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::import::ImportRow;

/// How many of each there are.
const SOURCES: usize = 24;
const SENDS: usize = 12;

const SHOWS: &[(&str, &str, &str)] = &[
    ("Northlight Media", "Autumn Summit", "Harbour Hall"),
    ("Atlas Events", "World Finals", "Arena East"),
    ("Kestrel Broadcast", "Election Night", "Studio 4"),
];
const SOURCE_TYPES: &[(&str, &str)] = &[("CAMERA", "CAM"), ("PLAYBACK", "VTR"), ("GRAPHICS", "GFX"), ("COMPUTER", "PC")];
const SEND_TYPES: &[(&str, &str)] = &[("LED", "LED wall"), ("PROJECTOR", "Projector"), ("RECORD", "Record"), ("STREAM", "Stream")];
const FORMATS: &[(i64, i64, f64, &str)] = &[
    (1920, 1080, 50.0, "SMPTE ST 424"),
    (1920, 1080, 59.94, "SMPTE ST 424"),
    (3840, 2160, 50.0, "SMPTE ST 2082"),
    (1280, 720, 59.94, "SMPTE ST 292"),
];

/// The rows of the demo, and the names of those that the story is about.
#[derive(Debug)]
pub(crate) struct Production {
    /// The production.
    pub(crate) id: Uuid,
    /// Its sources.
    pub(crate) sources: Vec<Uuid>,
    /// Their outputs: at least one of each source, in their order.
    pub(crate) outputs: Vec<Uuid>,
    /// Its sends.
    pub(crate) sends: Vec<Uuid>,
    /// Its connections.
    pub(crate) connections: Vec<Uuid>,
    /// All of it as rows, parents first.
    pub(crate) rows: Vec<ImportRow>,
}

/// Makes up ids and values.
pub(crate) struct Dice {
    random: StdRng,
    /// The milliseconds of the next id.
    clock: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Ids are time-ordered; the time is made up too.
        Self { random: StdRng::seed_from_u64(seed), clock: 1_790_000_000_000 }
    }

    /// A new time-ordered id (UUIDv7).
    pub(crate) fn id(&mut self) -> Uuid {
        self.clock += 1;
        uuid::Builder::from_unix_timestamp_millis(self.clock, &self.random.random()).into_uuid()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.random.random_range(0..items.len())]
    }
}

impl Production {
    /// Makes one up.
    pub(crate) fn make(dice: &mut Dice) -> Self {
        let (client, show, venue) = *dice.pick(SHOWS);
        let id = dice.id();
        let mut made = Self { id, sources: vec![], outputs: vec![], sends: vec![], connections: vec![], rows: vec![] };
        let values = json!({
            "id": id, "client": client, "show_name": show, "venue": venue, "room": "Gallery 1", "status": "ACTIVE",
            "load_in": "2026-11-20T07:00:00Z", "load_out": "2026-11-23T22:00:00Z",
        });
        made.push("productions", values);
        for at in 1..=SOURCES {
            made.source(dice, at);
        }
        for at in 1..=SENDS {
            made.send(dice, at);
        }
        made
    }

    fn source(&mut self, dice: &mut Dice, at: usize) {
        let (kind, name) = *dice.pick(SOURCE_TYPES);
        let (h_res, v_res, rate, standard) = *dice.pick(FORMATS);
        let source = dice.id();
        let values = json!({
            "id": source, "production_id": self.id, "type": kind, "name": format!("{name} {at}"),
            "h_res": h_res, "v_res": v_res, "rate": rate, "standard": standard, "note": "as planned",
        });
        self.push("sources", values);
        self.sources.push(source);
        for index in 1..=dice.random.random_range(1..=2) {
            let output = dice.id();
            self.push(
                "source_outputs",
                json!({"id": output, "source_id": source, "connector": format!("SDI {index}"), "output_index": index}),
            );
            self.outputs.push(output);
        }
    }

    /// A send, and the connection that feeds it.
    fn send(&mut self, dice: &mut Dice, at: usize) {
        let (kind, name) = *dice.pick(SEND_TYPES);
        let (h_res, v_res, rate, standard) = *dice.pick(FORMATS);
        let send = dice.id();
        let values = json!({
            "id": send, "production_id": self.id, "type": kind, "name": format!("{name} {at}"), "h_res": h_res, "v_res": v_res,
            "rate": rate, "standard": standard, "output_connector": "SDI OUT",
        });
        self.push("sends", values);
        self.sends.push(send);
        let connection = dice.id();
        let source = *dice.pick(&self.sources);
        let values = json!({
            "id": connection, "production_id": self.id, "source_id": source, "destination_type": "send", "destination_id": send,
            "signal_path": [{"hop": "router", "input": at}],
        });
        self.push("connections", values);
        self.connections.push(connection);
    }

    fn push(&mut self, table: &'static str, values: Value) {
        self.rows.push(ImportRow::new(table, values));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_rows_and_another_one_others() {
        let rows = |seed| Production::make(&mut Dice::new(seed)).rows;
        assert_eq!(rows(7), rows(7));
        assert_ne!(rows(7), rows(8));
        let made = Production::make(&mut Dice::new(7));
        assert!(made.outputs.len() >= made.sources.len() && made.connections.len() == made.sends.len());
        assert!(made.rows.iter().all(|row| row.values["id"].as_str().unwrap().as_bytes()[14] == b'7'), "every id is a UUIDv7");
    }
}
