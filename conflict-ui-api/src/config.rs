//! What a server decides about its API.

use std::num::NonZeroU32;
use std::time::Duration;

use sync_core::limits::{BODY_BYTES_MAX, EVENT_HEARTBEAT, REQUEST_TIMEOUT};

/// The settings of the API; read once at start.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The origins whose pages may call the API (`https://app.example`); none by default. There is no wildcard.
    pub origins: Vec<String>,
    /// Whether the server speaks TLS: then it tells browsers to come back by https only.
    pub tls: bool,
    /// The SHA-256 (hexadecimal digits) of the secret that this start's `server.json` holds: whoever can read that file is an admin.
    pub admin_token_hash: Option<String>,
    /// How long a sign-in lasts.
    pub session_lifetime: Duration,
    /// Bytes of one request body.
    pub body_bytes_max: usize,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How often a listener for events hears that the server is there; his credential is looked at again each time.
    pub event_heartbeat: Duration,
    /// How often one user or token may ask.
    pub requests: Rate,
    /// How often one peer without a credential may ask.
    pub strangers: Rate,
    /// How often one peer may try to sign in.
    pub sign_ins_per_peer: Rate,
    /// How often sign-in may be tried for one name, from anywhere.
    pub sign_ins_per_name: Rate,
}

/// A rate: this many at once, then one every so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: NonZeroU32,
    /// The time after which there is one more.
    pub every: Duration,
}

impl Rate {
    /// A rate; a burst of 0 counts as 1.
    #[must_use]
    pub const fn new(burst: u32, every: Duration) -> Self {
        match NonZeroU32::new(burst) {
            Some(burst) => Self { burst, every },
            None => Self { burst: NonZeroU32::MIN, every },
        }
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            tls: false,
            admin_token_hash: None,
            session_lifetime: Duration::from_secs(12 * 60 * 60),
            body_bytes_max: BODY_BYTES_MAX,
            request_timeout: REQUEST_TIMEOUT,
            event_heartbeat: EVENT_HEARTBEAT,
            requests: Rate::new(2_000, Duration::from_millis(2)),
            strangers: Rate::new(200, Duration::from_millis(50)),
            sign_ins_per_peer: Rate::new(30, Duration::from_secs(2)),
            sign_ins_per_name: Rate::new(10, Duration::from_secs(6)),
        }
    }
}
