//! What clients may ask, and what of it goes on.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::answer::{Answer, Piece};
use crate::config::Limits;
use crate::gateway::{Exchange, Gateway};
use crate::metrics::{How, Metrics, What};
use crate::refused::Refused;
use crate::upload::Upload;

/// The media types that are carried (RFC 9458, section 9; draft-ietf-ohai-chunked-ohttp, section 8).
const MESSAGES: [&str; 2] = ["message/ohttp-req", "message/ohttp-chunked-req"];
/// Where a guest's evidence is (`enclave/guest/SPEC.md`).
const EVIDENCE_PATH: &str = "/.well-known/hanzo/attestation";
const CHALLENGE_DIGITS: usize = 64;
/// A media type from the gateway is not longer.
const MEDIA_TYPE_BYTES_MAX: usize = 128;

/// What requests are answered with.
pub(crate) struct Relay {
    pub(crate) path: String,
    pub(crate) limits: Limits,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) metrics: Arc<Metrics>,
    /// Places for requests in flight.
    pub(crate) places: Arc<Semaphore>,
}

/// What goes on.
#[derive(Debug, PartialEq, Eq)]
enum Onward {
    Message(&'static str),
    Keys,
    /// With the query, if any.
    Evidence(Option<String>),
}

impl Relay {
    pub(crate) async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Answer> {
        let allow = match request.uri().path() == self.path {
            true => "GET, POST",
            false => "GET",
        };
        match self.carry(request).await {
            Ok(response) => response,
            Err(refused) => {
                self.metrics.refused(refused);
                refused.response(allow)
            }
        }
    }

    async fn carry(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<Answer>, Refused> {
        let onward = onward(&self.path, request.method(), request.uri(), request.headers())?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
        let (method, path, upload, why) = match &onward {
            Onward::Message(_) => {
                self.metrics.requested(What::Message);
                let max = self.limits.request_bytes_max;
                if request.body().size_hint().lower() > max {
                    return Err(Refused::TooLong);
                }
                let counted = self.metrics.bytes_to_gateway.clone();
                let (upload, why) = Upload::message(request.into_body(), max, self.limits.stall, counted);
                (Method::POST, self.path.clone(), upload, Some(why))
            }
            Onward::Keys => {
                self.metrics.requested(What::Keys);
                (Method::GET, self.path.clone(), Upload::Empty, None)
            }
            Onward::Evidence(query) => {
                self.metrics.requested(What::Evidence);
                let path = match query {
                    Some(query) => format!("{EVIDENCE_PATH}?{query}"),
                    None => EVIDENCE_PATH.to_owned(),
                };
                (Method::GET, path, Upload::Empty, None)
            }
        };
        // A new request, so that nothing of the client's is in it that is not named here.
        let mut fresh = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.gateway.host);
        if let Onward::Message(kind) = onward {
            fresh = fresh.header(CONTENT_TYPE, kind);
        }
        let fresh = fresh.body(upload).map_err(|_| Refused::Gateway)?;
        let exchange = match timeout(self.limits.answer, self.gateway.send(fresh)).await {
            Ok(Ok(exchange)) => exchange,
            Ok(Err(refused)) => return Err(why.and_then(|w| w.get()).unwrap_or(refused)),
            Err(_) => return Err(Refused::GatewaySlow),
        };
        self.pass(exchange, place)
    }

