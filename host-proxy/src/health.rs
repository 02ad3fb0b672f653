//! Regular connection attempts to every guest.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Health;
use crate::pool::{Guest, Pool};
use crate::socket::knock;

/// Starts the checks of these pools; dropping what comes back ends them.
pub(crate) fn watch(pools: &[Arc<Pool>]) -> JoinSet<()> {
    let mut checks = JoinSet::new();
    for pool in pools {
        let Some(health) = pool.config().health else { continue };
        for (at, guest) in pool.guests().iter().enumerate() {
            // Spread over the interval, so that a pool is not dialled in one moment.
            let first = Instant::now() + health.interval * (at as u32) / (pool.guests().len() as u32).max(1);
            checks.spawn(check(guest.clone(), pool.name().to_owned(), health, first));
        }
    }
    checks
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
