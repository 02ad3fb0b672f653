//! Regular connection attempts to every guest.

use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Health;
use crate::pool::{Guest, Pool};
use crate::socket::knock;

/// Starts the checks of these pools; dropping what comes back ends them.
pub(crate) fn watch(pools: &[Arc<Pool>]) -> JoinSet<()> {
    let mut checks = JoinSet::new();
    for pool in pools {
        if let Some(health) = pool.config().health {
            checks.spawn(check_all(pool.clone(), health));
        }
    }
    checks
}

/// Checks whoever is in the pool, and nobody who has gone from it.
async fn check_all(pool: Arc<Pool>, health: Health) {
    let mut sets = pool.sets();
    let mut checks = JoinSet::new();
    let mut checked: Vec<(Arc<Guest>, AbortHandle)> = Vec::new();
    loop {
        let set = sets.borrow_and_update().clone();
        checked.retain(|(guest, check)| {
            let stays = set.guests.iter().any(|g| Arc::ptr_eq(g, guest));
            if !stays {
                check.abort();
            }
            stays
        });
        for (at, guest) in set.guests.iter().enumerate() {
            if checked.iter().any(|(g, _)| Arc::ptr_eq(g, guest)) {
                continue;
            }
            // Spread over the interval, so that a pool is not dialled in one moment.
            let first = Instant::now() + health.interval * (at as u32) / (set.guests.len() as u32).max(1);
            let task = checks.spawn(check(guest.clone(), pool.name().to_owned(), health, first));
            checked.push((guest.clone(), task));
        }
        while checks.try_join_next().is_some() {}
        if sets.changed().await.is_err() {
            return;
        }
    }
}

async fn check(guest: Arc<Guest>, pool: String, health: Health, first: Instant) {
    let (mut next, mut good, mut bad) = (first, 0_u32, 0_u32);
    loop {
        sleep_until(next).await;
        next = Instant::now() + health.interval;
        match timeout(health.timeout, knock(&guest.address)).await {
            Ok(Ok(())) => (good, bad) = (good.saturating_add(1), 0),
            _ => (good, bad) = (0, bad.saturating_add(1)),
        }
        if good >= health.rise {
            guest.set_healthy(true, &pool);
        } else if bad >= health.fall {
            guest.set_healthy(false, &pool);
        }
    }
}
