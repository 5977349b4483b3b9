//! The site's store against real files, by our driver and by the `sqlite3` program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod capture;
mod declared;
mod edits;
mod fixture;
mod hidden;
mod histories;
mod inbox;
mod keep;
mod leased;
mod noted;
mod schema;
mod serving;
mod shell;
