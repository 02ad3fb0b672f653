//! Evidence judged again while its connection lives: time goes on, policies change.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use hanzo_attestation::UnixTime;
use hanzo_ledger::Address;

use crate::error::LinkError;
use crate::evidence::{Appraiser, clock};
use crate::network::Network;

impl Network {
    /// Judges evidence by another policy from now on; [`Network::judge_again`] holds those that are connected against it.
    pub fn set_appraiser(&self, appraiser: Arc<dyn Appraiser>) {
        *self.0.appraiser.write().unwrap_or_else(PoisonError::into_inner) = appraiser;
    }

    /// Judges the evidence of everybody that is connected as if it came at `now`, and closes those connections whose evidence would
    /// be refused; of those whose handshake is too long ago `at` that time, the oldest one alone, so that a committee never loses
    /// many links at once. Whoever was closed needs a fresh handshake. Returns who, and why.
    pub fn judge_again(&self, now: UnixTime, at: Instant) -> Vec<(Address, LinkError)> {
        let held: Vec<_> = self
            .0
            .state()
            .live
            .values()
            .map(|live| (Arc::clone(&live.peer), live.since))
            .collect();
        let (me, appraiser) = (self.0.me(), self.0.appraiser());
        let nobody = |_: &Address| None;
        let by = self.0.admission(&me, None, &nobody, &*appraiser, now);
        let mut out = Vec::new();
        let mut oldest = None;
        for (peer, since) in held {
            // Without the lock: this takes long.
            if let Err(why) = by.evidence(&peer.greeting.evidence, &peer.greeting.keys) {
                out.push((peer, why));
                continue;
            }
            let age = at.saturating_duration_since(since);
            if age > self.0.limits.age_max && oldest.as_ref().is_none_or(|(_, older)| *older < age) {
                oldest = Some((peer, age));
            }
        }
        out.extend(oldest.map(|(peer, age)| {
            let why = LinkError::Aged {
                account: peer.account(),
                max_s: self.0.limits.age_max.as_secs(),
                got_s: age.as_secs(),
            };
            (peer, why)
        }));
        let mut state = self.0.state();
        let closed = out.into_iter().filter_map(|(peer, why)| {
            let account = peer.account();
            // Unless another connection took its place meanwhile.
            let same = state
                .live
                .get(&account)
                .is_some_and(|live| Arc::ptr_eq(&live.peer, &peer));
            same.then(|| {
                state.live.remove(&account);
                self.0.counters.judged_out.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%account, code = why.code(), "link closed: {why}");
                (account, why)
            })
        });
        closed.collect()
    }

    /// [`Network::judge_again`] by the machine's clocks.
    pub fn judge_now(&self) -> Vec<(Address, LinkError)> {
        self.judge_again(clock(), Instant::now())
    }

    pub(crate) async fn judge_now_and_then(self) {
        loop {
            tokio::time::sleep(self.0.limits.judge_every).await;
            let network = self.clone();
            let work = tokio::task::spawn_blocking(move || network.judge_now());
            let _ = work.await;
        }
    }
}
