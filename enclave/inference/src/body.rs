//! Request bodies: JSON by their header, bounded in length and time, all bodies together bounded too: nobody has proven
//! anything to the guest when it reads one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Longest wait for a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Least and most bytes that all bodies together may take.
const ROOM_BYTES_MIN: u64 = 64 << 20;
const ROOM_BYTES_MAX: u64 = 1 << 30;

/// Room for bodies of at most `limit` bytes, enough for `requests` of them at a time and a few that are turned away.
pub(crate) fn room(limit: u64, requests: u32) -> Arc<Semaphore> {
    let bytes = limit.saturating_mul(u64::from(requests).saturating_add(4));
    Arc::new(Semaphore::new(bytes.clamp(ROOM_BYTES_MIN, ROOM_BYTES_MAX) as usize))
}

/// A body, and the room that it takes.
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads the body of a JSON request. Room is taken as bytes come, so that announcing a long body takes none.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    room: &Arc<Semaphore>,
) -> Result<Whole, ApiError> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|n| n > limit) {
        return Err(ApiError::TooLarge { limit });
    }
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(ApiError::ContentType);
    }
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    let collected = tokio::time::timeout(BODY_TIMEOUT, collect(limited, limit, room)).await;
    collected.unwrap_or(Err(ApiError::BodyBroken))
}

async fn collect(mut body: Limited<Body>, limit: u64, room: &Arc<Semaphore>) -> Result<Whole, ApiError> {
    let mut bytes = BytesMut::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(e) if e.is::<LengthLimitError>() => return Err(ApiError::TooLarge { limit }),
            Err(_) => return Err(ApiError::BodyBroken),
        };
        let Some(data) = frame.data_ref() else { continue };
        let length = u32::try_from(data.len()).map_err(|_| ApiError::Busy)?;
        let more = room
            .clone()
            .try_acquire_many_owned(length)
            .map_err(|_| ApiError::Busy)?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        bytes.extend_from_slice(data);
    }
    Ok(Whole {
        bytes: bytes.freeze(),
        _room: held,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[tokio::test]
    async fn bodies_that_stall_cannot_take_more_than_their_room() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        let room = Arc::new(Semaphore::new(10));
        let first = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"12345678"))]);
        let stalled = Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()));
        let stalling = tokio::spawn({
            let (headers, room) = (headers.clone(), room.clone());
            async move { read(&headers, stalled, 64, &room).await.map(|w| w.bytes) }
        });
        while room.available_permits() > 2 {
            tokio::task::yield_now().await;
        }
        let got = read(&headers, Body::from("123"), 64, &room).await;
        assert!(matches!(got, Err(ApiError::Busy)));
        let got = read(&headers, Body::from("12"), 64, &room).await;
        assert_eq!(got.ok().unwrap().bytes, "12");
        stalling.abort();
        let _ = stalling.await;
        let got = read(&headers, Body::from("1234567890"), 64, &room).await.ok().unwrap();
        assert_eq!((got.bytes.len(), room.available_permits()), (10, 0));
        drop(got);
        assert_eq!(room.available_permits(), 10);
    }
}
