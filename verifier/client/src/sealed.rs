//! Sealed requests (OHTTP): the guest is attested over any path, and only it can open what is sent.
//!
//! The key comes out of the verified keyset, always: not out of the gateway's key list, and not out of an error. Who carries
//! the messages (a relay, a proxy, a host) sees sizes and times.

mod carrier;
mod stream;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_attestation::padding::Padding;
use hanzo_attestation::{Nonce, UnixTime, bundle};
use hanzo_pqc::hpke::message::MessageKem;
use hanzo_sealed::bhttp::{Field, INDETERMINATE_END, RequestHead, content_piece, request_start};
use hanzo_sealed::chunked::{self, PART_BYTES_MAX, RequestSealer, ResponseOpener};
use hanzo_sealed::config::{KEY_LIFE_S, KeyConfig, Protocol};
use hanzo_sealed::ohttp::{GATEWAY_PATH, KEY_PROBLEM};
use hanzo_sealed::padding::{PADDING_HEADER, fill};
use hanzo_verifier::VerifierContext;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};

use crate::connection::{describe, exchange, within};
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::limits::Limits;
use crate::pinned::{Clock, Pinned, system_clock};
use crate::receipts::Tally;
use crate::records::Records;
use crate::request::{ChannelRequest, OWNER_HEADER, check_padding};
use crate::state::StateDir;

use carrier::Wire;
pub use carrier::{Relay, RelayUrl};
pub use stream::SealedBody;

/// Longest refusal of a gateway that is read, in bytes.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;
/// What is asked to hear whether a guest still has its key: something small that every guest answers.
const PROBE_PATH: &str = "/v1/models";
/// How long before the end of a key's life a client looks for the next one, and how long it waits to look again, in seconds.
const RENEW_BEFORE_S: u64 = 60;
const RENEW_AGAIN_S: u64 = 10;

/// What a client of sealed messages needs to know.
pub struct SealedConfig {
    /// Where the guest is attested and, without a relay, where messages are handed over: the guest's listener for them, or
    /// somebody before it. Authorises nothing.
    pub gateway: Endpoint,
    /// An HTTP proxy to tunnel through to the gateway.
    pub proxy: Option<Endpoint>,
    /// A relay (RFC 9458) that carries the messages, so that who receives them does not see who sends them.
    pub relay: Option<Relay>,
    /// Roots, collateral and the appraisal policy.
    pub context: VerifierContext,
    /// Where bundles, receipts, the newest release and the owner secret are kept; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// What lengths requests and answers have on the wire.
    pub padding: Padding,
    /// Bounds.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
}

impl SealedConfig {
    /// With default bounds, the machine's clock, no relay, no padding and no state.
    pub fn new(gateway: Endpoint, context: VerifierContext) -> Self {
        Self {
            gateway,
            proxy: None,
            relay: None,
            context,
            state_dir: None,
            padding: Padding::Off,
            limits: Limits::default(),
            clock: system_clock(),
        }
    }
}

/// A verdict and the key that it vouches for.
struct SealedPin {
    pinned: Arc<Pinned>,
    key: KeyConfig,
    /// From then on the guest is attested again, since the key will soon be gone.
    renew_at: UnixTime,
    /// When the guest last showed that it has the key.
    shown_at: Mutex<Instant>,
}

