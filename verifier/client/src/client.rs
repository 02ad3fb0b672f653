//! The client: one guest, many proven connections.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use hanzo_attestation::padding::Padding;
use hanzo_verifier::{VerifierContext, VerifyError};
use http_body_util::Full;
use hyper::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::ProvenBody;
use crate::connection::{Proven, SendError, Unproven};
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::limits::Limits;
use crate::pinned::{Clock, Pinned, system_clock};
use crate::receipts::Tally;
use crate::records::Records;
use crate::request::{self, ChannelRequest};
use crate::state::StateDir;
use crate::tls;

/// What a client needs to know.
pub struct ClientConfig {
    /// Where the guest (or a proxy before it) is reached. Authorises nothing.
    pub endpoint: Endpoint,
    /// An HTTP proxy to tunnel through; as untrusted as the rest of the path.
    pub proxy: Option<Endpoint>,
    /// Roots, collateral and the appraisal policy.
    pub context: VerifierContext,
    /// Where bundles, receipts and the owner secret are kept; `None`: nowhere, and the owner secret lives as long as
    /// the client.
    pub state_dir: Option<PathBuf>,
    /// What lengths requests and answers have on the wire.
    pub padding: Padding,
    /// Bounds.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
}

impl ClientConfig {
    /// With default bounds, the machine's clock, no padding and no state.
    pub fn new(endpoint: Endpoint, context: VerifierContext) -> Self {
        Self {
            endpoint,
            proxy: None,
            context,
            state_dir: None,
            padding: Padding::Off,
            limits: Limits::default(),
            clock: system_clock(),
        }
    }
}

/// A client of one attested guest. Cheap to clone; clones share connections and verdict.
#[derive(Clone)]
pub struct AttestedClient {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    endpoint: Endpoint,
    proxy: Option<Endpoint>,
    tls: Arc<rustls::ClientConfig>,
    pub(crate) padding: Padding,
    pub(crate) limits: Limits,
    pub(crate) records: Records,
    pinned: RwLock<Option<Arc<Pinned>>>,
    /// Held while attesting, so that a burst of connections asks once.
    attesting: tokio::sync::Mutex<()>,
    idle: Mutex<Vec<Proven>>,
    permits: Arc<Semaphore>,
}

impl AttestedClient {
    /// Makes a client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ClientError::State`] if the state directory cannot be used, [`ClientError::Tls`] if the TLS provider is broken.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let records = Records::open(config.state_dir.as_deref(), config.context, config.clock)?;
        Ok(Self {
            inner: Arc::new(Inner {
                endpoint: config.endpoint,
                proxy: config.proxy,
                tls: tls::client_config()?,
                padding: config.padding,
                limits: config.limits,
                records,
                pinned: RwLock::new(None),
                attesting: tokio::sync::Mutex::new(()),
                idle: Mutex::new(Vec::new()),
                permits: Arc::new(Semaphore::new(config.limits.connections_max)),
            }),
        })
    }

    /// The verdict in force: attests and proves a connection first if there is none or it is too old.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn verdict(&self) -> Result<Arc<Pinned>, ClientError> {
        if let Some(pinned) = self.inner.fresh() {
            return Ok(pinned);
        }
        let lease = self.inner.lease().await?;
        lease.give_back();
        self.inner.pinned().ok_or(ClientError::ChannelKey)
    }

    /// The last verdict, however old; `None` before the first.
    pub fn last_verdict(&self) -> Option<Arc<Pinned>> {
        self.inner.pinned()
    }

    /// Sends one request over a proven connection. The answer's body streams, with its padding if there is any.
    ///
    /// It is sent again, on another proven connection, only if the first was closed before a byte of it was written.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: ChannelRequest) -> Result<Response<ProvenBody>, ClientError> {
        let padding = self.inner.padding;
        // Each turn either takes a closed connection out of the pool or opens a new one.
        for _ in 0..=self.inner.limits.idle_max {
            let mut lease = self.inner.lease().await?;
            request.check_tier(lease.pinned())?;
            let owner = self.inner.records.owner.header(lease.pinned())?;
            let keyset = *lease.pinned().keyset_digest();
            let http = request.clone().into_padded_http(owner, padding, &keyset)?;
            match self.inner.try_send(&mut lease, http).await {
                Ok(answer) => {
                    request::check_padding(padding, answer.headers())?;
                    return Ok(answer.map(|body| ProvenBody::new(body, lease)));
                }
                Err(SendError::Broken(e)) => return Err(e),
                Err(SendError::NotSent) => {}
            }
        }
        Err(ClientError::Exchange {
            detail: "every connection was closed before the request was sent".into(),
        })
    }

    /// Where the guest is reached.
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// The state directory, if there is one.
    pub fn state(&self) -> Option<&StateDir> {
        self.inner.records.state.as_ref()
    }

    /// How receipts came out so far.
    pub fn tally(&self) -> Tally {
        self.inner.records.tally()
    }

    /// Idle proven connections.
    pub fn idle_connections(&self) -> usize {
        self.inner.idle().len()
    }
}

