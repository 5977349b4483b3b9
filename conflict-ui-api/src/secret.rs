//! Secrets that the API hands out: 32 random bytes in hexadecimal digits behind a prefix that says what they open.

use sha2::{Digest, Sha256};

/// What a secret opens. The prefix lets a person, or a scanner of leaked secrets, see it at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// An API token.
    Token,
    /// A sign-in.
    Session,
    /// A site's own key.
    SiteKey,
    /// A site's enrolment, once.
    Enrolment,
    /// A user's first sign-in, once.
    OneTime,
}

impl SecretKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Token => "rjt_",
            Self::Session => "rjs_",
            Self::SiteKey => "rjk_",
            Self::Enrolment => "rje_",
            Self::OneTime => "rjo_",
        }
    }
}

/// Makes a secret. It is shown once; only its [`hash`] is stored.
#[must_use]
pub fn generate(kind: SecretKind) -> String {
    let bytes: [u8; 32] = rand::random();
    format!("{}{}", kind.prefix(), hex::encode(bytes))
}

/// The SHA-256 of a secret, in hexadecimal digits. A random secret of 256 bits needs no slow hash.
#[must_use]
pub fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_say_what_they_are() {
        let (one, two) = (generate(SecretKind::Session), generate(SecretKind::Session));
        assert_ne!(one, two);
        assert!(one.starts_with("rjs_") && one.len() == 4 + 64, "{one}");
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
