//! Passwords: argon2id in PHC form, off the async threads, a few at a time.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use sync_core::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PASSWORD_HASHES_AT_ONCE};
use tokio::sync::Semaphore;

use crate::error::BackendError;

/// Computes and checks password hashes.
pub struct Passwords {
    slots: Arc<Semaphore>,
    /// What a name without a password is checked against, so that it takes as long as one with.
    nobody: OnceLock<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(PASSWORD_HASHES_AT_ONCE)), nobody: OnceLock::new() }
    }
}

impl Passwords {
    /// The hash of a password, to store.
    ///
    /// # Errors
    /// The system has no randomness or memory for it.
    pub async fn hash(&self, password: String) -> Result<String, BackendError> {
        self.compute(move || hash_now(&password)).await?
    }

    /// Whether the password is the one of this hash. Takes as long, and says no, where there is no hash.
    ///
    /// # Errors
    /// The system has no randomness or memory for it.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, BackendError> {
        let nobody = self.nobody().await?;
        let known = stored.is_some();
        let matches = self
            .compute(move || {
                let stored = stored.unwrap_or(nobody);
                PasswordHash::new(&stored).is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
            })
            .await?;
        Ok(known && matches)
    }

    async fn nobody(&self) -> Result<String, BackendError> {
        if let Some(hash) = self.nobody.get() {
            return Ok(hash.clone());
        }
        let hash = self.hash(String::new()).await?;
        Ok(self.nobody.get_or_init(|| hash).clone())
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, BackendError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(BackendError::internal)?;
        let run = move || {
            let _slot = slot;
            work()
        };
        tokio::task::spawn_blocking(run).await.map_err(BackendError::internal)
    }
}

fn hash_now(password: &str) -> Result<String, BackendError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| BackendError::internal(error.to_string()))
}

/// What is wrong with a new password; `None` where nothing is.
#[must_use]
pub fn fault(password: &str) -> Option<String> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Some(format!("a password has at least {PASSWORD_CHARS_MIN} characters"));
    }
    (password.len() > PASSWORD_BYTES_MAX).then(|| format!("a password has at most {PASSWORD_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_opens() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct horsf".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify(String::new(), None).await.unwrap(), "no password stored, none opens");
        assert!(!passwords.verify("x".into(), Some("not a hash".into())).await.unwrap());
    }
}
