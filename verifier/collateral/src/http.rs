//! One bounded request after another: TLS with explicit roots and provider, proxies, timeouts, retries, pace.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::clock::Clock;
use crate::error::CollateralError;
use crate::pace::{Hosts, Pace, retry_after};

/// Which certificate authorities vouch for the services' host names. They vouch for nothing else: what is fetched must
/// prove itself.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// The machine's: the file or directory of `SSL_CERT_FILE` or `SSL_CERT_DIR`, else where distributions keep them.
    #[default]
    System,
    /// Those in a PEM file alone.
    File(PathBuf),
}

/// The way to the services.
#[derive(Debug, Clone, Default)]
pub enum ProxyChoice {
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` decide.
    #[default]
    Environment,
    /// Straight.
    Direct,
    /// Through this one: `http://host:port`.
    Through(String),
}

/// How HTTP is done.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// TLS roots.
    pub roots: Roots,
    /// Proxy.
    pub proxy: ProxyChoice,
    /// Longest time to a connection.
    pub connect_timeout: Duration,
    /// Longest time of one attempt from request to last byte.
    pub attempt_timeout: Duration,
    /// Retries and rate.
    pub pace: Pace,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            roots: Roots::default(),
            proxy: ProxyChoice::default(),
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(30),
            pace: Pace::default(),
        }
    }
}

/// One thing to ask for.
pub(crate) struct Request {
    /// What it is, for people.
    pub(crate) what: String,
    pub(crate) url: String,
    /// Media type and bytes to POST; `None`: GET.
    pub(crate) post: Option<(&'static str, Vec<u8>)>,
    pub(crate) accept: &'static str,
    /// Longest answer in bytes.
    pub(crate) bytes_max: usize,
}

/// What came with status 200.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// How one attempt failed, and whether another may help.
enum Failed {
    Final(CollateralError),
    Transient {
        status: Option<StatusCode>,
        detail: String,
        wait: Option<Duration>,
    },
}

pub(crate) struct Http {
    config: HttpConfig,
    clock: Arc<dyn Clock>,
    hosts: Hosts,
    client: OnceLock<Client>,
}

impl Http {
    /// Sets nothing up yet: who answers from the cache needs no TLS roots.
    pub(crate) fn new(config: HttpConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            config,
            clock,
            hosts: Hosts::default(),
            client: OnceLock::new(),
        }
    }

