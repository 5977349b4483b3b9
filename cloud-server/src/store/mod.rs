//! Everything that speaks SQL to PostgreSQL. Decisions are made in sync-core; here rows are loaded, locked and written.

pub mod accounts;
pub(crate) mod bulk;
mod capture;
pub mod error;
mod introspect;
pub mod migrate;
pub mod pool;
pub mod prepare;
pub mod records;
pub(crate) mod row;
pub mod sites;
mod tls;
pub(crate) mod tx;

pub use prepare::prepare;
