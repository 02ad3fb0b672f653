//! The one TLS configuration.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{NamedGroup, ServerConfig};

use crate::error::ChannelError;
use crate::identity::TlsIdentity;

/// The only key exchange there is.
pub const GROUP: NamedGroup = NamedGroup::X25519MLKEM768;

/// TLS 1.3 over X25519MLKEM768 with AES-GCM; nothing else is offered.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768],
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        ..default_provider()
    }
}

/// The guest's server configuration: no client certificates, no tickets, no session store, no early data.
///
/// # Errors
/// [`ChannelError::Config`] if rustls refuses it.
pub fn server_config(identity: &TlsIdentity) -> Result<Arc<ServerConfig>, ChannelError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(ChannelError::Config)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(identity.leaves()));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
