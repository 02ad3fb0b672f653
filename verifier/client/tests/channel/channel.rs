//! What a healthy guest gets: one attestation, a proof per connection, and then requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hanzo_client::ChannelRequest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::guest::*;

#[tokio::test]
async fn one_attestation_serves_many_requests_and_every_connection_proves_itself() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    for _ in 0..3 {
        assert_eq!(client.chat_once(&chat(false)).await.unwrap().content, "Paris");
    }
    assert_eq!(
        (guest.attestations.load(Ordering::SeqCst), network.connections()),
        (1, 1)
    );
    network.sever().await;
    assert_eq!(client.chat_once(&chat(false)).await.unwrap().content, "Paris");
    assert_eq!(
        guest.attestations.load(Ordering::SeqCst),
        1,
        "the verdict is still fresh"
    );
    assert_eq!(
        guest.proofs.load(Ordering::SeqCst),
        2,
        "the new connection proved itself"
    );
    let many = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.chat_once(&chat(false)).await.unwrap().content })
    });
    for one in many.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), "Paris");
    }
    assert_eq!(guest.proofs.load(Ordering::SeqCst), network.connections() + 1);
}

#[tokio::test]
async fn a_burst_at_the_start_attests_once() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    let burst: Vec<_> = (0..6)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.exchange(ChannelRequest::get("/v1/models")).await.unwrap().status })
        })
        .collect();
    for one in burst {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(guest.attestations.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_guest_is_attested_again_when_the_verdict_is_too_old_and_when_it_has_restarted() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (client, clock) = client(network.at, None);
    let first = *client.verdict().await.unwrap().keyset_digest();
    clock.store(NOW + 3600, Ordering::SeqCst);
    client.verdict().await.unwrap();
    assert_eq!(
        guest.attestations.load(Ordering::SeqCst),
        1,
        "the last second still counts"
    );
    clock.store(NOW + 3601, Ordering::SeqCst);
    client.chat_once(&chat(false)).await.unwrap();
    assert_eq!(guest.attestations.load(Ordering::SeqCst), 2);

    let restarted = Guest::boot(2);
    network.divert(&restarted);
    network.sever().await;
    client.chat_once(&chat(false)).await.unwrap();
    assert_eq!(restarted.attestations.load(Ordering::SeqCst), 1);
    assert_ne!(*client.last_verdict().unwrap().keyset_digest(), first);
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let e = client(at, None).0.verdict().await.err().unwrap();
    assert_eq!((e.code(), e.exit_code()), ("endpoint.unreachable", 1));
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
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
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client that believes anybody: the impostor's side towards the genuine guest.
pub async fn unverified_tls(at: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    let tcp = TcpStream::connect(at).await.unwrap();
    let name = ServerName::try_from("guest.invalid").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap()
}

/// One HTTP/1.1 request over a raw stream; the answer's body (or all of it if it is chunked).
pub async fn raw_exchange<S>(stream: &mut S, request_line: &str, body: &[u8]) -> Vec<u8>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let head = format!(
        "{request_line} HTTP/1.1\r\nhost: guest\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |p| p + 4);
    answer.split_off(at)
}
