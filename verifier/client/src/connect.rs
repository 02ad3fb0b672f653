//! The local endpoint: ordinary OpenAI clients in front, the attested channel behind. It speaks HTTP/1.1, and HTTP/2 to
//! programs that know beforehand (`curl --http2-prior-knowledge`).
//!
//! It answers its own names alone, refuses pages of other sites, and passes `/v1/…` on over proven connections or by sealed
//! messages. `/` shows the verdict to people, `/hanzo/status` to programs. When a
//! guest is refused, nothing is sent, and the program gets an error in OpenAI's shape that names the rule.

mod forward;
mod guard;
mod page;
mod problem;
mod reader;
mod speak;
mod status;
mod stream;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use hanzo_verifier::callers::{ApiKey, TOKEN_BYTES_MAX};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::request::bearer;
use crate::request_key::RequestSigner;
use crate::state::{StateError, require_mode};
use crate::way::Client;
use guard::Guard;
pub use reader::{StatusError, read_path, read_status};

/// Who may use the endpoint and how much.
pub struct ConnectOptions {
    /// Further `Host` values, as `name:port`, besides localhost, 127.0.0.1 and `[::1]` with the listener's port.
    pub hosts: Vec<String>,
    /// If set, requests must bear it (`Authorization: Bearer …`).
    pub token: Option<Zeroizing<String>>,
    /// If set, the guest is shown it with every request.
    pub api_key: Option<ApiKey>,
    /// If set, the guest is shown the token that this file holds when a request comes, as [`read_access_token`] reads it.
    pub access_token_file: Option<PathBuf>,
    /// If set, every request is signed by it, and nothing else says whose it is.
    pub request_signer: Option<Arc<RequestSigner>>,
    /// Longest request body in bytes.
    pub body_bytes_max: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            token: None,
            api_key: None,
            access_token_file: None,
            request_signer: None,
            body_bytes_max: 64 << 20,
        }
    }
}

/// Why the endpoint does not come up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Somebody else listens there.
    #[error(
        "connect: port {port} on {host} is in use: stop the other program or choose another port with --listen {host}:PORT"
    )]
    PortInUse {
        /// Address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Any other reason not to listen.
    #[error("connect: cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The listener failed later.
    #[error("connect: the listener failed: {0}")]
    Serve(io::Error),
    /// Everybody on the network could use it, and prompts would cross that network in the clear.
    #[error(
        "connect: {address} is not a loopback address: whoever reaches it could use the guest in your name; listen on 127.0.0.1 or [::1], or require a token (--token-file) and put TLS before it"
    )]
    Exposed {
        /// Where it should have listened.
        address: SocketAddr,
    },
    /// The token file cannot be used.
    #[error(transparent)]
    TokenFile(#[from] StateError),
    /// The key file holds no API key.
    #[error(
        "connect: {path}: expected one API key as `hanzo-verify keys new` writes it (hz_ and 72 hex digits), got something else or a mistyped one"
    )]
    ApiKey {
        /// Which file.
        path: String,
    },
    /// The file holds no token of an identity provider.
    #[error(
        "connect: {path}: expected one line with a token (JWT) of an identity provider: three parts of base64url with points between, at most {TOKEN_BYTES_MAX} bytes"
    )]
    AccessToken {
        /// Which file.
        path: String,
    },
    /// The file holds no request key.
    #[error("connect: {path}: expected a key file as `hanzo-verify keys request-key` writes it, got something else")]
    RequestKey {
        /// Which file.
        path: String,
    },
    /// The token file holds no token.
    #[error("connect: {path}: expected one line of 16 to 512 printable ASCII characters without spaces")]
    Token {
        /// Which file.
        path: String,
    },
}

impl ConnectError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PortInUse { .. } => "connect.port_in_use",
            Self::Listen { .. } => "connect.listen",
            Self::Serve(_) => "connect.serve",
            Self::Exposed { .. } => "connect.exposed",
            Self::TokenFile(e) => e.code(),
            Self::Token { .. } => "connect.token_file",
            Self::ApiKey { .. } => "connect.api_key_file",
            Self::AccessToken { .. } => "connect.access_token_file",
            Self::RequestKey { .. } => "connect.request_key_file",
        }
    }
}

pub(crate) struct Endpoint {
    pub(crate) client: Client,
    pub(crate) guard: Guard,
    /// `authorization` for the guest.
    pub(crate) api_key: Option<HeaderValue>,
    /// Read for each request: its token is renewed while this runs.
    pub(crate) access_token_file: Option<PathBuf>,
    pub(crate) request_signer: Option<Arc<RequestSigner>>,
    pub(crate) body_bytes_max: usize,
}

impl ConnectOptions {
    /// Refuses to serve others than this machine's programs without a token.
    ///
    /// # Errors
    /// [`ConnectError::Exposed`].
    pub fn check(&self, address: SocketAddr) -> Result<(), ConnectError> {
        if address.ip().is_loopback() || self.token.is_some() {
            return Ok(());
        }
        Err(ConnectError::Exposed { address })
    }
}

