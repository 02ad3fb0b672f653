//! What a request passes before its handler: who asks, how often, over which transport, and its body in time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hanzo_attestation::Nonce;
use hanzo_kbs_protocol::heads::{HEADS_BYTES_MAX, HEADS_PATH};
use hanzo_kbs_protocol::{ATTEST_BYTES_MAX, ATTEST_PATH, AUTH_BYTES_MAX, AUTH_PATH};
use http_body_util::{BodyExt, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::KbsConfig;
use crate::admin::{ADMIN_BYTES_MAX, ADMIN_PATH};
use crate::config::PeerAddress;
use crate::connections::Standing;
use crate::http::{LOG_HEAD_PATH, LOG_TILES_PATH, Problem, Transport};
use crate::in_flight::{InFlight, UnderWay};
use crate::metrics::Metrics;
use crate::rate::{Peer, Rates, Route};

/// How many may wait for each kind of work before more are turned away.
const QUEUE_MAX: usize = 512;
/// How long one waits at most.
const QUEUE_TIME: Duration = Duration::from_secs(10);

/// What the listener knows of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) address: IpAddr,
    pub(crate) transport: Transport,
    /// True if the client showed a certificate of the admins' issuer.
    pub(crate) admin_certificate: bool,
    pub(crate) standing: Arc<Standing>,
}

/// The gates before the handlers.
pub(crate) struct Admission {
    rates: Rates,
    peer_address: PeerAddress,
    admin_certificate_required: bool,
    body_timeout: Duration,
    /// Verifying evidence of strangers.
    attest: Queue,
    /// Releasing keys to guests that attested: never behind strangers.
    release: Queue,
    admin: Queue,
    /// Whether a core is left for others while one verifies.
    pub(crate) has_spare_cores: bool,
    /// None of those who attested takes all the places.
    in_flight: Arc<InFlight>,
}

struct Queue {
    running: Semaphore,
    waiting: Semaphore,
}

impl Queue {
    fn new(most: usize) -> Self {
        Self {
            running: Semaphore::new(most),
            waiting: Semaphore::new(most.saturating_add(QUEUE_MAX)),
        }
    }
}

/// A place in one of the queues.
pub(crate) struct Place<'a> {
    _running: SemaphorePermit<'a>,
    _waiting: SemaphorePermit<'a>,
}

impl Admission {
    pub(crate) fn new(config: &KbsConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            rates: Rates::new(&config.limits),
            peer_address: config.limits.peer_address,
            admin_certificate_required: config.tls.as_ref().is_some_and(|tls| tls.admin_client_ca.is_some()),
            body_timeout: Duration::from_secs(config.limits.body_timeout_s),
            // Strangers get at most half of the machine; those who attested may wait at the desk together.
            has_spare_cores: cores > 1,
            attest: Queue::new(cores.div_ceil(2)),
            release: Queue::new(cores.saturating_mul(32).clamp(64, 256)),
            admin: Queue::new(4),
            in_flight: Arc::default(),
        }
    }

    /// A place for `route`'s work off the threads that serve, first come first served; `None` if too many wait.
    pub(crate) async fn place(&self, route: Route) -> Option<Place<'_>> {
        let queue = match route {
            Route::Auth | Route::Attest => &self.attest,
            Route::Release => &self.release,
            Route::Admin => &self.admin,
        };
        let waiting = queue.waiting.try_acquire().ok()?;
        let running = tokio::time::timeout(QUEUE_TIME, queue.running.acquire()).await;
        Some(Place {
            _running: running.ok()?.ok()?,
            _waiting: waiting,
        })
    }

    /// A place among the requests of one session; `None` if it has too many under way.
    pub(crate) fn of_session(&self, nonce: &Nonce) -> Option<UnderWay> {
        self.in_flight.take(nonce)
    }

    /// Whether a connection shows the certificate that admins show, where one is asked for.
    pub(crate) fn is_admin_connection(&self, connection: &Connection) -> bool {
        connection.admin_certificate || !self.admin_certificate_required
    }

    fn peer(&self, connection: &Connection, headers: &HeaderMap) -> Peer {
        let forwarded = || -> Option<IpAddr> {
            let last = headers.get_all("x-forwarded-for").iter().next_back()?;
            last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
        };
        match self.peer_address {
            PeerAddress::Connection => Peer::of(connection.address),
            PeerAddress::Forwarded => Peer::of(forwarded().unwrap_or(connection.address)),
        }
    }
}

/// Under the paths of guests, but for admins alone, reading too.
const ADMIN_READS: [&str; 3] = [
    "/kbs/v0/resource-policy",
    "/kbs/v0/reference-value",
    "/kbs/v0/attestation-policy",
];

