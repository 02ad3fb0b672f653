//! Blocks as they become final, one event each, without gaps.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::answer::view_of;
use crate::calls::BlockView;
use crate::http::Shared;
use crate::{Failure, Node};

/// A comment goes out after so long without a block, so that a dead connection is seen.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Reader {
    shared: Arc<Shared>,
    newest: watch::Receiver<u64>,
    next: u64,
    /// Held while the stream is open.
    _place: OwnedSemaphorePermit,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.metrics.streams.dec();
    }
}

/// Events from block `from` on; from the next one if absent.
pub(crate) fn blocks(shared: Arc<Shared>, from: Option<u64>, place: OwnedSemaphorePermit) -> Response {
    let newest = shared.node.newest();
    let next = from.unwrap_or_else(|| newest.borrow().saturating_add(1)).max(1);
    shared.metrics.streams.inc();
    let reader = Reader {
        shared,
        newest,
        next,
        _place: place,
    };
    let events = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(block)) => {
                let event = Event::default().event("block").id(block.height.to_string());
                let event = event.json_data(&block).ok()?;
                Some((Ok::<_, Infallible>(event), Some(reader)))
            }
            Ok(None) => None,
            Err(failure) => {
                let event = Event::default().event("error").data(failure.code);
                Some((Ok(event), None))
            }
        }
    });
    let keep = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(events).keep_alive(keep).into_response();
    let headers = response.headers_mut();
    headers.insert(
        "x-content-type-options",
        axum::http::HeaderValue::from_static("nosniff"),
    );
    response
}

impl Reader {
    /// The next block; `None` once the node stops.
    async fn next(&mut self) -> Result<Option<BlockView>, Failure> {
        let height = self.next;
        if self.newest.wait_for(|newest| *newest >= height).await.is_err() {
            return Ok(None);
        }
        let node: Arc<dyn Node> = Arc::clone(&self.shared.node);
        let read = tokio::task::spawn_blocking(move || view_of(&*node, height)).await;
        let read = read.map_err(|_| Failure::new(-32603, "rpc.thread", "the node stops"))?;
        self.next = height.saturating_add(1);
        read
    }
}
