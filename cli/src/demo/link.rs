//! The uplink between a site and the cloud, as a TCP relay with a switch.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A link that can be cut and mended.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    up: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link to `target`, which is up. Port and address are its own.
    pub(crate) async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (up, state) = watch::channel(true);
        let task = tokio::spawn(carry_all(listener, target, state));
        Ok(Self { address, up, task })
    }

    /// The near end's address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection and lets none through.
    pub(crate) fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.up.send_replace(true);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry_all(listener: TcpListener, target: SocketAddr, up: watch::Receiver<bool>) {
    // The set goes with this task, and every connection with the set.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((near, _)) if *up.borrow() => drop(connections.spawn(carry(near, target, up.clone()))),
                // Cut: the connection is closed at once, as a router without uplink would.
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the link accepts nothing"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr, mut up: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = up.wait_for(|up| !up) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn says(link: &Link) -> Option<TcpStream> {
        let mut socket = TcpStream::connect(link.address).await.ok()?;
        socket.write_all(b"x").await.ok()?;
        let mut answer = [0];
        socket.read_exact(&mut answer).await.ok()?;
        Some(socket)
    }

    #[tokio::test]
    async fn a_cut_breaks_what_is_under_way_and_a_mended_link_carries_again() {
        let link = Link::start(echo().await).await.unwrap();
        let mut socket = says(&link).await.unwrap();
        link.cut();
        assert_eq!(socket.read(&mut [0]).await.unwrap_or(0), 0, "the connection ends");
        assert!(says(&link).await.is_none(), "nothing passes");
        link.mend();
        assert!(says(&link).await.is_some(), "it carries again");
    }
}
