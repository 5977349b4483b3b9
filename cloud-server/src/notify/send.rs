//! One attempt to deliver one notice to one receiver: Standard Webhooks over HTTP.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::address::{self, Guarded, Lookup};
use crate::settings::{SigningKey, Webhook};

/// Who a notice goes to.
#[derive(Debug, Clone)]
pub(super) struct Receiver {
    pub(super) url: Url,
    /// Its host, and a few digits that tell two of one host apart. The rest of the URL may be a secret.
    pub(super) label: String,
}

impl Receiver {
    pub(super) fn new(url: Url) -> Self {
        let digest = hex::encode(Sha256::digest(url.as_str()));
        let label = format!("{}#{}", url.host_str().unwrap_or_default(), &digest[..8]);
        Self { url, label }
    }
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Try again later.
    Later(String),
    /// The receiver says that it never wants it (410).
    Gone,
}

/// Sends notices.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    client: Client,
    key: SigningKey,
    allow_private: bool,
}

impl Sender {
    /// Prepares a sender that connects nowhere but to allowed addresses, follows no redirect and asks no proxy.
    pub(super) fn new(webhook: &Webhook, timeout: Duration, lookup: Lookup) -> reqwest::Result<Self> {
        let client = Client::builder()
            .user_agent(concat!("rejoin/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(0)
            .https_only(!webhook.allow_private)
            .dns_resolver(std::sync::Arc::new(Guarded { lookup, allow_private: webhook.allow_private }))
            .build()?;
        Ok(Self { client, key: webhook.key.clone(), allow_private: webhook.allow_private })
    }

    /// Sends one notice at this moment (seconds since 1970).
    pub(super) async fn send(&self, receiver: &Receiver, id: Uuid, body: &str, at: i64) -> Result<(), Failure> {
        // An address in the URL never gets to the resolver.
        let literal = receiver.url.host_str().and_then(address::literal);
        if let Some(ip) = literal.filter(|ip| !self.allow_private && !address::is_public(*ip)) {
            return Err(Failure::Later(format!("{ip} is a private address")));
        }
        let request = self
            .client
            .post(receiver.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id.to_string())
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", signature(&self.key, &id.to_string(), at, body))
            .body(body.to_owned());
        // What it answers is not read: nothing of it is needed, and it could be anything.
        match request.send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(StatusCode::GONE) => Err(Failure::Gone),
            Ok(status) if status.is_redirection() => Err(Failure::Later(format!("answered {status}: redirects are not followed"))),
            Ok(status) => Err(Failure::Later(format!("answered {status}"))),
            Err(error) => Err(Failure::Later(in_words(error))),
        }
    }
}

/// `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`.
fn signature(key: &SigningKey, id: &str, at: i64, body: &str) -> String {
    // HMAC takes keys of every length; an empty signature would be refused, not believed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.bytes()) else { return String::new() };
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The error with its causes, without the URL.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the reference libraries (standard-webhooks, "sign" of every language's tests).
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_label_names_the_host_and_hides_the_rest() {
        let one = Receiver::new(Url::parse("https://hooks.example.org/services/T0/hidden").unwrap());
        let two = Receiver::new(Url::parse("https://hooks.example.org/services/T0/other").unwrap());
        assert!(one.label.starts_with("hooks.example.org#") && !one.label.contains("hidden") && one.label != two.label, "{}", one.label);
    }
}
