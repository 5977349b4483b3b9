//! A TCP relay that fails on demand: cut, or cut after so many bytes of answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// No bound on the bytes of an answer.
const UNBOUNDED: u64 = u64::MAX;

/// The uplink of a site.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    up: watch::Sender<bool>,
    /// How many more bytes each connection may carry from the cloud to the site.
    answer_bytes: Arc<AtomicU64>,
}

impl FaultProxy {
    /// A relay to the server at this URL, on a port of its own; it ends with the runtime.
    pub async fn start(url: &str) -> Self {
        let target: SocketAddr = url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (up, state) = watch::channel(true);
        let answer_bytes = Arc::new(AtomicU64::new(UNBOUNDED));
        tokio::spawn(carry_all(listener, target, state, answer_bytes.clone()));
        Self { address, up, answer_bytes }
    }

    /// The near end's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection and lets none through.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// From now on, breaks each connection once it has carried this many bytes to the site.
    pub fn cut_after(&self, bytes: u64) {
        self.answer_bytes.store(bytes, Ordering::SeqCst);
        // Connections that are kept alive would keep their old bound.
        self.up.send_replace(false);
        self.up.send_replace(true);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.answer_bytes.store(UNBOUNDED, Ordering::SeqCst);
        self.up.send_replace(false);
        self.up.send_replace(true);
    }
}

async fn carry_all(listener: TcpListener, target: SocketAddr, up: watch::Receiver<bool>, answer_bytes: Arc<AtomicU64>) {
    // The connections go with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let (Ok((near, _)), true) = (accepted, *up.borrow()) {
                connections.spawn(carry(near, target, up.clone(), answer_bytes.load(Ordering::SeqCst)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(near: TcpStream, target: SocketAddr, mut up: watch::Receiver<bool>, answer_bytes: u64) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ((mut near_in, mut near_out), (far_in, mut far_out)) = (near.into_split(), far.into_split());
    let mut answers = far_in.take(answer_bytes);
    up.mark_unchanged();
    tokio::select! {
        _ = tokio::io::copy(&mut near_in, &mut far_out) => {}
        _ = tokio::io::copy(&mut answers, &mut near_out) => {}
        // Any change ends the connection: cut, or cut and healed meanwhile.
        _ = up.changed() => {}
    }
    let _ = near_out.shutdown().await;
}
