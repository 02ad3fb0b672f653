//! TLS towards clients and towards the gateway: 1.3 alone, X25519MLKEM768 preferred, roots from files alone.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{ServerTls, read};
use crate::error::RelayError;

const FILE_BYTES_MAX: u64 = 1024 * 1024;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn failed(path: &Path, detail: impl ToString) -> RelayError {
    RelayError::Certificate {
        path: path.display().to_string(),
        detail: detail.to_string(),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RelayError> {
    let text = read(path, FILE_BYTES_MAX)?;
    let all = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|e| failed(path, e))?;
    match all.is_empty() {
        true => Err(failed(path, "no certificate")),
        false => Ok(all),
    }
}

/// Said here: which versions are rustls's default depends on what else is built with it.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// What clients are served with. No resumption: a ticket would join a client's connections.
pub(crate) fn server(files: &ServerTls) -> Result<Arc<ServerConfig>, RelayError> {
    let chain = certificates(&files.certificate)?;
    let text = read(&files.key, FILE_BYTES_MAX)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|e| failed(&files.key, e))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|e| failed(&files.certificate, e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| failed(&files.key, e))?;
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What the gateway is checked with.
pub(crate) fn client(roots: &Path) -> Result<Arc<ClientConfig>, RelayError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(roots)? {
        store.add(certificate).map_err(|e| failed(roots, e))?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|e| failed(roots, e))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
