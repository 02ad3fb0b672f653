//! A client that checks what a client must check: the keyset's TLS key, and the proof of its own connection.

use std::sync::Arc;

use bytes::Bytes;
use hanzo_attestation::channel::{PROOF_PATH, ProofResponse};
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Digest256, jcs};
use hanzo_channel::{ChannelError, Exporter, PendingProof, tls};
use hanzo_guest::ListenAddress;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
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
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    pub exporter: Exporter,
    pub spki_prefix_digests: Vec<Digest256>,
}

/// The guest's TLS, under any certificate: the proof says who is there.
pub fn config() -> Arc<ClientConfig> {
    let provider = tls::provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Arc::new(config)
}

/// TLS to whoever is there, by a name.
pub async fn raw(address: &ListenAddress) -> TlsStream<TcpStream> {
    raw_to(address, ServerName::try_from("hanzo-guest").unwrap()).await
}

/// The same under any name; an address is none.
pub async fn raw_to(address: &ListenAddress, name: ServerName<'static>) -> TlsStream<TcpStream> {
    let ListenAddress::Tcp(address) = address else {
        panic!("not TCP")
    };
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(config()).connect(name, stream).await.unwrap()
}

pub async fn connect(address: &ListenAddress) -> Connection {
    let stream = raw(address).await;
    let connection = stream.get_ref().1;
    let exporter = Exporter::of_client(connection).unwrap();
    // An EC P-256 SubjectPublicKeyInfo has 91 bytes; the keyset names the digest of one window of the certificate.
    let certificate = connection.peer_certificates().unwrap()[0].clone();
    let spki_prefix_digests = certificate.windows(91).map(Digest256::of).collect();
    let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(driver);
    Connection {
        sender,
        exporter,
        spki_prefix_digests,
    }
}

impl Connection {
    pub async fn get(&mut self, path: &str) -> (StatusCode, Bytes) {
        self.send(
            Request::get(path)
                .header("host", "guest")
                .body(Full::default())
                .unwrap(),
        )
        .await
    }

    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
        let request = Request::post(path)
            .header("host", "guest")
            .header("content-type", "application/json")
            .body(Full::new(body.into()));
        self.send(request.unwrap()).await
    }

    /// The head of the answer alone.
    pub async fn post_for_head(&mut self, path: &str, body: &'static str) -> (StatusCode, HeaderMap) {
        let request = Request::post(path)
            .header("host", "guest")
            .header("content-type", "application/json")
            .body(Full::from(body));
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request.unwrap()).await.unwrap();
        let head = (response.status(), response.headers().clone());
        response.into_body().collect().await.unwrap();
        head
    }

    /// True once the guest has closed it.
    pub async fn is_closed(&mut self) -> bool {
        self.sender.ready().await.is_err()
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    /// The channel proof of this connection against a keyset.
    pub async fn prove(&mut self, keyset: &Keyset) -> Result<(), ChannelError> {
        let (request, pending) = PendingProof::ask(keyset, &self.exporter)?;
        let body = jcs::to_vec("proof", &request).unwrap();
        let (status, answer) = self.post(PROOF_PATH, body).await;
        assert_eq!(status, StatusCode::OK);
        let answer: ProofResponse = serde_json::from_slice(&answer).unwrap();
        pending.check(&answer)
    }
}
