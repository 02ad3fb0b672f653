//! Taking a connection: handshake under a deadline, then its exporter secret.

use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::channel::EXPORTER_LABEL;
use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::error::ChannelError;
use crate::tls::GROUP;

/// The exporter secret of one connection: `exporter("EXPORTER-hanzo-channel-v1", "", 32)`.
///
/// It belongs to that connection alone and is what ties a proof to it.
pub struct Exporter(Zeroizing<[u8; 32]>);

impl Exporter {
    /// Takes it from a connection whose handshake is over.
    ///
    /// # Errors
    /// [`ChannelError::Exporter`] if the handshake is not over or used another group.
    pub fn of_server(connection: &rustls::ServerConnection) -> Result<Self, ChannelError> {
        check_group(connection)?;
        Self::take(|out| connection.export_keying_material(out, EXPORTER_LABEL, Some(b"")))
    }

    /// The client's side of [`Exporter::of_server`].
    ///
    /// # Errors
    /// As [`Exporter::of_server`].
    pub fn of_client(connection: &rustls::ClientConnection) -> Result<Self, ChannelError> {
        check_group(connection)?;
        Self::take(|out| connection.export_keying_material(out, EXPORTER_LABEL, Some(b"")))
    }

    fn take(export: impl FnOnce([u8; 32]) -> Result<[u8; 32], rustls::Error>) -> Result<Self, ChannelError> {
        match export([0; 32]) {
            Ok(ekm) => Ok(Self(Zeroizing::new(ekm))),
            Err(_) => Err(ChannelError::Exporter(
                "gives no exporter secret: the handshake is not over",
            )),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn for_tests(byte: u8) -> Self {
        Self(Zeroizing::new([byte; 32]))
    }
}

fn check_group(connection: &CommonState) -> Result<(), ChannelError> {
    match connection.negotiated_key_exchange_group() {
        Some(group) if group.name() == GROUP => Ok(()),
        _ => Err(ChannelError::Exporter("did not use X25519MLKEM768")),
    }
}

/// A connection ready for HTTP.
pub struct Accepted<S> {
    /// Decrypted bytes.
    pub stream: TlsStream<S>,
    /// For the proofs of this connection.
    pub exporter: Exporter,
}

/// Does the handshake on `stream`.
///
/// # Errors
/// [`ChannelError::HandshakeTimeout`] after `limit`, [`ChannelError::Handshake`], [`ChannelError::Exporter`].
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    config: &Arc<ServerConfig>,
    stream: S,
    limit: Duration,
) -> Result<Accepted<S>, ChannelError> {
    let handshake = TlsAcceptor::from(config.clone()).accept(stream);
    let stream = match tokio::time::timeout(limit, handshake).await {
        Err(_) => {
            return Err(ChannelError::HandshakeTimeout {
                limit_ms: limit.as_millis(),
            });
        }
        Ok(result) => result.map_err(ChannelError::Handshake)?,
    };
    let exporter = Exporter::of_server(stream.get_ref().1)?;
    Ok(Accepted { stream, exporter })
}
