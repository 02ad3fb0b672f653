//! Engines that run because somebody asked: of models on demand, and of callers of class `own`.
//!
//! One process for each model and class. Starts come one after the other, so that the memory which one was measured to have is not
//! given to the next as well; where there is none, processes that nobody uses end first, the one idle for longest before the others. A
//! process that nobody used for its model's idle time ends, and with the last one of a model on demand its opened files go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hanzo_attestation::name::Name;
use hanzo_inference::{EngineClass, EngineOrder, EngineUse, OpenError, Opening};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::process::EngineProcess;
use super::sandbox::EngineSandbox;
use super::supervisor::start_ready;
use super::wanted::Wanted;
use super::{EngineError, EngineJob};
use crate::options::OperatingLimits;
use crate::runtime_dir::Places;
use crate::stop::{Stop, StopSignal, stop_signal};

/// How long a process idles at least before another may have its place: whoever it was started for has found it by then.
const EVICT_IDLE_MIN: Duration = Duration::from_millis(500);

/// Opens a model's files anew; they are the same to the last byte, or it fails.
pub(crate) type Reopen =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<PathBuf, OpenError>> + Send>> + Send + Sync>;

/// A model whose engines may be started.
pub(crate) struct Startable {
    /// With the places of the engine that runs from boot on, which are not used here.
    pub(crate) job: EngineJob,
    /// It starts when somebody asks for it, also of those who share.
    pub(crate) on_demand: bool,
    /// How long a process may idle.
    pub(crate) idle: Duration,
    /// Its files are opened when its first process starts, and removed after its last one; they stay otherwise.
    pub(crate) reopen: Option<Reopen>,
}

/// Which process.
type Key = (Name, EngineClass);

/// One model here.
struct Model {
    startable: Startable,
    /// Changed by whoever has the turn to start.
    is_open: AtomicBool,
    wanted: Mutex<Wanted>,
}

/// What runs, or is on its way.
enum Slot {
    Starting(watch::Receiver<Option<Result<(), OpenError>>>),
    Running(Arc<Running>),
}

struct Running {
    socket: PathBuf,
    usage: Mutex<Usage>,
    end: StopSignal,
    gone: watch::Receiver<bool>,
}

#[derive(Clone, Copy)]
struct Usage {
    requests: usize,
    last: Instant,
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<Key, Slot>,
    /// Numbers in use: each process has a user of its own.
    numbers: BTreeSet<u16>,
    /// How often processes ended by themselves.
    ended: HashMap<Key, u32>,
}

struct Inner {
    sandbox: EngineSandbox,
    limits: OperatingLimits,
    models: BTreeMap<Name, Model>,
    slots: Mutex<Slots>,
    turn: tokio::sync::Mutex<()>,
    places: Places,
    stopping: Stop,
    tasks: Mutex<JoinSet<()>>,
}

/// The engines of one boot that are started when asked for.
pub(crate) struct Pool {
    inner: Arc<Inner>,
    stop: StopSignal,
}

/// Opens, and takes orders; clones share the pool.
#[derive(Clone)]
pub(crate) struct PoolDoor(Arc<Inner>);

/// One request's use of a process.
struct Hold(Arc<Running>);

impl Running {
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> Option<Duration> {
        let usage = *self.usage();
        (usage.requests == 0).then(|| usage.last.elapsed())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut usage = self.0.usage();
        usage.requests = usage.requests.saturating_sub(1);
        usage.last = Instant::now();
    }
}

impl Pool {
    /// One that runs nothing yet. Files of models with `reopen` are not open.
    pub(crate) fn new(
        sandbox: EngineSandbox,
        limits: OperatingLimits,
        models: BTreeMap<Name, Startable>,
        places: Places,
    ) -> Self {
        let (stop, stopping) = stop_signal();
        let models = models.into_iter().map(|(name, startable)| {
            let model = Model {
                is_open: AtomicBool::new(startable.reopen.is_none()),
                wanted: Mutex::new(Wanted::Run),
                startable,
            };
            (name, model)
        });
        let inner = Inner {
            sandbox,
            limits,
            models: models.collect(),
            slots: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            places,
            stopping,
            tasks: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
            stop,
        }
    }

