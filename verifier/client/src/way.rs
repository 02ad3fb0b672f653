//! Either way to a guest: over attested connections, or by sealed messages.

use std::sync::Arc;

use hanzo_attestation::padding::Padding;
use hyper::Response;

use crate::body::AnswerBody;
use crate::client::AttestedClient;
use crate::error::ClientError;
use crate::limits::Limits;
use crate::pinned::Pinned;
use crate::receipts::Tally;
use crate::records::Records;
use crate::request::ChannelRequest;
use crate::sealed::SealedClient;
use crate::state::StateDir;

/// A client of one attested guest, whichever way it goes. Cheap to clone; clones share everything.
#[derive(Clone)]
pub enum Client {
    /// Over proven connections.
    Channel(AttestedClient),
    /// By sealed messages, which anybody may carry.
    Sealed(SealedClient),
}

impl From<AttestedClient> for Client {
    fn from(client: AttestedClient) -> Self {
        Self::Channel(client)
    }
}

impl From<SealedClient> for Client {
    fn from(client: SealedClient) -> Self {
        Self::Sealed(client)
    }
}

impl Client {
    /// The verdict in force; attests first if there is none or it is too old.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn verdict(&self) -> Result<Arc<Pinned>, ClientError> {
        match self {
            Self::Channel(client) => client.verdict().await,
            Self::Sealed(client) => client.verdict().await,
        }
    }

    /// Sends one request; the answer's body streams, with its padding if there is any.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: ChannelRequest) -> Result<Response<AnswerBody>, ClientError> {
        match self {
            Self::Channel(client) => Ok(client.send(request).await?.map(AnswerBody::Channel)),
            Self::Sealed(client) => Ok(client.send(request).await?.map(AnswerBody::Sealed)),
        }
    }

    /// Where requests go, for people.
    pub fn destination(&self) -> String {
        match self {
            Self::Channel(client) => client.endpoint().to_string(),
            Self::Sealed(client) => client.destination(),
        }
    }

    /// How receipts came out so far.
    pub fn tally(&self) -> Tally {
        self.records().tally()
    }

    /// Idle proven connections; sealed messages need none.
    pub fn idle_connections(&self) -> usize {
        match self {
            Self::Channel(client) => client.idle_connections(),
            Self::Sealed(_) => 0,
        }
    }

    /// What the verdict is shown to hold for: `attested-tls` or `sealed`.
    pub fn way(&self) -> &'static str {
        match self {
            Self::Channel(_) => "attested-tls",
            Self::Sealed(_) => "sealed",
        }
    }

    /// What lengths requests and answers have on the wire.
    pub fn padding(&self) -> Padding {
        match self {
            Self::Channel(client) => client.inner.padding,
            Self::Sealed(client) => client.inner.padding,
        }
    }

    /// The state directory, if there is one.
    pub fn state(&self) -> Option<&StateDir> {
        self.records().state.as_ref()
    }

    pub(crate) fn records(&self) -> &Records {
        match self {
            Self::Channel(client) => &client.inner.records,
            Self::Sealed(client) => &client.inner.records,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        match self {
            Self::Channel(client) => &client.inner.limits,
            Self::Sealed(client) => &client.inner.limits,
        }
    }
}
