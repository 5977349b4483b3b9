//! What an import found and did.

use std::collections::{BTreeMap, BTreeSet};

use conflict_ui_api::backend::Imported;
use serde::Serialize;

/// What a file holds, counted while its rows are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Lines of kind `device`.
    pub(crate) devices: u64,
    /// Lines of kind `card`.
    pub(crate) cards: u64,
    /// Ports in the file.
    pub(crate) ports: u64,
    /// Ports without a direction: each becomes two rows.
    pub(crate) bidirectional_ports: u64,
    /// Rows of `equipment_io_ports`.
    pub(crate) port_rows: u64,
    /// Card slots: rows of `equipment_cards`.
    pub(crate) slots: u64,
    /// The makers' names.
    pub(crate) makers: BTreeSet<String>,
    /// Devices and cards by category.
    pub(crate) categories: BTreeMap<&'static str, u64>,
    /// How many lines have each member that went into `specs`.
    pub(crate) kept_in_specs: BTreeMap<String, u64>,
}

/// The whole report.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<'a> {
    devices: u64,
    cards: u64,
    ports: u64,
    bidirectional_ports: u64,
    port_rows: u64,
    slots: u64,
    makers: usize,
    categories: &'a BTreeMap<&'static str, u64>,
    kept_in_specs: &'a BTreeMap<String, u64>,
    rows: Imported,
}

impl<'a> Report<'a> {
    pub(crate) fn new(counts: &'a Counts, rows: Imported) -> Self {
        Self {
            devices: counts.devices,
            cards: counts.cards,
            ports: counts.ports,
            bidirectional_ports: counts.bidirectional_ports,
            port_rows: counts.port_rows,
            slots: counts.slots,
            makers: counts.makers.len(),
            categories: &counts.categories,
            kept_in_specs: &counts.kept_in_specs,
            rows,
        }
    }

    /// The report's lines for a person.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let list = |pairs: &mut dyn Iterator<Item = (&str, &u64)>| {
            pairs.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        vec![
            ("devices", self.devices.to_string()),
            ("cards", self.cards.to_string()),
            ("makers", self.makers.to_string()),
            ("ports", format!("{}, {} of them without a direction: {} rows", self.ports, self.bidirectional_ports, self.port_rows)),
            ("card slots", self.slots.to_string()),
            ("categories", list(&mut self.categories.iter().map(|(name, count)| (*name, count)))),
            ("kept in specs", list(&mut self.kept_in_specs.iter().map(|(name, count)| (name.as_str(), count)))),
            ("rows", format!("{} created, {} updated, {} unchanged", self.rows.created, self.rows.updated, self.rows.unchanged)),
        ]
    }
}
