//! Everything that speaks SQL to PostgreSQL. Decisions are made in sync-core; here rows are loaded, locked and written.

pub mod error;
pub mod pool;
pub mod sites;
mod tls;
