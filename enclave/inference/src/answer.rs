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
use hanzo_receipts::{Endpoint, Owner, Pending, RequestStart, Transport};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::body::{self, Whole};
use crate::callers::Present;
use crate::dialect::{Dialect, Identity};
use crate::error::ApiError;
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
    pub(crate) present: Present,
    pub(crate) transport: Transport,
    owner: Option<Owner>,
}

impl Arrived {
    pub(crate) async fn read(
        state: &ServingState,
        way: Option<Extension<Transport>>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, ApiError> {
        let owner = owner(headers)?;
        Ok(Self {
            present: state.callers.enter(headers.get(OWNER_HEADER)),
            body: body::read(headers, body, state.body_bytes_max, &state.body_room).await?,
            // Whoever hands a sealed message on says so; what comes over the attested channel itself needs no mark.
            transport: way.map_or(Transport::Tls, |Extension(way)| way),
            owner,
        })
    }

    /// Takes a place among the running requests, and fixes the receipt's id.
    pub(crate) fn begin(self, state: &ServingState, model: &str, endpoint: Endpoint) -> Result<Begun, ApiError> {
        let serving = state.serving(model).ok_or(ApiError::Model)?.clone();
        let slot = state.slots.clone().try_acquire_owned().map_err(|_| ApiError::Busy)?;
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
            held: (slot, self.present),
        })
    }
}

/// A request that has its place and its id.
pub(crate) struct Begun {
    pub(crate) pending: Pending,
    pub(crate) identity: Identity,
    pub(crate) serving: Serving,
    pub(crate) endpoint: Endpoint,
    pub(crate) deadline: Instant,
    /// What it takes while it runs.
    pub(crate) held: (OwnedSemaphorePermit, Present),
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
    if state.serving(&ask.model).is_none() {
        return Err(ApiError::Model);
    }
    if ask.seed.is_none() && ask.temperature_micros > 0 {
        ask.seed = Some(state.fresh_seed()?);
    }
    let begun = arrived.begin(state, &ask.model, endpoint)?;
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
