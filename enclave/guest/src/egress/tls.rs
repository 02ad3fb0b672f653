//! TLS that ends in the guest: 1.3 over X25519MLKEM768, the roots of one entry of the configuration, its name, the guest's own time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hanzo_attestation::UnixTime;
use hanzo_attestation::config::{EgressEntry, HostName};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime as TlsTime};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

use super::error::EgressError;

/// Most certificates that a server may show.
const CHAIN_MAX: usize = 8;

/// From when to when every certificate that a server showed is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    not_before: UnixTime,
    not_after: UnixTime,
}

impl Validity {
    /// Of all of them. `None` for what is no certificate.
    fn of<'a>(chain: impl Iterator<Item = &'a CertificateDer<'a>>) -> Option<Self> {
        let (mut not_before, mut not_after) = (0, u64::MAX);
        let unix = |time: &Time| time.to_unix_duration().as_secs();
        for der in chain {
            let certificate = Certificate::from_der(der).ok()?;
            let validity = certificate.tbs_certificate().validity();
            not_before = not_before.max(unix(&validity.not_before));
            not_after = not_after.min(unix(&validity.not_after));
        }
        Some(Self {
            not_before: UnixTime(not_before),
            not_after: UnixTime(not_after),
        })
    }

    /// Whether they are valid now.
    ///
    /// # Errors
    /// [`EgressError::TlsTime`].
    pub fn check(&self, host: &HostName, now: UnixTime) -> Result<(), EgressError> {
        match (self.not_before..=self.not_after).contains(&now) {
            true => Ok(()),
            false => Err(EgressError::TlsTime {
                host: host.clone(),
                not_before: self.not_before,
                not_after: self.not_after,
                now,
            }),
        }
    }
}

/// Verifies servers at the guest's time. Before the guest has a clock, at the first second at which all certificates of the chain are
/// valid, if there is one; the caller judges [`Validity`] once the clock is set.
#[derive(Debug)]
pub(super) struct Judge {
    inner: Arc<WebPkiServerVerifier>,
    now: Option<UnixTime>,
    seen: Mutex<Option<Validity>>,
}

impl Judge {
    /// What the server's certificates say, once the handshake is over.
    pub(super) fn validity(&self) -> Option<Validity> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Judge {
    /// rustls's own time is the machine's, which the host sets: it is not looked at.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: TlsTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.len() >= CHAIN_MAX {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        let chain = std::iter::once(end_entity).chain(intermediates);
        let validity = Validity::of(chain).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let at = Duration::from_secs(self.now.unwrap_or(validity.not_before).0);
        let at = TlsTime::since_unix_epoch(at);
        // No OCSP answer is asked for, and none is looked at.
        let verified = self
            .inner
            .verify_server_cert(end_entity, intermediates, server_name, &[], at);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(validity);
        // An authority that has borrowed the name of a root is an unknown one.
        verified.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::BadSignature) => CertificateError::UnknownIssuer.into(),
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The roots of an entry.
///
/// # Errors
/// [`EgressError::Roots`].
pub(super) fn roots(entry: &EgressEntry) -> Result<Arc<RootCertStore>, EgressError> {
    let wrong = |source| EgressError::Roots {
        host: entry.name.clone(),
        source,
    };
    let mut store = RootCertStore::empty();
    let all = entry
        .root_certificates()
        .map_err(|error| wrong(Error::General(error.to_string())))?;
    for der in all {
        store.add(CertificateDer::from(der)).map_err(wrong)?;
    }
    Ok(Arc::new(store))
}

/// The configuration of one connection, and who judges its server.
pub(super) fn client(
    host: &HostName,
    roots: &Arc<RootCertStore>,
    now: Option<UnixTime>,
) -> Result<(ClientConfig, Arc<Judge>), EgressError> {
    let provider = Arc::new(hanzo_channel::tls::provider());
    let inner = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| EgressError::Roots {
            host: host.clone(),
            source: Error::General(error.to_string()),
        })?;
    let judge = Arc::new(Judge {
        inner,
        now,
        seen: Mutex::default(),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| refused(host, &error, None, now))?
        .dangerous()
        .with_custom_certificate_verifier(judge.clone())
        .with_no_client_auth();
    // A ticket would let a server, or whoever took it, tell that two boots are one guest's.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, judge))
}

/// What a failed handshake says of the server.
pub(super) fn refused(host: &HostName, error: &Error, seen: Option<Validity>, now: Option<UnixTime>) -> EgressError {
    let host = host.clone();
    match (error, seen) {
        (
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ),
            _,
        ) => EgressError::TlsName { host },
        (Error::InvalidCertificate(CertificateError::UnknownIssuer), _) => EgressError::TlsIssuer { host },
        (
            Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ),
            Some(Validity { not_before, not_after }),
        ) => EgressError::TlsTime {
            host,
            not_before,
            not_after,
            now: now.unwrap_or(not_before),
        },
        (error, _) => EgressError::Tls {
            host,
            detail: error
                .to_string()
                .chars()
                .filter(|c| matches!(c, ' '..='~'))
                .take(200)
                .collect(),
        },
    }
}
