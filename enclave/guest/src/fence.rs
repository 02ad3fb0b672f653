//! The fence of the guest's store at the key broker: one writer, and a log whose head only moves forward.
//!
//! A boot leases the store before it opens it, and holds its log against the head that the broker has: an older log is refused.
//! While it serves, a task moves the head after the log and stays the writer. A guest whose lease is over does not serve:
//! another may be writing.

use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::Nonce;
use hanzo_attestation::name::KeyId;
use hanzo_device::DeviceError;
use hanzo_device::clock::Moment;
use hanzo_device::entropy::mixed_seed;
use hanzo_kbs_protocol::heads::{HEADS_PATH, HeadError, HeldLease, StoreHead};
use hanzo_receipts::{LogHead, PublicLog, ReceiptLogError};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::clock::GrantClock;
use crate::grants::{GrantDesk, GrantsError};
use crate::kbs_http::{KbsConnection, KbsDoor, KbsHttpError};
use crate::options::OperatingLimits;

/// How often the head is moved, and what part of a lease may be left when it is renewed: so many times in one lease.
const BEATS: u32 = 8;
/// Pause between two questions for a lease that another guest holds.
const WAIT: Duration = Duration::from_secs(2);

/// Why a guest may not write its store.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Another guest holds the lease.
    #[error(
        "store {store}: another guest has its lease, after {waited_s} s of waiting: stop that guest, or give this one a store and a store key of its own (or writers = \"many\")"
    )]
    Held {
        /// Which store.
        store: String,
        /// For how long it was waited.
        waited_s: u64,
    },
    /// The store is older than the head at the broker.
    #[error(
        "store {store}: its log has {local} entries, the key broker holds a head of {fenced}: an older store was put back. Restore the newest one; if it is lost, an operator of the broker accepts this head (hanzo-kbs accept-store-head)"
    )]
    Older {
        /// Which store.
        store: String,
        /// Entries of the log in it.
        local: u64,
        /// Entries that the broker counts.
        fenced: u64,
    },
    /// The store holds another log.
    #[error(
        "store {store}: the first {fenced} entries of its log are not those that the key broker holds the head of: it is a copy that another guest went on with, or another store"
    )]
    Diverged {
        /// Which store.
        store: String,
        /// Entries that the broker counts.
        fenced: u64,
    },
    /// The lease ended before it could be renewed.
    #[error(
        "store {store}: the lease is over: {cause}: another guest may write now, so this one stops; start it again"
    )]
    Lost {
        /// Which store.
        store: String,
        /// The last thing that went wrong.
        cause: String,
    },
    /// The exchange failed.
    #[error("store {store}: {source}")]
    Http {
        /// Which store.
        store: String,
        /// What went wrong.
        source: KbsHttpError,
    },
    /// What came back is no answer to what was asked.
    #[error("store {store}: {source}")]
    Head {
        /// Which store.
        store: String,
        /// What went wrong.
        source: HeadError,
    },
    /// The log itself.
    #[error(transparent)]
    Log(#[from] ReceiptLogError),
    /// No entropy that the host cannot choose.
    #[error(transparent)]
    Entropy(#[from] DeviceError),
    /// A task of the guest died.
    #[error("internal: the task for the fence ended")]
    Ended,
}

impl FenceError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "fence.held",
            Self::Older { .. } => "fence.older_store",
            Self::Diverged { .. } => "fence.other_log",
            Self::Lost { .. } => "fence.lost",
            Self::Http { source, .. } => source.code(),
            Self::Head { source, .. } => source.code(),
            Self::Log(e) => e.code(),
            Self::Entropy(e) => e.code(),
            Self::Ended => "internal.task",
        }
    }

    /// Whether asking again may help while the lease lasts.
    fn is_passing(&self) -> bool {
        match self {
            // A broker that is busy or broken says 5xx; whatever else it says is a decision.
            Self::Http {
                source: KbsHttpError::Refused { status, .. },
                ..
            } => *status >= 500,
            Self::Http { .. } => true,
            _ => false,
        }
    }
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error(transparent)]
    Grants(#[from] GrantsError),
    #[error(transparent)]
    Fence(#[from] FenceError),
}

/// A lease that is kept in the background, from before the store is opened until after the last receipt.
pub(crate) struct Fenced {
    keeper: Arc<Mutex<Keeper>>,
    keeping: JoinHandle<FenceError>,
}

impl Drop for Fenced {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl Fenced {
    /// Leases the store `store`, whose key was granted; waits for a guest that died with the lease, as long as `limits` allow.
    ///
    /// # Errors
    /// [`FenceError::Held`]; what the broker or the way to it refuses.
    pub(crate) async fn lease(
        grants: &GrantDesk<'_>,
        store: &KeyId,
        door: Arc<KbsDoor>,
        clock: GrantClock,
        limits: &OperatingLimits,
    ) -> Result<Self, LeaseError> {
        let started = Moment::now();
        let (held, since) = loop {
            let sent = Moment::now();
            match grants.lease(store, limits.lease_s).await {
                Ok(held) => break (held, sent),
                Err(GrantsError::Http {
                    source: KbsHttpError::Refused { code, .. },
                    ..
                }) if code == "kbs.head.held" => {}
                Err(error) => return Err(error.into()),
            }
            let waited_s = started.elapsed().as_secs();
            if waited_s >= limits.lease_wait_s {
                let store = store.to_string();
                return Err(FenceError::Held { store, waited_s }.into());
            }
            tracing::warn!(%store, waited_s, "another guest has the store's lease; waiting for its end");
            tokio::time::sleep(WAIT).await;
        };
        tracing::info!(%store, token = held.state().token, head = held.state().head.size, "store leased");
        let keeper = Keeper {
            held,
            since,
            unanswered: None,
            door,
            clock,
            log: None,
            step: Duration::from_millis(limits.kbs_timeout_ms),
            lease_s: limits.lease_s,
        };
        let keeper = Arc::new(Mutex::new(keeper));
        let keeping = tokio::spawn(keep(Arc::clone(&keeper)));
        Ok(Self { keeper, keeping })
    }

    /// Holds the store's log against the head that the broker has, and moves that head to where the log stands.
    ///
    /// # Establishes
    /// The log has at least the entries that the broker counted, those are the same, and the broker now counts all of them.
    ///
    /// # Errors
    /// [`FenceError::Older`], [`FenceError::Diverged`]; as [`Fenced::advance`].
    pub(crate) async fn attach(&self, log: Arc<PublicLog>) -> Result<(), FenceError> {
        let mut keeper = self.keeper.lock().await;
        keeper.attach(log).await?;
        keeper.advance().await
    }

    /// Moves the head to where the log stands, and shows it.
    ///
    /// # Errors
    /// What the broker or the way to it refuses.
    pub(crate) async fn advance(&self) -> Result<(), FenceError> {
        self.keeper.lock().await.advance().await
    }

    /// Why the lease is over; returns when it is.
    pub(crate) async fn lost(&mut self) -> FenceError {
        (&mut self.keeping).await.unwrap_or(FenceError::Ended)
    }

    /// Moves the head for the last time and makes place for another writer. Nothing may be appended any more. What fails here is
    /// said and left: the lease ends by itself, and the next boot moves the head.
    pub(crate) async fn finish(self) {
        self.keeping.abort();
        let mut keeper = self.keeper.lock().await;
        let done = match keeper.advance().await {
            Ok(()) => keeper.release().await,
            Err(error) => Err(error),
        };
        told(done);
    }

    /// Makes place for another writer and leaves the head where it is.
    pub(crate) async fn release(self) {
        self.keeping.abort();
        told(self.keeper.lock().await.release().await);
    }
}

fn told(done: Result<(), FenceError>) {
    if let Err(error) = done {
        tracing::warn!(code = error.code(), "the lease was not given back: {error}");
    }
}

struct Keeper {
    held: HeldLease,
    /// When the request was sent whose answer counts: the lease is counted from then.
    since: Moment,
    /// A request whose answer did not come: it is sent again as it is, because it may have been carried out.
    unanswered: Option<(Vec<u8>, Nonce)>,
    door: Arc<KbsDoor>,
    clock: GrantClock,
    /// Once the store is open.
    log: Option<Arc<PublicLog>>,
    step: Duration,
    lease_s: u64,
}

impl Keeper {
    fn store(&self) -> String {
        self.held.state().store.to_string()
    }

    /// Until when this guest is the writer, with a part of the lease to spare.
    fn left(&self) -> Duration {
        let lease = Duration::from_secs(self.held.state().lease_s);
        (lease - lease / BEATS).saturating_sub(self.since.elapsed())
    }

    async fn attach(&mut self, log: Arc<PublicLog>) -> Result<(), FenceError> {
        let fenced = self.held.state().head;
        let (ours, local) = in_log(&log, move |log| Ok((log.head_at(fenced.size)?, log.head()?.size))).await?;
        match ours {
            None => Err(FenceError::Older {
                store: self.store(),
                local,
                fenced: fenced.size,
            }),
            Some(ours) if ours.root != fenced.root => Err(FenceError::Diverged {
                store: self.store(),
                fenced: fenced.size,
            }),
            Some(_) => {
                self.log = Some(log);
                Ok(())
            }
        }
    }

    /// Where the log stands; where the broker says, until there is a log.
    async fn head(&self) -> Result<StoreHead, FenceError> {
        match &self.log {
            None => Ok(self.held.state().head),
            Some(log) => {
                let LogHead { root, size } = in_log(log, PublicLog::head).await?;
                Ok(StoreHead { root, size })
            }
        }
    }

    /// Moves the head to where the log stands, or renews the lease if it stands there already; then shows that head.
    async fn advance(&mut self) -> Result<(), FenceError> {
        // What may have been carried out is answered first.
        self.ask().await?;
        let head = self.head().await?;
        let nonce = Nonce(*mixed_seed::<32>()?);
        let body = match head.size > self.held.state().head.size {
            true => self.held.advance_body(head, self.lease_s, nonce),
            false => self.held.renew_body(self.lease_s, nonce),
        };
        let body = body.map_err(|source| self.wrong(source))?;
        self.unanswered = Some((body, nonce));
        self.ask().await?;
        let size = self.held.state().head.size;
        match &self.log {
            Some(log) => in_log(log, move |log| log.show(size)).await,
            None => Ok(()),
        }
    }

    async fn release(&mut self) -> Result<(), FenceError> {
        self.ask().await?;
        let nonce = Nonce(*mixed_seed::<32>()?);
        let body = self.held.release_body(nonce).map_err(|source| self.wrong(source))?;
        self.unanswered = Some((body, nonce));
        self.ask().await
    }

    fn wrong(&self, source: HeadError) -> FenceError {
        FenceError::Head {
            store: self.store(),
            source,
        }
    }

    /// Sends what is unanswered, if something is, and takes the answer.
    async fn ask(&mut self) -> Result<(), FenceError> {
        let Some((body, nonce)) = self.unanswered.clone() else {
            return Ok(());
        };
        let store = self.store();
        let path = format!("{HEADS_PATH}{store}");
        let http = |source| FenceError::Http {
            store: store.clone(),
            source,
        };
        let sent = Moment::now();
        let now = Some(self.clock.now());
        let mut kbs = KbsConnection::open(&self.door, self.step, now).await.map_err(http)?;
        let reply = kbs.post("head", &path, body).await.map_err(http)?;
        let answered = self.held.answered(&reply, &nonce).map(|_| ());
        answered.map_err(|source| self.wrong(source))?;
        self.since = sent;
        self.unanswered = None;
        Ok(())
    }

    /// Whether there is something to move, or half of the lease is gone.
    async fn is_due(&self) -> Result<bool, FenceError> {
        let half = Duration::from_secs(self.held.state().lease_s) / 2;
        Ok(self.since.elapsed() >= half || self.head().await?.size > self.held.state().head.size)
    }

    /// One turn; whether all is well, or it must be tried again soon.
    async fn turn(&mut self, late: bool) -> Result<bool, FenceError> {
        if !late && !self.is_due().await? {
            return Ok(true);
        }
        let left = self.left();
        match tokio::time::timeout(left, self.advance()).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) if error.is_passing() && !self.left().is_zero() => {
                tracing::warn!(code = error.code(), "the lease is not renewed yet: {error}");
                Ok(false)
            }
            Ok(Err(error)) => Err(FenceError::Lost {
                store: self.store(),
                cause: format!("{error} [{}]", error.code()),
            }),
            Err(_) => Err(FenceError::Lost {
                store: self.store(),
                cause: "the key broker did not answer in time".into(),
            }),
        }
    }
}

/// Keeps the lease and moves the head, for as long as that succeeds.
async fn keep(keeper: Arc<Mutex<Keeper>>) -> FenceError {
    let beat = Duration::from_secs(keeper.lock().await.lease_s) / BEATS;
    let mut well = true;
    loop {
        tokio::time::sleep(if well { beat } else { beat / 4 }).await;
        well = match keeper.lock().await.turn(!well).await {
            Ok(well) => well,
            Err(error) => return error,
        };
    }
}

async fn in_log<T: Send + 'static>(
    log: &Arc<PublicLog>,
    read: impl FnOnce(&PublicLog) -> Result<T, ReceiptLogError> + Send + 'static,
) -> Result<T, FenceError> {
    let log = Arc::clone(log);
    let reading = spawn_blocking(move || read(&log));
    Ok(reading.await.map_err(|_| FenceError::Ended)??)
}
