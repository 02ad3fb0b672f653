//! The two sides of a fresh connection: TLS, greetings, and a channel proof in each direction.
//!
//! After TLS each side sends its [`Greeting`] and judges the peer's; only then it asks the peer, by an encapsulation to the channel
//! key that the peer's evidence proves, for a secret that only the holder of that key can answer and only over this connection
//! (`hanzo.channel.v1`, DESIGN section 4). A copied greeting gets no further.

use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::channel::{ProofRequest, ProofResponse};
use hanzo_attestation::jcs;
use hanzo_channel::proof::{REQUEST_BYTES, RESPONSE_BYTES};
use hanzo_channel::{ChannelError, Exporter, PendingProof, accept};
use hanzo_ledger::Canonical;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::error::LinkError;
use crate::frame::{read_message, write_message};
use crate::greeting::{Admission, GREETING_BYTES_MAX, Greeting, Identity, Peer};
use crate::tls;

/// A connection whose peer proved itself.
pub struct Proven<S> {
    /// Decrypted bytes.
    pub stream: TlsStream<S>,
    /// Who is at the other end.
    pub peer: Peer,
}

/// TLS configurations of one boot.
#[derive(Clone)]
pub struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Configs {
    /// Of an identity.
    ///
    /// # Errors
    /// [`LinkError::Channel`], [`LinkError::Tls`].
    pub fn new(identity: &Identity) -> Result<Self, LinkError> {
        Ok(Self {
            server: tls::server(&identity.tls)?,
            client: tls::client()?,
        })
    }
}

/// Takes a connection.
///
/// # Establishes
/// See [`Greeting::judge`]; and this connection ends where the peer's channel key is.
///
/// # Errors
/// [`LinkError`]; nothing that the peer sent is kept.
pub async fn accepting<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    configs: &Configs,
    identity: &Identity,
    by: &Admission<'_>,
    limit: Duration,
) -> Result<Proven<S>, LinkError> {
    let accepted = accept::accept(&configs.server, stream, limit).await?;
    if accepted.stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
        return Err(LinkError::Tls("the peer does not ask for hanzo-validator/1".into()));
    }
    within(limit, prove(accepted.stream.into(), &accepted.exporter, identity, by)).await
}

/// Dials: as [`accepting`], from the other side.
///
/// # Errors
/// As [`accepting`].
pub async fn dialling<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    configs: &Configs,
    identity: &Identity,
    by: &Admission<'_>,
    limit: Duration,
) -> Result<Proven<S>, LinkError> {
    let steps = async {
        let name = ServerName::try_from("validator.hanzo.invalid").map_err(|e| LinkError::Tls(e.to_string()))?;
        let stream = TlsConnector::from(Arc::clone(&configs.client))
            .connect(name, stream)
            .await
            .map_err(|e| LinkError::Tls(e.to_string()))?;
        if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
            return Err(LinkError::Tls("the peer does not speak hanzo-validator/1".into()));
        }
        let exporter = Exporter::of_client(stream.get_ref().1)?;
        prove(stream.into(), &exporter, identity, by).await
    };
    within(limit, steps).await
}

async fn within<T>(limit: Duration, steps: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    let limit_ms = limit.as_millis();
    let step = "handshake";
    tokio::time::timeout(limit, steps)
        .await
        .unwrap_or(Err(LinkError::Timeout { step, limit_ms }))
}

async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    stream: TlsStream<S>,
    exporter: &Exporter,
    identity: &Identity,
    by: &Admission<'_>,
) -> Result<Proven<S>, LinkError> {
    let (mut from, mut to) = tokio::io::split(stream);
    let read = read_message(&mut from, "greeting", GREETING_BYTES_MAX);
    let (greeting, ()) = tokio::try_join!(read, write_message(&mut to, &identity.written))?;
    let peer = Greeting::from_bytes("greeting", &greeting, GREETING_BYTES_MAX)?.judge(by)?;

    let digest = peer.greeting.keys.digest();
    let (question, pending) = PendingProof::ask_key(&peer.channel_key(), &digest, exporter)?;
    let malformed = |_| LinkError::Channel(ChannelError::ProofMismatch);
    let question = jcs::to_vec("proof", &question).map_err(malformed)?;
    let read = read_message(&mut from, "proof request", REQUEST_BYTES);
    let (asked, ()) = tokio::try_join!(read, write_message(&mut to, &question))?;
    let asked: ProofRequest = jcs::from_slice("proof request", &asked, REQUEST_BYTES).map_err(malformed)?;
    let answer = identity
        .channel
        .answer(&asked, exporter, &identity.greeting.keys.digest())?;
    let answer = jcs::to_vec("proof", &answer).map_err(malformed)?;
    let read = read_message(&mut from, "proof", RESPONSE_BYTES);
    let (answered, ()) = tokio::try_join!(read, write_message(&mut to, &answer))?;
    let answered: ProofResponse = jcs::from_slice("proof", &answered, RESPONSE_BYTES).map_err(malformed)?;
    pending.check(&answered)?;
    let stream = from.unsplit(to);
    Ok(Proven { stream, peer })
}
