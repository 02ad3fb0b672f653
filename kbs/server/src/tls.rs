//! TLS of the broker's own: 1.3, X25519MLKEM768 first.
//!
//! What guests get is wrapped to their own key either way; TLS hides which keys they ask for and authenticates the broker to
//! stock clients. Clients without the hybrid group get X25519 or P-256.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::KbsError;
use crate::config::TlsConfig;
use crate::live::read_file;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..default_provider()
    })
}

/// The configuration in force: new connections take the newest.
pub(crate) struct Tls(RwLock<Arc<ServerConfig>>);

impl Tls {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        Self(RwLock::new(config))
    }

    pub(crate) fn now(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

/// Reads certificate, key and, if there is one, the admins' issuer.
///
/// # Errors
/// [`KbsError::File`].
pub(crate) fn load(config: &TlsConfig) -> Result<Arc<ServerConfig>, KbsError> {
    let fail = |what, path: &Path, detail: String| KbsError::File {
        what,
        path: path.to_owned(),
        detail,
    };
    let chain = certificates("TLS certificate", &config.certificate_file)?;
    let key_path = &config.key_file;
    let mode = fs::metadata(key_path).map_err(|e| fail("TLS key", key_path, e.to_string()))?;
    if mode.mode() & 0o077 != 0 {
        let detail = format!("mode is {:04o}: others can read it; chmod 600 it", mode.mode() & 0o7777);
        return Err(fail("TLS key", key_path, detail));
    }
    let pem = Zeroizing::new(read_file("TLS key", key_path)?);
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        fail(
            "TLS key",
            key_path,
            "no private key in PEM (PKCS #8, SEC 1 or PKCS #1)".into(),
        )
    })?;
    let wrong = |e: rustls::Error| fail("TLS certificate", &config.certificate_file, e.to_string());
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(wrong)?;
    let builder = match &config.admin_client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for der in certificates("admin client CA", path)? {
                roots
                    .add(der)
                    .map_err(|e| fail("admin client CA", path, e.to_string()))?;
            }
            // Guests show no certificate. Who shows one shows one of this issuer, or there is no connection.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .allow_unauthenticated()
                .build()
                .map_err(|e| fail("admin client CA", path, e.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut tls = builder.with_single_cert(chain, key).map_err(wrong)?;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    tls.max_early_data_size = 0;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, KbsError> {
    let fail = |detail: &str| KbsError::File {
        what,
        path: path.to_owned(),
        detail: detail.into(),
    };
    let pem = read_file(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(fail("no certificate in PEM")),
        Err(_) => Err(fail("not PEM")),
    }
}
