//! A catalog is published beside others who use the database: their writes and triggers, crashes in between, other clouds.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code, reason = "the tests' own modules")]

#[path = "../cloud/mod.rs"]
mod cloud;
#[path = "../capture/shop.rs"]
mod shop;

mod beside;
mod clouds;
mod left_out;
mod users;
