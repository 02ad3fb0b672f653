//! Certificates leave a moment after they are made, so that the votes that follow from them go first.
//!
//! The engine broadcasts a notarization (46 kB at 20 validators, to each of 19) and then casts its vote to finalize. On a link, which
//! keeps the order, that vote would wait behind the certificate; peers need the vote, and the certificate only where votes were lost.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use commonware_actor::{Feedback, Unreliable};
use commonware_p2p::{CheckedSender, LimitedSender, Recipients, Sender};
use commonware_runtime::{Clock, Handle, IoBufs, Spawner};
use commonware_utils::channel::mpsc;

use crate::keys::ValidatorKey;

/// What a certificate waits: more than two writes of the engine's journal, as a rule.
pub(crate) const HOLD: Duration = Duration::from_millis(5);

struct Waiting {
    until: SystemTime,
    recipients: Recipients<ValidatorKey>,
    message: IoBufs,
    priority: bool,
}

/// Sends on another sender, [`HOLD`] later and in the same order.
pub(crate) struct Held<E> {
    clock: Arc<E>,
    queue: mpsc::UnboundedSender<Waiting>,
}

impl<E> Clone for Held<E> {
    fn clone(&self) -> Self {
        Self {
            clock: Arc::clone(&self.clock),
            queue: self.queue.clone(),
        }
    }
}

impl<E: Clock + Spawner> Held<E> {
    /// A task of `context` sends on `to` what was held; it ends once all copies of the sender are gone and nothing waits.
    pub(crate) fn start<S>(context: E, mut to: S) -> (Self, Handle<()>)
    where
        S: Sender<PublicKey = ValidatorKey>,
    {
        let (queue, mut waiting) = mpsc::unbounded_channel::<Waiting>();
        let clock = Arc::new(context.child("clock"));
        let handle = context.spawn(move |context| async move {
            while let Some(next) = waiting.recv().await {
                // A clock that was set back makes nothing wait longer.
                let left = next.until.duration_since(context.current()).unwrap_or_default();
                context.sleep(left.min(HOLD)).await;
                to.send(next.recipients, next.message, next.priority);
            }
        });
        (Self { clock, queue }, handle)
    }
}

impl<E: Clock> LimitedSender for Held<E> {
    type PublicKey = ValidatorKey;
    type Checked<'a> = Checked<'a>;

    /// Never limited here: the other sender's limits hold when the message goes.
    fn check(&mut self, recipients: Recipients<ValidatorKey>) -> Result<Checked<'_>, SystemTime> {
        Ok(Checked {
            until: self.clock.current() + HOLD,
            recipients,
            queue: &self.queue,
        })
    }
}

/// A certificate's recipients.
pub(crate) struct Checked<'a> {
    until: SystemTime,
    recipients: Recipients<ValidatorKey>,
    queue: &'a mpsc::UnboundedSender<Waiting>,
}

impl CheckedSender for Checked<'_> {
    type PublicKey = ValidatorKey;

    /// Those that were named; who is meant by all is known when it goes.
    fn recipients(&self) -> Vec<ValidatorKey> {
        match &self.recipients {
            Recipients::All => Vec::new(),
            Recipients::Some(keys) => keys.clone(),
            Recipients::One(key) => vec![key.clone()],
        }
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        let waiting = Waiting {
            until: self.until,
            recipients: self.recipients,
            message: message.into(),
            priority,
        };
        match self.queue.send(waiting) {
            Ok(()) => Unreliable::new(Feedback::Ok),
            Err(_) => Unreliable::Rejected,
        }
    }
}
