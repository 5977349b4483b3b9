//! The suite that every [`Backend`] must pass: the port's contract, executable.
//!
//! A server gives a [`Fixture`] and takes every case as a test of its own:
//!
//! ```text
//! // cloud-server/tests/conformance.rs, with conflict-ui-api's feature `conformance` among the dev-dependencies
//! struct Cloud;
//!
//! #[async_trait::async_trait]
//! impl Fixture for Cloud {
//!     async fn open(&self, system: System) -> Opened {
//!         // An empty database with system.sql() and system.settings(), or a store built from system.catalog().
//!         Opened { backend, accounts, here: Place::Cloud, manages_users: true, keep: Box::new((cluster, pool)) }
//!     }
//! }
//!
//! conflict_ui_api::conformance_suite!(Cloud);
//! ```
//!
//! Every case opens a fresh, empty store. Cases speak HTTP through the real router wherever HTTP can say it, so that names, types and
//! problems are compared as a client sees them; the rest asks the port itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]
#![allow(missing_docs, reason = "the cases' names say what they expect")]

mod catalog;
mod client;
mod suite;

pub mod accounts;
pub mod actions;
pub mod catalogs;
pub mod declared;
pub mod filters;
pub mod groups;
pub mod imports;
pub mod lists;
pub mod nested;
pub mod records;
pub mod soft_deletes;
pub mod types;

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

pub use catalog::System;
pub use client::{Client, Reply};

use crate::backend::{Accounts, Backend, Place};

/// Opens stores.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A fresh store of this system without rows or users.
    async fn open(&self, system: System) -> Opened;
}

/// A store to try.
pub struct Opened {
    /// Records, conflicts, sync.
    pub backend: Arc<dyn Backend>,
    /// Users, sessions, tokens.
    pub accounts: Arc<dyn Accounts>,
    /// Where a record is that was written here just now.
    pub here: Place,
    /// Whether users are managed here: at the cloud.
    pub manages_users: bool,
    /// What must live as long as the store: folders, pools, clusters.
    pub keep: Box<dyn Any + Send + Sync>,
}
