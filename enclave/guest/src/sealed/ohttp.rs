//! The OHTTP gateway: whole messages and messages in parts.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hanzo_inference::Transport;
use hanzo_pqc::hpke::message::MessageKem;
use hanzo_sealed::SealedError;
use hanzo_sealed::bhttp::{self, RequestHead};
use hanzo_sealed::chunked::{self, RequestOpener};
use hanzo_sealed::ohttp::{self, HEADER_LEN, Header};
use hanzo_sealed::padding::Padding;
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt;

use super::answer::{bad_inside, in_parts, whole};
use super::inner::{Broken, Incoming, next_bytes, request};
use super::keys::LiveKey;
use super::{Gateway, Keyed, Refused, problem, typed_problem};
use crate::padding;

/// Time for a message to begin: up to its first part, or, where it is sealed whole, to its end.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest pause of a message that has a place, until it is whole.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a whole message may have beside its body: `enc`, headers, tags.
const OVERHEAD_BYTES_MAX: usize = 64 * 1024;

/// The one answer to a message that no key of ours opens, for whatever reason (RFC 9458 section 5.3).
fn key_problem() -> Response {
    typed_problem(
        StatusCode::BAD_REQUEST,
        ohttp::KEY_PROBLEM,
        "sealed.key",
        "no key of this guest opens the message: attest the guest again and take the key of its keyset",
    )
}

fn way(kem: MessageKem) -> Transport {
    match kem {
        MessageKem::Xwing => Transport::OhttpXwing,
        MessageKem::X25519 => Transport::OhttpX25519,
    }
}

pub(super) async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let media_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|v| v.as_bytes().to_vec());
    let answered = match media_type.as_deref() {
        Some(m) if m == chunked::REQUEST_MEDIA_TYPE.as_bytes() => message_in_parts(&gateway, request.into_body()).await,
        Some(m) if m == ohttp::REQUEST_MEDIA_TYPE.as_bytes() => whole_message(&gateway, request.into_body()).await,
        _ => {
            return problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "sealed.media_type",
                "content-type: expected message/ohttp-req or message/ohttp-chunked-req",
            );
        }
    };
    answered.unwrap_or_else(|refused| refused.response(key_problem))
}

/// The key that a message names, and what answers under its keyset. No two of them have one identifier.
fn key_of(gateway: &Gateway, header: Header) -> Result<(&Keyed, &LiveKey), Refused> {
    let keys = gateway
        .keyed()
        .flat_map(|keyed| keyed.keys.ohttp.iter().map(move |key| (&**keyed, key)));
    let mut ours = keys.filter(|(_, key)| header.check(&key.config).is_ok());
    ours.next().ok_or(Refused::Key)
}

/// Answers a request that was inside, and says how its answer is padded.
async fn ask(gateway: &Gateway, keyed: &Keyed, request: Result<Request, SealedError>) -> (Response, Padding) {
    let mut request = match request {
        Ok(request) => request,
        Err(error) => return (bad_inside(&error), gateway.padding),
    };
    match padding::asked(request.headers_mut(), gateway.padding) {
        Ok(mode) => (keyed.api.clone().oneshot(request).await.into_response(), mode),
        Err(error) => (error.into_response(), gateway.padding),
    }
}

async fn message_in_parts(gateway: &Gateway, body: Body) -> Result<Response, Refused> {
    let opened = tokio::time::timeout(OPENING_TIMEOUT, open_parts(gateway, body)).await;
    let Opened {
        incoming,
        sealer,
        kem,
        keyed,
    } = opened.map_err(|_| Refused::Broken)??;
    // The head may take a few parts more; from here on every error is told inside.
    let request = tokio::time::timeout(OPENING_TIMEOUT, incoming.request(way(kem))).await;
    let request = match request {
        Ok(Ok(request)) => Ok(request),
        Ok(Err(Broken::Message(error))) => Err(error),
        Ok(Err(Broken::Body)) | Err(_) => return Err(Refused::Broken),
    };
    let (answer, padding) = ask(gateway, keyed, request).await;
    in_parts(answer, sealer, padding).await
}

