//! EHBP: a request of the API whose body alone is sealed.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hanzo_inference::Transport;
use hanzo_sealed::ehbp::{self, AnswerSealer, ENCAPSULATED_KEY_HEADER, RESPONSE_NONCE_HEADER, RequestOpener};
use tower::ServiceExt;
use zeroize::Zeroizing;

use super::answer::in_chunks;
use super::inner::next_bytes;
use super::keys::LiveKey;
use super::ohttp::IDLE_TIMEOUT;
use super::{Gateway, Keyed, Refused, problem, typed_problem};

/// Time up to the first chunk.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);
/// Names the owner of receipts, and would travel in clear.
const OWNER_HEADER: &str = "hanzo-owner";

/// True for a request that says its body is sealed.
pub(super) fn is_sealed(request: &Request) -> bool {
    request.headers().contains_key(ENCAPSULATED_KEY_HEADER)
}

fn key_problem() -> Response {
    typed_problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        ehbp::KEY_PROBLEM,
        "sealed.key",
        "no key of this guest opens the body: attest the guest again and take the key of its keyset",
    )
}

pub(super) async fn answer(gateway: &Gateway, request: Request) -> Response {
    let mut values = request.headers().get_all(ENCAPSULATED_KEY_HEADER).iter();
    let enc = match (values.next().and_then(|v| v.to_str().ok()), values.next()) {
        (Some(text), None) => ehbp::parse_enc(text).ok(),
        _ => None,
    };
    let Some(enc) = enc else {
        return problem(
            StatusCode::BAD_REQUEST,
            "sealed.header",
            "ehbp-encapsulated-key: expected one header of 64 lower-case hex digits",
        );
    };
    if request.headers().contains_key(OWNER_HEADER) {
        return problem(
            StatusCode::BAD_REQUEST,
            "sealed.owner_in_clear",
            "hanzo-owner is a secret and EHBP leaves headers in clear: leave it out, or use OHTTP",
        );
    }
    let opened = tokio::time::timeout(OPENING_TIMEOUT, open(gateway, &enc, request)).await;
    let opened = opened.unwrap_or(Err(Refused::Broken));
    let (request, sealer, keyed) = match opened {
        Ok(opened) => opened,
        Err(refused) => return refused.response(key_problem),
    };
    let answer = keyed.padded_api.clone().oneshot(request).await.into_response();
    seal(answer, sealer).unwrap_or_else(|refused| refused.response(key_problem))
}

/// A key that may be the one that a body is sealed to: EHBP does not name it.
struct Candidate<'a> {
    keyed: &'a Keyed,
    live: &'a LiveKey,
    opener: RequestOpener,
    sealer: AnswerSealer,
}

fn candidates<'a>(gateway: &'a Gateway, enc: &[u8; 32]) -> Vec<Candidate<'a>> {
    let now = (gateway.clock)();
    let of = |keyed: &'a std::sync::Arc<Keyed>| {
        let live = keyed.keys.ehbp.as_ref()?;
        let key = live.key_for(enc, now)?;
        let (opener, sealer) = RequestOpener::begin(&key, enc, gateway.body_bytes_max).ok()?;
        Some(Candidate {
            keyed,
            live,
            opener,
            sealer,
        })
    };
    gateway.keyed().filter_map(of).collect()
}

async fn open<'a>(
    gateway: &'a Gateway,
    enc: &[u8; 32],
    request: Request,
) -> Result<(Request, AnswerSealer, &'a Keyed), Refused> {
    let mut candidates = candidates(gateway, enc);
    if candidates.is_empty() {
        return Err(Refused::Key);
    }
    let (mut parts, mut body) = request.into_parts();
    let mut place = None;
    let (first, candidate) = loop {
        let next = next_bytes(&mut body);
        let next = match place {
            None => next.await,
            Some(_) => tokio::time::timeout(IDLE_TIMEOUT, next).await.unwrap_or(Err(())),
        };
        let bytes = next.map_err(|()| Refused::Broken)?.ok_or(Refused::Broken)?;
        // What is held of a chunk before it is whole proves nothing yet: so many at a time, as long as their bodies come.
        if place.is_none() {
            place = Some(gateway.place()?);
        }
        if let Some(opened) = first_chunk(&mut candidates, &bytes)? {
            break opened;
        }
    };
    let Candidate {
        keyed,
        live,
        opener,
        sealer,
    } = candidate;
    if !live.accept(enc) {
        return Err(Refused::Key);
    }
    for name in [ENCAPSULATED_KEY_HEADER, "content-length", "transfer-encoding"] {
        parts.headers.remove(name);
    }
    parts.extensions.insert(Transport::EhbpX25519);
    let content = stream::unfold(Some((Some(first), opener, body, place)), |state| async move {
        let (first, mut opener, mut body, place) = state?;
        if let Some(first) = first {
            return Some((Ok(plain(&first)), Some((None, opener, body, place))));
        }
        let broken = || Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None));
        loop {
            match opener.next_chunk() {
                Ok(Some(chunk)) => return Some((Ok(plain(&chunk)), Some((None, opener, body, place)))),
                Ok(None) => {}
                Err(_) => return broken(),
            }
            match next_bytes(&mut body).await {
                Ok(Some(bytes)) => opener.push(&bytes),
                Ok(None) if opener.end().is_ok() => return None,
                _ => return broken(),
            }
        }
    });
    let request = Request::from_parts(parts, Body::from_stream(content.fuse()));
    Ok((request, sealer, keyed))
}

/// The first chunk, once it is whole, and whoever opened it. Who does not open it is no candidate any more.
fn first_chunk<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    bytes: &[u8],
) -> Result<Option<(Zeroizing<Vec<u8>>, Candidate<'a>)>, Refused> {
    for mut candidate in std::mem::take(candidates) {
        candidate.opener.push(bytes);
        match candidate.opener.next_chunk() {
            Ok(Some(chunk)) => return Ok(Some((chunk, candidate))),
            Ok(None) => candidates.push(candidate),
            Err(_) => {}
        }
    }
    match candidates.is_empty() {
        true => Err(Refused::Key),
        false => Ok(None),
    }
}

fn plain(chunk: &Zeroizing<Vec<u8>>) -> Bytes {
    Bytes::copy_from_slice(chunk)
}

fn seal(answer: Response, sealer: AnswerSealer) -> Result<Response, Refused> {
    let (nonce, chunks) = sealer.begin().map_err(|_| Refused::Backend)?;
    let (mut head, body) = answer.into_parts();
    let nonce = HeaderValue::from_str(&nonce).map_err(|_| Refused::Backend)?;
    head.headers.insert(RESPONSE_NONCE_HEADER, nonce);
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, in_chunks(body, chunks)))
}
