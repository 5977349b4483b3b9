//! The site's SQLite. All SQL of the site stands here.
//!
//! Reading order: [`db`] (one writer, some readers), [`rows`] (values and rows to and from SQLite), [`schema`] (the tables of a
//! catalog), [`capture`] and [`references`] (their triggers), [`install`] (all of it brought into the file, by `motion` from another catalog); then what the API does with
//! them: [`records`], [`conflicts`], [`edits`], [`accounts`], [`digests`], [`status`].

pub mod accounts;
pub mod capture;
pub mod conflicts;
pub mod db;
pub mod digests;
pub mod edits;
pub mod error;
mod figures;
pub mod install;
pub mod leases;
pub mod records;
pub mod references;
pub mod rows;
pub mod schema;
pub mod settle;
pub mod status;

// What the sync does with them: out (`outbox`, `cut`), back (`answers`), in (`spool`, `apply`), and by what means.
pub mod answers;
pub mod apply;
pub mod cursors;
pub mod cut;
pub mod dropping;
pub mod entry;
mod fresh;
pub mod hidden;
pub mod identity;
pub mod keep;
pub mod motion;
pub mod noted;
pub mod outbox;
pub mod plan;
pub mod released;
pub mod run_log;
pub mod seats;
pub mod spool;
pub mod sync_writer;
mod unheard;

pub use db::{Database, DbError};
pub use error::{Result, StoreError};
