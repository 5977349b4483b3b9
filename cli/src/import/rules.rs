//! The rules of `rejoin import`: pure, from the file's text to rows. docs/IMPORT.md says them in words.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::category::category;
use super::line::{self, Item, Kind};
use super::report::Counts;

/// A row to write, by the names of its columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ImportRow {
    /// The table's name.
    pub(crate) table: &'static str,
    /// Its columns.
    pub(crate) values: Map<String, Value>,
}

/// A line that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {why}")]
pub(crate) struct BrokenLine {
    /// The line's number, from 1.
    pub(crate) number: usize,
    /// The column or field, and what is wrong with it.
    pub(crate) why: String,
}

/// What a file becomes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Import {
    /// The rows, parents first.
    pub(crate) rows: Vec<ImportRow>,
    /// What was found.
    pub(crate) counts: Counts,
}

/// Makes the rows of a whole file. `progress` is told of each line.
///
/// # Errors
/// The first broken line. Nothing is imported then.
pub(crate) fn read_file(text: &str, mut progress: impl FnMut()) -> Result<Import, BrokenLine> {
    let mut seen = HashMap::new();
    let mut counts = Counts::default();
    let (mut specs, mut ports, mut cards) = (Vec::new(), Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        progress();
        if line.trim().is_empty() {
            continue;
        }
        let number = at + 1;
        let item = line::read(line).map_err(|why| BrokenLine { number, why })?;
        let id = spec_id(&item);
        if let Some(first) = seen.insert(id, number) {
            let why = format!("the same maker, model, kind and part number as line {first}");
            return Err(BrokenLine { number, why });
        }
        counts.add(&item);
        let specs_column = leftovers(&item);
        counts.kept(&specs_column);
        let category = category(&item.model, item.description.as_deref());
        counts.categorized(category);
        specs.push(spec_row(id, &item, category, specs_column));
        ports.extend(port_rows(id, &item));
        cards.extend(card_rows(id, &item));
    }
    counts.port_rows = ports.len() as u64;
    specs.append(&mut ports);
    specs.append(&mut cards);
    Ok(Import { rows: specs, counts })
}

/// The id of a device or card: the same maker, model, kind and part number always give the same one.
fn spec_id(item: &Item) -> Uuid {
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_OID, b"rejoin/equipment");
    let name = json!([item.manufacturer, item.model, item.kind.as_str(), item.part_number]);
    Uuid::new_v5(&namespace, name.to_string().as_bytes())
}

fn spec_row(id: Uuid, item: &Item, category: &str, specs: Map<String, Value>) -> ImportRow {
    let slots = item.card_slots.len();
    let architecture = if slots > 0 { "CARD_BASED" } else { "DIRECT" };
    ImportRow::new(
        "equipment_specs",
        json!({
            "id": id, "category": category, "manufacturer": item.manufacturer, "model": item.model,
            "io_architecture": architecture, "card_slots": if slots > 0 { json!(slots) } else { Value::Null }, "specs": specs,
        }),
    )
}

/// A port without a direction becomes an INPUT and an OUTPUT row with the same label and index.
fn port_rows(spec: Uuid, item: &Item) -> Vec<ImportRow> {
    let mut names: HashMap<&str, u32> = HashMap::new();
    let mut rows = Vec::with_capacity(item.ports.len());
    for (at, port) in item.ports.iter().enumerate() {
        // The id hangs from the name and not from the place, so that a corrected file moves no port under another's id.
        let nth = names.entry(&port.name).and_modify(|count| *count += 1).or_insert(1);
        for port_type in port.direction.port_types() {
            let id = Uuid::new_v5(&spec, json!(["port", port.name, nth, port_type]).to_string().as_bytes());
            rows.push(ImportRow::new(
                "equipment_io_ports",
                json!({
                    "id": id, "equipment_id": spec, "port_type": port_type, "io_type": port.io_type,
                    "label": port.name, "port_index": at + 1,
                }),
            ));
        }
    }
    rows
}

fn card_rows(spec: Uuid, item: &Item) -> impl Iterator<Item = ImportRow> {
    (1..=item.card_slots.len()).map(move |slot| {
        let id = Uuid::new_v5(&spec, json!(["slot", slot]).to_string().as_bytes());
        ImportRow::new("equipment_cards", json!({"id": id, "equipment_id": spec, "slot_number": slot}))
    })
}

/// Everything of a line that has no column, under its own name. The names of the slots stay here too: a card has only a number.
fn leftovers(item: &Item) -> Map<String, Value> {
    let mut kept = item.members.clone();
    kept.retain(|name, _| !matches!(name.as_str(), "manufacturer" | "model" | "ports"));
    let extras: Vec<Value> = item
        .ports
        .iter()
        .enumerate()
        .filter(|(_, port)| !port.extra.is_empty())
        .map(|(at, port)| {
            let mut extra = port.extra.clone();
            extra.insert("port_index".to_owned(), json!(at + 1));
            Value::Object(extra)
        })
        .collect();
    if !extras.is_empty() {
        kept.insert("ports".to_owned(), Value::Array(extras));
    }
    kept
}

impl ImportRow {
    /// A row of a table out of a JSON object.
    pub(crate) fn new(table: &'static str, values: Value) -> Self {
        let values = match values {
            Value::Object(values) => values,
            _ => Map::new(),
        };
        Self { table, values }
    }
}

