//! Answers on their way back: sealed whole, or part by part as the API gives them.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hanzo_sealed::bhttp::{INDETERMINATE_END, content_piece, encode_response, response_start};
use hanzo_sealed::chunked::PART_BYTES_MAX;
use hanzo_sealed::chunked::{self, PartSealer};
use hanzo_sealed::ehbp::ChunkSealer;
use hanzo_sealed::padding::{Padding, fill, fill_start};
use hanzo_sealed::{SealedError, ohttp};
use http_body_util::{BodyExt, Limited};

use super::Refused;
use super::inner::{next_bytes, response_head};
use crate::padding::{WHOLE_BYTES_MAX, events, floor, is_events, state};

/// Content in one part: what is left of 16 KiB after its length.
const PIECE_BYTES_MAX: usize = 16 * 1024 - 8;

/// An answer in OpenAI's shape to a message whose inside is none.
pub(super) fn bad_inside(error: &SealedError) -> Response {
    let body = serde_json::json!({"error": {
        "message": error.to_string(),
        "type": "invalid_request_error",
        "param": null,
        "code": error.code(),
    }});
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

fn outside(media_type: &'static str, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}

/// Seals `answer` whole. One that breaks off is no answer.
pub(super) async fn whole(
    answer: Response,
    sealer: ohttp::ResponseSealer,
    padding: Padding,
) -> Result<Response, Refused> {
    let (mut head, body) = answer.into_parts();
    state(&mut head.headers, padding);
    let content = Limited::new(body, WHOLE_BYTES_MAX).collect().await;
    let content = content.map_err(|_| Refused::Backend)?.to_bytes();
    let mut message = encode_response(&response_head(head.status.as_u16(), &head.headers), &content);
    fill(padding, floor(&head), &mut message);
    let sealed = sealer.seal(&message).map_err(|_| Refused::Backend)?;
    Ok(outside(ohttp::RESPONSE_MEDIA_TYPE, Body::from(sealed)))
}

/// Seals an answer that does not stream, padded: it is held until it is whole, because its length tells.
async fn whole_in_parts(
    answer: Response,
    sealer: chunked::ResponseSealer,
    padding: Padding,
) -> Result<Response, Refused> {
    let (mut head, body) = answer.into_parts();
    state(&mut head.headers, padding);
    let content = Limited::new(body, WHOLE_BYTES_MAX).collect().await;
    let content = content.map_err(|_| Refused::Backend)?.to_bytes();
    let mut message = response_start(&response_head(head.status.as_u16(), &head.headers));
    message.extend_from_slice(&content_piece(&content));
    message.extend_from_slice(&INDETERMINATE_END);
    fill(padding, floor(&head), &mut message);
    let (mut sealed, mut parts) = sealer.begin().map_err(|_| Refused::Backend)?;
    let mut rest = message.as_slice();
    while let Some((part, more)) = rest
        .split_at_checked(PART_BYTES_MAX)
        .filter(|(_, more)| !more.is_empty())
    {
        sealed.extend_from_slice(&parts.part(part).map_err(|_| Refused::Backend)?);
        rest = more;
    }
    sealed.extend_from_slice(&parts.last(rest).map_err(|_| Refused::Backend)?);
    Ok(outside(chunked::RESPONSE_MEDIA_TYPE, Body::from(sealed)))
}

/// How far a sealed stream is.
enum Stage {
    Start(Vec<u8>, PartSealer, Body),
    Content(PartSealer, Body),
    Over,
}

fn pieces(parts: &mut PartSealer, bytes: &[u8]) -> Result<Vec<u8>, SealedError> {
    let mut out = Vec::with_capacity(bytes.len() + 32);
    for piece in bytes.chunks(PIECE_BYTES_MAX) {
        out.extend_from_slice(&parts.part(&content_piece(piece))?);
    }
    Ok(out)
}

/// Seals `answer` part by part. If it breaks off, so does the stream: its last part is never written.
pub(super) async fn in_parts(
    answer: Response,
    sealer: chunked::ResponseSealer,
    padding: Padding,
) -> Result<Response, Refused> {
    let is_padded = padding > Padding::Off;
    if is_padded && !is_events(answer.headers()) {
        return whole_in_parts(answer, sealer, padding).await;
    }
    let (mut head, mut body) = answer.into_parts();
    state(&mut head.headers, padding);
    if is_padded {
        body = events(body, padding);
    }
    let head = fill_start(padding, response_head(head.status.as_u16(), &head.headers));
    let mut end = INDETERMINATE_END.to_vec();
    fill(padding, 0, &mut end);
    let end = Bytes::from(end);
    let (mut start, mut parts) = sealer.begin().map_err(|_| Refused::Backend)?;
    start.extend_from_slice(&parts.part(&head).map_err(|_| Refused::Backend)?);
    let sealed = stream::unfold(Stage::Start(start, parts, body), move |stage| {
        let end = end.clone();
        step(stage, end)
    });
    Ok(outside(chunked::RESPONSE_MEDIA_TYPE, Body::from_stream(sealed.fuse())))
}

async fn step(stage: Stage, end: Bytes) -> Option<(io::Result<Bytes>, Stage)> {
    let broken = || Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), Stage::Over));
    match stage {
        Stage::Start(start, parts, body) => Some((Ok(Bytes::from(start)), Stage::Content(parts, body))),
        Stage::Content(mut parts, mut body) => match next_bytes(&mut body).await {
            Ok(Some(bytes)) => match pieces(&mut parts, &bytes) {
                Ok(sealed) => Some((Ok(Bytes::from(sealed)), Stage::Content(parts, body))),
                Err(_) => broken(),
            },
            Ok(None) => match parts.last(&end) {
                Ok(sealed) => Some((Ok(Bytes::from(sealed)), Stage::Over)),
                Err(_) => broken(),
            },
            Err(()) => broken(),
        },
        Stage::Over => None,
    }
}

/// Seals a body in EHBP's chunks.
pub(super) fn in_chunks(body: Body, chunks: ChunkSealer) -> Body {
    let sealed = stream::unfold(Some((chunks, body)), |state| async move {
        let (mut chunks, mut body) = state?;
        match next_bytes(&mut body).await {
            Ok(Some(bytes)) => match chunks.chunk(&bytes) {
                Ok(sealed) => Some((Ok(Bytes::from(sealed)), Some((chunks, body)))),
                Err(_) => Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None)),
            },
            Ok(None) => None,
            Err(()) => Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None)),
        }
    });
    Body::from_stream(sealed.fuse())
}