/// The routes that are limited, each with its longest body; the rest reads nothing and decides nothing.
pub(crate) fn route_of(method: &Method, path: &str) -> (Option<Route>, usize) {
    match path {
        AUTH_PATH => (Some(Route::Auth), AUTH_BYTES_MAX),
        ATTEST_PATH => (Some(Route::Attest), ATTEST_BYTES_MAX),
        LOG_HEAD_PATH => (Some(Route::Auth), 0),
        _ if path.starts_with(LOG_TILES_PATH) => (Some(Route::Admin), 0),
        _ if path.starts_with(HEADS_PATH) => (Some(Route::Release), HEADS_BYTES_MAX),
        _ if *method == Method::GET && ADMIN_READS.iter().any(|prefix| path.starts_with(prefix)) => {
            (Some(Route::Admin), 0)
        }
        _ if path.starts_with("/kbs/v0/") && *method == Method::GET => (Some(Route::Release), 0),
        _ if path.starts_with("/kbs/v0/") || path.starts_with(ADMIN_PATH) => (Some(Route::Admin), ADMIN_BYTES_MAX),
        _ => (None, 0),
    }
}

/// What [`admit`] needs.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A request that may be answered, with its whole body.
pub(crate) struct Admitted {
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
    pub(crate) started: Instant,
}

impl Gate {
    /// Lets a request pass that is for a limited route, or answers it.
    pub(crate) async fn pass<B>(
        &self,
        (route, body_bytes_max): (Route, usize),
        connection: &Connection,
        request: axum::http::Request<B>,
    ) -> Result<Admitted, Response>
    where
        B: HttpBody,
        B::Error: Into<axum::BoxError>,
    {
        let peer = self.admission.peer(connection, request.headers());
        if let Err(wait) = self.admission.rates.take(peer, route, Instant::now()) {
            self.metrics.limited(route);
            return Err(later(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                "kbs.rate",
                wait,
            ));
        }
        if route == Route::Admin && !self.admission.is_admin_connection(connection) {
            return Err(problem(StatusCode::UNAUTHORIZED, "AdminAuth", "kbs.admin.certificate"));
        }
        let (parts, body) = request.into_parts();
        Ok(Admitted {
            parts,
            body: self.whole(body, body_bytes_max).await?,
            started: Instant::now(),
        })
    }

    async fn whole<B>(&self, body: B, most: usize) -> Result<Bytes, Response>
    where
        B: HttpBody,
        B::Error: Into<axum::BoxError>,
    {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        // One byte more than the parsers take, so that they refuse by name.
        let whole = Limited::new(body, most.saturating_add(1)).collect();
        match tokio::time::timeout(self.admission.body_timeout, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(e)) => {
                // Length, or the connection broke off; the second reads no answer.
                tracing::debug!(target: "hanzo_kbs", error = %e, "body");
                Err(problem(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "PayloadTooLarge",
                    "kbs.body.too_large",
                ))
            }
            Err(_) => Err(problem(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "kbs.body.slow")),
        }
    }

    /// An answer to a request that passed then.
    pub(crate) fn took(&self, route: Route, started: Instant) {
        self.metrics.took(route, started.elapsed());
    }
}

/// The layer before every handler of the router.
pub(crate) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (Some(route), body_bytes_max) = route_of(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal", "kbs.internal");
    };
    let admitted = match gate.pass((route, body_bytes_max), &connection, request).await {
        Ok(admitted) => admitted,
        Err(response) => return response,
    };
    let request = Request::from_parts(admitted.parts, Body::from(admitted.body));
    let response = next.run(request).await;
    gate.took(route, admitted.started);
    response
}

/// The answer to a session that has too much under way.
pub(crate) fn session_busy() -> Response {
    let (status, code) = (StatusCode::TOO_MANY_REQUESTS, "kbs.session.busy");
    later(status, "TooManyRequests", code, Duration::from_secs(1))
}

/// The answer of a full queue.
pub(crate) fn busy(metrics: &Metrics, route: Route) -> Response {
    metrics.busy(route);
    later(
        StatusCode::SERVICE_UNAVAILABLE,
        "Unavailable",
        "kbs.busy",
        Duration::from_secs(1),
    )
}

fn problem(status: StatusCode, name: &'static str, code: &str) -> Response {
    Problem::new(status, name, code).into_response()
}

fn later(status: StatusCode, name: &'static str, code: &str, wait: Duration) -> Response {
    let seconds = wait.as_secs().saturating_add(1);
    let mut response = Problem::new(status, name, code)
        .with_detail(format!("try again in {seconds} s"))
        .into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
