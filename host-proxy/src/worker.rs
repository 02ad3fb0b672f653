//! One thread: an event loop, an accept loop per listening socket, and the connections that came in there.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::address::Address;
use crate::admission::{Admission, Client, Place};
use crate::forward::{Pace, forward};
use crate::metrics::{Ended, Metrics, Refused};
use crate::route::Door;
use crate::socket::{Listener, Peer, Socket};
use crate::state::{Phase, State};

/// Connections accepted in a row before those that are open have their turn.
const ACCEPTS_PER_TURN: usize = 32;

/// How often a worker that drains looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Arc<Metrics>,
}

/// One worker of several.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) of: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: watch::Receiver<Arc<State>>,
    /// Connections of this worker.
    pub(crate) open: Arc<AtomicUsize>,
}

impl Worker {
    /// Starts the thread. It ends when the state has no entrances and its connections are gone or out of time.
    pub(crate) fn start(self) -> io::Result<std::thread::JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name(format!("proxy-{}", self.index))
            .spawn(move || {
                runtime.block_on(self.run());
                // Connections that are left are dropped here, which resets them.
            })
    }

    async fn run(mut self) {
        let mut accepting: HashMap<String, Vec<JoinHandle<()>>> = HashMap::new();
        let drain = loop {
            let state = self.state.borrow_and_update().clone();
            accepting.retain(|at, _| state.entrances.iter().any(|e| e.asked.to_string() == *at));
            for entrance in &state.entrances {
                let at = entrance.asked.to_string();
                if accepting.contains_key(&at) {
                    continue;
                }
                let n = entrance.sockets.len();
                let mine = entrance.sockets.iter().enumerate().filter(|(i, _)| match n >= self.of {
                    true => i % self.of == self.index,
                    // Fewer sockets than workers: some are shared.
                    false => *i == self.index % n,
                });
                let mut loops = Vec::new();
                for (_, socket) in mine {
                    match socket.try_clone().and_then(Listener::new) {
                        Ok(listener) => loops.push(tokio::spawn(accept_loop(
                            listener,
                            entrance.asked,
                            entrance.door.clone(),
                            self.state.clone(),
                            self.shared.clone(),
                            self.open.clone(),
                        ))),
                        Err(error) => warn!(at, %error, "cannot listen"),
                    }
                }
                accepting.insert(at, loops);
            }
            if state.phase != Phase::Serving {
                break state.config.drain;
            }
            if self.state.changed().await.is_err() {
                return;
            }
        };
        drop(accepting);
        let drained = async {
            while self.open.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        // One look first: the accept loops sweep up what had been accepted by the kernel already.
        tokio::time::sleep(DRAIN_LOOK).await;
        if tokio::time::timeout(drain, drained).await.is_err() {
            let open = self.open.load(Ordering::Acquire);
            warn!(worker = self.index, open, "drain time is over, closing the rest");
        }
    }
}

async fn accept_loop(
    listener: Listener,
    asked: Address,
    mut door: Arc<Door>,
    mut state: watch::Receiver<Arc<State>>,
    shared: Arc<Shared>,
    open: Arc<AtomicUsize>,
) {
    state.mark_changed();
    loop {
        let first = tokio::select! {
            biased;
            changed = state.changed() => {
                let now = state.borrow_and_update().clone();
                match now.entrances.iter().find(|e| e.asked == asked) {
                    Some(entrance) if changed.is_ok() => {
                        door = entrance.door.clone();
                        continue;
                    }
                    _ if now.phase == Phase::HandedOver => return,
                    _ => {
                        while let Ok(accepted) = listener.accept_now() {
                            admit(accepted, &door, &shared, &open);
                        }
                        return;
                    }
                }
            }
            accepted = listener.accept() => accepted,
        };
        let mut next = first;
        for _ in 0..ACCEPTS_PER_TURN {
            match next {
                Ok(accepted) => admit(accepted, &door, &shared, &open),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    // Out of descriptors or a connection that died in the queue: wait, do not spin.
                    shared.metrics.accept_failures.inc();
                    warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    break;
                }
            }
            next = listener.accept_now();
        }
    }
}

fn admit((client, peer): (Socket, Peer), door: &Arc<Door>, shared: &Arc<Shared>, open: &Arc<AtomicUsize>) {
    shared.metrics.connections.inc();
    let place = shared.admission.enter(&door.limits).and_then(|mut place| {
        // A balancer's connection is counted for the client that its header names.
        if !door.is_balancer(&peer) {
            place.enter_as(Client::from(peer), &door.limits)?;
        }
        Ok(place)
    });
    match place {
        Ok(place) => {
            let tally = Tally::new(shared.clone(), open.clone());
            tokio::spawn(carry(client, peer, place, door.clone(), tally));
        }
        Err(why) => shared.metrics.refused(why),
    }
}

/// Counts a connection while it is open, and how it ended.
struct Tally {
    shared: Arc<Shared>,
    open: Arc<AtomicUsize>,
    is_counted: bool,
}

impl Tally {
    fn new(shared: Arc<Shared>, open: Arc<AtomicUsize>) -> Self {
        shared.metrics.open.inc();
        open.fetch_add(1, Ordering::AcqRel);
        Self {
            shared,
            open,
            is_counted: false,
        }
    }

    fn refused(&mut self, why: Refused) {
        self.is_counted = true;
        self.shared.metrics.refused(why);
    }

    fn ended(&mut self, how: Ended) {
        self.is_counted = true;
        self.shared.metrics.ended(how);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.is_counted {
            self.shared.metrics.ended(Ended::Drained);
        }
        self.shared.metrics.open.dec();
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn carry(mut client: Socket, peer: Peer, mut place: Place, door: Arc<Door>, mut tally: Tally) {
    let started = tokio::time::Instant::now();
    let metrics = tally.shared.metrics.clone();
    let address = door.log.addresses.then_some(peer);
    match door.route(&client, peer, &mut place, &metrics).await {
        Ok(mut routed) => {
            let pace = Pace {
                idle: door.limits.idle,
                stall: door.limits.stall,
                half_closed: door.limits.half_closed,
                first_bytes: door.limits.first_bytes,
            };
            let (how, carried) = forward(&mut client, &mut routed.guest, routed.prefix, &pace, &metrics).await;
            tally.ended(how);
            if door.log.connections {
                let ms = started.elapsed().as_millis() as u64;
                let guest = routed.lease.guest.address;
                let (up, down) = (carried.to_guest, carried.to_client);
                match address {
                    Some(peer) => info!(how = how.text(), %guest, up, down, ms, %peer, "connection ended"),
                    None => info!(how = how.text(), %guest, up, down, ms, "connection ended"),
                }
            }
        }
        Err(why) => {
            tally.refused(why);
            if door.log.connections {
                match address {
                    Some(peer) => info!(why = why.text(), %peer, "connection refused"),
                    None => info!(why = why.text(), "connection refused"),
                }
            }
        }
    }
}
