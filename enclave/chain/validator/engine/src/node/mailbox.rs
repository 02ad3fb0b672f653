//! How the engine talks to the application.

use commonware_actor::Feedback;
use commonware_consensus::simplex::Plan;
use commonware_consensus::simplex::types::{Activity, Context};
use commonware_consensus::{Automaton, CertifiableAutomaton, Relay, Reporter, Viewable};
use commonware_p2p::Recipients;
use commonware_utils::channel::{mpsc, oneshot};

use crate::BlockId;
use crate::keys::ValidatorKey;
use crate::scheme::Scheme;

pub(crate) type EngineContext = Context<BlockId, ValidatorKey>;

pub(crate) enum Event {
    Propose(EngineContext, oneshot::Sender<BlockId>),
    Verify(EngineContext, BlockId, oneshot::Sender<bool>),
    Send(BlockId, Recipients<ValidatorKey>),
    Activity(Box<Activity<Scheme, BlockId>>),
    View(u64),
}

/// Speaks to a running application. Copies speak to the same one.
#[derive(Clone)]
pub(crate) struct Mailbox(pub(crate) mpsc::UnboundedSender<Event>);

impl Mailbox {
    fn tell(&self, event: Event) -> bool {
        self.0.send(event).is_ok()
    }

    fn feedback(&self, event: Event) -> Feedback {
        match self.tell(event) {
            true => Feedback::Ok,
            false => Feedback::Closed,
        }
    }
}

impl Automaton for Mailbox {
    type Context = EngineContext;
    type Digest = BlockId;

    async fn propose(&mut self, context: EngineContext) -> oneshot::Receiver<BlockId> {
        let (reply, answer) = oneshot::channel();
        self.tell(Event::Propose(context, reply));
        answer
    }

    async fn verify(&mut self, context: EngineContext, payload: BlockId) -> oneshot::Receiver<bool> {
        let (reply, answer) = oneshot::channel();
        self.tell(Event::Verify(context, payload, reply));
        answer
    }
}

impl CertifiableAutomaton for Mailbox {}

impl Relay for Mailbox {
    type Digest = BlockId;
    type PublicKey = ValidatorKey;
    type Plan = Plan<ValidatorKey>;

    fn broadcast(&mut self, payload: BlockId, plan: Plan<ValidatorKey>) -> Feedback {
        let recipients = match plan {
            Plan::Prepare { .. } | Plan::Propose { .. } => Recipients::All,
            Plan::Forward { recipients, .. } => recipients,
        };
        self.feedback(Event::Send(payload, recipients))
    }
}

impl Reporter for Mailbox {
    type Activity = Activity<Scheme, BlockId>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        match activity {
            Activity::Finalization(_)
            | Activity::ConflictingNotarize(_)
            | Activity::ConflictingFinalize(_)
            | Activity::NullifyFinalize(_) => self.feedback(Event::Activity(Box::new(activity))),
            Activity::Notarization(certificate) => self.feedback(Event::View(certificate.view().get())),
            Activity::Nullification(certificate) => self.feedback(Event::View(certificate.view().get())),
            _ => Feedback::Ok,
        }
    }
}
