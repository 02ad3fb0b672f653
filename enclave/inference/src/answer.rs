//! From a request to its answers and its one receipt.
//!
//! Each request runs in a task of its own, so that a client that goes away ends in a receipt that says `cut` rather than in a
//! dropped future. The task hands frames over one at a time; when its other end is gone it drops the engine's answer, which
//! cancels the engine's work. Several answers to one request are made one after the other: the engine never has more of a
//! request than one answer.

mod ending;
mod running;
mod stream;
mod whole;

use axum::Extension;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use hanzo_receipts::{Endpoint, Owner, RequestStart, Transport};
use tokio::time::Instant;

use crate::access::Share;
use crate::aci::{self, Committing};
use crate::body::{self, Whole};
use crate::dialect::{Dialect, Identity};
use crate::error::ApiError;
use crate::queue::{Asks, Turn};
use crate::request::Ask;
use crate::state::{Serving, ServingState};
pub(crate) use ending::{Counts, finish};
pub(crate) use running::{Ended, named};

/// Header by which a client says who may fetch the receipt.
pub(crate) const OWNER_HEADER: &str = "hanzo-owner";
/// Header that names the receipt.
pub(crate) const RECEIPT_HEADER: &str = "hanzo-receipt-id";

/// The value of `hanzo-owner`, if it came.
pub(crate) fn owner(headers: &HeaderMap) -> Result<Option<Owner>, ApiError> {
    let mut values = headers.get_all(OWNER_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let owner = value.to_str().ok().and_then(Owner::from_hex);
    match (owner, values.next()) {
        (Some(owner), None) => Ok(Some(owner)),
        _ => Err(ApiError::Invalid {
            param: OWNER_HEADER.into(),
            expected: "one header of 64 lower-case hex digits",
            got: "another value".into(),
        }),
    }
}

/// A request that was read whole, before anybody looked into it.
pub(crate) struct Arrived {
    pub(crate) body: Whole,
    pub(crate) share: Share,
    pub(crate) transport: Transport,
    owner: Option<Owner>,
    /// Whose it is to the ACI view.
    aci_owner: Option<Owner>,
}

impl Arrived {
    pub(crate) async fn read(
        state: &ServingState,
        way: Option<Extension<Transport>>,
        headers: &HeaderMap,
        body: Body,
        share: Share,
    ) -> Result<Self, ApiError> {
        let (owner, aci_owner) = (owner(headers)?, aci::owner(state, headers)?);
        Ok(Self {
            share,
            body: body::read(headers, body, state.body_bytes_max, &state.body_room).await?,
            // Whoever hands a sealed message on says so; what comes over the attested channel itself needs no mark.
            transport: way.map_or(Transport::Tls, |Extension(way)| way),
            owner,
            aci_owner,
        })
    }

    /// The model of that name, if there is one for this caller.
    fn serving<'a>(&self, state: &'a ServingState, model: &str) -> Result<&'a Serving, ApiError> {
        state.serving(model, |m| self.share.sees(m))
    }

    /// Waits for a turn at the engine of `model`, if there is such a model for this caller; and says which engine that is.
    pub(crate) async fn turn(
        &self,
        state: &ServingState,
        model: &str,
        answers: u64,
        max_tokens: Option<u64>,
    ) -> Result<(Turn, Serving), ApiError> {
        let serving = self.serving(state, model)?;
        // Before it takes a place: what loads keeps nobody from being answered.
        let serving = serving.supplied(&state.open, &self.share.class()).await?;
        let asks = Asks {
            tenant: self.share.tenant(),
            concurrent: self.share.concurrent(),
            body_bytes: self.body.bytes.len() as u64,
            max_tokens,
            answers,
            context_tokens: serving.context_tokens,
        };
        Ok((state.queue.turn(asks).await?, serving))
    }

    /// Waits for a turn, and fixes the receipt's id.
    pub(crate) async fn begin(
        self,
        state: &ServingState,
        model: &str,
        endpoint: Endpoint,
        answers: u64,
        max_tokens: Option<u64>,
    ) -> Result<Begun, ApiError> {
        let (turn, serving) = self.turn(state, model, answers, max_tokens).await?;
        let start = RequestStart {
            model,
            request: &self.body.bytes,
            owner: self.owner,
            transport: self.transport,
        };
        let pending = state
            .receipts
            .begin(start, state.fresh()?)
            .map_err(|e| ApiError::Receipt { code: e.code() })?;
        let caller = self.share.account();
        let pending = Committing::begin(state, pending, self.aci_owner.as_ref(), caller, &self.body.bytes)?;
        let identity = Identity {
            id: pending.id(),
            created: (state.clock)().0,
            model: model.to_owned(),
            fingerprint: state.fingerprint.clone(),
        };
        Ok(Begun {
            pending,
            identity,
            serving,
            endpoint,
            deadline: Instant::now() + state.request_timeout,
            turn,
            share: self.share,
        })
    }
}

/// A request that has its place and its id.
pub(crate) struct Begun {
    pub(crate) pending: Committing,
    pub(crate) identity: Identity,
    pub(crate) serving: Serving,
    pub(crate) endpoint: Endpoint,
    pub(crate) deadline: Instant,
    /// Its place at the engine.
    pub(crate) turn: Turn,
    /// What it may use of its caller's limits.
    pub(crate) share: Share,
}

/// One request in work.
pub(crate) struct Job {
    state: ServingState,
    ask: Ask,
    begun: Begun,
    dialect: Box<dyn Dialect>,
}

/// Runs a request whose shape is read; `speak` makes what writes its answer.
pub(crate) async fn respond(
    state: &ServingState,
    arrived: Arrived,
    mut ask: Ask,
    endpoint: Endpoint,
    speak: impl FnOnce(Identity, &Ask) -> Box<dyn Dialect>,
) -> Result<Response, ApiError> {
    arrived.serving(state, &ask.model)?;
    if ask.seed.is_none() && ask.temperature_micros > 0 {
        ask.seed = Some(state.fresh_seed()?);
    }
    let answers = ask.answers().into();
    let begun = arrived
        .begin(state, &ask.model, endpoint, answers, ask.max_tokens)
        .await?;
    let is_stream = ask.stream;
    let job = Job {
        dialect: speak(begun.identity.clone(), &ask),
        state: state.clone(),
        ask,
        begun,
    };
    match is_stream {
        true => stream::respond(job).await,
        false => whole::respond(job).await,
    }
}
