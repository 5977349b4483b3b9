//! Plain SQL at the cloud is stamped: each way to write, in one transaction or several, with what others do meanwhile.
//! The names start with the history of the design that they retell.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "the tests' own module")]

#[path = "../cloud/mod.rs"]
mod cloud;
mod ddl;
mod gone;
mod mend;
mod partitions;
mod shop;
mod writes;

use cloud::{Gone, Row};

fn scope(production: &str) -> String {
    format!("productions/{production}")
}

fn at(production: &str, tick: i64, version: i64) -> Row {
    Row { scope: scope(production), tick, version }
}

fn tombstone(production: &str, key: &str, tick: i64, version: i64) -> Gone {
    Gone { scope: scope(production), key: vec![key.to_owned()], tick, version, left: false }
}
