//! Events and the webhook through the public doors: several clouds on a real PostgreSQL, a site that speaks by hand, and receivers on real
//! sockets that check the signature by code of their own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that cannot go on has failed, and says why")]

#[path = "../serve/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod harness;

mod clouds;
mod delivery;
mod events;
mod receiver;
mod silence;
mod site;
