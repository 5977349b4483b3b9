//! The handlers, one file per concern.

pub mod body;
pub mod conflicts;
pub(crate) mod digests;
pub mod docs;
pub mod health;
pub(crate) mod import;
pub(crate) mod params;
pub mod path;
pub mod records;
pub mod sign_in;
pub mod sync;
pub mod tokens;
pub mod users;