impl SealedPin {
    fn shown(&self) {
        *self.shown_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn shown_for(&self) -> Duration {
        self.shown_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// A client of one attested guest, by sealed messages alone. Cheap to clone; clones share verdict and records.
#[derive(Clone)]
pub struct SealedClient {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    gateway: Endpoint,
    proxy: Option<Endpoint>,
    relay: Option<Relay>,
    pub(crate) padding: Padding,
    pub(crate) limits: Limits,
    pub(crate) records: Records,
    pin: RwLock<Option<Arc<SealedPin>>>,
    /// Held while attesting, so that a burst of requests asks once.
    attesting: tokio::sync::Mutex<()>,
}

impl SealedClient {
    /// Makes a client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ClientError::State`] if the state directory cannot be used or no owner secret can be drawn.
    pub fn new(config: SealedConfig) -> Result<Self, ClientError> {
        let records = Records::open(config.state_dir.as_deref(), config.context, config.clock)?;
        Ok(Self {
            inner: Arc::new(Inner {
                gateway: config.gateway,
                proxy: config.proxy,
                relay: config.relay,
                padding: config.padding,
                limits: config.limits,
                records,
                pin: RwLock::new(None),
                attesting: tokio::sync::Mutex::new(()),
            }),
        })
    }

    /// The verdict in force; attests first if there is none or it is too old.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn verdict(&self) -> Result<Arc<Pinned>, ClientError> {
        Ok(self.inner.pin(None).await?.pinned.clone())
    }

    /// Seals and sends one request; the answer's body streams as its parts open.
    ///
    /// If the gateway says that the key is not the guest's, the next request attests the guest again. This one is sealed anew
    /// only if it may be asked twice ([`ChannelRequest::repeatable`]) and the guest shows another keyset: whoever carries
    /// messages can say so at will, and may have handed over the first. So a request that may not be asked twice waits, when
    /// nothing was heard of the guest for a while ([`Limits::sealed_key_trusted_for`]), until a small one that may was answered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: ChannelRequest) -> Result<Response<SealedBody>, ClientError> {
        let inner = &self.inner;
        let mut pin = inner.pin(None).await?;
        if !request.is_repeatable() && pin.shown_for() >= inner.limits.sealed_key_trusted_for {
            pin = inner.ask_repeatable(pin, &ChannelRequest::get(PROBE_PATH)).await?.0;
        }
        if request.is_repeatable() {
            return Ok(inner.ask_repeatable(pin, &request).await?.1);
        }
        let asked = inner.exchange(&pin, &request).await;
        if matches!(asked, Err(ClientError::SealedKey)) {
            inner.forget(&pin);
        }
        asked
    }

    /// Where messages go, for people.
    pub fn destination(&self) -> String {
        match &self.inner.relay {
            Some(relay) => format!("{} through {}", self.inner.gateway, relay.url),
            None => self.inner.gateway.to_string(),
        }
    }

    /// The state directory, if there is one.
    pub fn state(&self) -> Option<&StateDir> {
        self.inner.records.state.as_ref()
    }

    /// How receipts came out so far.
    pub fn tally(&self) -> Tally {
        self.inner.records.tally()
    }
}

impl Inner {
    /// Asks what may be asked twice: once more if the key is said to be unknown and the guest shows another keyset. Returns the pin
    /// that was answered under too.
    async fn ask_repeatable(
        &self,
        pin: Arc<SealedPin>,
        request: &ChannelRequest,
    ) -> Result<(Arc<SealedPin>, Response<SealedBody>), ClientError> {
        match self.exchange(&pin, request).await {
            Err(ClientError::SealedKey) => {
                self.forget(&pin);
                let again = self.pin(Some(&pin)).await?;
                if again.pinned.keyset_digest() == pin.pinned.keyset_digest() {
                    return Err(ClientError::SealedKey);
                }
                let answer = self.exchange(&again, request).await?;
                Ok((again, answer))
            }
            answered => Ok((pin, answered?)),
        }
    }

