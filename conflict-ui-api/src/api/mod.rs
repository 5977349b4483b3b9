//! The handlers, one file per concern.

pub mod health;
pub mod records;
