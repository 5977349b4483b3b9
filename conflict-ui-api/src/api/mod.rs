//! The handlers, one file per concern.

pub mod body;
pub mod health;
pub(crate) mod import;
pub mod path;
pub mod records;
