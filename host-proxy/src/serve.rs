//! Starts the workers, puts configurations in force, hands over, drains.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::address::Address;
use crate::admission::Admission;
use crate::config::{Balance, Breaker, Config, Dial, Limits, Listen, Log, Pool, Route};
use crate::discover;
use crate::error::ProxyError;
use crate::handover::{Gate, Handover, Predecessor, Successor};
use crate::health;
use crate::metrics::{Metrics, MetricsAddress, MetricsListener};
use crate::state::{Phase, State};
use crate::worker::{Shared, Worker};

/// One listener and one guest, the simple case.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// Where clients come in.
    pub listen: Address,
    /// Where the guest is.
    pub guest: Address,
    /// Connections open at a time; one more is closed at once.
    pub connections_max: usize,
    /// A connection on which nothing moves for this long is closed. A guest may work on an answer for an hour before its
    /// first byte, and closes idle connections itself.
    pub idle: Duration,
    /// How long the guest may take to accept.
    pub connect: Duration,
    /// How long open connections may go on after the stop signal.
    pub drain: Duration,
    /// Where to serve metrics, if anywhere.
    pub metrics: Option<MetricsAddress>,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            listen: Address::Tcp(([127, 0, 0, 1], 8443).into()),
            guest: Address::Tcp(([127, 0, 0, 1], 9443).into()),
            connections_max: 4096,
            idle: Duration::from_secs(3660),
            connect: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            metrics: None,
        }
    }
}

impl ProxyOptions {
    /// The configuration that does this: no limits per client, who may all come through one balancer, and no health checks,
    /// because there is no other guest to go to.
    ///
    /// # Errors
    /// [`ProxyError::Option`].
    pub fn config(self) -> Result<Config, ProxyError> {
        if !(1..=1_000_000).contains(&self.connections_max) {
            return Err(ProxyError::Option {
                field: "connections-max",
                expected: "1 to 1000000",
                got: self.connections_max.to_string(),
            });
        }
        let everybody = self.connections_max as u32;
        let name = "guest".to_owned();
        let pool = Pool {
            guests: vec![self.guest],
            discover: None,
            balance: Balance::LeastOutstanding,
            guest_connections_max: everybody,
            queue_max: everybody,
            deadline: self.connect,
            connect: self.connect,
            send_header: None,
            health: None,
            breaker: Breaker {
                failures: u32::MAX,
                open: Duration::from_secs(1),
            },
        };
        Ok(Config {
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(64),
            drain: self.drain,
            metrics: self.metrics,
            handover: None,
            log: Log::default(),
            limits: Limits {
                connections_max: self.connections_max,
                connections_per_s: 1_000_000,
                client_connections_max: everybody,
                client_connections_per_s: 1_000_000,
                first_bytes: self.idle.min(Duration::from_secs(60)),
                idle: self.idle,
                stall: self.idle.min(Duration::from_secs(120)),
                half_closed: self.idle,
            },
            listeners: vec![Listen {
                address: self.listen,
                dial: Dial::AtOnce,
                proxy_header_from: Vec::new(),
                route: Route::Pool(name.clone()),
            }],
            pools: BTreeMap::from([(name, pool)]),
        })
    }
}

/// Serves one listener and one guest until `stop` resolves, then drains: no new connections, open ones go on for at most
/// `drain`.
///
/// `ready` is told the address actually bound (port 0 asks for a free one).
///
/// # Errors
/// [`ProxyError`] if an address cannot be used or a bound makes no sense. Trouble on one connection ends that one.
pub async fn serve(
    options: ProxyOptions,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(Address),
) -> Result<(), ProxyError> {
    let asked = options.listen;
    let (_never, reloads) = mpsc::channel(1);
    let ready = |bound: &[Address]| ready(bound.first().copied().unwrap_or(asked));
    serve_config(options.config()?, reloads, stop, ready).await
}

