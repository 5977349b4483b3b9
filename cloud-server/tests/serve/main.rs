//! The cloud through its public door: HTTP in front, a real PostgreSQL behind.

mod accounts;
mod deletes;
mod harness;
mod import;
mod protocol;
mod records;
mod server;
mod sites;
