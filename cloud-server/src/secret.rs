//! The server's own key for MACs: a file of mode 0600 beside the database.

use std::io;
use std::path::Path;

use conflict_ui_api::private_file;

/// The key of the cloud's MACs over cursors and answers. Lives outside the database, so that a restored database is noticed.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl SecretKey {
    /// A key given by the operator: 64 hexadecimal digits. `None` where it is not that.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut key = [0; 32];
        hex::decode_to_slice(digits.trim(), &mut key).ok()?;
        Some(Self(key))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the key in this file, or makes one if there is no file.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds no key.
    pub fn load_or_make(file: &Path) -> io::Result<Self> {
        match std::fs::read_to_string(file) {
            Ok(digits) => Self::from_hex(&digits)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no key of 64 digits", file.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self(rand::random());
                private_file::write(file, hex::encode(key.0).as_bytes())?;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret.key");
        let key = SecretKey::load_or_make(&file).unwrap();
        assert_eq!(SecretKey::load_or_make(&file).unwrap().bytes(), key.bytes());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
        std::fs::write(&file, "short").unwrap();
        assert!(SecretKey::load_or_make(&file).is_err(), "a broken key is never replaced silently");
        assert!(!format!("{key:?}").contains(&hex::encode(key.bytes())));
    }
}
