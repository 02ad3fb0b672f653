//! Who a pool's guests are, where that is not listed: names of the DNS, or a discoverer behind a Unix socket.
//!
//! What nobody names keeps the last good set for a while and says so in a metric. The proxy faces the network, so it holds no
//! credential of a cluster and links no TLS: whoever must (`hanzo-discover`, for Kubernetes) is a process of its own.

mod dns;
mod exchange;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::address::Address;
use crate::config::{Dns, Source};
use crate::metrics::{Discovered, Metrics};
use crate::pool::Pool;

/// A pool's guests are tracked in the bits of one word.
const GUESTS_MAX: usize = 64;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often kept guests are looked at when nothing else happens.
const LOOK: Duration = Duration::from_secs(30);

/// Follows the sources of these pools until the set is dropped.
pub(crate) fn watch(pools: &[Arc<Pool>], metrics: &Arc<Metrics>, tasks: &mut JoinSet<()>) {
    for pool in pools {
        if let Some(discover) = pool.config().discover.clone() {
            let follower = Follower {
                pool: pool.clone(),
                metrics: metrics.clone(),
                keep: discover.keep,
                keep_until: Instant::now() + discover.keep,
            };
            match discover.source {
                Source::Dns(names) => drop(tasks.spawn(follower.ask(names))),
                Source::Socket(path) => drop(tasks.spawn(follower.listen(path))),
            }
        }
    }
}

struct Follower {
    pool: Arc<Pool>,
    metrics: Arc<Metrics>,
    keep: Duration,
    /// What was named last is used until then.
    keep_until: Instant,
}

impl Follower {
    async fn listen(mut self, path: std::path::PathBuf) {
        let mut pause = PAUSE_MIN;
        loop {
            let started = Instant::now();
            let why = socket::listen(&path, &mut self).await;
            self.nobody(Discovered::Failed, why);
            if started.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            self.wait(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn ask(mut self, names: Dns) {
        let mut after_failure = names.interval_min;
        loop {
            let pause = match dns::ask(&names).await {
                Ok(answer) => {
                    self.named(answer.guests);
                    after_failure = names.interval_min;
                    answer.lives.clamp(names.interval_min, names.interval_max)
                }
                Err(why) => {
                    self.nobody(Discovered::Failed, why);
                    let pause = after_failure;
                    after_failure = (pause * 2).min(names.interval_max);
                    pause
                }
            };
            self.wait(pause).await;
        }
    }

    fn named(&mut self, mut guests: Vec<Address>) {
        guests.sort_by_key(ToString::to_string);
        guests.dedup();
        if guests.is_empty() {
            return self.nobody(Discovered::Nobody, "it names nobody");
        }
        if guests.len() > GUESTS_MAX {
            let (pool, named) = (self.pool.name(), guests.len());
            warn!(pool, named, "more than 64 guests discovered; the first 64 are used");
            guests.truncate(GUESTS_MAX);
        }
        self.keep_until = Instant::now() + self.keep;
        if self.pool.set_kept(false) {
            info!(pool = self.pool.name(), "guests are discovered again");
        }
        let outcome = match self.pool.replace(&guests) {
            true => {
                info!(
                    pool = self.pool.name(),
                    guests = guests.len(),
                    "other guests discovered"
                );
                Discovered::Changed
            }
            false => Discovered::Same,
        };
        self.metrics.discovered(self.pool.name(), outcome);
    }

    /// No guests were named: those before are used for a while.
    fn nobody(&mut self, outcome: Discovered, why: &'static str) {
        self.metrics.discovered(self.pool.name(), outcome);
        if !self.pool.set_kept(true) {
            let (pool, keep_s) = (self.pool.name(), self.keep.as_secs_f64());
            warn!(
                pool,
                why, keep_s, "no guests discovered; those named last are used for a while"
            );
        }
        self.expire();
    }

    fn expire(&self) {
        if self.pool.is_kept() && Instant::now() >= self.keep_until && self.pool.replace(&[]) {
            warn!(
                pool = self.pool.name(),
                "no guests discovered for too long; this pool has none now"
            );
        }
    }

    /// When to look whether the kept guests are out of time.
    fn next_look(&self) -> Instant {
        match self.pool.is_kept() && Instant::now() < self.keep_until {
            true => self.keep_until,
            false => Instant::now() + LOOK,
        }
    }

    async fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            sleep_until(until.min(self.next_look())).await;
            self.expire();
        }
    }
}
