//! Parked changes: parking them, showing them, resolving them.

pub(crate) mod park;
pub(crate) mod resolve;
mod settle;
mod show;

pub use resolve::resolve;
pub use show::{get, list};
