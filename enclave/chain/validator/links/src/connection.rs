//! One proven connection: a reader that asks for room before it takes memory, and a writer with a bounded queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use commonware_runtime::IoBuf;
use hanzo_chain::ValidatorKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use crate::channel::Waiting;
use crate::error::LinkError;
use crate::frame::{HEAD_BYTES, PING, head, parse_head};
use crate::network::{Inner, Limits};

/// A message on its way out.
pub(crate) struct Leaving {
    pub(crate) channel: u64,
    pub(crate) message: IoBuf,
    pub(crate) _room: OwnedSemaphorePermit,
}

/// Queues of one connection: short messages do not wait behind blocks.
pub(crate) struct Queues {
    pub(crate) short: mpsc::UnboundedSender<Leaving>,
    pub(crate) long: mpsc::UnboundedSender<Leaving>,
    pub(crate) room: Arc<Semaphore>,
}

pub(crate) struct Drains {
    short: mpsc::UnboundedReceiver<Leaving>,
    long: mpsc::UnboundedReceiver<Leaving>,
}

/// Longest message that counts as short.
pub(crate) const SHORT_BYTES_MAX: usize = 160 * 1024;
/// What a message takes of a queue beside its bytes.
const MESSAGE_COST: usize = 256;

/// What a message of `len` bytes takes of a queue's room.
pub(crate) fn cost(len: usize) -> u32 {
    u32::try_from(len.saturating_add(MESSAGE_COST)).unwrap_or(u32::MAX)
}

impl Queues {
    pub(crate) fn new(limits: &Limits) -> (Self, Drains) {
        let (short, short_drain) = mpsc::unbounded_channel();
        let (long, long_drain) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(limits.queue_bytes));
        let drains = Drains {
            short: short_drain,
            long: long_drain,
        };
        (Self { short, long, room }, drains)
    }

    /// Queues a message; false if there is no room.
    pub(crate) fn push(&self, channel: u64, message: &IoBuf) -> bool {
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(cost(message.len())) else {
            return false;
        };
        let queue = if message.len() <= SHORT_BYTES_MAX {
            &self.short
        } else {
            &self.long
        };
        let leaving = Leaving {
            channel,
            message: message.clone(),
            _room: room,
        };
        queue.send(leaving).is_ok()
    }
}

/// Writes until the queues close or the peer takes nothing any more.
pub(crate) async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut drains: Drains,
    limits: &Limits,
    inner: &Inner,
) -> Result<(), LinkError> {
    loop {
        let next = tokio::select! {
            biased;
            next = drains.short.recv() => next,
            next = drains.long.recv() => next,
            () = tokio::time::sleep(limits.ping_every) => {
                let ping = async { to.write_all(&head(PING, 0)).await?; to.flush().await };
                within(limits.write_limit, ping).await?;
                continue;
            }
        };
        let Some(leaving) = next else {
            return Err(LinkError::Closed("its queue was taken away"));
        };
        let (bytes, more) = (
            leaving.message.len(),
            !drains.short.is_empty() || !drains.long.is_empty(),
        );
        let written = async {
            to.write_all(&head(leaving.channel, bytes)).await?;
            to.write_all(leaving.message.as_ref()).await?;
            if more { Ok(()) } else { to.flush().await }
        };
        within(limits.write_limit, written).await?;
        inner.counters.sent_messages.fetch_add(1, Ordering::Relaxed);
        inner.counters.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

async fn within(limit: Duration, step: impl Future<Output = std::io::Result<()>>) -> Result<(), LinkError> {
    match timeout(limit, step).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(LinkError::Timeout {
            step: "the peer takes what is sent",
            limit_ms: limit.as_millis(),
        }),
    }
}

/// What a peer may send in a second: beyond it, its connection waits, and nobody else's.
struct Rate {
    bytes: f64,
    messages: f64,
    since: Instant,
}

impl Rate {
    fn new(limits: &Limits) -> Self {
        Self {
            bytes: limits.rate_bytes as f64 * BURST_S,
            messages: limits.rate_messages as f64 * BURST_S,
            since: Instant::now(),
        }
    }

    async fn spend(&mut self, limits: &Limits, bytes: usize) {
        let now = Instant::now();
        let seconds = now.duration_since(self.since).as_secs_f64();
        self.since = now;
        let (rate_bytes, rate_messages) = (limits.rate_bytes as f64, limits.rate_messages as f64);
        self.bytes = (self.bytes + seconds * rate_bytes).min(rate_bytes * BURST_S) - bytes as f64;
        self.messages = (self.messages + seconds * rate_messages).min(rate_messages * BURST_S) - 1.0;
        let owed = (-self.bytes / rate_bytes).max(-self.messages / rate_messages);
        if owed > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(owed.min(60.0))).await;
        }
    }
}

/// Seconds of its rate that a peer may send at once.
const BURST_S: f64 = 2.0;

/// Reads until the peer is gone or breaks the protocol.
pub(crate) async fn read(
    mut from: impl AsyncRead + Unpin,
    peer: &ValidatorKey,
    limits: &Limits,
    inner: &Inner,
) -> Result<(), LinkError> {
    let room = Arc::new(Semaphore::new(limits.queue_bytes));
    let mut rate = Rate::new(limits);
    loop {
        let mut start = [0; HEAD_BYTES];
        let idle = |_| LinkError::Timeout {
            step: "the peer says that it is there",
            limit_ms: limits.idle_limit.as_millis(),
        };
        timeout(limits.idle_limit, from.read_exact(&mut start))
            .await
            .map_err(idle)??;
        let (channel, len) = parse_head(start);
        let reader = inner.reader_of(channel);
        let max = match (&reader, channel) {
            (_, PING) => 0,
            (Some(reader), _) => reader.max,
            (None, _) => limits.message_bytes_max,
        };
        if len > max {
            return Err(LinkError::TooLong {
                what: "message",
                max,
                got: len,
            });
        }
        rate.spend(limits, len.saturating_add(HEAD_BYTES)).await;
        let Some(reader) = reader else {
            skip(&mut from, len, limits).await?;
            continue;
        };
        // Room first, memory after: it is given back when the message was taken by its reader.
        let Ok(permit) = Arc::clone(&room).acquire_many_owned(cost(len)).await else {
            return Err(LinkError::Closed("its room was taken away"));
        };
        let mut message = vec![0; len];
        timeout(limits.write_limit, from.read_exact(&mut message))
            .await
            .map_err(idle)??;
        inner.counters.received_messages.fetch_add(1, Ordering::Relaxed);
        inner.counters.received_bytes.fetch_add(len as u64, Ordering::Relaxed);
        let waiting = Waiting {
            from: peer.clone(),
            message: IoBuf::from(message),
            room: permit,
        };
        let _ = reader.queue.send(waiting);
    }
}

/// Throws away a message that nobody here reads, in small pieces.
async fn skip(from: &mut (impl AsyncRead + Unpin), len: usize, limits: &Limits) -> Result<(), LinkError> {
    let mut piece = [0; 4096];
    let mut left = len;
    while let Some(part) = piece.get_mut(..left.min(4096)).filter(|part| !part.is_empty()) {
        let got = match timeout(limits.idle_limit, from.read(part)).await {
            Ok(Ok(0)) => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Ok(got) => got?,
            Err(_) => return Err(LinkError::Closed("it stopped within a message")),
        };
        left = left.saturating_sub(got);
    }
    Ok(())
}
