//! The schema moves while a site holds what it has begun: a push whose answer is lost, pages of a pull, decisions, amounts, held rows.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "a test says what went wrong by panicking")]

mod constraints;
mod in_flight;
mod leases;
mod made;
mod scene;
mod unsent;
mod values;
