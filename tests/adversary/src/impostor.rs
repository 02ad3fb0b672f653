//! A host that ends TLS with a key of its own and answers as it likes: it reads every request in the clear, and may fetch
//! genuine answers from a guest to pass them on.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hanzo_attestation::ratls;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What the impostor serves at the attestation path; everything else goes to the guest.
#[derive(Clone)]
pub enum Serves {
    /// Whatever the guest answers: it relays requests and answers in the clear.
    GuestsAnswers,
    /// These bytes as the bundle, whatever was asked.
    Bundle(Vec<u8>),
    /// The guest's answer after this change.
    Changed(Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>),
}

/// Paths and bodies of what it read.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A running impostor.
pub struct Impostor {
    /// Where clients connect.
    pub at: SocketAddr,
    requests: Requests,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Impostor {
    /// Starts one before `guest`.
    pub async fn start(guest: SocketAddr, serves: Serves) -> io::Result<Self> {
        Self::start_wearing(guest, serves, own_certificate(None)?).await
    }

    /// As [`Impostor::start`], with this certificate.
    pub async fn start_wearing(guest: SocketAddr, serves: Serves, certificate: OwnCertificate) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(own_tls(certificate)?));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, log, serves) = (acceptor.clone(), log.clone(), serves.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, guest, serves.clone(), log.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tls), service)
                        .await;
                });
            }
        });
        Ok(Self { at, requests, task })
    }

    /// Paths and bodies of all requests it read in the clear.
    pub fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.requests.lock().unwrap().clone()
    }

    /// True if it read `needle` in any request.
    pub fn saw(&self, needle: &str) -> bool {
        self.requests()
            .iter()
            .any(|(path, body)| path.contains(needle) || body.windows(needle.len()).any(|w| w == needle.as_bytes()))
    }
}

async fn answer(
    request: Request<Incoming>,
    guest: SocketAddr,
    serves: Serves,
    log: Requests,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let path = parts.uri.path_and_query().map(|p| p.to_string()).unwrap_or_default();
    let mut seen = format!("{} {path}", parts.method).into_bytes();
    for (name, value) in &parts.headers {
        seen.extend_from_slice(name.as_str().as_bytes());
        seen.extend_from_slice(value.as_bytes());
    }
    seen.extend_from_slice(&body);
    log.lock().unwrap().push((path.clone(), seen));
    let attestation = path.starts_with(hanzo_attestation::channel::ATTESTATION_PATH);
    let response = match (attestation, &serves) {
        (true, Serves::Bundle(bundle)) => Ok(bundle_response(bundle.clone())),
        (true, Serves::Changed(change)) => ask(guest, parts, body).await.map(|r| {
            let changed = change(r.body().to_vec());
            bundle_response(changed)
        }),
        _ => ask(guest, parts, body).await.map(|r| r.map(Full::new)),
    };
    Ok(response.unwrap_or_else(|_| {
        let mut failed = Response::new(Full::new(Bytes::new()));
        *failed.status_mut() = hyper::StatusCode::BAD_GATEWAY;
        failed
    }))
}

fn bundle_response(bytes: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(hanzo_attestation::channel::BUNDLE_MEDIA_TYPE),
    );
    response
}

/// One request to the guest over a TLS connection of the impostor's own, verifying nothing.
async fn ask(guest: SocketAddr, parts: hyper::http::request::Parts, body: Bytes) -> io::Result<Response<Bytes>> {
    let other = io::Error::other::<Box<dyn std::error::Error + Send + Sync>>;
    let tls = connect(guest).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
        .await
        .map_err(|e| other(e.into()))?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.headers_mut() = parts.headers;
    let response = sender.send_request(request).await.map_err(|e| other(e.into()))?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| other(e.into()))?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

/// A TLS connection that verifies nothing: what any stranger can open.
pub async fn connect(guest: SocketAddr) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let provider = Arc::new(hybrid());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind(provider)))
        .with_no_client_auth();
    let stream = TcpStream::connect(guest).await?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::from(guest.ip()), stream)
        .await
}

/// Fetches a bundle as any stranger can.
pub async fn fetch_bundle(guest: SocketAddr, challenge: Option<&str>) -> io::Result<Vec<u8>> {
    let path = hanzo_attestation::channel::ATTESTATION_PATH;
    let uri = challenge.map_or_else(|| path.to_owned(), |c| format!("{path}?challenge={c}"));
    let request = Request::builder()
        .uri(uri)
        .header("host", "guest")
        .body(())
        .map_err(io::Error::other)?;
    Ok(ask(guest, request.into_parts().0, Bytes::new())
        .await?
        .into_body()
        .to_vec())
}

fn hybrid() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    }
}

/// A certificate of the impostor's own making, with its key.
pub struct OwnCertificate {
    /// DER.
    pub der: Vec<u8>,
    pub(crate) key: rcgen::KeyPair,
}

/// Makes one, as a guest's looks; with `evidence`, which is a guest's bundle, as its RA-TLS certificate looks.
pub fn own_certificate(evidence: Option<&[u8]>) -> io::Result<OwnCertificate> {
    let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
    let mut params = rcgen::CertificateParams::new(vec!["hanzo-guest".to_owned()]).map_err(io::Error::other)?;
    if let Some(bundle) = evidence {
        let value = ratls::wrap(bundle).map_err(io::Error::other)?;
        let extension = rcgen::CustomExtension::from_oid_content(&ratls::EVIDENCE_OID, value);
        params.custom_extensions.push(extension);
    }
    let der = params.self_signed(&key).map_err(io::Error::other)?.der().to_vec();
    Ok(OwnCertificate { der, key })
}

fn own_tls(certificate: OwnCertificate) -> io::Result<ServerConfig> {
    ServerConfig::builder_with_provider(Arc::new(hybrid()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der.into()],
            PrivateKeyDer::Pkcs8(certificate.key.serialize_der().into()),
        )
        .map_err(io::Error::other)
}

/// A client's check of certificates that checks nothing.
pub(crate) fn blind(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Blind(provider))
}

#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
