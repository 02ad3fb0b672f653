//! `/health`: whether everything that a decision rests on is there.
//!
//! Anybody may ask whether the broker works; what is wrong, and with which part, is told to admins. The parts are looked at
//! every two seconds at most, and each look tries them: a row is written, every fence shows that it takes a write and holds
//! nothing that the store has not, the root's place is asked whether it is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hanzo_root::Surroundings;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;

use crate::KbsError;
use crate::broker::{Broker, now};
use crate::fence::Fences;

/// How long one look counts.
const FRESH: Duration = Duration::from_secs(2);
/// A look that takes longer has found something.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// How the broker, or a part of it, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As it should be.
    Ok,
    /// It still decides, with what it had: newer collateral cannot be read, or the root's place is gone and the next start
    /// would fail.
    Degraded,
    /// It cannot decide.
    Failed,
}

/// What an admin is told of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerStatus {
    /// Revocation lists, platforms, reference values.
    pub collateral: CollateralStatus,
    /// The places outside the store.
    pub fence: PartStatus,
    /// False: the configuration says in words that one admin may widen, rotate and destroy alone.
    pub four_eyes: bool,
    /// Where the root is kept. The broker has it in memory; the next start needs it.
    pub root: PartStatus,
    /// The worst of the parts.
    pub status: Standing,
    /// The file, or the database and the link to it.
    pub store: PartStatus,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartStatus {
    /// What is wrong; `null` if nothing is.
    #[serde(deserialize_with = "Option::deserialize")]
    pub code: Option<String>,
    /// Which of its kinds it is: `file` or `postgresql`, how many fences, the root's kind.
    pub kind: String,
    /// How it stands.
    pub status: Standing,
}

/// The collateral in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollateralStatus {
    /// AMD's revocation lists.
    pub amd_crls: u64,
    /// OCSP answers for GPUs.
    pub gpu_ocsp: u64,
    /// Reference manifests of GPUs.
    pub gpu_rims: u64,
    /// Seconds since the oldest file changed; `null` if there is none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub oldest_age_s: Option<u64>,
    /// `degraded` while a changed file cannot be read.
    pub status: Standing,
    /// Intel platforms.
    pub tdx_platforms: u64,
}

/// Looks at the parts.
pub(crate) struct Health {
    broker: Arc<Broker>,
    /// `None`: the look took too long.
    last: Mutex<Option<(Instant, Option<BrokerStatus>)>>,
}

impl Health {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            last: Mutex::new(None),
        }
    }

    /// 200 if the broker decides, 503 if not. `in_full`: for an admin.
    pub(crate) async fn reply(&self, in_full: bool) -> Response {
        let found = self.look().await;
        let standing = found.as_ref().map_or(Standing::Failed, |found| found.status);
        let status = match standing {
            Standing::Ok | Standing::Degraded => StatusCode::OK,
            Standing::Failed => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = match found {
            Some(found) if in_full => json!(found),
            _ => json!({ "status": standing }),
        };
        (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    }

    async fn look(&self) -> Option<BrokerStatus> {
        let mut last = self.last.lock().await;
        if let Some((at, found)) = &*last
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let broker = Arc::clone(&self.broker);
        let look = tokio::task::spawn_blocking(move || look(&broker));
        let found = match tokio::time::timeout(LOOK_TIMEOUT, look).await {
            Ok(Ok(found)) => Some(found),
            _ => None,
        };
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

/// Tries every part. Not within a transaction: it begins its own.
pub(crate) fn look(broker: &Broker) -> BrokerStatus {
    // What the fences remember was committed, so whoever reads the store after them finds it.
    let heads = broker.head.probe();
    let store = broker.write_row();
    let fence = heads.and_then(|heads| broker.db.read(|tx| Fences::are_behind(tx, heads)));
    let root = broker.root.provider(&Surroundings::of_process()).reachable();
    let kind = match broker.is_database {
        true => "postgresql".to_owned(),
        false => "file".to_owned(),
    };
    let store = part(kind, store, Standing::Failed);
    let fence = part(broker.head.places().to_string(), fence, Standing::Failed);
    let root = part(
        broker.root.kind().to_owned(),
        root.map_err(KbsError::from),
        Standing::Degraded,
    );
    let collateral = collateral(broker);
    let all = [store.status, fence.status, root.status, collateral.status];
    let status = match all {
        all if all.contains(&Standing::Failed) => Standing::Failed,
        all if all.contains(&Standing::Degraded) => Standing::Degraded,
        _ => Standing::Ok,
    };
    BrokerStatus {
        collateral,
        fence,
        four_eyes: broker.lives.now().admins.four_eyes,
        root,
        status,
        store,
    }
}

fn part(kind: String, outcome: Result<(), KbsError>, at_worst: Standing) -> PartStatus {
    if let Err(e) = &outcome {
        tracing::error!(target: "hanzo_kbs", code = e.code(), why = %e, "health");
    }
    PartStatus {
        code: outcome.as_ref().err().map(|e| e.code().to_owned()),
        kind,
        status: match outcome {
            Ok(()) => Standing::Ok,
            Err(_) => at_worst,
        },
    }
}

fn collateral(broker: &Broker) -> CollateralStatus {
    let live = broker.lives.now();
    let age_s = |changed_s: i64| now().0.saturating_sub(u64::try_from(changed_s).unwrap_or(0));
    let collateral = &live.collateral;
    CollateralStatus {
        amd_crls: collateral.crls.len() as u64,
        gpu_ocsp: collateral.ocsp.len() as u64,
        gpu_rims: collateral.rims.len() as u64,
        oldest_age_s: live.oldest_collateral().map(age_s),
        status: match broker.lives.stuck() {
            None => Standing::Ok,
            Some(_) => Standing::Degraded,
        },
        tdx_platforms: collateral.tdx.len() as u64,
    }
}

impl Broker {
    /// Writes a row that tells nothing, as any decision is written: to the disk.
    fn write_row(&self) -> Result<(), KbsError> {
        let at = i64::try_from(now().0).unwrap_or(i64::MAX);
        let sql = "INSERT INTO writes (id, at) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = ?1";
        Ok(self.db.write(|tx| tx.execute(sql, &[at.into()]).map(drop))?)
    }
}
