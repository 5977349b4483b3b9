//! A site's tables on their way from one catalog to the next, with unsent edits of every kind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, reason = "a test fails by panicking; the catalogs are shared")]

mod cases;
#[path = "../store/fixture.rs"]
mod fixture;
mod programs;
mod random;
mod referrers;
mod settled;
mod site;
