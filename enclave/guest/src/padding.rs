//! Padded answers: whoever carries them sees few lengths. The client asks for a mode, the measured configuration may demand
//! one, and the stronger of the two is taken.
//!
//! [`layer`] pads what is written as HTTP/1.1: over the attested channel, and for EHBP, which seals bodies alone. Sealed OHTTP
//! messages are padded where they are written (`sealed::answer`). Both take what a request says out of it before the API sees
//! it: neither a receipt nor an engine is told of padding.

use std::io;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, response};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use futures_util::{StreamExt, stream};
use hanzo_inference::{AnswerFloor, ApiError};
use hanzo_sealed::padding::{
    FILL_HEADER, LENGTH_HEADER, PADDING_HEADER, Padding, content_len, fill_events, length_value, parse_length,
};
use http_body_util::{BodyExt, Limited};

use crate::sealed::next_bytes;

/// Longest answer that is held to be padded, in bytes.
pub(crate) const WHOLE_BYTES_MAX: usize = 32 << 20;
/// Most bytes that may follow a request's content, besides as many as it has.
const FILL_BYTES_MAX: u64 = 64 << 10;
/// `HTTP/1.1 ` and the line's end, the date that the server adds, and the line after the last field.
const STATUS_LINE_BYTES: usize = "HTTP/1.1 200 \r\n".len();
const DATE_BYTES: usize = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();
const END_BYTES: usize = "\r\n".len();

/// Pads what `api` answers.
pub(crate) fn layer(api: Router, minimum: Padding) -> Router {
    api.layer(from_fn(move |request: Request, next: Next| async move {
        match begin(request, minimum) {
            Ok((request, mode)) => padded(next.run(request).await, mode).await,
            Err(error) => padded(error.into_response(), minimum).await,
        }
    }))
}

/// Takes the wish out of a request's fields: the mode of its answer.
///
/// # Errors
/// [`ApiError::Invalid`] for a word that is no mode, or two of them.
pub(crate) fn asked(headers: &mut HeaderMap, minimum: Padding) -> Result<Padding, ApiError> {
    headers.remove(FILL_HEADER);
    match only(headers, PADDING_HEADER)? {
        None => Ok(minimum),
        Some(value) => {
            let mode = value.to_str().ok().and_then(|text| text.parse::<Padding>().ok());
            mode.map(|mode| mode.max(minimum)).ok_or(invalid(PADDING_HEADER))
        }
    }
}

/// Says the mode in an answer's head.
pub(crate) fn state(headers: &mut HeaderMap, mode: Padding) {
    if mode > Padding::Off {
        headers.insert(PADDING_HEADER, HeaderValue::from_static(mode.name()));
    }
}

/// The least length that an answer asks for.
pub(crate) fn floor(head: &response::Parts) -> usize {
    head.extensions.get::<AnswerFloor>().map_or(0, |floor| floor.0)
}

/// True for an answer that goes out piece by piece.
pub(crate) fn is_events(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"))
}

/// A stream of events, each piece of whole frames with a comment that pads it.
pub(crate) fn events(body: Body, mode: Padding) -> Body {
    let padded = stream::unfold(Some((body, Vec::new())), move |state| async move {
        let (mut body, mut held): (Body, Vec<u8>) = state?;
        loop {
            match next_bytes(&mut body).await {
                Ok(Some(bytes)) => {
                    held.extend_from_slice(&bytes);
                    // A comment inside a frame would be read as part of it.
                    if held.ends_with(b"\n\n") {
                        fill_events(mode, &mut held);
                        return Some((Ok(Bytes::from(held)), Some((body, Vec::new()))));
                    }
                }
                Ok(None) if held.is_empty() => return None,
                Ok(None) => return Some((Ok(Bytes::from(held)), None)),
                Err(()) => return Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None)),
            }
        }
    });
    Body::from_stream(padded.fuse())
}

fn invalid(name: &'static str) -> ApiError {
    ApiError::Invalid {
        param: name.into(),
        expected: "off, 512 or power-of-two for hanzo-padding; ten digits, and spaces after the content, for hanzo-length",
        got: "another value".into(),
    }
}

