//! The two ends of a numbered channel, and the word that shuts a peer out, as commonware's traits want them.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

use commonware_actor::{Feedback, Unreliable};
use commonware_p2p::{BlockedSubscription, Blocker, CheckedSender, LimitedSender, Message, Receiver, Recipients};
use commonware_runtime::{IoBuf, IoBufs};
use hanzo_chain::ValidatorKey;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::network::Inner;

/// A message that waits for its reader. The permit gives its peer's room back when it is taken.
pub(crate) struct Waiting {
    pub(crate) from: ValidatorKey,
    pub(crate) message: IoBuf,
    pub(crate) room: OwnedSemaphorePermit,
}

/// Sends on one channel. Copies send on the same.
#[derive(Clone)]
pub struct LinkSender {
    pub(crate) inner: Arc<Inner>,
    pub(crate) channel: u64,
    pub(crate) max: usize,
}

impl fmt::Debug for LinkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkSender({})", self.channel)
    }
}

impl LinkSender {
    /// Sends to those of `recipients` that are connected and have room. Returns how many those are.
    pub fn tell(&self, recipients: &Recipients<ValidatorKey>, message: impl Into<IoBufs>) -> usize {
        let message = message.into().coalesce();
        match message.len() <= self.max {
            true => self.inner.send(recipients, self.channel, &message),
            false => 0,
        }
    }

    /// Whether `to` is connected and has room for a longest message of this channel: if not, there is no use in making one.
    pub fn has_room(&self, to: &ValidatorKey) -> bool {
        self.inner.has_room(to, self.max)
    }
}

impl LimitedSender for LinkSender {
    type PublicKey = ValidatorKey;
    type Checked<'a> = Checked<'a>;

    /// Never limited: a peer that is slow has a queue of its own, and what does not fit is not sent to it.
    fn check(&mut self, recipients: Recipients<ValidatorKey>) -> Result<Checked<'_>, SystemTime> {
        Ok(Checked {
            sender: self,
            recipients,
        })
    }
}

/// A message's recipients.
pub struct Checked<'a> {
    sender: &'a LinkSender,
    recipients: Recipients<ValidatorKey>,
}

impl CheckedSender for Checked<'_> {
    type PublicKey = ValidatorKey;

    fn recipients(&self) -> Vec<ValidatorKey> {
        self.sender.inner.connected(&self.recipients)
    }

    fn send(self, message: impl Into<IoBufs> + Send, _priority: bool) -> Unreliable<Feedback> {
        let message = message.into();
        if message.len() > self.sender.max {
            return Unreliable::Rejected;
        }
        self.sender.tell(&self.recipients, message);
        Unreliable::new(Feedback::Ok)
    }
}

/// The network has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("link: the channel is closed: the network has stopped")]
pub struct ReceiveError;

/// Receives on one channel. When it is dropped, what comes on the channel is thrown away.
pub struct LinkReceiver {
    pub(crate) inner: Arc<Inner>,
    pub(crate) channel: u64,
    pub(crate) number: u64,
    pub(crate) queue: mpsc::UnboundedReceiver<Waiting>,
}

impl fmt::Debug for LinkReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkReceiver({})", self.channel)
    }
}

impl Receiver for LinkReceiver {
    type Error = ReceiveError;
    type PublicKey = ValidatorKey;

    async fn recv(&mut self) -> Result<Message<ValidatorKey>, ReceiveError> {
        let waiting = self.queue.recv().await.ok_or(ReceiveError)?;
        drop(waiting.room);
        Ok((waiting.from, waiting.message))
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.messages_per_peer()
    }
}

impl Drop for LinkReceiver {
    fn drop(&mut self) {
        self.inner.unregister(self.channel, self.number);
    }
}

/// Shuts peers out.
#[derive(Clone)]
pub struct LinkBlocker(pub(crate) Arc<Inner>);

impl Blocker for LinkBlocker {
    type PublicKey = ValidatorKey;

    fn block(&mut self, peer: ValidatorKey) -> Feedback {
        self.0.block(peer);
        Feedback::Ok
    }

    fn blocked(&mut self) -> BlockedSubscription<ValidatorKey> {
        self.0.watch_blocked()
    }
}
