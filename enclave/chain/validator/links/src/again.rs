//! Evidence judged again while its connection lives: time goes on, policies change.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use hanzo_attestation::UnixTime;
use hanzo_chain_types::ValidatorKeys;
use hanzo_ledger::Address;

use crate::error::LinkError;
use crate::evidence::{Appraised, Appraiser, clock};
use crate::greeting::Peer;
use crate::network::Network;

/// The policy in force, which may change: one for every [`Network`] of a process, so that none judges by an older one.
pub struct Standing(RwLock<Arc<dyn Appraiser>>);

impl Standing {
    /// Judges by `appraiser` until it is told another.
    pub fn new(appraiser: Arc<dyn Appraiser>) -> Self {
        Self(RwLock::new(appraiser))
    }

    /// Judges evidence by another policy from now on; [`Network::judge_again`] holds those that are connected against it.
    pub fn set(&self, appraiser: Arc<dyn Appraiser>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = appraiser;
    }
}

impl Appraiser for Standing {
    fn appraise(&self, evidence: &[u8], keys: &ValidatorKeys, now: UnixTime) -> Result<Appraised, LinkError> {
        let appraiser = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        appraiser.appraise(evidence, keys, now)
    }
}

impl Network {
    /// Judges the evidence of everybody that is connected as if it came at `now`, and closes those connections whose evidence would
    /// be refused; of those whose handshake is too long ago `at` that time, the oldest one alone, so that a committee never loses
    /// many links at once. Whoever was closed needs a fresh handshake; of the others, [`Network::peer`] says from then on what their
    /// evidence is worth now. Returns who was closed, and why.
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
        let mut changed = Vec::new();
        for (peer, since) in held {
            // Without the lock: this takes long.
            match by.evidence(&peer.greeting.evidence, &peer.greeting.keys) {
                Ok(appraised) if appraised == peer.appraised => {}
                Ok(appraised) => changed.push((Arc::clone(&peer), appraised)),
                Err(why) => {
                    out.push((peer, why));
                    continue;
                }
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
        let closed = closed.collect();
        for (peer, appraised) in changed {
            let live = state.live.get_mut(&peer.account());
            if let Some(live) = live.filter(|live| Arc::ptr_eq(&live.peer, &peer)) {
                tracing::info!(account = %peer.account(), before = peer.appraised.tier, now = appraised.tier, "evidence is worth something else");
                live.peer = Arc::new(Peer {
                    appraised,
                    ..Peer::clone(&peer)
                });
            }
        }
        closed
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
