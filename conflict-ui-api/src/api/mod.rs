//! The handlers, one file per concern.

pub mod body;
pub(crate) mod digests;
pub mod health;
pub(crate) mod import;
pub mod path;
pub mod records;
