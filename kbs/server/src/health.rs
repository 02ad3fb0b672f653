//! `/health`: whether everything that a decision rests on is there.
//!
//! Anybody may ask, so it names parts and ages and nothing else, and the parts are looked at every five seconds at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::broker::{Broker, now};

/// How long one look counts.
const FRESH: Duration = Duration::from_secs(5);
/// A look that takes longer has found something.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// Looks at the parts.
pub(crate) struct Health {
    broker: Arc<Broker>,
    last: Mutex<Option<(Instant, StatusCode, Value)>>,
}

impl Health {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            last: Mutex::new(None),
        }
    }

    /// 200 if every part is there, 503 if not.
    pub(crate) async fn reply(&self) -> Response {
        let mut last = self.last.lock().await;
        let (status, body) = match &*last {
            Some((at, status, body)) if at.elapsed() < FRESH => (*status, body.clone()),
            _ => {
                let broker = Arc::clone(&self.broker);
                let look = tokio::task::spawn_blocking(move || look(&broker));
                let (status, body) = match tokio::time::timeout(LOOK_TIMEOUT, look).await {
                    Ok(Ok(found)) => found,
                    _ => (
                        StatusCode::SERVICE_UNAVAILABLE,
                        json!({"status": "failed", "store": "slow"}),
                    ),
                };
                *last = Some((Instant::now(), status, body.clone()));
                (status, body)
            }
        };
        (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    }
}

fn look(broker: &Broker) -> (StatusCode, Value) {
    let store = broker.store_answers();
    let fence = broker.fence_holds();
    let live = broker.lives.now();
    let stuck = broker.lives.stuck().is_some();
    let word = |good: bool| if good { "ok" } else { "failed" };
    let age_s = live.oldest_collateral().map(|changed_s| {
        i64::try_from(now().0)
            .unwrap_or(i64::MAX)
            .saturating_sub(changed_s)
            .max(0)
    });
    let (status, said) = match (store && fence, stuck) {
        (true, false) => (StatusCode::OK, "ok"),
        // It still decides, with the collateral that it had.
        (true, true) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
    };
    let collateral = &live.collateral;
    let body = json!({
        "status": said,
        "store": word(store),
        "fence": word(fence),
        // The broker does not start without its root.
        "root": "ok",
        "collateral": {
            "status": word(!stuck),
            "oldest_age_s": age_s,
            "amd_crls": collateral.crls.len(),
            "tdx_platforms": collateral.tdx.len(),
            "gpu_rims": collateral.rims.len(),
            "gpu_ocsp": collateral.ocsp.len(),
        },
    });
    (status, body)
}
