//! The cloud: the PostgreSQL store behind the API and the sites' protocol.
//!
//! Reading order: [`store`] (all SQL), [`secret`].

pub mod postgres;
pub mod secret;
pub mod settings;
pub mod store;
pub mod systems;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
