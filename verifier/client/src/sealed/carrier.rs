//! Who carries sealed messages: the gateway itself, or a relay that anybody may run.
//!
//! A relay over `https` is checked against this machine's certificate authorities: that keeps others from learning who asks. It
//! protects no message. Those are sealed to a key of the attested keyset, and a relay reads none.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::connection::within;
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::limits::Limits;
use crate::route;

/// Longest path of a relay, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// Where a relay takes messages: `http://host:port/path` or `https://host[:port]/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    endpoint: Endpoint,
    is_https: bool,
    path: String,
}

impl RelayUrl {
    /// Its host and port.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where on it.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.endpoint, self.path)
    }
}

impl FromStr for RelayUrl {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::RelayUrl { got: text.to_owned() };
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(wrong()),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let is_path = path.len() <= PATH_BYTES_MAX && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let authority = match (has_port, is_https) {
            (true, _) => authority.to_owned(),
            (false, true) => format!("{authority}:443"),
            (false, false) => format!("{authority}:80"),
        };
        let endpoint = authority.parse().map_err(|_| wrong())?;
        match is_path {
            true => Ok(Self {
                endpoint,
                is_https,
                path: path.to_owned(),
            }),
            false => Err(wrong()),
        }
    }
}

/// A relay and the way to it.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Where it takes messages.
    pub url: RelayUrl,
    /// An HTTP proxy to tunnel through to it.
    pub proxy: Option<Endpoint>,
}

impl Relay {
    pub(super) async fn wire(&self, limits: &Limits) -> Result<Wire, ClientError> {
        let name = self.url.endpoint.host_port().0;
        let name = self.url.is_https.then(|| ServerName::try_from(name.to_owned()));
        let name = name.transpose().map_err(|_| ClientError::RelayUrl {
            got: self.url.to_string(),
        })?;
        Wire::to(&self.url.endpoint, self.proxy.as_ref(), name, limits).await
    }
}

/// A connection to whoever carries messages.
pub(super) struct Wire {
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    driver: tokio::task::AbortHandle,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Wire {
    /// Connects; with TLS if there is a name to check.
    pub(super) async fn to(
        endpoint: &Endpoint,
        proxy: Option<&Endpoint>,
        name: Option<ServerName<'static>>,
        limits: &Limits,
    ) -> Result<Self, ClientError> {
        let tcp = within(endpoint, "connect", limits.connect, route::connect(endpoint, proxy)).await??;
        let Some(name) = name else {
            return Self::over(tcp).await;
        };
        let connector = TlsConnector::from(public_tls()?);
        let tls = within(
            endpoint,
            "TLS handshake",
            limits.handshake,
            connector.connect(name, tcp),
        )
        .await?;
        Self::over(tls.map_err(|e| ClientError::RelayTls { detail: e.to_string() })?).await
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Self, ClientError> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(128 * 1024)
            .max_headers(64)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| ClientError::Exchange { detail: e.to_string() })?;
        let driver = tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "connection ended");
            }
        });
        Ok(Self {
            sender,
            driver: driver.abort_handle(),
        })
    }
}

/// TLS against this machine's certificate authorities: for relays alone.
fn public_tls() -> Result<Arc<rustls::ClientConfig>, ClientError> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let failed = |detail: String| ClientError::RelayTls { detail };
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(failed("this machine has no certificate authorities".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| failed(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_named_by_whole_urls_of_http() {
        for (text, shown) in [
            ("http://relay.example:8080/ohttp", "http://relay.example:8080/ohttp"),
            ("https://relay.example", "https://relay.example:443/"),
            ("https://relay.example/a?b=c", "https://relay.example:443/a?b=c"),
            ("http://[::1]/x", "http://[::1]:80/x"),
            ("http://[::1]:9/x", "http://[::1]:9/x"),
        ] {
            assert_eq!(text.parse::<RelayUrl>().unwrap().to_string(), shown);
        }
        for bad in [
            "relay.example:8080/ohttp",
            "ftp://relay.example/",
            "http://",
            "http://user@relay.example/",
            "http://relay.example/a b",
            "http://relay.example/#x",
            "http://relay.example:0/",
        ] {
            assert_eq!(bad.parse::<RelayUrl>().unwrap_err().code(), "sealed.relay", "{bad}");
        }
    }
}
