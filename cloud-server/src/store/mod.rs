//! Everything that speaks SQL to PostgreSQL. Decisions are made in sync-core; here rows are loaded, locked and written.

pub(crate) mod bulk;
pub mod accounts;
pub mod error;
pub mod migrate;
pub mod pool;
pub(crate) mod row;
pub mod sites;
mod tls;
pub(crate) mod tx;
