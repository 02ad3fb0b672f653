//! The audit log over HTTP, as C2SP tlog-tiles lays it out.
//!
//! The head is for anybody: it is what guests, witnesses and strangers keep and compare, and says no more than how many
//! decisions there were. Tiles are for auditors, tiles of hashes too: a line like `new-kek` has few unknowns, so its hash
//! tells whoever guesses a tenant's name that it is right.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hanzo_log::tile::{Kind, Tile};
use tokio::sync::Mutex;

use super::coco::bearer_token;
use super::{AppState, Problem};
use crate::admission::busy;
use crate::broker::{Broker, now};
use crate::coco::bearer::{self, BearerRefusal};
use crate::rate::Route;

pub(super) const TILE_ROUTE: &str = "/hanzo/v1/log/tile/{*path}";

/// How long one head is shown: strangers who ask cost a signature in so much time, and no more.
const FRESH: Duration = Duration::from_secs(1);
/// A tile never changes; a store between must not show it to others than who asked.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// The head that is shown.
#[derive(Default)]
pub(super) struct ShownHead(Mutex<Option<(Instant, String)>>);

impl ShownHead {
    /// The newest head, or one that is a second old.
    pub(super) async fn reply(&self, broker: &Arc<Broker>) -> Response {
        let mut last = self.0.lock().await;
        let note = match &*last {
            Some((at, note)) if at.elapsed() < FRESH => note.clone(),
            _ => {
                let broker = Arc::clone(broker);
                match tokio::task::spawn_blocking(move || broker.shown_head()).await {
                    Ok(Ok(note)) => {
                        *last = Some((Instant::now(), note.clone()));
                        note
                    }
                    Ok(Err(e)) => return Problem::broker(&e).into_response(),
                    Err(e) => return Problem::internal(&e).into_response(),
                }
            }
        };
        let heads = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (heads, note).into_response()
    }
}

/// `GET /hanzo/v1/log/tile/...`
pub(super) async fn tile(State(state): State<AppState>, headers: HeaderMap, Path(path): Path<String>) -> Response {
    let name = match auditor(&state, &headers) {
        Ok(name) => name,
        Err(refusal) => return Problem::bearer(refusal).into_response(),
    };
    let tile = match Tile::parse(&format!("tile/{path}")) {
        Ok(tile) => tile,
        Err(e) => {
            let problem = Problem::new(StatusCode::NOT_FOUND, "InvalidRequestPath", e.code());
            return problem.with_detail(e.to_string()).into_response();
        }
    };
    let Some(_place) = state.admission.place(Route::Admin).await else {
        return busy(&state.broker.metrics, Route::Admin);
    };
    let broker = Arc::clone(&state.broker);
    match tokio::task::spawn_blocking(move || broker.tile(&tile)).await {
        Ok(Ok(Some(bytes))) => {
            if tile.kind == Kind::Entries {
                // No line of the chain: reading a log to its end must not move its end.
                tracing::info!(target: "hanzo_kbs::admin", auditor = name, %tile, "audit entries read");
            }
            let heads = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CACHE_CONTROL, FOR_EVER),
            ];
            (heads, bytes).into_response()
        }
        Ok(Ok(None)) => Problem::new(StatusCode::NOT_FOUND, "TileNotFound", "log.tile.missing")
            .with_detail(format!("{tile}: the log has not so many entries"))
            .into_response(),
        Ok(Err(e)) => Problem::broker(&e).into_response(),
        Err(e) => Problem::internal(&e).into_response(),
    }
}

/// The name of the auditor whose token this is.
fn auditor(state: &AppState, headers: &HeaderMap) -> Result<String, BearerRefusal> {
    let token = bearer_token(headers).ok_or(BearerRefusal::Missing)?;
    let admin = bearer::authenticate(token, &state.broker.coco.admins, now())?;
    admin.may_audit()?;
    Ok(admin.pinned.name.to_string())
}
