//! The commands against real servers: `rejoin cloud` with a private PostgreSQL and `rejoin site`, as processes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod cloud;
mod process;
mod schema;
mod site;
