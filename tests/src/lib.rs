//! The harness of the whole-system tests: a real cloud on a real PostgreSQL, real sites on SQLite files, real sockets between them.
//!
//! [`World`] starts them in this process by the same composition roots as the program; [`process`](mod@process) runs the program itself, for
//! crashes. Everything is asked and told through public doors: HTTP, `psql`, `sqlite3`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot set its scene has failed")]

pub mod api;
pub mod browser;
pub mod fault_proxy;
pub mod pages;
pub mod process;
pub mod rows;
pub mod world;

pub use api::{Answer, Api};
pub use world::{Site, World};
