//! Push, pull and conflicts against a real PostgreSQL, driven by hand-written messages. The histories are those that broke the first drafts
//! of the design; each has its number in the test's name.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs, reason = "the tests' own modules")]

mod cloud;
mod deciding;
mod site;

mod additions;
mod besides;
mod bulk;
mod conflicts;
mod constraints;
mod declared;
mod dependents;
mod held;
mod history;
mod identity;
mod inbox;
mod leases;
mod order;
mod policies;
mod pull;
mod push;
mod random;
mod refusals;
mod same_row;
mod scopes;
mod travel;
mod trials;
mod undo;
