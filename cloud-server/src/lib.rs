//! The cloud: the PostgreSQL store behind the API and the sites' protocol.
//!
//! Reading order: [`app`] (the composition root) and [`config`], [`store`] (all SQL), [`secret`], [`postgres`] (a cluster of our own).

pub mod app;
pub mod attach;
mod backend;
mod background;
pub mod config;
#[cfg(test)]
mod conformance;
mod core;
pub mod detach;
mod events;
pub mod foresee;
mod http;
pub mod notify;
pub mod postgres;
mod private;
pub mod secret;
pub mod settings;
mod source;
pub mod store;
pub mod systems;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
mod watch;

pub use app::{Cloud, CloudError};
pub use config::CloudConfig;
