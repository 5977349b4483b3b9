//! Users, what they may, and what they sign in with.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Somebody who passed the door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The user's name; goes into `last_modified_by`.
    pub name: String,
    /// What he may.
    pub role: Role,
}

/// What somebody may do; each role may what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read records, conflicts and the log.
    Viewer,
    /// Write records, run syncs.
    Editor,
    /// Resolve conflicts, manage sites, users and tokens.
    Admin,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// Argon2id in PHC form; `None` until the first password is set.
    #[serde(skip)]
    pub password_hash: Option<String>,
    /// A one-time secret's SHA-256 (hexadecimal digits): signs in once, to set a password.
    #[serde(skip)]
    pub one_time_hash: Option<String>,
    /// Whether sign-in is refused.
    pub disabled: bool,
}

/// A session or an API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its id, shown in lists: see [`Token::id_of`].
    pub id: String,
    /// Whose.
    pub user: String,
    /// What it is for; `None` for a session.
    pub label: Option<String>,
    /// Its secret's SHA-256, hexadecimal digits.
    #[serde(skip)]
    pub secret_hash: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it runs out.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Token {
    /// The id of a token or session, from its secret's SHA-256: the first 16 of its hexadecimal digits. Whoever holds the secret knows the id,
    /// nobody comes from the id to the secret.
    #[must_use]
    pub fn id_of(secret_hash: &str) -> String {
        secret_hash.chars().take(16).collect()
    }
}
