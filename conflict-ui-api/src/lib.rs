//! The HTTP API that both servers mount.
//!
//! Reading order: [`backend`] (the ports that each server implements) and [`error`]; [`routes`], one list of every route with who may
//! call it; [`door`] (credentials and roles); [`openapi`], the document of it; [`problem`], the only mapping from what went wrong to HTTP; then one file per concern in
//! [`api`]; `pages`, the web pages on top of it. [`middleware`] is what the servers put around the whole of it, and around their own routes. [`server`] listens and [`private_file`]
//! keeps what only the owner may read. `conformance` (a feature) is the
//! suite that every backend must pass.

pub mod api;
pub mod backend;
pub mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod door;
pub mod error;
pub mod limiter;
pub mod middleware;
pub mod moment;
pub mod openapi;
mod pages;
pub mod password;
pub mod private_file;
pub mod problem;
pub mod routes;
pub mod secret;
pub mod server;
pub mod state;

pub use config::ApiConfig;
pub use routes::{Access, Route, router};
pub use state::ApiState;