    /// What requests and orders come through.
    pub(crate) fn door(&self) -> PoolDoor {
        PoolDoor(self.inner.clone())
    }

    /// Ends all of it and waits until it is gone.
    pub(crate) async fn stop(self) {
        self.stop.give();
        loop {
            let mut tasks = std::mem::take(&mut *self.inner.tasks());
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }
}

impl PoolDoor {
    /// The way to an engine: see [`hanzo_inference::OpenEngine`].
    pub(crate) fn open(&self, model: &Name, class: &EngineClass) -> Opening {
        let (inner, key) = (self.0.clone(), (model.clone(), class.clone()));
        Box::pin(async move {
            let wait = Duration::from_millis(inner.limits.engine_load_wait_ms);
            let opened = tokio::time::timeout(wait, Inner::open(&inner, &key)).await;
            opened.unwrap_or(Err(OpenError::Loading))
        })
    }

    /// Where the model's processes may not run, those that do end at once and none is started; where a model on demand is to be loaded, one
    /// for those who share starts.
    pub(crate) fn order(&self, model: &Name, order: EngineOrder) {
        let Some(one) = self.0.models.get(model) else { return };
        {
            let mut wanted = one.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            *wanted = wanted.after(order);
        }
        if order == EngineOrder::Load {
            if one.startable.on_demand {
                let (inner, key) = (self.0.clone(), (model.clone(), EngineClass::Shared));
                self.0.spawn(async move {
                    // Nobody waits for it; why it does not start is in the log.
                    let _ = Inner::open(&inner, &key).await;
                });
            }
            return;
        }
        let mut slots = self.0.slots();
        let of_model: Vec<Key> = slots.by_key.keys().filter(|key| key.0 == *model).cloned().collect();
        for key in of_model {
            if let Some(Slot::Running(running)) = slots.by_key.get(&key) {
                running.end.give();
                slots.by_key.remove(&key);
            }
        }
    }
}

impl Inner {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Waits until the process of `key` runs; whoever gives up waiting leaves it starting.
    async fn open(inner: &Arc<Self>, key: &Key) -> Result<EngineUse, OpenError> {
        loop {
            let mut coming = match inner.slot(key) {
                Found::Use(found) => return Ok(found),
                Found::Coming(coming) => coming,
                Found::Nothing(said) => {
                    let coming = said.subscribe();
                    inner.spawn(Self::bring_up(inner.clone(), key.clone(), said));
                    coming
                }
            };
            let outcome = coming.wait_for(Option::is_some).await.map(|outcome| *outcome);
            match outcome {
                Ok(Some(Ok(()))) => continue,
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) | Err(_) => return Err(OpenError::Failed),
            }
        }
    }

    fn slot(&self, key: &Key) -> Found {
        let mut slots = self.slots();
        match slots.by_key.get(key) {
            Some(Slot::Running(running)) => {
                running.usage().requests += 1;
                Found::Use(EngineUse {
                    socket: running.socket.clone(),
                    hold: Box::new(Hold(running.clone())),
                })
            }
            Some(Slot::Starting(coming)) => Found::Coming(coming.clone()),
            None => {
                let (said, coming) = watch::channel(None);
                slots.by_key.insert(key.clone(), Slot::Starting(coming));
                Found::Nothing(said)
            }
        }
    }

