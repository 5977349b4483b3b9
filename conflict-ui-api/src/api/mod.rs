//! The handlers, one file per concern.

pub mod health;
pub(crate) mod import;
pub mod records;
