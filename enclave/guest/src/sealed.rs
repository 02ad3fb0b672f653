//! Sealed messages in: OHTTP and EHBP, opened here, answered by the very routes that the attested channel serves.
//!
//! A message is opened with a key of the keyset, its `enc` is accepted once, and what was in it goes through the inference
//! router, whose limits and receipts hold. The answer is sealed to the request. Whatever is wrong before the message is
//! open has one answer, which says nothing but that the key did not open it; whatever is wrong afterwards is said inside.
//!
//! A key lives for an hour or 2^20 messages; then it is gone, and the next keyset brings another. Until the end of its life it
//! opens messages beside its successor, and what it opens is answered under its own keyset.
//! Formats: `enclave/sealed/SPEC.md`.

mod answer;
mod ehbp;
mod inner;
mod keys;
mod ohttp;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hanzo_attestation::UnixTime;
use hanzo_inference::Clock;
use hanzo_sealed::config::{KEYS_MEDIA_TYPE, encode_list};
use hanzo_sealed::ohttp::GATEWAY_PATH;
use hanzo_sealed::padding::Padding;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::padding;

pub(crate) use inner::next_bytes;
pub use keys::{KEY_LIFE_S, KEY_MESSAGES_MAX, MessageKeys};

/// Parts of a [`Gateway`].
pub struct GatewayOptions {
    /// The keys.
    pub keys: MessageKeys,
    /// The last second of their lives.
    pub last_second: UnixTime,
    /// Messages that each of them opens.
    pub messages_max: usize,
    /// The guest's clock.
    pub clock: Clock,
    /// Longest body, out of the measured configuration.
    pub body_bytes_max: u64,
    /// Requests at a time, out of the measured configuration.
    pub concurrent_requests: u32,
    /// The least padding, out of the measured configuration.
    pub padding: Padding,
    /// What answers.
    pub api: Router,
}

/// One keyset's message keys, and what answers under it.
struct Keyed {
    keys: keys::LiveKeys,
    /// As it is, and padded as a message of HTTP.
    api: Router,
    padded_api: Router,
}

/// Opens what comes and seals what goes.
pub struct Gateway {
    keyed: Arc<Keyed>,
    /// Of the keyset before, until its life is over.
    before: Option<Arc<Keyed>>,
    clock: Clock,
    body_bytes_max: usize,
    padding: Padding,
    /// Messages that are held whole before they can be opened.
    places: Arc<Semaphore>,
}

/// Messages beyond the requests at work that may be held to be turned away.
const SPARE_PLACES: usize = 4;