fn only(headers: &mut HeaderMap, name: &'static str) -> Result<Option<HeaderValue>, ApiError> {
    let repeats = headers.get_all(name).iter().nth(1).is_some();
    match headers.remove(name) {
        Some(_) if repeats => Err(invalid(name)),
        value => Ok(value),
    }
}

fn begin(request: Request, minimum: Padding) -> Result<(Request, Padding), ApiError> {
    let (mut head, body) = request.into_parts();
    let mode = asked(&mut head.headers, minimum)?;
    let body = match only(&mut head.headers, LENGTH_HEADER)? {
        None => body,
        Some(value) => {
            let len = parse_length(value.as_bytes()).map_err(|_| invalid(LENGTH_HEADER))? as u64;
            if head.headers.contains_key(CONTENT_LENGTH) {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
            }
            cut(body, len)
        }
    };
    Ok((Request::from_parts(head, body), mode))
}

/// The first `len` bytes of a body after which spaces alone follow.
fn cut(body: Body, len: u64) -> Body {
    let fill = len.saturating_add(FILL_BYTES_MAX);
    let content = stream::unfold(Some((body, len, fill)), |state| async move {
        let broken = || Some((Err(io::Error::from(io::ErrorKind::InvalidData)), None));
        let (mut body, left, fill) = state?;
        match next_bytes(&mut body).await {
            Ok(Some(bytes)) => {
                let content = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let (content, spaces) = bytes.split_at(content);
                let (Some(fill), true) = (fill.checked_sub(spaces.len() as u64), spaces.iter().all(|b| *b == b' '))
                else {
                    return broken();
                };
                let left = left - content.len() as u64;
                Some((Ok(Bytes::copy_from_slice(content)), Some((body, left, fill))))
            }
            Ok(None) if left == 0 => None,
            Ok(None) | Err(()) => broken(),
        }
    });
    Body::from_stream(content.fuse())
}

async fn padded(answer: Response, mode: Padding) -> Response {
    if mode == Padding::Off {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    state(&mut head.headers, mode);
    if is_events(&head.headers) {
        return Response::from_parts(head, events(body, mode));
    }
    let held: Result<_, BoxError> = Limited::new(body, WHOLE_BYTES_MAX).collect().await;
    let Ok(content) = held.map(|content| content.to_bytes()) else {
        // It broke off, and so does what is made of it.
        let broken = stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionAborted))]);
        return Response::from_parts(head, Body::from_stream(broken));
    };
    head.headers.remove(CONTENT_LENGTH);
    if let Ok(value) = HeaderValue::from_str(&length_value(content.len())) {
        head.headers.insert(HeaderName::from_static(LENGTH_HEADER), value);
    }
    let len = content_len(mode, floor(&head), head_bytes(&head), content.len());
    let mut filled = Vec::with_capacity(len);
    filled.extend_from_slice(&content);
    filled.resize(len.max(content.len()), b' ');
    Response::from_parts(head, Body::from(filled))
}