impl Inner {
    fn pinned(&self) -> Option<Arc<Pinned>> {
        self.pinned.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The verdict in force.
    fn fresh(&self) -> Option<Arc<Pinned>> {
        self.pinned().filter(|p| p.is_fresh(self.records.now()))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Proven>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_send(
        &self,
        lease: &mut Lease,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<hyper::body::Incoming>, SendError> {
        let after = self.limits.answer_head;
        match tokio::time::timeout(after, lease.proven.try_send(request)).await {
            Ok(done) => done,
            Err(_) => Err(SendError::Broken(ClientError::Stalled { after })),
        }
    }

    /// A proven connection: an idle one of the keyset in force, or a new one.
    async fn lease(self: &Arc<Self>) -> Result<Lease, ClientError> {
        let wait = tokio::time::timeout(self.limits.connection_wait, self.permits.clone().acquire_owned());
        let Ok(Ok(permit)) = wait.await else {
            return Err(ClientError::Busy {
                limit: self.limits.connections_max,
            });
        };
        let lease = |proven| Lease {
            proven,
            _permit: permit,
            inner: self.clone(),
        };
        if let Some(pinned) = self.fresh() {
            loop {
                // Not `while let`: the lock must not be held over the await.
                let candidate = self.idle().pop();
                let Some(mut proven) = candidate else { break };
                if proven.pinned().keyset_digest() == pinned.keyset_digest()
                    && proven.is_usable(self.limits.idle_for).await
                {
                    proven.renew(pinned);
                    return Ok(lease(proven));
                }
            }
        }
        let mut proven = self.open().await?;
        if !proven.pinned().is_fresh(self.records.now()) {
            // The verdict ended while the proof was under way. Attest anew, once: a path that stalls that too is refused.
            proven = self.open().await?;
        }
        let now = self.records.now();
        if !proven.pinned().is_fresh(now) {
            let valid_until = proven.pinned().result().valid_until().0;
            return Err(VerifyError::Stale {
                valid_until,
                now: now.0,
            }
            .into());
        }
        Ok(lease(proven))
    }

    /// Opens and proves a connection; attests on it when there is no fresh verdict or the peer shows another keyset.
    async fn open(&self) -> Result<Proven, ClientError> {
        let connection = Unproven::open(&self.endpoint, self.proxy.as_ref(), self.tls.clone(), &self.limits).await?;
        let known = self.fresh();
        let (connection, seen) = match known {
            None => (connection, None),
            Some(pinned) => match connection.prove(&pinned).await {
                Ok(proven) => return Ok(proven),
                // A restarted guest has another keyset. If this peer is not such a guest, attesting it will tell.
                Err((connection, ClientError::SpkiMismatch { .. } | ClientError::ProofMismatch { .. })) => {
                    (connection, Some(*pinned.keyset_digest()))
                }
                Err((_, e)) => return Err(e),
            },
        };
        let _alone = self.attesting.lock().await;
        // Somebody else may have attested the same guest while this call waited.
        let connection = match self.fresh() {
            Some(pinned) if Some(pinned.keyset_digest()) != seen.as_ref() => match connection.prove(&pinned).await {
                Ok(proven) => return Ok(proven),
                Err((connection, _)) => connection,
            },
            _ => connection,
        };
        self.attest(connection).await
    }

    async fn attest(&self, mut connection: Unproven) -> Result<Proven, ClientError> {
        let Records { context, clock, .. } = &self.records;
        let fresh = Arc::new(Pinned::attest(&mut connection, context, clock).await?);
        self.records.check(&fresh)?;
        let proven = connection.prove(&fresh).await.map_err(|(_, e)| e)?;
        self.records.keep(&fresh).await?;
        let keyset_digest = *fresh.keyset_digest();
        tracing::info!(keyset = %keyset_digest, "guest attested and channel proven");
        *self.pinned.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        self.idle().retain(|c| *c.pinned().keyset_digest() == keyset_digest);
        Ok(proven)
    }
}

/// A proven connection on loan.
pub(crate) struct Lease {
    proven: Proven,
    _permit: OwnedSemaphorePermit,
    inner: Arc<Inner>,
}

impl Lease {
    pub(crate) fn pinned(&self) -> &Arc<Pinned> {
        self.proven.pinned()
    }

    pub(crate) fn answer_gap(&self) -> std::time::Duration {
        self.inner.limits.answer_gap
    }

    /// Back into the pool. A lease that is dropped instead closes its connection.
    pub(crate) fn give_back(mut self) {
        self.proven.rest();
        let mut idle = self.inner.idle();
        if idle.len() < self.inner.limits.idle_max {
            idle.push(self.proven);
        }
    }
}