    /// Status, media type and body of the gateway's answer.
    fn pass(self: &Arc<Self>, exchange: Exchange, place: OwnedSemaphorePermit) -> Result<Response<Answer>, Refused> {
        let (pieces, body) = Answer::stream();
        let mut response = Response::new(body);
        let status = exchange.response.status();
        // A redirection would send clients past the relay.
        if !(status.is_success() || status.is_client_error() || status.is_server_error()) {
            return Err(Refused::Gateway);
        }
        *response.status_mut() = status;
        let kind = exchange.response.headers().get(CONTENT_TYPE);
        if let Some(kind) = kind.filter(|k| k.len() <= MEDIA_TYPE_BYTES_MAX) {
            response.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let relay = self.clone();
        tokio::spawn(async move {
            let how = pump(exchange, pieces, &relay).await;
            relay.metrics.answered(how);
            drop(place);
        });
        Ok(response)
    }
}

/// Carries the answer until its end or until one side is gone, too slow or says too much.
async fn pump(exchange: Exchange, pieces: mpsc::Sender<Piece>, relay: &Relay) -> How {
    let Exchange { response, connection } = exchange;
    let mut body = response.into_body();
    let mut left = relay.limits.answer_bytes_max;
    let give = async |piece| timeout(relay.limits.stall, pieces.send(piece)).await;
    loop {
        let frame = tokio::select! {
            // Nobody waits for the rest: the gateway is told by the end of its connection.
            () = pieces.closed() => return How::ClientGone,
            frame = timeout(relay.limits.answer, body.frame()) => frame,
        };
        let data = match frame {
            Err(_) => return How::GatewaySlow,
            Ok(Some(Err(_))) => return How::GatewayBroken,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => data,
                Err(_) => continue,
            },
            Ok(None) => {
                connection.keep();
                return match give(Piece::End).await {
                    Ok(Ok(())) => How::Complete,
                    Ok(Err(_)) => How::ClientGone,
                    Err(_) => How::ClientSlow,
                };
            }
        };
        left = match left.checked_sub(data.len() as u64) {
            Some(left) => left,
            None => return How::TooLong,
        };
        relay.metrics.bytes_to_client.inc_by(data.len() as u64);
        match give(Piece::Data(data)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return How::ClientGone,
            Err(_) => return How::ClientSlow,
        }
    }
}

/// What the request asks for, if it may.
fn onward(own: &str, method: &Method, uri: &hyper::Uri, headers: &HeaderMap) -> Result<Onward, Refused> {
    let (path, query) = (uri.path(), uri.query());
    let is_get = method == Method::GET;
    match (path == own, path == EVIDENCE_PATH, query) {
        // A query could carry anything about the client.
        (true, _, None) if is_get => Ok(Onward::Keys),
        (true, _, None) if method == Method::POST => media_type(headers).map(Onward::Message),
        (true, _, None) | (_, true, None) if !is_get => Err(Refused::Method),
        (_, true, None) => Ok(Onward::Evidence(None)),
        (_, true, Some(query)) if is_challenge(query) => match is_get {
            true => Ok(Onward::Evidence(Some(query.to_owned()))),
            false => Err(Refused::Method),
        },
        _ => Err(Refused::Path),
    }
}

/// Exactly one of the two, without parameters; nobody is handed on a type as the client wrote it.
fn media_type(headers: &HeaderMap) -> Result<&'static str, Refused> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (types.next(), types.next()) else {
        return Err(Refused::MediaType);
    };
    let known = MESSAGES
        .into_iter()
        .find(|m| kind.as_bytes().eq_ignore_ascii_case(m.as_bytes()));
    match known {
        Some(kind) if !headers.contains_key(CONTENT_ENCODING) => Ok(kind),
        _ => Err(Refused::MediaType),
    }
}

fn is_challenge(query: &str) -> bool {
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    query
        .strip_prefix("challenge=")
        .is_some_and(|c| c.len() == CHALLENGE_DIGITS && c.bytes().all(is_hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str, types: &[&'static str]) -> Result<Onward, Refused> {
        let mut headers = HeaderMap::new();
        for kind in types {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        onward("/x", &method.parse().unwrap(), &uri.parse().unwrap(), &headers)
    }

    #[test]
    fn messages_keys_and_evidence_go_on_and_nothing_else() {
        let hex = "0a".repeat(32);
        let evidence = format!("{EVIDENCE_PATH}?challenge={hex}");
        assert_eq!(
            asked("POST", "/x", &["message/ohttp-req"]),
            Ok(Onward::Message(MESSAGES[0]))
        );
        assert_eq!(
            asked("POST", "/x", &["Message/OHTTP-chunked-req"]),
            Ok(Onward::Message(MESSAGES[1]))
        );
        assert_eq!(asked("GET", "/x", &[]), Ok(Onward::Keys));
        assert_eq!(asked("GET", EVIDENCE_PATH, &[]), Ok(Onward::Evidence(None)));
        assert_eq!(
            asked("GET", &evidence, &[]),
            Ok(Onward::Evidence(Some(format!("challenge={hex}"))))
        );
        for (method, uri, types, refused) in [
            ("POST", "/x", vec![], Refused::MediaType),
            ("POST", "/x", vec!["application/json"], Refused::MediaType),
            ("POST", "/x", vec!["message/ohttp-req; who=me"], Refused::MediaType),
            (
                "POST",
                "/x",
                vec!["message/ohttp-req", "message/ohttp-req"],
                Refused::MediaType,
            ),
            ("POST", "/x?who=me", vec!["message/ohttp-req"], Refused::Path),
            ("GET", "/x?who=me", vec![], Refused::Path),
            ("POST", "/x/", vec!["message/ohttp-req"], Refused::Path),
            ("PUT", "/x", vec!["message/ohttp-req"], Refused::Method),
            ("HEAD", "/x", vec![], Refused::Method),
            ("CONNECT", "/x", vec![], Refused::Method),
            ("POST", EVIDENCE_PATH, vec![], Refused::Method),
            ("POST", &evidence, vec![], Refused::Method),
            ("GET", &evidence.to_uppercase(), vec![], Refused::Path),
            ("GET", &evidence[..evidence.len() - 1], vec![], Refused::Path),
            ("GET", &format!("{evidence}&who=me"), vec![], Refused::Path),
            ("GET", "/v1/models", vec![], Refused::Path),
        ] {
            assert_eq!(asked(method, uri, &types), Err(refused), "{method} {uri} {types:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("message/ohttp-req"));
        assert!(media_type(&headers).is_ok());
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(media_type(&headers), Err(Refused::MediaType));
    }
}
