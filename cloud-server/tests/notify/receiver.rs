//! Somebody outside who is told. Checks what comes by the words of the Standard Webhooks specification, not by our code.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The key's bytes, and the secret that says them.
pub(crate) const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// The secret as `rejoin.toml` has it.
pub(crate) fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) json: Value,
}

#[derive(Default)]
struct Desk {
    answers: VecDeque<u16>,
    received: Vec<Received>,
}

/// A receiver on a real socket.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    desk: Arc<Mutex<Desk>>,
}

impl Receiver {
    /// Listens; gives these answers, then 204 to everything.
    pub(crate) async fn start(answers: &[u16]) -> Self {
        let desk = Arc::new(Mutex::new(Desk { answers: answers.iter().copied().collect(), received: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(take).with_state(desk.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, desk }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.desk.lock().unwrap().received.clone()
    }

    /// From now on: these answers, then 204.
    pub(crate) fn answer(&self, answers: &[u16]) {
        self.desk.lock().unwrap().answers = answers.iter().copied().collect();
    }

    /// Waits until this many messages came.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        for _ in 0..600 {
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{count} messages did not come: {:?}", self.received());
    }
}

async fn take(State(desk): State<Arc<Mutex<Desk>>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
    let age = chrono::Utc::now().timestamp() - timestamp.parse::<i64>().unwrap();
    assert!((-5..60).contains(&age), "the timestamp is that of the attempt: {timestamp}");
    let body = String::from_utf8(body.to_vec()).unwrap();
    let signed = format!("{id}.{timestamp}.{body}");
    let expected = format!("v1,{}", STANDARD.encode(hmac_sha256(KEY, signed.as_bytes())));
    if text("webhook-signature") != expected {
        return (StatusCode::UNAUTHORIZED, "not signed").into_response();
    }
    assert_eq!(text("content-type"), "application/json");
    let json = serde_json::from_str(&body).unwrap();
    let mut desk = desk.lock().unwrap();
    desk.received.push(Received { id, body, json });
    let status = StatusCode::from_u16(desk.answers.pop_front().unwrap_or(204)).unwrap();
    (status, [(header::LOCATION, "/elsewhere")]).into_response()
}

/// RFC 2104, for a key of at most 64 bytes.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}