/// Listens on `address`, e.g. `127.0.0.1:8080`.
///
/// # Errors
/// [`ConnectError::PortInUse`] names the port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ConnectError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ConnectError::PortInUse {
            host: address.ip().to_string(),
            port: address.port(),
        },
        _ => ConnectError::Listen { address, source },
    })
}

/// Reads a token from a file that only its owner can read; never from an argument, which every user of the machine sees.
///
/// # Errors
/// [`ConnectError::TokenFile`], [`ConnectError::Token`].
pub fn read_token(path: &Path) -> Result<Zeroizing<String>, ConnectError> {
    require_mode(path, 0o600)?;
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| StateError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
    let token = text.trim_end_matches(['\r', '\n']);
    if (16..=512).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Zeroizing::new(token.to_owned()))
    } else {
        Err(ConnectError::Token {
            path: path.display().to_string(),
        })
    }
}

/// Reads a guest's API key from a file that only its owner can read.
///
/// # Errors
/// [`ConnectError::TokenFile`], [`ConnectError::ApiKey`].
pub fn read_api_key(path: &Path) -> Result<ApiKey, ConnectError> {
    require_mode(path, 0o600)?;
    let text = std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| StateError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
    ApiKey::parse(text.trim_ascii_end()).ok_or_else(|| ConnectError::ApiKey {
        path: path.display().to_string(),
    })
}

/// Reads an identity provider's token (JWT) from a file that only its owner can read, as `authorization` for a guest.
///
/// # Errors
/// [`ConnectError::TokenFile`], [`ConnectError::AccessToken`].
pub fn read_access_token(path: &Path) -> Result<HeaderValue, ConnectError> {
    use std::io::Read as _;
    require_mode(path, 0o600)?;
    let failed = |source| StateError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    // One byte more than there may be, and a line's end of two.
    let mut text = Zeroizing::new(Vec::with_capacity(TOKEN_BYTES_MAX + 3));
    let most = TOKEN_BYTES_MAX as u64 + 3;
    file.take(most).read_to_end(&mut text).map_err(failed)?;
    forward::token(text.trim_ascii_end()).ok_or_else(|| ConnectError::AccessToken {
        path: path.display().to_string(),
    })
}

/// Reads the keys that sign a caller's requests from a file that only its owner can read.
///
/// # Errors
/// [`ConnectError::TokenFile`], [`ConnectError::RequestKey`].
pub fn read_request_key(path: &Path) -> Result<RequestSigner, ConnectError> {
    require_mode(path, 0o600)?;
    let text = std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| StateError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
    RequestSigner::from_file(text.trim_ascii_end()).map_err(|_| ConnectError::RequestKey {
        path: path.display().to_string(),
    })
}

/// Serves until `shutdown` resolves; answers under way may finish.
///
/// # Errors
/// [`ConnectError::Exposed`], [`ConnectError::Serve`].
pub async fn serve(
    listener: TcpListener,
    client: impl Into<Client>,
    options: ConnectOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ConnectError> {
    let address = listener.local_addr().map_err(ConnectError::Serve)?;
    options.check(address)?;
    let app = router(address.port(), client, options);
    speak::serve(listener, app, shutdown).await;
    Ok(())
}

/// The endpoint as a router, for a listener on `port`.
pub fn router(port: u16, client: impl Into<Client>, options: ConnectOptions) -> Router {
    let endpoint = Arc::new(Endpoint {
        client: client.into(),
        guard: Guard::new(port, &options.hosts, options.token),
        api_key: options.api_key.as_ref().and_then(bearer),
        access_token_file: options.access_token_file,
        request_signer: options.request_signer,
        body_bytes_max: options.body_bytes_max,
    });
    Router::new()
        .route("/", get(status::people))
        .route("/hanzo/status", get(status::status))
        .route("/hanzo/status.css", get(status::style))
        .route("/v1/{*path}", axum::routing::any(forward::forward))
        .route("/log/{*path}", get(forward::forward))
        .fallback(not_found)
        .method_not_allowed_fallback(|| async {
            problem::openai(
                StatusCode::METHOD_NOT_ALLOWED,
                "connect.method",
                "this path takes another method",
            )
        })
        .layer(middleware::from_fn_with_state(endpoint.clone(), admit))
        .with_state(endpoint)
}

async fn admit(State(endpoint): State<Arc<Endpoint>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match endpoint.guard.check(&parts) {
        Ok(()) if parts.method == Method::OPTIONS || parts.method == Method::CONNECT => problem::openai(
            StatusCode::METHOD_NOT_ALLOWED,
            "connect.method",
            "this endpoint takes GET, POST and DELETE",
        ),
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => {
            tracing::warn!(code = refusal.code(), "request turned away");
            problem::openai(refusal.status(), refusal.code(), refusal.text())
        }
    }
}

async fn not_found() -> Response {
    problem::openai(
        StatusCode::NOT_FOUND,
        "connect.not_found",
        "expected /v1/… (for example /v1/chat/completions or /v1/models), /log/checkpoint, /log/tile/…, / or /hanzo/status",
    )
}
