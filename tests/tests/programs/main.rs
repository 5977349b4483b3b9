//! Programs of others beside Rejoin: Prisma and Drizzle make the tables, migrate them and write them, while a site holds unsent edits.
//! `make test` fetches them (scripts/get-programs.sh); docs/PROGRAMS.md says what users set.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

mod drizzle;
mod prisma;
mod project;
mod scene;
mod terminal;