/// Serves a configuration until `stop` resolves or a successor has taken over, then drains.
///
/// Each configuration that `reloads` yields is put in force, or refused with a line in the log while the one before stays.
///
/// # Errors
/// As [`serve`], and [`ProxyError::Handover`].
pub async fn serve_config(
    config: Config,
    mut reloads: mpsc::Receiver<Config>,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&[Address]),
) -> Result<(), ProxyError> {
    let mut predecessor = match &config.handover {
        Some(path) => Predecessor::ask(path).await?,
        None => None,
    };
    let inherited = predecessor.as_mut().map(|p| std::mem::take(&mut p.sockets));
    let metrics = Metrics::new();
    // A predecessor has these addresses until it is replaced.
    let mut endpoint = match predecessor.is_some() {
        true => None,
        false => Endpoints::bind(&config).await?,
    };
    let state = State::build(config, None, inherited.unwrap_or_default())?;
    let mut checks = checks(&state, &metrics);
    let (publish, watched) = watch::channel(state.clone());
    let workers = start_workers(&state, &metrics, &watched)?;
    if let Some(predecessor) = predecessor {
        predecessor.replace().await?;
        endpoint = Endpoints::bind(&state.config).await.unwrap_or_else(|error| {
            warn!(%error, code = error.code(), "taken over, but without metrics or hand-over");
            None
        });
    }
    ready(&state.entrances.iter().map(|e| e.bound()).collect::<Vec<_>>());
    drop(state);

    let mut stop = std::pin::pin!(stop);
    let successor = {
        let gate = Gate::default();
        let current = || publish.borrow().clone();
        // Lives as long as the loop: a hand-over that was cut off by a reload would leave two processes serving.
        let mut serving = std::pin::pin!(async {
            match &endpoint {
                Some(endpoint) => endpoint.serve(&metrics, &gate, current).await,
                None => std::future::pending().await,
            }
        });
        let mut reloading = true;
        let mut waiting: Option<Config> = None;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break None,
                successor = &mut serving => break Some(successor),
                _idle = gate.lock(), if waiting.is_some() => {
                    if let Some(config) = waiting.take() {
                        put_in_force(config, &publish, &metrics, &mut checks);
                    }
                }
                config = reloads.recv(), if reloading => match config {
                    None => reloading = false,
                    // While a hand-over is under way it waits for its end, and is forgotten if that succeeds.
                    Some(config) => waiting = Some(config),
                },
            }
        }
    };
    let phase = match successor {
        Some(_) => Phase::HandedOver,
        None => Phase::Draining,
    };
    if let (None, Some(endpoint)) = (&successor, &mut endpoint) {
        // Who asks from now on finds nobody, and serves: one that was about to take over must not take this for a refusal.
        endpoint.handover = None;
    }
    let closed = publish.borrow().closed(phase);
    publish.send_replace(closed);
    if let Some(successor) = successor {
        // Both addresses are the successor's now.
        endpoint = None;
        successor.release();
        info!("a new process has taken over; draining");
    }
    let mut joined = tokio::task::spawn_blocking(move || workers.into_iter().all(|w| w.join().is_ok()));
    let mut serve_metrics = std::pin::pin!(async {
        match &endpoint {
            Some(endpoint) => endpoint.serve_metrics(&metrics).await,
            None => std::future::pending().await,
        }
    });
    // A first signal during the drain that follows a hand-over changes nothing; `stop` sees to a second one.
    let mut may_stop = phase == Phase::HandedOver;
    let joined = loop {
        tokio::select! {
            joined = &mut joined => break joined.unwrap_or(false),
            () = &mut serve_metrics => break true,
            () = &mut stop, if may_stop => may_stop = false,
        }
    };
    drop(checks);
    match joined {
        true => Ok(()),
        false => Err(ProxyError::Start {
            source: io::Error::other("a worker died"),
        }),
    }
}

fn put_in_force(
    config: Config,
    publish: &watch::Sender<Arc<State>>,
    metrics: &Arc<Metrics>,
    checks: &mut tokio::task::JoinSet<()>,
) {
    match reload(config, publish) {
        Ok(state) => {
            *checks = self::checks(&state, metrics);
            metrics.reloads.inc();
            info!("configuration put in force");
        }
        Err(error) => {
            metrics.reloads_refused.inc();
            warn!(%error, code = error.code(), "configuration refused; the one before stays in force");
        }
    }
}

fn checks(state: &State, metrics: &Arc<Metrics>) -> tokio::task::JoinSet<()> {
    let pools: Vec<_> = state.pools.values().cloned().collect();
    metrics.show(pools.clone());
    let mut checks = health::watch(&pools);
    discover::watch(&pools, metrics, &mut checks);
    checks
}

fn start_workers(
    state: &State,
    metrics: &Arc<Metrics>,
    watched: &watch::Receiver<Arc<State>>,
) -> Result<Vec<std::thread::JoinHandle<()>>, ProxyError> {
    let shared = Arc::new(Shared {
        admission: Admission::new(),
        metrics: metrics.clone(),
    });
    let of = state.config.workers;
    let failed = |source| ProxyError::Start { source };
    let workers = (0..of).map(|index| Worker::new(index, of, shared.clone(), watched.clone()));
    let workers = workers.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let wakers: Vec<_> = workers.iter().map(Worker::waker).collect();
    let mut watched = watched.clone();
    tokio::spawn(async move {
        loop {
            let changed = watched.changed().await;
            for waker in &wakers {
                // A worker that has ended needs no waking.
                let _ = waker.wake();
            }
            if changed.is_err() {
                return;
            }
        }
    });
    workers.into_iter().map(|w| w.start().map_err(failed)).collect()
}

/// Everything is bound before anything is put in force.
fn reload(config: Config, publish: &watch::Sender<Arc<State>>) -> Result<Arc<State>, ProxyError> {
    let before = publish.borrow().clone();
    let fixed = [
        ("workers", config.workers == before.config.workers),
        ("metrics", config.metrics == before.config.metrics),
        ("handover", config.handover == before.config.handover),
        ("log.json", config.log.json == before.config.log.json),
    ];
    if let Some((key, _)) = fixed.into_iter().find(|(_, is_same)| !is_same) {
        return Err(ProxyError::value(
            key,
            "what this process was started with; start a new process to change it",
            "another value",
        ));
    }
    let state = State::build(config, Some(&before), BTreeMap::new())?;
    publish.send_replace(state.clone());
    Ok(state)
}

/// Addresses for the operator and for a successor.
struct Endpoints {
    metrics: Option<MetricsListener>,
    handover: Option<Handover>,
}

impl Endpoints {
    async fn bind(config: &Config) -> Result<Option<Self>, ProxyError> {
        Ok(Some(Self {
            metrics: match &config.metrics {
                Some(at) => Some(MetricsListener::bind(at).await?),
                None => None,
            },
            handover: config.handover.as_deref().map(Handover::bind).transpose()?,
        }))
    }

    async fn serve(&self, metrics: &Arc<Metrics>, gate: &Gate, state: impl Fn() -> Arc<State>) -> Successor {
        let successor = async {
            match &self.handover {
                Some(handover) => handover.successor(gate, state).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            successor = successor => successor,
            () = self.serve_metrics(metrics) => std::future::pending().await,
        }
    }

    async fn serve_metrics(&self, metrics: &Arc<Metrics>) {
        match &self.metrics {
            Some(listener) => {
                let metrics = metrics.clone();
                listener.serve(move || metrics.text()).await
            }
            None => std::future::pending().await,
        }
    }
}