/// Bytes of a head as hyper writes it, without `content-length`. Whether the connection closes is seen anyway, and not counted.
fn head_bytes(head: &response::Parts) -> usize {
    let fields = head.headers.iter().filter(|(name, _)| *name != CONNECTION);
    let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let date = if head.headers.contains_key(DATE) { 0 } else { DATE_BYTES };
    let reason = head.status.canonical_reason().unwrap_or("<none>").len();
    STATUS_LINE_BYTES + reason + fields + date + END_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use std::collections::BTreeSet;
    use tower::ServiceExt;

    const JSON: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

    fn api() -> Router {
        let sized = |axum::extract::Path(len): axum::extract::Path<usize>| async move {
            (JSON, format!("\"{}\"", "x".repeat(len))).into_response()
        };
        let frames = |axum::extract::Path(len): axum::extract::Path<usize>| async move {
            let frames = [format!("data: {}\n\n", "y".repeat(len)), "data: [DONE]\n\n".into()];
            let stream = stream::iter(frames.map(Ok::<_, io::Error>));
            ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response()
        };
        let missing = || async { (StatusCode::NOT_FOUND, AnswerFloor::extension(2_000), JSON, "{}") };
        Router::new()
            .route("/sized/{len}", get(sized))
            .route("/frames/{len}", get(frames))
            .route("/missing", get(missing))
            .route("/echo", post(|body: Bytes| async move { body }))
    }

    /// Serves on loopback and gives back what came, head and all.
    async fn on_the_wire(minimum: Padding, path: &str, asks: &str) -> Vec<u8> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let routes = layer(api(), minimum);
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(routes);
            hyper::server::conn::http1::Builder::new()
                .keep_alive(true)
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                .await
        });
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: guest\r\n{asks}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        serving.abort();
        answer
    }

    async fn lengths(asks: &str, paths: impl Iterator<Item = String>) -> BTreeSet<usize> {
        let mut lengths = BTreeSet::new();
        for path in paths {
            lengths.insert(on_the_wire(Padding::Off, &path, asks).await.len());
        }
        lengths
    }

    #[tokio::test]
    async fn answers_of_many_lengths_have_few_on_the_wire_and_without_padding_as_many_as_ever() {
        let paths = || (0..1_400).step_by(70).map(|len| format!("/sized/{len}"));
        let all = |allowed: &[usize], seen: BTreeSet<usize>| {
            assert!(seen.iter().all(|len| allowed.contains(len)), "{seen:?}");
        };
        all(
            &[512, 1024, 1536, 2048],
            lengths("hanzo-padding: 512\r\n", paths()).await,
        );
        all(
            &[512, 1024, 2048],
            lengths("hanzo-padding: power-of-two\r\n", paths()).await,
        );
        assert_eq!(lengths("hanzo-padding: off\r\n", paths()).await.len(), 20);
        // The configuration's demand holds whatever is asked for.
        let demanded = on_the_wire(Padding::Blocks, "/sized/3", "hanzo-padding: off\r\n").await;
        assert_eq!(demanded.len(), 512);
    }

    #[tokio::test]
    async fn what_is_not_there_is_as_long_as_what_asked_for_a_floor_and_bad_wishes_are_refused() {
        let missing = on_the_wire(Padding::Off, "/missing", "hanzo-padding: 512\r\n").await;
        assert_eq!(missing.len(), 2_048);
        assert!(missing.starts_with(b"HTTP/1.1 404"));
        for asks in [
            "hanzo-padding: 1024\r\n",
            "hanzo-padding: 512\r\nhanzo-padding: off\r\n",
        ] {
            let refused = on_the_wire(Padding::Off, "/sized/3", asks).await;
            assert!(refused.starts_with(b"HTTP/1.1 400"), "{asks}");
            assert!(String::from_utf8_lossy(&refused).contains("invalid_value"), "{asks}");
        }
    }

    #[tokio::test]
    async fn each_piece_of_a_stream_has_a_length_of_its_mode() {
        for len in [0, 1, 300, 490, 700] {
            let request = Request::get(format!("/frames/{len}")).header(PADDING_HEADER, "512");
            let answer = layer(api(), Padding::Off)
                .oneshot(request.body(Body::empty()).unwrap())
                .await
                .unwrap();
            assert_eq!(answer.headers()[PADDING_HEADER], "512");
            let mut body = answer.into_body();
            let mut pieces = 0;
            while let Ok(Some(piece)) = next_bytes(&mut body).await {
                assert_eq!(piece.len() % 512, 0);
                pieces += 1;
            }
            assert_eq!(pieces, 2);
        }
    }

    #[tokio::test]
    async fn a_padded_request_reaches_the_api_without_its_padding_and_a_wrong_one_does_not() {
        for (body, length, seen) in [
            ("{}      ", "0000000002", Some("{}")),
            ("{}", "0000000002", Some("{}")),
            ("{} x", "0000000002", None),
            ("{}", "0000000003", None),
            ("{}", "2", None),
        ] {
            let request = Request::post("/echo").header(LENGTH_HEADER, length);
            let answer = layer(api(), Padding::Off)
                .oneshot(request.body(Body::from(body)).unwrap())
                .await
                .unwrap();
            let status = answer.status();
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(status == StatusCode::OK, seen.is_some(), "{body:?} {length}");
            if let Some(seen) = seen {
                assert_eq!(text, seen);
            }
        }
    }
}
