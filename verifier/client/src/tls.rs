//! TLS 1.3 to a guest: X25519MLKEM768 and AES-GCM alone, no resumption, no early data, and no PKI.
//!
//! A certificate authority says nothing about a guest, so none is asked. The handshake signature is verified with the
//! leaf's own key, and the key is handed to the caller, who compares it with the attested keyset.
//!
//! # Establishes
//! The peer holds the private key of the SubjectPublicKeyInfo that [`Handshake::spki_sha256`] names.
//!
//! # Does not establish
//! Who that peer is: that is the channel proof's part ([`crate::connection`]).

use std::sync::Arc;

use hanzo_attestation::Digest256;
use hanzo_attestation::channel::EXPORTER_LABEL;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, NamedGroup, ProtocolVersion, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use crate::error::ClientError;
use crate::first_flight::FirstFlight;

/// What a finished handshake leaves for the channel proof.
pub(crate) struct Handshake<S> {
    pub(crate) stream: TlsStream<FirstFlight<S>>,
    /// SHA-256 of the leaf's SubjectPublicKeyInfo (DER).
    pub(crate) spki_sha256: Digest256,
    /// exporter("EXPORTER-hanzo-channel-v1", "", 32).
    pub(crate) ekm: Zeroizing<[u8; 32]>,
}

/// The one TLS configuration of this crate.
pub(crate) fn client_config() -> Result<Arc<ClientConfig>, ClientError> {
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    };
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| ClientError::Tls { detail: e.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(LeafKey { algorithms }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// Runs the handshake and takes what the proof needs. No application byte is sent, and the handshake's last bytes leave
/// with the first of them.
pub(crate) async fn handshake<S>(config: Arc<ClientConfig>, io: S) -> Result<Handshake<S>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from("guest.hanzo.invalid").map_err(|e| ClientError::Tls { detail: e.to_string() })?;
    let mut stream = TlsConnector::from(config)
        .connect(name, FirstFlight::new(io))
        .await
        .map_err(|e| ClientError::Tls { detail: e.to_string() })?;
    stream.get_mut().0.shaken();
    let (_, session) = stream.get_ref();
    let group = session.negotiated_key_exchange_group().map(|g| g.name());
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) || group != Some(NamedGroup::X25519MLKEM768) {
        return Err(ClientError::TlsGroup);
    }
    let leaf = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .ok_or(ClientError::TlsCertificate)?;
    let spki = ParsedCertificate::try_from(leaf)
        .map_err(|_| ClientError::TlsCertificate)?
        .subject_public_key_info();
    let spki_sha256 = Digest256::of(&spki);
    let ekm = session
        .export_keying_material(Zeroizing::new([0_u8; 32]), EXPORTER_LABEL, Some(&[]))
        .map_err(|e| ClientError::Tls { detail: e.to_string() })?;
    Ok(Handshake {
        stream,
        spki_sha256,
        ekm,
    })
}

/// Accepts any single well-formed leaf and verifies the handshake signature with its key.
#[derive(Debug)]
struct LeafKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for LeafKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !intermediates.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        ParsedCertificate::try_from(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
