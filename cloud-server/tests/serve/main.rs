//! The cloud through its public door: HTTP in front, a real PostgreSQL behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that cannot go on has failed, and says why")]

mod accounts;
mod deletes;
mod harness;
mod import;
mod protocol;
mod records;
mod server;
mod sites;
