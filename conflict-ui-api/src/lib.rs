//! The HTTP API that both servers mount. Reading order: [`backend`] (the port that each server implements), [`error`].

pub mod backend;
pub mod error;
