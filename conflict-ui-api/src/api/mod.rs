//! The handlers, one file per concern.

pub mod body;
pub mod conflicts;
pub(crate) mod digests;
pub mod docs;
pub(crate) mod edits;
pub(crate) mod events;
pub mod health;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod ndjson;
pub(crate) mod params;
pub mod path;
pub(crate) mod policies;
pub mod records;
pub mod sign_in;
pub mod sync;
pub mod tokens;
pub mod users;
