//! Answers on their way back: sealed whole, or part by part as the API gives them.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hanzo_sealed::bhttp::{INDETERMINATE_END, content_piece, encode_response, response_start};
use hanzo_sealed::chunked::{self, PartSealer};
use hanzo_sealed::ehbp::ChunkSealer;
use hanzo_sealed::{SealedError, ohttp};
use http_body_util::{BodyExt, Limited};

use super::Refused;
use super::inner::{next_bytes, response_head};

/// Content in one part: what is left of 16 KiB after its length.
const PIECE_BYTES_MAX: usize = 16 * 1024 - 8;
/// Longest answer that is sealed whole.
const WHOLE_BYTES_MAX: usize = 32 << 20;

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
pub(super) async fn whole(answer: Response, sealer: ohttp::ResponseSealer) -> Result<Response, Refused> {
    let (head, body) = answer.into_parts();
    let content = Limited::new(body, WHOLE_BYTES_MAX).collect().await;
    let content = content.map_err(|_| Refused::Backend)?.to_bytes();
    let message = encode_response(&response_head(head.status.as_u16(), &head.headers), &content);
    let sealed = sealer.seal(&message).map_err(|_| Refused::Backend)?;
    Ok(outside(ohttp::RESPONSE_MEDIA_TYPE, Body::from(sealed)))
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
pub(super) fn in_parts(answer: Response, sealer: chunked::ResponseSealer) -> Result<Response, Refused> {
    let (head, body) = answer.into_parts();
    let head = response_start(&response_head(head.status.as_u16(), &head.headers));
    let (mut start, mut parts) = sealer.begin().map_err(|_| Refused::Backend)?;
    start.extend_from_slice(&parts.part(&head).map_err(|_| Refused::Backend)?);
    let sealed = stream::unfold(Stage::Start(start, parts, body), |stage| async move {
        let broken = || Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), Stage::Over));
        match stage {
            Stage::Start(start, parts, body) => Some((Ok(Bytes::from(start)), Stage::Content(parts, body))),
            Stage::Content(mut parts, mut body) => match next_bytes(&mut body).await {
                Ok(Some(bytes)) => match pieces(&mut parts, &bytes) {
                    Ok(sealed) => Some((Ok(Bytes::from(sealed)), Stage::Content(parts, body))),
                    Err(_) => broken(),
                },
                Ok(None) => match parts.last(&INDETERMINATE_END) {
                    Ok(sealed) => Some((Ok(Bytes::from(sealed)), Stage::Over)),
                    Err(_) => broken(),
                },
                Err(()) => broken(),
            },
            Stage::Over => None,
        }
    });
    Ok(outside(chunked::RESPONSE_MEDIA_TYPE, Body::from_stream(sealed.fuse())))
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
