//! The log of all receipts, for anybody, as C2SP tlog-tiles lays it out: `/log/checkpoint` and `/log/tile/…`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hanzo_receipts::{PublicLog, ReceiptLogError, Tile};

use crate::error::ApiError;
use crate::state::ServingState;

async fn of_log<T: Send + 'static>(
    state: &ServingState,
    read: impl FnOnce(&PublicLog) -> Result<T, ReceiptLogError> + Send + 'static,
) -> Result<T, ApiError> {
    // Waiting here costs no thread.
    let _turn = state.log_reader.acquire().await;
    let log = Arc::clone(state.receipts.log());
    match tokio::task::spawn_blocking(move || read(&log)).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(ReceiptLogError::NotShown)) => Err(ApiError::LogNotShown),
        Ok(Err(e)) => Err(ApiError::Log { code: e.code() }),
        Err(_) => Err(ApiError::Log {
            code: "receipts.interrupted",
        }),
    }
}

/// `GET /log/checkpoint`: the newest head that may be shown.
pub(crate) async fn checkpoint(State(state): State<ServingState>) -> Result<Response, ApiError> {
    let note = of_log(&state, PublicLog::checkpoint).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

/// `GET /log/tile/…`: hashes or leaves.
pub(crate) async fn tile(State(state): State<ServingState>, Path(path): Path<String>) -> Result<Response, ApiError> {
    const NONE: ApiError = ApiError::NotFound("the log has no such tile; GET /log/checkpoint says how large it is");
    let tile = Tile::parse(&format!("tile/{path}")).map_err(|_| NONE)?;
    let bytes = of_log(&state, move |log| log.tile(&tile)).await?.ok_or(NONE)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}
