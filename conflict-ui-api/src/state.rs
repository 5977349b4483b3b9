//! What every handler can reach.

use std::net::IpAddr;
use std::sync::Arc;

use sync_core::limits::EVENT_LISTENERS_MAX;

use crate::backend::{Accounts, Backend};
use crate::config::ApiConfig;
use crate::limiter::Limiter;
use crate::password::Passwords;

/// The ports and settings of one server; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// Records, conflicts, sync.
    pub backend: Arc<dyn Backend>,
    /// Users, sessions, tokens.
    pub accounts: Arc<dyn Accounts>,
    /// The settings.
    pub config: Arc<ApiConfig>,
    pub(crate) guards: Arc<Guards>,
}

/// What is counted and kept between requests.
pub(crate) struct Guards {
    pub(crate) requests: Limiter<String>,
    pub(crate) strangers: Limiter<IpAddr>,
    pub(crate) sign_ins_per_peer: Limiter<IpAddr>,
    pub(crate) sign_ins_per_name: Limiter<String>,
    pub(crate) passwords: Passwords,
    /// Taken by whoever spends a one-time secret, so that it is spent once.
    pub(crate) one_time: tokio::sync::Mutex<()>,
    /// One permit for each listener for events.
    pub(crate) listeners: Arc<tokio::sync::Semaphore>,
}

impl ApiState {
    /// The state of one server.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, accounts: Arc<dyn Accounts>, config: ApiConfig) -> Self {
        let guards = Guards {
            requests: Limiter::new(config.requests),
            strangers: Limiter::new(config.strangers),
            sign_ins_per_peer: Limiter::new(config.sign_ins_per_peer),
            sign_ins_per_name: Limiter::new(config.sign_ins_per_name),
            passwords: Passwords::default(),
            one_time: tokio::sync::Mutex::new(()),
            listeners: Arc::new(tokio::sync::Semaphore::new(EVENT_LISTENERS_MAX)),
        };
        Self { backend, accounts, config: Arc::new(config), guards: Arc::new(guards) }
    }
}
