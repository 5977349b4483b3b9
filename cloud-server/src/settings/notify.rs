//! `[notify]`: the webhook, and what it is told of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::Deserialize;
use sync_core::limits::{SILENT_AFTER_DEFAULT, SILENT_AFTER_MAX, SILENT_AFTER_MIN, WEBHOOK_SECRET_BYTES_MIN, WEBHOOK_URLS_MAX};
use toml::Spanned;

use super::{Named, OneOrMany, Settings, SettingsError};
use crate::notify::address;

/// What the webhook is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A new group of conflicts.
    Conflicts,
    /// A site that says nothing, and its return.
    Silence,
    /// A run that failed.
    Failure,
    /// A changed schema that cannot be brought in.
    Schema,
}

impl Cause {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Conflicts, Self::Silence, Self::Failure, Self::Schema];

    /// Its name in `rejoin.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflicts => "conflicts",
            Self::Silence => "silence",
            Self::Failure => "failure",
            Self::Schema => "schema",
        }
    }
}

/// `[notify]` as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifySettings {
    /// Where to: one URL or a list.
    pub url: Spanned<OneOrMany>,
    /// What notices are signed with: a text, or `whsec_` and Base64.
    pub secret: Option<Spanned<SecretText>>,
    /// A file that holds the secret instead; relative to the folder of `rejoin.toml`.
    pub secret_file: Option<Spanned<PathBuf>>,
    /// What to tell; everything where it is left out.
    pub events: Option<Vec<Cause>>,
    /// After how long a site is silent: a number with `s`, `m`, `h` or `d`.
    pub silent_after: Option<Named>,
    /// Whether receivers in private networks, and such without TLS, are allowed.
    #[serde(default)]
    pub allow_private: bool,
}

