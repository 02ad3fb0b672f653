//! Real handshakes over an in-memory pipe: who gets in, and what a proof is tied to.

use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::Digest256;
use hanzo_channel::{Accepted, ChannelError, Exporter, TlsIdentity, accept, server_config, tls};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;

/// Takes any certificate but checks the handshake signature: what a client does before it compares the key.
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

fn client(provider: CryptoProvider) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(4);
    Arc::new(config)
}

type Client = tokio_rustls::client::TlsStream<DuplexStream>;

async fn connect(
    server: &Arc<rustls::ServerConfig>,
    client: &Arc<ClientConfig>,
) -> (Result<Accepted<DuplexStream>, ChannelError>, std::io::Result<Client>) {
    let (a, b) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("hanzo-guest").unwrap();
    tokio::join!(
        accept::accept(server, a, Duration::from_secs(5)),
        TlsConnector::from(client.clone()).connect(name, b),
    )
}

#[tokio::test]
async fn each_connection_is_a_full_handshake_with_its_own_exporter_and_the_keysets_key() {
    let identity = TlsIdentity::from_seed(&[3; 32]).unwrap();
    let server = server_config(&identity).unwrap();
    let client = client(tls::provider());
    for _ in 0..2 {
        let (accepted, connected) = connect(&server, &client).await;
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        accepted.stream.write_all(b"x").await.unwrap();
        accepted.stream.flush().await.unwrap();
        connected.read_exact(&mut [0]).await.unwrap();
        let connection = connected.get_ref().1;
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full), "never resumed");
        assert_eq!(connection.tls13_tickets_received(), 0);
        Exporter::of_client(connection).unwrap();
        let certificate = connection.peer_certificates().unwrap()[0].clone();
        let spki = rustls_spki(&certificate);
        assert_eq!(Digest256::of(&spki), identity.spki_sha256());
    }
}

/// The certificate's SubjectPublicKeyInfo: P-256 keys have a fixed prefix and 65 bytes of point.
fn rustls_spki(certificate: &[u8]) -> Vec<u8> {
    const PREFIX: &[u8] = &[
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let at = certificate
        .windows(PREFIX.len())
        .position(|w| w == PREFIX)
        .expect("an SPKI");
    certificate[at..at + PREFIX.len() + 65].to_vec()
}

#[tokio::test]
async fn classical_clients_and_slow_clients_are_turned_away() {
    let server = server_config(&TlsIdentity::from_seed(&[3; 32]).unwrap()).unwrap();
    for group in [kx_group::X25519, kx_group::SECP256R1] {
        let classical = CryptoProvider {
            kx_groups: vec![group],
            ..default_provider()
        };
        let (accepted, connected) = connect(&server, &client(classical)).await;
        assert_eq!(accepted.err().unwrap().code(), "channel.handshake");
        assert!(connected.is_err());
    }
    let (a, _silent) = tokio::io::duplex(1024);
    let error = accept::accept(&server, a, Duration::from_millis(20))
        .await
        .err()
        .unwrap();
    assert_eq!(error.code(), "channel.handshake_timeout");
}
