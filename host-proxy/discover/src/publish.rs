//! Tells proxies over a Unix socket; they check every line.
//!
//! # Layout
//! See `host-proxy/SPEC.md`, "Discovery": `1`, then addresses, each after one space, then a newline. A line at every change and at
//! least every 10 s. When nothing is known any more the connection is closed, and others are closed at once.

use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::error::DiscoverError;

/// The guests, sorted; none while the API server does not say.
pub type Known = Option<Vec<SocketAddr>>;

const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a proxy may take to read a line.
const TAKE: Duration = Duration::from_secs(5);
/// Proxies at a time.
const READERS_MAX: usize = 64;

/// Serves until dropped.
///
/// # Errors
/// [`DiscoverError::Listen`] if the socket cannot be made; a socket that is left over from a process that is gone is replaced.
pub async fn publish(path: &Path, known: watch::Receiver<Known>) -> Result<std::convert::Infallible, DiscoverError> {
    let failed = |source| DiscoverError::Listen {
        path: path.display().to_string(),
        source,
    };
    if std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        if UnixStream::connect(path).await.is_ok() {
            return Err(failed(std::io::ErrorKind::AddrInUse.into()));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let places = Arc::new(Semaphore::new(READERS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            let known = known.clone();
            tokio::spawn(async move {
                tell(stream, known).await;
                drop(place);
            });
        }
    }
}

async fn tell(mut stream: UnixStream, mut known: watch::Receiver<Known>) {
    loop {
        let Some(line) = known.borrow_and_update().as_deref().map(line) else {
            return;
        };
        match tokio::time::timeout(TAKE, stream.write_all(line.as_bytes())).await {
            Ok(Ok(())) => {}
            _ => return,
        }
        if let Ok(Err(_)) = tokio::time::timeout(HEARTBEAT, known.changed()).await {
            return;
        }
    }
}

fn line(guests: &[SocketAddr]) -> String {
    let mut line = String::from("1");
    for guest in guests {
        line.push(' ');
        line.push_str(&guest.to_string());
    }
    line.push('\n');
    line
}