    /// Asks until there is an answer, attempts or time run out, or the answer is final.
    pub(crate) async fn fetch(&self, request: &Request) -> Result<Answer, CollateralError> {
        let client = self.client()?;
        let host = host_of(&request.url);
        let pace = &self.config.pace;
        let deadline = self.clock.elapsed().saturating_add(pace.total);
        let mut attempt = 1;
        let mut last = None;
        loop {
            self.take_turn(&host, deadline)
                .await
                .map_err(|e| last.take().unwrap_or(e))?;
            let (status, detail, wait) = match self.attempt(client, request, attempt).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Final(e)) => return Err(e),
                Err(Failed::Transient { status, detail, wait }) => (status, detail, wait),
            };
            tracing::info!(url = request.url, attempt, detail, "no usable answer");
            let failure = match status {
                Some(status) => CollateralError::Status {
                    url: request.url.clone(),
                    status: status.as_u16(),
                    attempts: attempt,
                },
                None => CollateralError::Unreachable {
                    url: request.url.clone(),
                    attempts: attempt,
                    detail,
                },
            };
            if attempt >= pace.attempts {
                return Err(failure);
            }
            // A service that names a wait is the reason if that is too long; else its failures are.
            last = wait.is_none().then_some(failure);
            if let Some(wait) = wait {
                self.hosts.close(&host, self.clock.elapsed().saturating_add(wait));
            }
            attempt = attempt.saturating_add(1);
            let backoff = pace.backoff_before(attempt, self.clock.jitter());
            let paused = self.pause(&host, backoff, deadline).await;
            paused.map_err(|e| last.take().unwrap_or(e))?;
        }
    }

    /// Asks once; whatever status comes, with its body.
    pub(crate) async fn ask(&self, request: &Request) -> Result<(u16, Vec<u8>), CollateralError> {
        let failed = |failed| match failed {
            Failed::Final(e) => e,
            Failed::Transient { detail, .. } => CollateralError::Unreachable {
                url: request.url.clone(),
                attempts: 1,
                detail,
            },
        };
        let mut response = send(self.client()?, request).await.map_err(failed)?;
        let status = response.status().as_u16();
        Ok((status, read(request, &mut response).await.map_err(failed)?))
    }

    /// Waits until `host` may be asked.
    async fn take_turn(&self, host: &str, deadline: Duration) -> Result<(), CollateralError> {
        loop {
            let wait = self.hosts.wait(host, &self.config.pace, self.clock.elapsed());
            if wait.is_zero() {
                return Ok(());
            }
            self.pause(host, wait, deadline).await?;
        }
    }

    async fn pause(&self, host: &str, wait: Duration, deadline: Duration) -> Result<(), CollateralError> {
        let left = deadline.saturating_sub(self.clock.elapsed());
        if wait > left {
            return Err(CollateralError::RateLimited {
                host: host.to_owned(),
                wait_s: wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
                limit_s: left.as_secs(),
            });
        }
        self.clock.sleep(wait).await;
        Ok(())
    }

    async fn attempt(&self, client: &Client, request: &Request, attempts: u32) -> Result<Answer, Failed> {
        let mut response = send(client, request).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.refused(request, status, response.headers(), attempts));
        }
        let headers = std::mem::take(response.headers_mut());
        let body = read(request, &mut response).await?;
        Ok(Answer { headers, body })
    }

    fn refused(&self, request: &Request, status: StatusCode, headers: &HeaderMap, attempts: u32) -> Failed {
        match status {
            StatusCode::NOT_FOUND => Failed::Final(CollateralError::NotFound {
                what: request.what.clone(),
                url: request.url.clone(),
            }),
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Failed::Transient {
                status: Some(status),
                detail: format!("HTTP status {}", status.as_u16()),
                wait: headers
                    .get(RETRY_AFTER)
                    .and_then(|v| v.to_str().ok())
                    .and_then(|v| retry_after(v, self.clock.as_ref())),
            },
            _ => Failed::Final(CollateralError::Status {
                url: request.url.clone(),
                status: status.as_u16(),
                attempts,
            }),
        }
    }

    fn client(&self) -> Result<&Client, CollateralError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.build()?;
        Ok(self.client.get_or_init(|| client))
    }

    fn build(&self) -> Result<Client, CollateralError> {
        let builder = Client::builder()
            .tls_backend_preconfigured(tls(&self.config.roots)?)
            .user_agent(concat!("hanzo-collateral/", env!("CARGO_PKG_VERSION")))
            // What a redirect points to is no service that was configured.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(self.config.connect_timeout)
            .timeout(self.config.attempt_timeout);
        let builder = match &self.config.proxy {
            ProxyChoice::Environment => builder,
            ProxyChoice::Direct => builder.no_proxy(),
            ProxyChoice::Through(url) => builder
                .no_proxy()
                .proxy(reqwest::Proxy::all(url).map_err(|_| CollateralError::Proxy)?),
        };
        builder
            .build()
            .map_err(|e| CollateralError::Roots { detail: described(&e) })
    }
}

async fn send(client: &Client, request: &Request) -> Result<Response, Failed> {
    let builder = match &request.post {
        None => client.get(&request.url),
        Some((media_type, body)) => client
            .post(&request.url)
            .header(CONTENT_TYPE, *media_type)
            .body(body.clone()),
    };
    let sent = builder.header(ACCEPT, request.accept).send().await;
    sent.map_err(|e| transient(&e))
}

async fn read(request: &Request, response: &mut Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| transient(&e))? {
        if chunk.len() > request.bytes_max.saturating_sub(body.len()) {
            return Err(Failed::Final(CollateralError::TooLarge {
                url: request.url.clone(),
                limit: request.bytes_max,
            }));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn host_of(url: &str) -> String {
    let parsed = reqwest::Url::parse(url).ok();
    let host = parsed
        .as_ref()
        .and_then(|u| Some((u.host_str()?, u.port_or_known_default()?)));
    host.map_or_else(String::new, |(host, port)| format!("{host}:{port}"))
}

fn transient(e: &reqwest::Error) -> Failed {
    let detail = if e.is_timeout() {
        "timed out".into()
    } else {
        described(e)
    };
    Failed::Transient {
        status: None,
        detail,
        wait: None,
    }
}

/// The innermost cause: the outer ones repeat the URL.
fn described(e: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// TLS 1.2 or 1.3 with aws-lc, named here because nothing else picks a provider in this build.
fn tls(roots: &Roots) -> Result<rustls::ClientConfig, CollateralError> {
    let wrong = |detail: String| CollateralError::Roots { detail };
    let certificates = match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            for e in &found.errors {
                tracing::warn!("TLS roots: {e}");
            }
            found.certs
        }
        Roots::File(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| wrong(format!("{}: {e}", path.display())))?,
    };
    let mut store = rustls::RootCertStore::empty();
    let (usable, unusable) = store.add_parsable_certificates(certificates);
    tracing::debug!(usable, unusable, "TLS roots");
    if usable == 0 {
        return Err(wrong(match roots {
            Roots::System => "this machine has no CA certificates where distributions keep them".into(),
            Roots::File(path) => format!("{}: no CA certificate in it", path.display()),
        }));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| wrong(e.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth())
}
