//! Rotations of a running broker: each on a thread of its own, in batches that leave the store to others in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hanzo_attestation::Nonce;
use hanzo_attestation::name::Name;

use crate::KbsError;
use crate::admin::RotationStatus;
use crate::broker::Broker;

/// Most rotations that can be asked after; of those that ended the oldest go.
const REMEMBERED_MAX: usize = 256;
/// Between two batches others write for as long as the batch took, within these.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// All of this process.
#[derive(Default)]
pub(crate) struct Rotations(Mutex<State>);

#[derive(Default)]
struct State {
    by_id: HashMap<[u8; 32], RotationStatus>,
    /// Oldest first.
    order: Vec<[u8; 32]>,
    /// The newest rotation of each tenant.
    running: HashMap<Name, ([u8; 32], JoinHandle<()>)>,
    stopping: bool,
}

impl Rotations {
    /// Whether a tenant's KEK is being rotated by this process.
    pub(crate) fn is_running(&self, tenant: &Name) -> bool {
        let state = self.lock();
        let newest = state.running.get(tenant).and_then(|(id, _)| state.by_id.get(id));
        newest.is_some_and(|status| !status.has_ended())
    }

    /// How the rotation of this id stands.
    pub(crate) fn status(&self, id: &Nonce) -> Option<RotationStatus> {
        self.lock().by_id.get(&id.0).cloned()
    }

    /// Starts one, which can be asked after under `id`. Of two that were let in at the same time the later one only sees that
    /// there is nothing left to do.
    pub(crate) fn start(&self, broker: &Arc<Broker>, id: Nonce, tenant: &Name) {
        let mut state = self.lock();
        let status = RotationStatus {
            code: None,
            moved: 0,
            report: None,
            tenant: tenant.clone(),
            total: 0,
        };
        state.by_id.insert(id.0, status);
        state.order.push(id.0);
        state.forget();
        let (broker, of) = (Arc::clone(broker), tenant.clone());
        let earlier = state.running.remove(tenant);
        let run = move || {
            if let Some((_, earlier)) = earlier {
                let _ = earlier.join();
            }
            broker.rotations.run(&broker, &id, &of);
        };
        match std::thread::Builder::new().name("rotation".into()).spawn(run) {
            Ok(thread) => drop(state.running.insert(tenant.clone(), (id.0, thread))),
            Err(_) => state.note(&id, |status| status.code = Some("kbs.internal".into())),
        }
    }

    fn run(&self, broker: &Broker, id: &Nonce, tenant: &Name) {
        let mut last = Instant::now();
        let outcome = broker.rotate(tenant, &mut |at| {
            let mut state = self.lock();
            state.note(id, |status| (status.moved, status.total) = (at.moved, at.total));
            if state.stopping {
                return Err(KbsError::Stopped);
            }
            drop(state);
            std::thread::sleep(last.elapsed().clamp(PAUSE.0, PAUSE.1));
            last = Instant::now();
            Ok(())
        });
        self.lock().note(id, |status| match outcome {
            Ok(report) => status.report = Some(report),
            Err(e) => {
                tracing::error!(target: "hanzo_kbs", %tenant, code = e.code(), why = %e, "rotation");
                status.code = Some(e.code().to_owned());
            }
        });
    }

    /// Ends all of them after their current batch.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let threads: Vec<_> = state.running.drain().map(|(_, (_, thread))| thread).collect();
        drop(state);
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, id: &Nonce, change: impl FnOnce(&mut RotationStatus)) {
        if let Some(status) = self.by_id.get_mut(&id.0) {
            change(status);
        }
    }

    fn forget(&mut self) {
        while self.order.len() > REMEMBERED_MAX {
            let ended = |id: &[u8; 32]| self.by_id.get(id).is_none_or(RotationStatus::has_ended);
            let Some(at) = self.order.iter().position(ended) else {
                return;
            };
            let id = self.order.remove(at);
            self.by_id.remove(&id);
        }
    }
}
