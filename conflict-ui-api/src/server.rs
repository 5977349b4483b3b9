//! The listening end: TCP or TLS, patience with slow clients, an orderly stop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::{Extension, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a client may take to send a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How often an idle HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const ALIVE_EVERY: Duration = Duration::from_secs(30);
const ALIVE_WAIT: Duration = Duration::from_secs(10);

/// A certificate chain and its key, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads both files as [`Server::start`] will, so that a server can say that they are wrong before it does anything else.
    ///
    /// # Errors
    /// Which file cannot be read, or that the two cannot be used.
    pub async fn check(&self) -> io::Result<()> {
        self.load().await.map(drop)
    }

    async fn load(&self) -> io::Result<RustlsConfig> {
        let read = async |file: &Path| {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
            tokio::fs::read(file).await.map_err(named)
        };
        let (cert, key) = (read(&self.cert).await?, read(&self.key).await?);
        let named = |error| io::Error::other(format!("{} with {}: {error}", self.cert.display(), self.key.display()));
        RustlsConfig::from_pem(cert, key).await.map_err(named)
    }
}

/// In every request's extensions: cancelled when the server begins to stop. Answers that never end by themselves end then.
#[derive(Debug, Clone)]
pub struct Stopping(pub CancellationToken);

/// A server that serves.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    stopping: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Listens and serves. The socket accepts connections when this returns.
    ///
    /// # Errors
    /// The address cannot be listened on, or the TLS files cannot be used.
    pub async fn start(listen: SocketAddr, tls: Option<&TlsFiles>, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let handle = Handle::new();
        let stopping = CancellationToken::new();
        let service = router.layer(Extension(Stopping(stopping.clone()))).into_make_service_with_connect_info::<SocketAddr>();
        let task = match tls {
            Some(files) => {
                let config = files.load().await?;
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
        Ok(Self { address, handle, stopping, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets requests under way end for up to `grace`, and returns when all connections are closed.
    pub async fn stop(mut self, grace: Duration) {
        self.stopping.cancel();
        self.handle.graceful_shutdown(Some(grace));
        let ended = tokio::time::timeout(grace + Duration::from_secs(1), &mut self.task).await;
        if ended.is_err() {
            self.handle.shutdown();
            self.task.abort();
        }
    }
}

/// The URL of a listening address, as seen from this machine.
#[must_use]
pub fn local_url(address: SocketAddr, tls: bool) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{}://{}", if tls { "https" } else { "http" }, SocketAddr::new(ip, address.port()))
}

fn be_patient(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(ALIVE_EVERY).keep_alive_timeout(ALIVE_WAIT).max_concurrent_streams(128);
}