    /// Starts the process of `key` and says how that went; then watches it to its end.
    async fn bring_up(inner: Arc<Self>, key: Key, said: watch::Sender<Option<Result<(), OpenError>>>) {
        let mut stopping = inner.stopping.clone();
        let started = tokio::select! {
            started = inner.start(&key) => started,
            () = stopping.given() => Err(OpenError::Failed),
        };
        let (process, number, socket) = match started {
            Ok(started) => started,
            Err(error) => {
                inner.slots().by_key.remove(&key);
                let _ = said.send(Some(Err(error)));
                inner.close_files(&key.0).await;
                return;
            }
        };
        let (end, ended) = stop_signal();
        let (gone, is_gone) = watch::channel(false);
        let running = Arc::new(Running {
            socket,
            usage: Mutex::new(Usage {
                requests: 0,
                last: Instant::now(),
            }),
            end,
            gone: is_gone,
        });
        inner.slots().by_key.insert(key.clone(), Slot::Running(running.clone()));
        let _ = said.send(Some(Ok(())));
        // An order may have come meanwhile.
        if !inner.may_run(&key.0) {
            running.end.give();
        }
        inner.watch(&key, &running, process, ended, stopping).await;
        inner.places.remove_engine(number.into());
        inner.slots().numbers.remove(&number);
        let _ = gone.send(true);
        inner.close_files(&key.0).await;
    }

    fn may_run(&self, model: &Name) -> bool {
        let wanted = |model: &Model| *model.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        self.models.get(model).is_some_and(|model| wanted(model).runs())
    }

    /// Until it ends by itself, idles for too long, or is told to end. It is in no slot then.
    async fn watch(
        &self,
        key: &Key,
        running: &Arc<Running>,
        mut process: EngineProcess,
        mut ended: Stop,
        mut stopping: Stop,
    ) {
        let most = self.models.get(&key.0).map_or(Duration::ZERO, |m| m.startable.idle);
        loop {
            let left = running.idle().map_or(most, |idle| most.saturating_sub(idle));
            tokio::select! {
                status = process.wait() => {
                    self.leave(key, running, |_| true);
                    let times = {
                        let mut slots = self.slots();
                        let times = slots.ended.entry(key.clone()).or_default();
                        *times = times.saturating_add(1);
                        *times
                    };
                    tracing::error!(model = %key.0, status, times, "engine ended; its requests in flight failed");
                    return;
                }
                () = ended.given() => {}
                () = stopping.given() => {}
                () = tokio::time::sleep(left.max(Duration::from_millis(5))) => {
                    let idles = |running: &Running| running.idle().is_some_and(|idle| idle >= most);
                    if !self.leave(key, running, idles) {
                        continue;
                    }
                    tracing::info!(model = %key.0, "engine idled and ends");
                }
            }
            self.leave(key, running, |_| true);
            process.kill().await;
            return;
        }
    }

    /// Takes `running` out of its slot if it is `ripe`; nobody new finds it then.
    fn leave(&self, key: &Key, running: &Arc<Running>, ripe: impl FnOnce(&Running) -> bool) -> bool {
        let mut slots = self.slots();
        let is_this = matches!(slots.by_key.get(key), Some(Slot::Running(other)) if Arc::ptr_eq(other, running));
        let leaves = ripe(running);
        if is_this && leaves {
            slots.by_key.remove(key);
        }
        leaves
    }

    /// One at a time: room, files, process.
    async fn start(&self, key: &Key) -> Result<(EngineProcess, u16, PathBuf), OpenError> {
        let _turn = self.turn.lock().await;
        let model = self.models.get(&key.0).ok_or(OpenError::Failed)?;
        let given_up = self
            .slots()
            .ended
            .get(key)
            .is_some_and(|times| *times > self.limits.engine_restarts_max);
        if given_up || !self.may_run(&key.0) {
            return Err(OpenError::Failed);
        }
        loop {
            match self.try_start(key, model).await {
                Err(OpenError::Room) if self.evict().await => {}
                outcome => return outcome,
            }
        }
    }

