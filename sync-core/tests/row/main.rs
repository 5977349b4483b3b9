//! One row: what the cloud decides about one change of it, and what any order of events makes of it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

mod decisions;
mod events;
mod histories;
mod made;
mod policies;
mod table;
mod tokens;
