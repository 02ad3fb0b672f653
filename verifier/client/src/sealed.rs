//! Sealed requests (OHTTP): the guest is attested over any path, and only it can open what is sent.
//!
//! The key comes out of the verified keyset, always: not out of the gateway's key list, and not out of an error. Who carries
//! the messages (a relay, a proxy, a host) sees sizes and times.

mod stream;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use hanzo_attestation::channel::ATTESTATION_PATH;
use hanzo_attestation::{Nonce, bundle};
use hanzo_pqc::hpke::message::MessageKem;
use hanzo_sealed::bhttp::{Field, INDETERMINATE_END, RequestHead, content_piece, request_start};
use hanzo_sealed::chunked::{self, PART_BYTES_MAX, RequestSealer, ResponseOpener};
use hanzo_sealed::config::{KeyConfig, Protocol};
use hanzo_sealed::ohttp::{GATEWAY_PATH, KEY_PROBLEM};
use hanzo_verifier::VerifierContext;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;

use crate::connection::{describe, exchange, within};
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::limits::Limits;
use crate::pinned::{Clock, Pinned, system_clock};
use crate::request::{ChannelRequest, OWNER_HEADER};
use crate::route;
use crate::state::OwnerSecret;

pub use stream::SealedBody;

/// Longest refusal of a gateway that is read, in bytes.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;

/// What a client of sealed messages needs to know.
pub struct SealedConfig {
    /// Where messages are handed over: the guest's listener for them, or a relay. Authorises nothing.
    pub gateway: Endpoint,
    /// An HTTP proxy to tunnel through.
    pub proxy: Option<Endpoint>,
    /// Roots, collateral and the appraisal policy.
    pub context: VerifierContext,
    /// Bounds.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
}

impl SealedConfig {
    /// With default bounds and the machine's clock.
    pub fn new(gateway: Endpoint, context: VerifierContext) -> Self {
        Self {
            gateway,
            proxy: None,
            context,
            limits: Limits::default(),
            clock: system_clock(),
        }
    }
}

/// A verdict and the key that it vouches for.
struct SealedPin {
    pinned: Arc<Pinned>,
    key: KeyConfig,
}

/// A client of one attested guest, by sealed messages alone.
pub struct SealedClient {
    config: SealedConfig,
    owner: OwnerSecret,
    pin: RwLock<Option<Arc<SealedPin>>>,
    /// Held while attesting, so that a burst of requests asks once.
    attesting: tokio::sync::Mutex<()>,
    first_reference: OnceLock<String>,
}

impl SealedClient {
    /// Makes a client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ClientError::Random`] or [`ClientError::State`] if no owner secret can be drawn.
    pub fn new(config: SealedConfig) -> Result<Self, ClientError> {
        Ok(Self {
            config,
            owner: OwnerSecret::draw()?,
            pin: RwLock::new(None),
            attesting: tokio::sync::Mutex::new(()),
            first_reference: OnceLock::new(),
        })
    }

