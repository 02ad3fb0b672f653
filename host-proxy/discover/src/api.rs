//! Requests to the API server: its certificate is checked against the cluster's CA, the token is read anew for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::error::DiscoverError;

/// Longest answer to a list.
const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest line of a watch; an object in the API server's own store is at most 1.5 MiB.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
const FILE_BYTES_MAX: u64 = 256 * 1024;
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);

/// Where the API server is, and with what it is spoken to.
#[derive(Debug, Clone)]
pub struct ApiServer {
    /// `HOST:PORT`.
    pub at: String,
    /// Whom its certificate must name.
    pub name: String,
    /// PEM file of the cluster's CA.
    pub ca_file: PathBuf,
    /// File of the bearer token; its owner replaces it before it expires.
    pub token_file: PathBuf,
}

/// A connection.
pub(crate) struct Api {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
    server: ApiServer,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Api {
    pub(crate) async fn connect(server: &ApiServer) -> Result<Self, DiscoverError> {
        let failed = |what, detail: &dyn std::fmt::Display| DiscoverError::Connect {
            at: server.at.clone(),
            what,
            detail: detail.to_string(),
        };
        let tls = TlsConnector::from(Arc::new(tls_config(&server.ca_file).await?));
        let name = ServerName::try_from(server.name.clone()).map_err(|e| failed("name", &e))?;
        let connected = async {
            let stream = TcpStream::connect(&server.at)
                .await
                .map_err(|e| failed("connect", &e))?;
            let stream = tls.connect(name, stream).await.map_err(|e| failed("TLS", &e))?;
            http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|e| failed("HTTP", &e))
        };
        let (sender, driver) = within("connect", CONNECT, connected).await??;
        let driver = tokio::spawn(async move {
            // Its end shows as a failed request.
            let _ = driver.await;
        });
        Ok(Self {
            sender,
            driver: driver.abort_handle(),
            server: server.clone(),
        })
    }

    /// A whole answer.
    pub(crate) async fn get(&mut self, what: &'static str, path: &str) -> Result<Bytes, DiscoverError> {
        let body = self.ask(what, path).await?;
        let whole = Limited::new(body, LIST_BYTES_MAX).collect();
        match within(what, ANSWER, whole).await? {
            Ok(body) => Ok(body.to_bytes()),
            Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(too_long(what, LIST_BYTES_MAX)),
            Err(e) => Err(answer(what, &e)),
        }
    }

    /// An answer line by line.
    pub(crate) async fn lines(&mut self, what: &'static str, path: &str) -> Result<Lines, DiscoverError> {
        let body = self.ask(what, path).await?;
        Ok(Lines {
            what,
            body,
            held: Vec::new(),
            looked_at: 0,
        })
    }

    async fn ask(&mut self, what: &'static str, path: &str) -> Result<Incoming, DiscoverError> {
        let token = read(&self.server.token_file).await?;
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", token.trim())).map_err(|_| DiscoverError::File {
                path: self.server.token_file.display().to_string(),
                detail: "not a token".to_owned(),
            })?;
        bearer.set_sensitive(true);
        let request = Request::get(path)
            .header(HOST, &self.server.name)
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "hanzo-discover")
            .body(Empty::new())
            .map_err(|e| answer(what, &e))?;
        let sender = &mut self.sender;
        let asked = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let response = within(what, ANSWER, asked).await?.map_err(|e| answer(what, &e))?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            StatusCode::GONE => Err(DiscoverError::Gone),
            other => Err(DiscoverError::Status {
                what,
                status: other.as_u16(),
            }),
        }
    }
}

/// A body of lines.
pub(crate) struct Lines {
    what: &'static str,
    body: Incoming,
    held: Vec<u8>,
    /// So much of `held` has no newline.
    looked_at: usize,
}

impl Lines {
    /// The next line without its newline; none at the end of the body.
    pub(crate) async fn next(&mut self, limit: Duration) -> Result<Option<Vec<u8>>, DiscoverError> {
        loop {
            let new = self.held.get(self.looked_at..).unwrap_or_default();
            if let Some(end) = new.iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.held.drain(..=self.looked_at + end).collect();
                line.pop();
                self.looked_at = 0;
                return Ok(Some(line));
            }
            self.looked_at = self.held.len();
            if self.held.len() > LINE_BYTES_MAX {
                return Err(too_long(self.what, LINE_BYTES_MAX));
            }
            match within(self.what, limit, self.body.frame()).await? {
                None if self.held.is_empty() => return Ok(None),
                None => return Err(answer(self.what, &"ends within a line")),
                Some(Err(e)) => return Err(answer(self.what, &e)),
                Some(Ok(frame)) => self.held.extend_from_slice(frame.data_ref().map_or(&[], |d| d)),
            }
        }
    }
}

/// Reads a small file.
pub(crate) async fn read(path: &Path) -> Result<String, DiscoverError> {
    use tokio::io::AsyncReadExt as _;
    let failed = |detail: &dyn std::fmt::Display| DiscoverError::File {
        path: path.display().to_string(),
        detail: detail.to_string(),
    };
    let file = tokio::fs::File::open(path).await.map_err(|e| failed(&e))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .await
        .map_err(|e| failed(&e))?;
    Ok(text)
}

/// Read anew for every connection: a cluster replaces its CA.
async fn tls_config(ca_file: &Path) -> Result<ClientConfig, DiscoverError> {
    let failed = |detail: String| DiscoverError::File {
        path: ca_file.display().to_string(),
        detail,
    };
    let text = read(ca_file).await?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|e| failed(e.to_string()))?;
        roots.add(certificate).map_err(|e| failed(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| failed(e.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

async fn within<F: Future>(what: &'static str, limit: Duration, future: F) -> Result<F::Output, DiscoverError> {
    let limit_s = limit.as_secs();
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| DiscoverError::Timeout { what, limit_s })
}

pub(crate) fn answer(what: &'static str, detail: &dyn std::fmt::Display) -> DiscoverError {
    DiscoverError::Answer {
        what,
        detail: detail.to_string().chars().take(200).collect(),
    }
}

fn too_long(what: &'static str, bytes: usize) -> DiscoverError {
    DiscoverError::TooLong {
        what,
        limit: format!("{bytes} bytes"),
    }
}
