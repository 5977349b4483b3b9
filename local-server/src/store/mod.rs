//! The site's SQLite. All SQL of the site stands here.
//!
//! Reading order: [`db`] (one writer, some readers), [`rows`] (values and rows to and from SQLite), [`schema`] (the tables of a
//! catalog), [`capture`] (their triggers), [`install`] (both brought into the file).

pub mod capture;
pub mod db;
pub mod error;
pub mod install;
pub mod references;
pub mod rows;
pub mod schema;

pub use db::{Database, DbError};
pub use error::{Result, StoreError};