    async fn try_start(&self, key: &Key, model: &Model) -> Result<(EngineProcess, u16, PathBuf), OpenError> {
        let number = {
            let mut slots = self.slots();
            if slots.numbers.len() >= self.limits.engines_on_demand_max {
                tracing::warn!(model = %key.0, most = self.limits.engines_on_demand_max, "no engine more is started");
                return Err(OpenError::Room);
            }
            // The engines that run from boot on have the numbers of their models.
            let first = u16::try_from(self.models.len()).unwrap_or(u16::MAX / 2);
            let number = (first..u16::MAX).find(|number| !slots.numbers.contains(number));
            let number = number.ok_or(OpenError::Room)?;
            slots.numbers.insert(number);
            number
        };
        let outcome = self.start_as(key, model, number).await;
        if outcome.is_err() {
            self.places.remove_engine(number.into());
            self.slots().numbers.remove(&number);
        }
        outcome.map(|(process, socket)| (process, number, socket))
    }

    async fn start_as(&self, key: &Key, model: &Model, number: u16) -> Result<(EngineProcess, PathBuf), OpenError> {
        let mut job = EngineJob {
            index: number,
            ..model.startable.job.clone()
        };
        if let Some(reopen) = model
            .startable
            .reopen
            .as_ref()
            .filter(|_| !model.is_open.load(Ordering::Acquire))
        {
            job.model_dir = reopen().await?;
            model.is_open.store(true, Ordering::Release);
        }
        let place = |e: crate::runtime_dir::RuntimeDirError| {
            tracing::error!(code = e.code(), "no place for an engine: {e}");
            OpenError::Failed
        };
        job.socket = self.places.socket(number.into()).map_err(place)?;
        job.root = self.places.root(number.into()).map_err(place)?;
        let started = start_ready(&self.sandbox, &job, &self.limits).await;
        let process = started.map_err(|error| {
            tracing::error!(code = error.code(), "{error}");
            match error {
                EngineError::Memory { .. } => OpenError::Room,
                _ => OpenError::Failed,
            }
        })?;
        tracing::info!(model = %key.0, pid = process.id(), own = key.1 != EngineClass::Shared, "engine ready");
        Ok((process, job.socket))
    }

    /// Ends the process that nobody used for longest, if there is one that nobody uses.
    async fn evict(&self) -> bool {
        let longest = {
            let mut slots = self.slots();
            let idle = slots.by_key.iter().filter_map(|(key, slot)| match slot {
                Slot::Running(running) => running.idle().map(|idle| (idle, key.clone(), running.clone())),
                Slot::Starting(_) => None,
            });
            let longest = idle
                .filter(|(idle, ..)| *idle >= EVICT_IDLE_MIN)
                .max_by_key(|(idle, ..)| *idle);
            if let Some((_, key, _)) = &longest {
                slots.by_key.remove(key);
            }
            longest
        };
        let Some((_, key, running)) = longest else { return false };
        tracing::info!(model = %key.0, "engine idles and ends, for another to have its memory");
        running.end.give();
        let mut gone = running.gone.clone();
        let _ = gone.wait_for(|gone| *gone).await;
        self.remove_files(&key.0);
        true
    }

    /// Removes the files of a model on demand that no process runs of.
    async fn close_files(&self, model: &Name) {
        let _turn = self.turn.lock().await;
        self.remove_files(model);
    }

    /// For whoever has the turn.
    fn remove_files(&self, name: &Name) {
        let Some(model) = self.models.get(name) else { return };
        let in_use = self.slots().by_key.keys().any(|key| key.0 == *name);
        if model.startable.reopen.is_none() || in_use || !model.is_open.load(Ordering::Acquire) {
            return;
        }
        let dir = &model.startable.job.model_dir;
        match std::fs::remove_dir_all(dir) {
            Ok(()) => tracing::info!(model = %name, "files of a model on demand removed"),
            Err(error) => tracing::error!(model = %name, %error, "files of a model on demand could not be removed"),
        }
        model.is_open.store(false, Ordering::Release);
    }
}

/// What a slot had.
enum Found {
    Use(EngineUse),
    Coming(watch::Receiver<Option<Result<(), OpenError>>>),
    Nothing(watch::Sender<Option<Result<(), OpenError>>>),
}