/// A secret as it is written. Never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// The key that notices are signed with. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl SigningKey {
    /// Reads a secret: Base64 behind `whsec_`, else the text's own bytes.
    ///
    /// # Errors
    /// It is too short, or no Base64; in words that do not repeat it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = match text.strip_prefix("whsec_") {
            Some(coded) => STANDARD.decode(coded).map_err(|_| "what follows whsec_ is no Base64".to_owned())?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < WEBHOOK_SECRET_BYTES_MIN {
            return Err(format!("{} bytes are too short: at least {WEBHOOK_SECRET_BYTES_MIN} are needed", bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The webhook, checked.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where to.
    pub urls: Vec<Url>,
    /// What notices are signed with.
    pub key: SigningKey,
    /// What is told.
    pub causes: BTreeSet<Cause>,
    /// After how long a site is silent.
    pub silent_after: Duration,
    /// Whether private addresses and http are allowed.
    pub allow_private: bool,
}

impl Settings {
    /// The webhook, with its secret read; `None` without `[notify]`.
    ///
    /// # Errors
    /// The file of the secret cannot be read, or holds none; what [`Settings::parse`] finds.
    pub fn webhook(&self) -> Result<Option<Webhook>, SettingsError> {
        let Some(notify) = &self.notify else { return Ok(None) };
        let key = match (&notify.secret, &notify.secret_file) {
            (Some(secret), _) => {
                SigningKey::parse(&secret.get_ref().0).map_err(|why| self.error(secret, format!("notify.secret: {why}")))?
            }
            (None, Some(file)) => self.key_in(file)?,
            (None, None) => return Err(self.error(&notify.url, "notify: there is no secret: give secret or secret_file".to_owned())),
        };
        Ok(Some(Webhook {
            urls: self.webhook_urls(notify)?,
            key,
            causes: notify.events.clone().map_or_else(|| Cause::ALL.into(), |causes| causes.into_iter().collect()),
            silent_after: self.silent_after(notify)?,
            allow_private: notify.allow_private,
        }))
    }

    pub(super) fn check_notify(&self) -> Result<(), SettingsError> {
        let Some(notify) = &self.notify else { return Ok(()) };
        if let (Some(_), Some(file)) = (&notify.secret, &notify.secret_file) {
            return Err(self.error(file, "notify.secret_file: there is a secret already".to_owned()));
        }
        if notify.secret_file.is_some() {
            // The file is read at the start of a server, not wherever somebody looks at the settings.
            self.webhook_urls(notify)?;
            return self.silent_after(notify).map(drop);
        }
        self.webhook().map(drop)
    }

    fn key_in(&self, file: &Spanned<PathBuf>) -> Result<SigningKey, SettingsError> {
        let path = self.folder.as_deref().unwrap_or(Path::new("")).join(file.get_ref());
        let wrong = |why: String| self.error(file, format!("notify.secret_file: {}: {why}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        SigningKey::parse(text.trim()).map_err(wrong)
    }

    fn webhook_urls(&self, notify: &NotifySettings) -> Result<Vec<Url>, SettingsError> {
        let texts = notify.url.get_ref().all();
        let wrong = |why: String| self.error(&notify.url, format!("notify.url: {why}"));
        if texts.is_empty() || texts.len() > WEBHOOK_URLS_MAX {
            return Err(wrong(format!("{} URLs: give 1 to {WEBHOOK_URLS_MAX}", texts.len())));
        }
        // A URL may hold a secret in its path: what is wrong is said by its place in the list.
        let read =
            |(at, text): (usize, &String)| webhook_url(text, notify.allow_private).map_err(|why| wrong(format!("URL {}: {why}", at + 1)));
        texts.iter().enumerate().map(read).collect()
    }

    fn silent_after(&self, notify: &NotifySettings) -> Result<Duration, SettingsError> {
        let Some(text) = &notify.silent_after else { return Ok(SILENT_AFTER_DEFAULT) };
        duration(text.get_ref()).filter(|after| (SILENT_AFTER_MIN..=SILENT_AFTER_MAX).contains(after)).ok_or_else(|| {
            let wrong = "is no time from 1m to 365d: write a number with s, m, h or d";
            self.error(text, format!("notify.silent_after: {:?} {wrong}", text.get_ref()))
        })
    }
}

fn webhook_url(text: &str, allow_private: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    let Some(host) = url.host_str() else { return Err("names no host".to_owned()) };
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        "http" => return Err("https is needed; http only with allow_private = true, in a network of your own".to_owned()),
        other => return Err(format!("{other} is not spoken: give https")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("names a user or password: leave them out, notices are signed".to_owned());
    }
    match address::literal(host) {
        Some(ip) if !allow_private && !address::is_public(ip) => Err(format!("{ip} is a private address: allow_private = true allows it")),
        _ => Ok(url),
    }
}

/// `90s`, `5m`, `4h`, `2d`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "url = 'https://hooks.example.org/x'\n";
    const SECRET: &str = "secret = 'a secret of some length'\n";

    fn webhook(text: &str) -> Webhook {
        Settings::parse(&format!("[notify]\n{text}")).unwrap().webhook().unwrap().unwrap()
    }

    #[test]
    fn two_lines_are_enough() {
        assert!(Settings::parse("").unwrap().webhook().unwrap().is_none());
        let hook = webhook(&format!("{URL}{SECRET}"));
        assert_eq!((hook.causes.len(), hook.silent_after, hook.allow_private), (4, Duration::from_secs(4 * 3_600), false));
        assert_eq!(hook.key.bytes(), b"a secret of some length");
        let hook = webhook(
            "url = ['http://10.0.0.1/a', 'https://b.example']\nsecret = 'whsec_MDEyMzQ1Njc4OWFiY2RlZg=='\nevents = ['silence']\nsilent_after = '90m'\nallow_private = true",
        );
        assert_eq!((hook.urls.len(), hook.silent_after, hook.key.bytes()), (2, Duration::from_secs(5_400), b"0123456789abcdef".as_slice()));
        assert_eq!(hook.causes, BTreeSet::from([Cause::Silence]));
    }

    #[test]
    fn a_secret_can_be_kept_in_a_file_beside() {
        let folder = tempfile::tempdir().unwrap();
        let toml = folder.path().join("rejoin.toml");
        std::fs::write(&toml, format!("[notify]\n{URL}\nsecret_file = 'hook.secret'")).unwrap();
        let settings = Settings::load(&toml).unwrap();
        let error = settings.webhook().unwrap_err();
        assert_eq!(error.line, 4);
        assert!(error.to_string().contains("hook.secret"), "{error}");
        std::fs::write(folder.path().join("hook.secret"), "0123456789abcdef\n").unwrap();
        assert_eq!(settings.webhook().unwrap().unwrap().key.bytes(), b"0123456789abcdef");
        std::fs::write(folder.path().join("hook.secret"), "short\n").unwrap();
        assert!(!settings.webhook().unwrap_err().to_string().contains("short\n"));
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_no_secret_is_shown() {
        for (text, line, words) in [
            (SECRET.to_owned(), 1, "missing field `url`"),
            (URL.to_owned(), 2, "there is no secret"),
            (format!("{URL}secret = 'hidden'"), 3, "6 bytes are too short"),
            (format!("{URL}secret = 'whsec_hidden!'"), 3, "no Base64"),
            (format!("{URL}secret = 5551234"), 3, "cannot be read"),
            (format!("{URL}secret = 'hidden"), 3, "cannot be read"),
            (format!("{URL}{SECRET}secret_file = 'x'"), 4, "there is a secret already"),
            (format!("{SECRET}url = 'hooks.example.org'"), 3, "is no URL"),
            (format!("{SECRET}url = []"), 3, "0 URLs"),
            (format!("{SECRET}url = 'ftp://hooks.example.org'"), 3, "ftp is not spoken"),
            (format!("{SECRET}url = 'http://hooks.example.org'"), 3, "https is needed"),
            (format!("{SECRET}url = 'https://a:hidden@hooks.example.org'"), 3, "names a user or password"),
            (format!("{SECRET}url = ['https://a.example', 'https://[::1]/hidden']"), 3, "URL 2: ::1 is a private address"),
            (format!("{SECRET}url = 'https://0x7f.1/'"), 3, "127.0.0.1 is a private address"),
            (format!("{SECRET}url = 'https://2130706433/'"), 3, "127.0.0.1 is a private address"),
            (format!("{SECRET}url = 'https://[::ffff:10.0.0.1]/'"), 3, "is a private address"),
            (format!("{URL}{SECRET}events = ['all']"), 4, "unknown variant `all`"),
            (format!("{URL}{SECRET}silent_after = '4'"), 4, "is no time from 1m to 365d"),
            (format!("{URL}{SECRET}silent_after = '59s'"), 4, "is no time from 1m to 365d"),
            (format!("{URL}{SECRET}silent_after = '366d'"), 4, "is no time from 1m to 365d"),
            (format!("{URL}{SECRET}silent = '4h'"), 4, "unknown field `silent`"),
        ] {
            let error = Settings::parse(&format!("[notify]\n{text}")).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert!(!error.to_string().contains("hidden") && !error.to_string().contains("5551234"), "{error}");
        }
        let settings = Settings::parse(&format!("[notify]\n{URL}{SECRET}")).unwrap();
        assert!(!format!("{settings:?} {:?}", settings.webhook()).contains("a secret"));
    }
}
