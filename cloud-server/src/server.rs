//! The listening end: TCP or TLS, patience with slow clients, an orderly stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use tokio::task::JoinHandle;

use crate::config::TlsFiles;

/// How long a client may take to send a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How often an idle HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const ALIVE_EVERY: Duration = Duration::from_secs(30);
const ALIVE_WAIT: Duration = Duration::from_secs(10);

/// A server that serves.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Listens and serves. The socket accepts connections when this returns.
    pub(crate) async fn start(listen: SocketAddr, tls: Option<&TlsFiles>, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let handle = Handle::new();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = match tls {
            Some(files) => {
                let config = RustlsConfig::from_pem_file(&files.cert, &files.key).await;
                let named = |error| io::Error::other(format!("{} with {}: {error}", files.cert.display(), files.key.display()));
                let config = config.map_err(named)?;
                let mut server = axum_server::from_tcp_rustls(listener, config)?.handle(handle.clone());
                be_patient(server.http_builder());
                tokio::spawn(server.serve(service))
            }
            None => {
                let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
                be_patient(server.http_builder());
                tokio::spawn(server.serve(service))
            }
        };
        Ok(Self { address, handle, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets requests under way end for up to `grace`, and returns when all connections are closed.
    pub(crate) async fn stop(mut self, grace: Duration) {
        self.handle.graceful_shutdown(Some(grace));
        let ended = tokio::time::timeout(grace + Duration::from_secs(1), &mut self.task).await;
        if ended.is_err() {
            self.handle.shutdown();
            self.task.abort();
        }
    }
}

fn be_patient(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(ALIVE_EVERY).keep_alive_timeout(ALIVE_WAIT).max_concurrent_streams(128);
}
