//! Carries bytes both ways until both sides closed, the connection idles too long, or the drain ends.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::transport::Stream;

/// One TLS record is at most 16,640 bytes; four of them per read.
const BUFFER_BYTES: usize = 64 * 1024;

/// How long a client may go on after the guest has closed: what it sends then is read by nobody.
const LINGER: Duration = Duration::from_secs(5);

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both sides closed.
    Closed,
    /// Nothing moved for the idle limit.
    Idle,
    /// A read or write failed.
    Broken,
}

/// Forwards between `client` and `guest`. Half-closes are passed on.
pub(crate) async fn forward<C: Stream, G: Stream>(client: C, guest: G, idle: Duration, metrics: &Metrics) -> Ended {
    let activity = Activity::new();
    let (client_read, client_write) = tokio::io::split(client);
    let (guest_read, guest_write) = tokio::io::split(guest);
    let up = pump(client_read, guest_write, &activity, &metrics.bytes_to_guest);
    let down = pump(guest_read, client_write, &activity, &metrics.bytes_to_client);
    let both = async {
        let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
        tokio::select! {
            up = &mut up => {
                up?;
                down.await
            }
            down = &mut down => {
                down?;
                tokio::time::timeout(LINGER, up).await.unwrap_or(Ok(()))
            }
        }
    };
    tokio::select! {
        both = both => match both {
            Ok(()) => Ended::Closed,
            Err(_) => Ended::Broken,
        },
        () = activity.idle_for(idle) => Ended::Idle,
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    activity: &Activity,
    counter: &prometheus_client::metrics::counter::Counter,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n = from.read(&mut buffer).await?;
        activity.touch();
        let Some(bytes) = buffer.get(..n).filter(|b| !b.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(bytes).await?;
        activity.touch();
        counter.inc_by(n as u64);
    }
}

/// When bytes last moved, in milliseconds after `start`.
struct Activity {
    start: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ms: AtomicU64::new(0),
        }
    }

    fn touch(&self) {
        self.last_ms
            .store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    async fn idle_for(&self, limit: Duration) {
        loop {
            let last = self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let end = last + limit;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}
