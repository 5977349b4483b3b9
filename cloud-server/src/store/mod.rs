//! Everything that speaks SQL to PostgreSQL. Decisions are made in sync-core; here rows are loaded, locked and written.

pub mod accounts;
pub(crate) mod bulk;
pub(crate) mod capture;
pub mod conflicts;
pub mod digest;
pub mod doctor;
pub mod error;
pub(crate) mod events;
pub(crate) mod guard;
pub mod history;
mod introspect;
pub mod leases;
mod mac;
pub mod migrate;
pub mod notices;
pub mod pace;
pub mod pool;
pub mod prepare;
pub mod pull;
pub mod push;
pub mod records;
pub(crate) mod row;
pub(crate) mod scope;
pub mod sites;
pub mod speaker;
pub mod state;
pub mod sync_log;
mod tls;
pub(crate) mod tombstone;
pub(crate) mod tx;
pub mod watch;

pub(crate) use introspect::assemble::ENGINE_COLUMNS as STAMP_COLUMNS;
pub use prepare::prepare;
