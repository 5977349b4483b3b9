//! The site's half of the sync on real SQLite files, against hand-made answers and pages and against a small model of the cloud.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells how"
)]

mod additions;
mod bench;
mod converge;
mod daemon;
mod decisions;
mod model;
mod pull;
mod push;
mod runs;
mod up;