/// A message in parts, of which the first is open.
struct Opened<'a> {
    incoming: Incoming,
    sealer: chunked::ResponseSealer,
    kem: MessageKem,
    keyed: &'a Keyed,
}

async fn open_parts(gateway: &Gateway, mut body: Body) -> Result<Opened<'_>, Refused> {
    let mut start = Vec::new();
    let header = loop {
        if let Some(header) = start.first_chunk::<HEADER_LEN>() {
            break Header::parse(header).map_err(|_| Refused::Key)?;
        }
        more(&mut body, &mut start).await?;
    };
    let (keyed, live) = key_of(gateway, header)?;
    let begins_at = HEADER_LEN + header.kem.enc_len();
    while start.len() < begins_at {
        more(&mut body, &mut start).await?;
    }
    let (head, rest) = start.split_at_checked(begins_at).ok_or(Refused::Broken)?;
    let enc = head.get(HEADER_LEN..).ok_or(Refused::Broken)?;
    let key = live.key_for(enc, (gateway.clock)()).ok_or(Refused::Key)?;
    let (mut opener, sealer) = RequestOpener::begin(&live.config, &key, header, enc).map_err(|_| Refused::Key)?;
    drop(key);
    opener.push(rest);
    let incoming = Incoming::first(body, opener).await?;
    if !live.accept(enc) {
        return Err(Refused::Key);
    }
    Ok(Opened {
        incoming,
        sealer,
        kem: header.kem,
        keyed,
    })
}

async fn more(body: &mut Body, start: &mut Vec<u8>) -> Result<(), Refused> {
    match next_bytes(body).await {
        Ok(Some(bytes)) => start.extend_from_slice(&bytes),
        // Too short to name a key: as good as another guest's.
        Ok(None) => return Err(Refused::Key),
        Err(()) => return Err(Refused::Broken),
    }
    Ok(())
}

async fn whole_message(gateway: &Gateway, body: Body) -> Result<Response, Refused> {
    let limit = gateway.body_bytes_max.saturating_add(OVERHEAD_BYTES_MAX);
    let limit = Padding::PowerOfTwo.padded(limit).saturating_add(OVERHEAD_BYTES_MAX);
    let collected = tokio::time::timeout(OPENING_TIMEOUT, collect(gateway, body, limit)).await;
    let (sealed, place) = collected.map_err(|_| Refused::Broken)??;
    let (header, enc, _) = ohttp::split_request(&sealed).map_err(|_| Refused::Key)?;
    let (keyed, live) = key_of(gateway, header)?;
    let key = live.key_for(enc, (gateway.clock)()).ok_or(Refused::Key)?;
    let (message, sealer) = ohttp::open_request(&live.config, &key, &sealed).map_err(|_| Refused::Key)?;
    drop(key);
    if !live.accept(enc) {
        return Err(Refused::Key);
    }
    let inside = bhttp::decode::<RequestHead>(&message)
        .and_then(|inside| request(inside.head, Body::from(inside.content), way(header.kem)));
    drop((message, sealed));
    let (answer, padding) = ask(gateway, keyed, inside).await;
    drop(place);
    whole(answer, sealer, padding).await
}

/// A whole message, and its place: taken when its first bytes are there, lost when no more come for a while.
async fn collect(gateway: &Gateway, mut body: Body, limit: usize) -> Result<(Vec<u8>, OwnedSemaphorePermit), Refused> {
    let mut sealed = Vec::new();
    let mut place = None;
    loop {
        let next = next_bytes(&mut body);
        let next = match place {
            None => next.await,
            Some(_) => tokio::time::timeout(IDLE_TIMEOUT, next).await.unwrap_or(Err(())),
        };
        let Some(bytes) = next.map_err(|()| Refused::Broken)? else {
            let place = place.map_or_else(|| gateway.place(), Ok)?;
            return Ok((sealed, place));
        };
        if place.is_none() {
            place = Some(gateway.place()?);
        }
        if sealed.len().saturating_add(bytes.len()) > limit {
            return Err(Refused::TooLong);
        }
        sealed.extend_from_slice(&bytes);
    }
}
