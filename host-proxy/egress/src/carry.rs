//! Carrying bytes both ways within bounds.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::config::Limits;
use crate::metrics::{How, Metrics};

const PIECE_BYTES: usize = 16 * 1024;

/// Carries until both sides have ended or a bound is reached. A half-close passes.
pub(crate) async fn carry<G, N>(guest: G, name: N, limits: &Limits, metrics: &Metrics) -> How
where
    G: AsyncRead + AsyncWrite + Unpin,
    N: AsyncRead + AsyncWrite + Unpin,
{
    let moved = AtomicU64::new(0);
    let (mut from_guest, mut to_guest) = tokio::io::split(guest);
    let (mut from_name, mut to_name) = tokio::io::split(name);
    let up = one_way(&mut from_guest, &mut to_name, limits.bytes_max, |n| {
        moved.fetch_add(1, Ordering::Relaxed);
        metrics.bytes_to_name.inc_by(n);
    });
    let down = one_way(&mut from_name, &mut to_guest, limits.bytes_max, |n| {
        moved.fetch_add(1, Ordering::Relaxed);
        metrics.bytes_to_guest.inc_by(n);
    });
    let both = async {
        match tokio::try_join!(up, down) {
            Ok(_) => How::Closed,
            Err(how) => how,
        }
    };
    let idle = async {
        loop {
            let before = moved.load(Ordering::Relaxed);
            sleep(limits.idle).await;
            if moved.load(Ordering::Relaxed) == before {
                return How::Idle;
            }
        }
    };
    let bounded = async {
        tokio::select! {
            how = both => how,
            how = idle => how,
        }
    };
    timeout(limits.connection, bounded).await.unwrap_or(How::Time)
}

async fn one_way<R, W>(from: &mut R, to: &mut W, bytes_max: u64, moved: impl Fn(u64)) -> Result<(), How>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; PIECE_BYTES];
    let mut left = bytes_max;
    loop {
        let n = from.read(&mut buffer).await.map_err(|_| How::Broken)?;
        if n == 0 {
            // A side that is gone already needs no telling.
            let _ = to.shutdown().await;
            return Ok(());
        }
        left = left.checked_sub(n as u64).ok_or(How::Bytes)?;
        let piece = buffer.get(..n).unwrap_or_default();
        to.write_all(piece).await.map_err(|_| How::Broken)?;
        moved(n as u64);
    }
}