    /// Uses `pin` no longer.
    fn forget(&self, pin: &Arc<SealedPin>) {
        let mut known = self.pin.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, pin)) {
            *known = None;
        }
    }

    fn known(&self, refused: Option<&Arc<SealedPin>>) -> Option<Arc<SealedPin>> {
        let pin = self.pin.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, &pin));
        let now = self.records.now();
        (!is_refused && now < pin.renew_at && pin.pinned.is_fresh(now)).then_some(pin)
    }

    /// The pin in force, and another one than `refused`.
    async fn pin(&self, refused: Option<&Arc<SealedPin>>) -> Result<Arc<SealedPin>, ClientError> {
        if let Some(pin) = self.known(refused) {
            return Ok(pin);
        }
        let _alone = self.attesting.lock().await;
        if let Some(pin) = self.known(refused) {
            return Ok(pin);
        }
        let pin = Arc::new(self.attest().await?);
        *self.pin.write().unwrap_or_else(PoisonError::into_inner) = Some(pin.clone());
        Ok(pin)
    }

    async fn attest(&self) -> Result<SealedPin, ClientError> {
        let mut challenge = [0; 32];
        hanzo_pqc::random::fill(&mut challenge).map_err(|_| ClientError::Random)?;
        let challenge = Nonce(challenge);
        let request = Request::builder()
            .uri(format!("{ATTESTATION_PATH}?challenge={challenge}"))
            .header(header::HOST, self.gateway.to_string())
            .body(Full::default())
            .map_err(|_| ClientError::Request { detail: "attestation" })?;
        let mut wire = self.to_gateway().await?;
        let asked = exchange(&mut wire.sender, request, bundle::BUNDLE_BYTES_MAX);
        let (status, body) = within(&self.gateway, "attestation", self.limits.attestation, asked)
            .await?
            .map_err(|e| ClientError::AttestationAnswer { got: e.to_string() })?;
        if status != StatusCode::OK {
            return Err(ClientError::AttestationAnswer {
                got: describe(status, &body),
            });
        }
        let now = self.records.now();
        let pinned = Pinned::verified(body.to_vec(), challenge, &self.records.context, now)?;
        self.records.check(&pinned)?;
        let mut keys = pinned.keyset().ohttp_keys.iter();
        let ours = |k: &&hanzo_attestation::keyset::OhttpKey| {
            k.protocol == Protocol::Ohttp.name() && k.kem == MessageKem::Xwing.name()
        };
        let key = KeyConfig::from_keyset(keys.find(ours).ok_or(ClientError::NoSealedKey)?)?;
        self.records.keep(&pinned).await?;
        tracing::info!(keyset = %pinned.keyset_digest(), "guest attested for sealed messages");
        let last = pinned.keyset().issued_at.saturating_add(KEY_LIFE_S);
        let soon = last.saturating_sub(RENEW_BEFORE_S);
        Ok(SealedPin {
            pinned: Arc::new(pinned),
            key,
            renew_at: UnixTime(soon.max(now.0.saturating_add(RENEW_AGAIN_S))),
            shown_at: Mutex::new(Instant::now()),
        })
    }

    async fn to_gateway(&self) -> Result<Wire, ClientError> {
        // A relay that carries evidence too is spoken to in one way.
        if let Some(relay) = self
            .relay
            .as_ref()
            .filter(|relay| *relay.url.endpoint() == self.gateway)
        {
            return relay.wire(&self.limits).await;
        }
        Wire::to(&self.gateway, self.proxy.as_ref(), None, &self.limits).await
    }

    async fn exchange(&self, pin: &SealedPin, request: &ChannelRequest) -> Result<Response<SealedBody>, ClientError> {
        request.check_tier(&pin.pinned)?;
        let (sealed, opener) = self.seal(pin, request)?;
        let (path, host) = match &self.relay {
            Some(relay) => (relay.url.path(), relay.url.endpoint().to_string()),
            None => (GATEWAY_PATH, self.gateway.to_string()),
        };
        let outer = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, chunked::REQUEST_MEDIA_TYPE)
            .body(Full::from(sealed))
            .map_err(|_| ClientError::Request { detail: "gateway" })?;
        let mut wire = match &self.relay {
            Some(relay) => relay.wire(&self.limits).await?,
            None => self.to_gateway().await?,
        };
        let after = self.limits.answer_head;
        let answer = tokio::time::timeout(after, wire.sender.send_request(outer))
            .await
            .map_err(|_| ClientError::Stalled { after })?
            .map_err(|e| ClientError::Exchange { detail: e.to_string() })?;
        let media_type = answer.headers().get(header::CONTENT_TYPE).map(|v| v.as_bytes());
        if answer.status() != StatusCode::OK || media_type != Some(chunked::RESPONSE_MEDIA_TYPE.as_bytes()) {
            return Err(refusal(answer).await);
        }
        let gap = self.limits.answer_gap;
        let answer = stream::open(answer.into_body(), opener, wire, gap, pin.pinned.clone()).await?;
        pin.shown();
        check_padding(self.padding, answer.headers())?;
        Ok(answer)
    }

    fn seal(&self, pin: &SealedPin, request: &ChannelRequest) -> Result<(Vec<u8>, ResponseOpener), ClientError> {
        let http = request.clone().into_http(pin.pinned.keyset_digest())?;
        let mut fields: Vec<Field> = http
            .headers()
            .iter()
            .filter(|(name, _)| *name != header::HOST)
            .map(|(name, value)| Field::new(name.as_str(), value.as_bytes()))
            .collect();
        let owner = self.records.owner.header(&pin.pinned)?;
        fields.push(Field::new(OWNER_HEADER, owner.as_bytes()));
        if self.padding > Padding::Off {
            fields.push(Field::new(PADDING_HEADER, self.padding.name()));
        }
        let head = RequestHead {
            method: http.method().to_string(),
            scheme: "https".into(),
            authority: "guest".into(),
            path: http.uri().to_string(),
            fields,
        };
        let (mut sealed, mut sealer, opener) = RequestSealer::begin(&pin.key, pin.key.preferred()?)?;
        let mut message = request_start(&head);
        message.extend_from_slice(&content_piece(request.body()));
        message.extend_from_slice(&INDETERMINATE_END);
        fill(self.padding, 0, &mut message);
        let (parts, last) = message.split_at(message.len().saturating_sub(1) / PART_BYTES_MAX * PART_BYTES_MAX);
        for part in parts.chunks(PART_BYTES_MAX) {
            sealed.extend_from_slice(&sealer.part(part)?);
        }
        sealed.extend_from_slice(&sealer.last(last)?);
        Ok((sealed, opener))
    }
}

/// What an answer in clear comes to. Anybody on the path may have written it.
async fn refusal(answer: Response<Incoming>) -> ClientError {
    let status = answer.status();
    let read = Limited::new(answer.into_body(), PROBLEM_BYTES_MAX).collect();
    let body = match tokio::time::timeout(std::time::Duration::from_secs(10), read).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    let kind = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let kind = kind.as_ref().and_then(|v| v.get("type")).and_then(|t| t.as_str());
    if status == StatusCode::BAD_REQUEST && kind == Some(KEY_PROBLEM) {
        ClientError::SealedKey
    } else {
        ClientError::SealedAnswer {
            got: describe(status, &body),
        }
    }
}