impl Counts {
    fn add(&mut self, item: &Item) {
        match item.kind {
            Kind::Device => self.devices += 1,
            Kind::Card => self.cards += 1,
        }
        self.makers.insert(item.manufacturer.clone());
        self.ports += item.ports.len() as u64;
        self.bidirectional_ports += item.ports.iter().filter(|port| port.direction.port_types().len() == 2).count() as u64;
        self.slots += item.card_slots.len() as u64;
    }

    fn categorized(&mut self, category: &'static str) {
        *self.categories.entry(category).or_default() += 1;
    }

    fn kept(&mut self, specs: &Map<String, Value>) {
        for name in specs.keys() {
            *self.kept_in_specs.entry(name.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = r#"{"kind":"device","manufacturer":"Riedel","model":"Artist 32","part_number":"A32","u_height":2.0,"odd":{"x":1},"card_slots":["Bay 1","Bay A"],"ports":[{"name":"p","type":"sdi","direction":null},{"name":"p","type":"sdi","direction":"INPUT","poe":true}]}"#;

    fn rows_of<'a>(import: &'a Import, table: &str) -> Vec<&'a Map<String, Value>> {
        import.rows.iter().filter(|row| row.table == table).map(|row| &row.values).collect()
    }

    #[test]
    fn a_device_becomes_a_spec_ports_and_numbered_slots() {
        let import = read_file(DEVICE, || {}).unwrap();
        let spec = rows_of(&import, "equipment_specs")[0];
        assert_eq!((&spec["category"], &spec["io_architecture"], &spec["card_slots"]), (&json!("ROUTER"), &json!("CARD_BASED"), &json!(2)));
        assert_eq!(
            spec["specs"],
            json!({"kind":"device","part_number":"A32","u_height":2.0,"odd":{"x":1},"card_slots":["Bay 1","Bay A"],"ports":[{"poe":true,"port_index":2}]})
        );
        let ports = rows_of(&import, "equipment_io_ports");
        let shown: Vec<_> = ports.iter().map(|port| (port["port_type"].as_str().unwrap(), port["port_index"].as_u64().unwrap())).collect();
        assert_eq!(shown, [("INPUT", 1), ("OUTPUT", 1), ("INPUT", 2)]);
        let mut ids: Vec<_> = import.rows.iter().map(|row| row.values["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), import.rows.len(), "no two rows share an id, though two ports share a name");
        assert_eq!(
            rows_of(&import, "equipment_cards").iter().map(|card| card["slot_number"].clone()).collect::<Vec<_>>(),
            [json!(1), json!(2)]
        );
    }

    #[test]
    fn ids_hang_from_maker_model_kind_and_part_number_alone() {
        let id = |line: &str| read_file(line, || {}).unwrap().rows[0].values["id"].clone();
        assert_eq!(id(DEVICE), id(&DEVICE.replace("2.0", "3.0")));
        for (from, to) in [("A32", "A33"), ("Riedel", "R"), ("Artist 32", "Artist 64"), ("device", "card"), (r#""part_number":"A32","#, "")]
        {
            assert_ne!(id(DEVICE), id(&DEVICE.replace(from, to)), "{from} -> {to}");
        }
        assert_eq!(id(DEVICE), json!("0726b366-5947-516c-a861-b4d3a2a79c2d"), "ids of earlier imports must stay");
    }

    #[test]
    fn a_line_that_names_the_same_thing_twice_is_broken() {
        let error = read_file(&format!("{DEVICE}\n\n{DEVICE}"), || {}).unwrap_err();
        assert_eq!(error.to_string(), "line 3: the same maker, model, kind and part number as line 1");
    }

    /// Whatever the file says is found again: in a column, or in `specs`.
    #[test]
    fn nothing_is_dropped() {
        let item: Value = serde_json::from_str(DEVICE).unwrap();
        let import = read_file(DEVICE, || {}).unwrap();
        let spec = rows_of(&import, "equipment_specs")[0];
        for (name, value) in item.as_object().unwrap() {
            if name != "ports" {
                assert_eq!(spec.get(name).filter(|_| name != "card_slots").or_else(|| spec["specs"].get(name)), Some(value), "{name}");
            }
        }
    }

    /// The demo's own set, an excerpt of the real file: two cards there differ in their part numbers alone.
    #[test]
    fn the_demos_set_is_read_whole() {
        let import = read_file(include_str!("../demo/equipment.ndjson"), || {}).unwrap();
        let counts = &import.counts;
        assert_eq!((counts.devices, counts.cards, counts.slots, counts.makers.len()), (8, 3, 15, 6));
        assert_eq!(counts.port_rows, counts.ports + counts.bidirectional_ports);
        assert_eq!(import.rows.len() as u64, 11 + counts.port_rows + counts.slots);
    }

    /// The whole of the real file, where it lies beside the repository.
    #[test]
    fn the_real_file_is_read_whole() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/broadcast-equipment.ndjson");
        let Ok(text) = std::fs::read_to_string(path) else { return eprintln!("skipped: there is no {path}") };
        let counts = read_file(&text, || {}).unwrap().counts;
        assert_eq!((counts.devices + counts.cards, counts.ports, counts.slots, counts.makers.len()), (199, 1196, 290, 30));
        assert_eq!((counts.devices, counts.cards, counts.bidirectional_ports, counts.port_rows), (116, 83, 565, 1761));
        assert_eq!(counts.categories.values().sum::<u64>(), 199);
    }
}
