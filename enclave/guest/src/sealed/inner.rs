//! What was inside: a binary HTTP request becomes a request of the API.

use std::io;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use futures_util::{StreamExt, stream};
use hanzo_inference::Transport;
use hanzo_sealed::SealedError;
use hanzo_sealed::bhttp::{Decoder, Event, Field, RequestHead, ResponseHead};
use hanzo_sealed::chunked::RequestOpener;
use http_body_util::BodyExt;

use super::Refused;

/// A request whose parts may still be coming.
pub(super) struct Incoming {
    body: Body,
    opener: RequestOpener,
    decoder: Decoder<RequestHead>,
    is_over: bool,
}

/// Why nothing more comes.
pub(super) enum Broken {
    /// A part does not open, or is no binary HTTP.
    Message(SealedError),
    /// The connection.
    Body,
}

impl From<SealedError> for Broken {
    fn from(error: SealedError) -> Self {
        Self::Message(error)
    }
}

impl Incoming {
    /// Opens the first part: from then on the sender is known to have meant this key.
    pub(super) async fn first(mut body: Body, mut opener: RequestOpener) -> Result<Self, Refused> {
        let mut is_over = false;
        let first = loop {
            match opener.next_part() {
                Ok(Some(part)) => break part,
                Ok(None) => {}
                Err(_) => return Err(Refused::Key),
            }
            match next_bytes(&mut body).await.map_err(|()| Refused::Broken)? {
                Some(bytes) => opener.push(&bytes),
                None => {
                    is_over = true;
                    break opener.end().map_err(|_| Refused::Key)?;
                }
            }
        };
        let mut decoder = Decoder::default();
        decoder.push(&first.bytes);
        Ok(Self {
            body,
            opener,
            decoder,
            is_over,
        })
    }

    async fn next(&mut self) -> Result<Option<Event<RequestHead>>, Broken> {
        loop {
            if let Some(event) = self.decoder.next_event()? {
                return Ok(Some(event));
            }
            if self.is_over {
                return Ok(self.decoder.end()?);
            }
            if let Some(part) = self.opener.next_part()? {
                self.decoder.push(&part.bytes);
                continue;
            }
            match next_bytes(&mut self.body).await.map_err(|()| Broken::Body)? {
                Some(bytes) => self.opener.push(&bytes),
                None => {
                    self.is_over = true;
                    let last = self.opener.end()?;
                    self.decoder.push(&last.bytes);
                }
            }
        }
    }

    /// The request, with a body that goes on as parts come.
    pub(super) async fn request(mut self, way: Transport) -> Result<Request, Broken> {
        let Some(Event::Head(head)) = self.next().await? else {
            return Err(SealedError::Truncated { what: "binary HTTP" }.into());
        };
        let content = stream::unfold(Some(self), |incoming| async move {
            let mut incoming = incoming?;
            loop {
                match incoming.next().await {
                    Ok(Some(Event::Content(bytes))) => return Some((Ok(Bytes::from(bytes)), Some(incoming))),
                    // Nothing here reads trailers.
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(_) => return Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None)),
                }
            }
        });
        Ok(request(head, Body::from_stream(content.fuse()), way)?)
    }
}

/// The next bytes of a body; `None` at its end.
pub(crate) async fn next_bytes(body: &mut Body) -> Result<Option<Bytes>, ()> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A request of the API. Scheme and authority name no other server than this one.
pub(super) fn request(head: RequestHead, body: Body, way: Transport) -> Result<Request, SealedError> {
    let wrong = |what, expected| SealedError::Bhttp { what, expected };
    let mut request = Request::new(body);
    *request.method_mut() =
        Method::from_bytes(head.method.as_bytes()).map_err(|_| wrong("method", "a method of HTTP"))?;
    *request.uri_mut() = head
        .path
        .parse::<Uri>()
        .ok()
        .filter(|uri| uri.authority().is_none())
        .ok_or(wrong("path", "a path of HTTP"))?;
    for Field { name, value } in head.fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("field name", "a field of HTTP"))?;
        let value = HeaderValue::from_bytes(&value).map_err(|_| wrong("field value", "a value of HTTP"))?;
        if name != header::HOST {
            request.headers_mut().append(name, value);
        }
    }
    request.extensions_mut().insert(way);
    Ok(request)
}

/// The head of an answer, for its client.
pub(super) fn response_head(status: u16, headers: &HeaderMap) -> ResponseHead {
    let fields = headers
        .iter()
        .map(|(name, value)| Field::new(name.as_str(), value.as_bytes()))
        .collect();
    ResponseHead { status, fields }
}
