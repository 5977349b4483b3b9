//! Parameters of the engine's own lists, and their pages.

use axum::Json;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sync_core::catalog::Catalog;
use sync_core::limits::{LIST_ROWS_DEFAULT, LIST_ROWS_MAX, TABLES_NAMED_MAX};
use uuid::Uuid;

use super::records::page::next_link;
use super::records::query::Pairs;
use crate::moment;
use crate::problem::{Answer, Fault, Problem};

/// Reads the parameters of a query one by one; what nobody read is an error.
pub(super) struct Params<'a> {
    pairs: &'a Pairs,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl<'a> Params<'a> {
    pub(super) fn new(pairs: &'a Pairs) -> Self {
        Self { pairs, known: Vec::new(), faults: Vec::new() }
    }

    /// The value of a parameter, where it is given and can be read.
    pub(super) fn read<T>(&mut self, name: &'static str, expected: &str, parse: impl Fn(&'a str) -> Option<T>) -> Option<T> {
        self.known.push(name);
        let mut values = self.pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next()?;
        if values.next().is_some() {
            self.faults.push(Fault::parameter(name, "twice", format!("{name} is given twice")));
        }
        let read = parse(value);
        if read.is_none() {
            self.faults.push(Fault::parameter(name, "type", format!("{name} is {expected}")));
        }
        read
    }

    /// The size of the page.
    pub(super) fn limit(&mut self) -> usize {
        let expected = format!("a number from 1 to {LIST_ROWS_MAX}");
        let parse = |text: &str| text.parse().ok().filter(|limit| (1..=LIST_ROWS_MAX).contains(limit));
        self.read("limit", &expected, parse).unwrap_or(LIST_ROWS_DEFAULT)
    }

    /// The id of the last one seen.
    pub(super) fn cursor(&mut self) -> Option<Uuid> {
        self.cursor_as(|text| Uuid::try_parse(text).ok())
    }

    /// What stands for the last one seen.
    pub(super) fn cursor_as<T>(&mut self, parse: impl Fn(&'a str) -> Option<T>) -> Option<T> {
        self.read("cursor", "the nextCursor of the answer before", parse)
    }

    /// Notes a fault that several parameters make together.
    pub(super) fn fault(&mut self, name: &str, code: &'static str, detail: &str) {
        self.faults.push(Fault::parameter(name, code, detail));
    }

    /// All that is wrong.
    pub(super) fn finish(mut self) -> Answer<()> {
        for (name, _) in self.pairs.iter().filter(|(name, _)| !self.known.contains(&name.as_str())) {
            let detail = format!("there is no parameter {name} here; there are: {}", self.known.join(", "));
            self.faults.push(Fault::parameter(name, "unknown", detail));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::query(self.faults)) }
    }
}

/// What is said to somebody who asks for a table that is not there.
pub(super) fn no_table(catalog: &Catalog, name: &str) -> String {
    let mut paths: Vec<&str> = catalog.tables.iter().filter(|table| !table.engine).map(|table| table.path.as_str()).collect();
    let more = paths.len().saturating_sub(TABLES_NAMED_MAX);
    paths.truncate(TABLES_NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("there is no table {name}; there are: {}{more}", paths.join(", "))
}

/// What is said to somebody who asks for a site that is not there.
pub(super) fn no_site(name: &str) -> String {
    format!("no site {name} is known here: GET /api/rejoin/sites at the cloud lists their names")
}

/// Refuses a query because of these parameters.
pub(super) fn refuse(unknown: Vec<(&'static str, String)>) -> Answer<()> {
    let faults: Vec<Fault> = unknown.into_iter().map(|(name, detail)| Fault::parameter(name, "unknown", detail)).collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::query(faults)) }
}

/// A point in time, or how long ago.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    moment::read(text, Utc::now())
}

/// Yes or no.
pub(super) fn flag(text: &str) -> Option<bool> {
    text.parse().ok()
}

/// `{"data":[..],"hasMore":b,"nextCursor":".."}` of rows of which one more than the page was asked for.
pub(super) fn page<T: Serialize, C: ToString>(uri: &Uri, mut rows: Vec<T>, size: usize, id: impl Fn(&T) -> C) -> Response {
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows.last().filter(|_| more).map(|row| id(row).to_string());
    let mut response = Json(json!({ "data": rows, "hasMore": more, "nextCursor": next })).into_response();
    if let Some(link) = next.and_then(|next| next_link(uri, &next)) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// The same form for a list that always comes whole.
pub(super) fn whole<T: Serialize>(rows: &[T]) -> Response {
    Json(json!({ "data": rows, "hasMore": false, "nextCursor": null })).into_response()
}