impl Gateway {
    /// Joins the parts. Messages to the keys of `before` are opened too; those to the keys before them no longer.
    pub fn new(options: GatewayOptions, before: Option<&Self>) -> Self {
        if let Some(oldest) = before.and_then(|gateway| gateway.before.as_ref()) {
            oldest.keys.end();
        }
        let places = usize::try_from(options.concurrent_requests).unwrap_or(usize::MAX / 2) + SPARE_PLACES;
        Self {
            keyed: Arc::new(Keyed {
                keys: options.keys.begin(options.last_second, options.messages_max),
                padded_api: padding::layer(options.api.clone(), options.padding),
                api: options.api,
            }),
            before: before.map(|gateway| gateway.keyed.clone()),
            clock: options.clock,
            body_bytes_max: usize::try_from(options.body_bytes_max).unwrap_or(usize::MAX / 2),
            padding: options.padding,
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Waits until most messages of one of its own keys are spent.
    pub async fn spent(&self) {
        self.keyed.keys.spent().await;
    }

    /// Ends its own keys.
    pub fn end(&self) {
        self.keyed.keys.end();
    }

    /// What may open a message: the keyset in force first.
    fn keyed(&self) -> impl Iterator<Item = &Arc<Keyed>> {
        std::iter::once(&self.keyed).chain(&self.before)
    }

    /// A place for a message that is held before it is known to be one. Whoever waits for it to begin holds none.
    fn place(&self) -> Result<OwnedSemaphorePermit, Refused> {
        self.places.clone().try_acquire_owned().map_err(|_| Refused::Busy)
    }
}

/// Beside the attested channel: the gateway's routes, and for everything else the API itself.
pub fn routes_beside(gateway: Arc<Gateway>, api: Router) -> Router {
    let or_api = move |State(gateway): State<Arc<Gateway>>, request: Request| async move {
        if ehbp::is_sealed(&request) {
            return ehbp::answer(&gateway, request).await;
        }
        api.oneshot(request).await.into_response()
    };
    routes(gateway.clone()).fallback_service(Router::new().fallback(or_api).with_state(gateway))
}

/// In clear: the gateway's routes. A request that is not sealed is not answered.
pub fn clear_routes(gateway: Arc<Gateway>) -> Router {
    let or_nothing = |State(gateway): State<Arc<Gateway>>, request: Request| async move {
        if ehbp::is_sealed(&request) {
            return ehbp::answer(&gateway, request).await;
        }
        problem(
            StatusCode::FORBIDDEN,
            "sealed.required",
            "only sealed messages are taken here: use OHTTP, or the attested channel",
        )
    };
    routes(gateway.clone()).fallback_service(Router::new().fallback(or_nothing).with_state(gateway))
}

fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route(GATEWAY_PATH, get(ohttp_keys).post(ohttp::answer))
        .route(hanzo_sealed::ehbp::KEYS_PATH, get(ehbp_keys))
        .with_state(gateway)
}

async fn ohttp_keys(State(gateway): State<Arc<Gateway>>) -> Response {
    let configs: Vec<_> = gateway.keyed.keys.ohttp.iter().map(|key| key.config.clone()).collect();
    key_list(encode_list(&configs))
}

async fn ehbp_keys(State(gateway): State<Arc<Gateway>>) -> Response {
    match &gateway.keyed.keys.ehbp {
        Some(key) => key_list(encode_list(std::slice::from_ref(&key.config))),
        None => problem(
            StatusCode::NOT_FOUND,
            "sealed.closed",
            "this guest's configuration takes no EHBP",
        ),
    }
}

fn key_list(bytes: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(KEYS_MEDIA_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, bytes).into_response()
}

/// Why a message got no answer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// The key does not open it, or it was opened before. One answer for all of it.
    Key,
    /// It did not arrive whole or in time.
    Broken,
    /// Longer than a request may be.
    TooLong,
    /// As many as may be held are held.
    Busy,
    /// This side failed.
    Backend,
}

impl Refused {
    /// The answer, where `key` is the protocol's own for key failures.
    fn response(self, key: fn() -> Response) -> Response {
        match self {
            Self::Key => key(),
            Self::Broken => problem(
                StatusCode::REQUEST_TIMEOUT,
                "sealed.incomplete",
                "the message did not arrive whole; seal and send it again",
            ),
            Self::TooLong => problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "sealed.too_long",
                "the message is longer than this guest takes",
            ),
            Self::Busy => problem(
                StatusCode::TOO_MANY_REQUESTS,
                "sealed.busy",
                "as many messages as this guest holds are held; try again shortly",
            ),
            Self::Backend => problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "sealed.backend",
                "the answer could not be sealed; tell the operator",
            ),
        }
    }
}

/// A problem document (RFC 9457) without a type of its own.
fn problem(status: StatusCode, code: &'static str, detail: &str) -> Response {
    typed_problem(status, "about:blank", code, detail)
}

fn typed_problem(status: StatusCode, kind: &'static str, code: &'static str, detail: &str) -> Response {
    let body = serde_json::json!({
        "code": code,
        "detail": detail,
        "status": status.as_u16(),
        "title": status.canonical_reason(),
        "type": kind,
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body.to_string()).into_response()
}