    /// The verdict in force; attests first if there is none or it is too old.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn verdict(&self) -> Result<Arc<Pinned>, ClientError> {
        Ok(self.pin(None).await?.pinned.clone())
    }

    /// Seals and sends one request; the answer's body streams as its parts open.
    ///
    /// If the gateway says that the key is not the guest's, the guest is attested again, and the request sealed anew only
    /// if it shows another keyset: whoever carries messages can say so at will, and learns nothing by it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: ChannelRequest) -> Result<Response<SealedBody>, ClientError> {
        let pin = self.pin(None).await?;
        match self.exchange(&pin, &request).await {
            Err(ClientError::SealedKey) => {
                let again = self.pin(Some(&pin)).await?;
                if again.pinned.keyset_digest() == pin.pinned.keyset_digest() {
                    return Err(ClientError::SealedKey);
                }
                self.exchange(&again, &request).await
            }
            done => done,
        }
    }

    fn known(&self, refused: Option<&Arc<SealedPin>>) -> Option<Arc<SealedPin>> {
        let pin = self.pin.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, &pin));
        (!is_refused && pin.pinned.is_fresh((self.config.clock)())).then_some(pin)
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
            .header(header::HOST, self.config.gateway.to_string())
            .body(Full::default())
            .map_err(|_| ClientError::Request { detail: "attestation" })?;
        let mut wire = self.connect().await?;
        let asked = exchange(&mut wire.sender, request, bundle::BUNDLE_BYTES_MAX);
        let (status, body) = within(
            &self.config.gateway,
            "attestation",
            self.config.limits.attestation,
            asked,
        )
        .await?
        .map_err(|e| ClientError::AttestationAnswer { got: e.to_string() })?;
        if status != StatusCode::OK {
            return Err(ClientError::AttestationAnswer {
                got: describe(status, &body),
            });
        }
        let now = (self.config.clock)();
        let pinned = Pinned::verified(body.to_vec(), challenge, &self.config.context, now)?;
        let reference = pinned.result().reference_name().unwrap_or_default().to_owned();
        let first = self.first_reference.get_or_init(|| reference.clone());
        if *first != reference {
            return Err(ClientError::ReferenceChanged {
                pinned: first.clone(),
                got: reference,
            });
        }
        let mut keys = pinned.keyset().ohttp_keys.iter();
        let ours = |k: &&hanzo_attestation::keyset::OhttpKey| {
            k.protocol == Protocol::Ohttp.name() && k.kem == MessageKem::Xwing.name()
        };
        let key = KeyConfig::from_keyset(keys.find(ours).ok_or(ClientError::NoSealedKey)?)?;
        Ok(SealedPin {
            pinned: Arc::new(pinned),
            key,
        })
    }

    async fn connect(&self) -> Result<Wire, ClientError> {
        let SealedConfig {
            gateway, proxy, limits, ..
        } = &self.config;
        let tcp = within(
            gateway,
            "connect",
            limits.connect,
            route::connect(gateway, proxy.as_ref()),
        )
        .await??;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(128 * 1024)
            .max_headers(64)
            .handshake(TokioIo::new(tcp))
            .await
            .map_err(|e| ClientError::Exchange { detail: e.to_string() })?;
        let driver = tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "connection ended");
            }
        });
        Ok(Wire {
            sender,
            driver: driver.abort_handle(),
        })
    }

    async fn exchange(&self, pin: &SealedPin, request: &ChannelRequest) -> Result<Response<SealedBody>, ClientError> {
        let (sealed, opener) = self.seal(pin, request)?;
        let outer = Request::builder()
            .method(Method::POST)
            .uri(GATEWAY_PATH)
            .header(header::HOST, self.config.gateway.to_string())
            .header(header::CONTENT_TYPE, chunked::REQUEST_MEDIA_TYPE)
            .body(Full::from(sealed))
            .map_err(|_| ClientError::Request { detail: "gateway" })?;
        let mut wire = self.connect().await?;
        let after = self.config.limits.answer_head;
        let answer = tokio::time::timeout(after, wire.sender.send_request(outer))
            .await
            .map_err(|_| ClientError::Stalled { after })?
            .map_err(|e| ClientError::Exchange { detail: e.to_string() })?;
        let media_type = answer.headers().get(header::CONTENT_TYPE).map(|v| v.as_bytes());
        if answer.status() != StatusCode::OK || media_type != Some(chunked::RESPONSE_MEDIA_TYPE.as_bytes()) {
            return Err(refusal(answer).await);
        }
        let gap = self.config.limits.answer_gap;
        stream::open(answer.into_body(), opener, wire, gap, pin.pinned.clone()).await
    }

    fn seal(&self, pin: &SealedPin, request: &ChannelRequest) -> Result<(Vec<u8>, ResponseOpener), ClientError> {
        let http = request.clone().into_http()?;
        let mut fields: Vec<Field> = http
            .headers()
            .iter()
            .filter(|(name, _)| *name != header::HOST)
            .map(|(name, value)| Field::new(name.as_str(), value.as_bytes()))
            .collect();
        let owner = self.owner.header(&pin.pinned)?;
        fields.push(Field::new(OWNER_HEADER, owner.as_bytes()));
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
        let (parts, last) = message.split_at(message.len().saturating_sub(1) / PART_BYTES_MAX * PART_BYTES_MAX);
        for part in parts.chunks(PART_BYTES_MAX) {
            sealed.extend_from_slice(&sealer.part(part)?);
        }
        sealed.extend_from_slice(&sealer.last(last)?);
        Ok((sealed, opener))
    }
}

/// A connection to whoever carries messages.
struct Wire {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: tokio::task::AbortHandle,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
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
