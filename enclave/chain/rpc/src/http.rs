//! The server: routes, bounds, an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hanzo_attestation::Digest256;
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::answer::answer;
use crate::envelope::Request;
use crate::guard::{Guard, Refusal};
use crate::metrics::Metrics;
use crate::{Node, REQUEST_BYTES_MAX, stream, views};

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// For answers under way when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The page: one file, its script and its style inside.
const PAGE: &str = include_str!("explorer.html");
/// What the page may do: its own script and style, and questions to this very server.
static PAGE_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let inside = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
        let text = inside.map_or("", |(inside, _)| inside);
        format!("'sha256-{}'", BASE64_STANDARD.encode(Digest256::of(text.as_bytes()).0))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
});

/// Bounds of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `name:port` by which it may be asked besides its own address.
    pub hosts: Vec<String>,
    /// Connections at a time.
    pub connections_max: usize,
    /// Calls that are answered at a time; more are told to come again.
    pub calls_max: usize,
    /// Streams of blocks at a time.
    pub streams_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            connections_max: 256,
            calls_max: 16,
            streams_max: 64,
        }
    }
}

pub(crate) struct Shared {
    pub(crate) node: Arc<dyn Node>,
    pub(crate) metrics: Metrics,
    guard: Guard,
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// Answers on `listener` until `stop` is ready.
///
/// # Errors
/// If the listener has no address.
pub async fn serve(
    listener: TcpListener,
    node: Arc<dyn Node>,
    config: ServerConfig,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let at: SocketAddr = listener.local_addr()?;
    let shared = Arc::new(Shared {
        node,
        metrics: Metrics::new(),
        guard: Guard::new(at, &config.hosts),
        calls: Arc::new(Semaphore::new(config.calls_max)),
        streams: Arc::new(Semaphore::new(config.streams_max)),
    });
    let app = Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/chain/rpc", post(call))
        .route("/v1/chain/blocks", get(blocks))
        .fallback(nowhere)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guarded))
        .with_state(shared);
    let places = Arc::new(Semaphore::new(config.connections_max));
    let (stopping, stopped) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, or the peer is gone: wait a moment rather than spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let (app, stopped) = (app.clone(), stopped.clone());
        tokio::spawn(async move {
            connection(stream, app, stopped).await;
            drop(place);
        });
    }
    drop((listener, stopped));
    stopping.send_replace(());
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, stopping.closed()).await;
    Ok(())
}

async fn connection(stream: TcpStream, app: Router, mut stopping: watch::Receiver<()>) {
    // Answers are small and whole: waiting to fill a segment only costs time.
    let _ = stream.set_nodelay(true);
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(serving);
    tokio::select! {
        // Whoever hung up is nobody's fault.
        _ = serving.as_mut() => {}
        _ = stopping.changed() => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, serving).await;
        }
    }
}

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn guarded(State(shared): State<Arc<Shared>>, request: HttpRequest, next: Next) -> Response {
    match shared.guard.check(request.method(), request.headers()) {
        Ok(()) => secured(next.run(request).await),
        Err(refusal) => {
            shared.metrics.refused.inc();
            secured(problem(refusal))
        }
    }
}

/// RFC 9457.
fn problem(refusal: Refusal) -> Response {
    let body = serde_json::json!({"status": refusal.status.as_u16(), "title": refusal.text, "code": refusal.code});
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (refusal.status, kind, body.to_string()).into_response()
}

const BUSY: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "rpc.busy",
    text: "the node answers as many as it can: ask again in a second",
};

async fn nowhere() -> Response {
    problem(Refusal {
        status: StatusCode::NOT_FOUND,
        code: "rpc.path",
        text: "expected POST /v1/chain/rpc, GET /v1/chain/blocks, /metrics, /health or /",
    })
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY.as_str()),
    ];
    (headers, PAGE).into_response()
}

/// Runs what may block where it may.
async fn off_thread<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, Response> {
    let Ok(place) = Arc::clone(&shared.calls).try_acquire_owned() else {
        return Err(problem(BUSY));
    };
    let own = Arc::clone(shared);
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        work(&own)
    });
    done.await.map_err(|_| problem(BUSY))
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let asked = off_thread(&shared, |shared| views::status(&*shared.node)).await;
    match asked {
        Ok(Ok(status)) => axum::Json(serde_json::json!({
            "status": "ok", "height": status.height, "certified": status.certified, "votes": status.node.votes,
        }))
        .into_response(),
        Ok(Err(failure)) => {
            let body = serde_json::json!({"status": "failed", "code": failure.code});
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
        }
        Err(busy) => busy,
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let asked = off_thread(&shared, |shared| shared.metrics.text(&*shared.node)).await;
    let kind = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    match asked {
        Ok(Ok(text)) => (kind, text).into_response(),
        Ok(Err(_)) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(busy) => busy,
    }
}

async fn call(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Response {
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => {
            shared.metrics.refused.inc();
            return problem(Refusal {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                code: "rpc.body",
                text: "body: expected one whole call, as long as a transaction in hex at most, within 30 s",
            });
        }
    };
    let answered = match Request::parse(&body) {
        Ok(request) => {
            let work = move |shared: &Shared| {
                let (bytes, outcome) = answer(&*shared.node, &request);
                shared.metrics.called(&request.method, &outcome);
                bytes
            };
            off_thread(&shared, work).await
        }
        Err(failure) => {
            shared.metrics.called("", &Err(failure.clone()));
            Ok(failure.answer(None))
        }
    };
    match answered {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(busy) => busy,
    }
}

async fn blocks(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    // A browser that reconnects says which event it saw last.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let asked = match (last, query.as_deref()) {
        (Some(last), _) => last.parse::<u64>().map(|last| Some(last.saturating_add(1))),
        (None, None | Some("")) => Ok(None),
        (None, Some(query)) => query.strip_prefix("from=").unwrap_or("").parse::<u64>().map(Some),
    };
    let Ok(from) = asked else {
        return problem(Refusal {
            status: StatusCode::BAD_REQUEST,
            code: "rpc.from",
            text: "query: expected from=HEIGHT alone, in digits, or nothing",
        });
    };
    match Arc::clone(&shared.streams).try_acquire_owned() {
        Ok(place) => stream::blocks(shared, from, place),
        Err(_) => problem(BUSY),
    }
}
