//! What the API serves with. Everything that differs between a guest and a test is handed in.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::UnixTime;
use hanzo_attestation::config::{self, Limits, PinnedSigner};
use hanzo_attestation::keyset::ServedModel;
use hanzo_attestation::name::Name;
use hanzo_receipts::{FreshBytes, ReceiptLog};
use tokio::sync::Semaphore;

use crate::access::{Access, AccessOptions, Asking, Promise, Uptime, Who};
use crate::aci::AciServing;
use crate::body;
use crate::engine::EngineClient;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::narrowed::Standing;
use crate::orders::{Administration, Orders};
use crate::queue::Queue;
use crate::supply::OpenEngine;

/// The guest's clock.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;
/// Fills a buffer with fresh random bytes; false if the source failed.
pub type Random = Arc<dyn Fn(&mut [u8]) -> bool + Send + Sync>;

/// What an administrator's order says to the engines of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineOrder {
    /// They end, and none starts any more.
    Unload,
    /// They end, and none starts until that time is over or [`EngineOrder::Load`] comes.
    PutOut {
        /// How long it is yet; `None`: for as long as nobody says otherwise.
        back_in: Option<Duration>,
    },
    /// They may start again, unless they were unloaded; one that starts when somebody asks starts now.
    Load,
}

/// Says it to the engines of a model, by its name. Called at most once for each order and boot; does not wait.
pub type OrderEngines = Arc<dyn Fn(&Name, EngineOrder) + Send + Sync>;

/// Where the engine of one model listens.
#[derive(Debug, Clone)]
pub struct EngineEndpoint {
    /// The model, as the keyset names it.
    pub model: Name,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Tokens of prompt and answer together.
    pub context_tokens: u32,
    /// The only callers who may ask it; whoever the table lets if absent.
    pub callers: Option<Vec<Name>>,
    /// It runs while somebody asks; `socket` says nothing then.
    pub on_demand: bool,
}

/// Parts of a [`ServingState`].
pub struct ServingOptions {
    /// Signs and keeps receipts, and says which keyset this is.
    pub receipts: Arc<ReceiptLog>,
    /// The same answers in the format of ACI gateways, where the configuration asks for it.
    pub aci: Option<AciServing>,
    /// One for each model of the keyset.
    pub engines: Vec<EngineEndpoint>,
    /// Starts those that do not run from boot on.
    pub open: OpenEngine,
    /// Bounds out of the measured configuration.
    pub limits: Limits,
    /// How requests wait for the engine, out of the measured configuration.
    pub queue: Option<config::Queue>,
    /// Who may ask.
    pub access: AccessOptions,
    /// Whose orders count, out of the measured configuration.
    pub administrators: Vec<PinnedSigner>,
    /// Whose guest it is.
    pub operator: Name,
    /// Ends a model's engines when an administrator orders it, and lets them start again.
    pub order_engines: OrderEngines,
    /// How long the guest has been up.
    pub uptime: Uptime,
    /// The guest's clock.
    pub clock: Clock,
    /// The guest's random source.
    pub random: Random,
}

/// Why the API cannot be set up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ServingError {
    /// The engines are not the keyset's models.
    #[error("serving: model {model}: expected one engine for each model of the keyset, got {got}")]
    Engines {
        /// Which model.
        model: String,
        /// How many.
        got: usize,
    },
    /// What the store keeps of callers cannot be read.
    #[error("serving: callers and their usage cannot be read from the guest's store ({code})")]
    Callers {
        /// Code of the store's error.
        code: &'static str,
    },
}

impl ServingError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Engines { .. } => "serving.engines",
            Self::Callers { .. } => "serving.callers",
        }
    }
}

/// State of the API; clones share it.
#[derive(Clone)]
pub struct ServingState(Arc<Inner>);

/// Crate-private but for its name, which `Deref` shows.
pub struct Inner {
    pub(crate) receipts: Arc<ReceiptLog>,
    pub(crate) aci: Option<AciServing>,
    pub(crate) models: Vec<Serving>,
    pub(crate) body_bytes_max: u64,
    /// In bytes.
    pub(crate) body_room: Arc<Semaphore>,
    pub(crate) request_timeout: Duration,
    pub(crate) open: OpenEngine,
    pub(crate) queue: Arc<Queue>,
    pub(crate) access: Arc<Access>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) metrics: Arc<Metrics>,
    /// One reader of the log at a time: anybody may ask for tiles, and receipts must find a thread and the store.
    pub(crate) log_reader: Arc<Semaphore>,
    /// Those who fetch receipts, for the same reason.
    pub(crate) receipt_readers: Arc<Semaphore>,
    /// `fp_` and the start of the keyset digest: it changes when anything about the guest does.
    pub(crate) fingerprint: String,
}

/// A model and its engine.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) model: ServedModel,
    pub(crate) engine: Arc<EngineClient>,
    pub(crate) context_tokens: u64,
    /// The only callers who may ask it.
    pub(crate) callers: Option<Vec<Name>>,
    /// Its engine runs while somebody asks.
    pub(crate) on_demand: bool,
    /// Keeps an engine that was opened for one request.
    pub(crate) _hold: Option<Arc<dyn Any + Send + Sync>>,
}

impl Serving {
    /// Whether the measured configuration lets `caller` ask it, whatever tables say.
    pub(crate) fn is_for(&self, caller: Option<&Name>) -> bool {
        let Some(callers) = &self.callers else { return true };
        caller.is_some_and(|caller| callers.contains(caller))
    }
}

impl std::ops::Deref for ServingState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl ServingState {
    /// Joins the parts.
    ///
    /// # Errors
    /// [`ServingError::Engines`] unless each model of the keyset has one engine, and no other has any; [`ServingError::Callers`].
    pub fn new(options: ServingOptions) -> Result<Self, ServingError> {
        let keyset = options.receipts.keyset();
        let mut models = Vec::new();
        for model in &keyset.models {
            let engines: Vec<_> = options.engines.iter().filter(|e| e.model == model.name).collect();
            let [engine] = engines.as_slice() else {
                return Err(ServingError::Engines {
                    model: model.name.to_string(),
                    got: engines.len(),
                });
            };
            models.push(Serving {
                model: model.clone(),
                engine: Arc::new(EngineClient::new(engine.socket.clone())),
                context_tokens: engine.context_tokens.into(),
                callers: engine.callers.clone(),
                on_demand: engine.on_demand,
                _hold: None,
            });
        }
        if let Some(extra) = options
            .engines
            .iter()
            .find(|e| models.iter().all(|m| m.model.name != e.model))
        {
            return Err(ServingError::Engines {
                model: extra.model.to_string(),
                got: 1,
            });
        }
        let now = (options.clock)();
        let orders = Orders::open(Administration {
            administrators: options.administrators,
            operator: options.operator,
            models: models.iter().map(|m: &Serving| m.model.name.clone()).collect(),
            engines: options.order_engines,
            clock: options.clock.clone(),
            log: options.receipts.log().clone(),
        })
        .map_err(|code| ServingError::Callers { code })?;
        let access = Access::open(
            options.access,
            options.limits.concurrent_requests,
            now,
            options.uptime,
            orders.narrowed(),
        )
        .map_err(|code| ServingError::Callers { code })?;
        Ok(Self(Arc::new(Inner {
            models,
            body_bytes_max: options.limits.body_bytes_max,
            body_room: body::room(options.limits.body_bytes_max, options.limits.concurrent_requests),
            request_timeout: Duration::from_secs(options.limits.request_timeout_s),
            open: options.open,
            queue: Queue::new(options.limits.concurrent_requests, options.queue),
            access: Arc::new(access),
            orders: Arc::new(orders),
            clock: options.clock,
            random: options.random,
            metrics: Arc::default(),
            log_reader: Arc::new(Semaphore::new(1)),
            receipt_readers: Arc::new(Semaphore::new(4)),
            fingerprint: fingerprint(&options.receipts),
            aci: options.aci,
            receipts: options.receipts,
        })))
    }

    /// The state of the keyset that follows: other receipts, with the ACI view that goes with them, the same engines, bounds and counters.
    ///
    /// # Errors
    /// [`ServingError::Engines`] unless the keyset of `receipts` names the models of this one, and no others.
    pub fn succeeded_by(&self, receipts: Arc<ReceiptLog>, aci: Option<AciServing>) -> Result<Self, ServingError> {
        let mut models = Vec::new();
        for model in &receipts.keyset().models {
            let before = self.0.models.iter().find(|before| before.model == *model);
            let before = before.ok_or_else(|| ServingError::Engines {
                model: model.name.to_string(),
                got: 0,
            })?;
            models.push(before.clone());
        }
        if let Some(left) = self.0.models.iter().find(|b| models.iter().all(|m| m.model != b.model)) {
            return Err(ServingError::Engines {
                model: left.model.name.to_string(),
                got: 1,
            });
        }
        Ok(Self(Arc::new(Inner {
            models,
            body_bytes_max: self.0.body_bytes_max,
            body_room: self.0.body_room.clone(),
            request_timeout: self.0.request_timeout,
            open: self.0.open.clone(),
            queue: self.0.queue.clone(),
            access: self.0.access.clone(),
            orders: self.0.orders.clone(),
            clock: self.0.clock.clone(),
            random: self.0.random.clone(),
            metrics: self.0.metrics.clone(),
            log_reader: self.0.log_reader.clone(),
            receipt_readers: self.0.receipt_readers.clone(),
            fingerprint: fingerprint(&receipts),
            aci,
            receipts,
        })))
    }

    /// The metrics text: bucketed, without labels of callers, renewed at most every 10 s. For the host's scrape.
    pub fn metrics_text(&self) -> String {
        self.0.metrics.text((self.0.clock)())
    }

    /// The model that a caller names, among those that it `sees`. Others are passed over before names are compared, so that neither
    /// answer nor work tells a name that is somebody else's from one that nobody has.
    pub(crate) fn serving(&self, name: &str, sees: impl Fn(&Serving) -> bool) -> Result<&Serving, ApiError> {
        let mut seen = self.0.models.iter().filter(|m| sees(m));
        let serving = seen.find(|m| m.model.name.as_str() == name).ok_or(ApiError::Model)?;
        match self.0.orders.standing(&serving.model.name) {
            Standing::Served => Ok(serving),
            Standing::Unloaded => Err(ApiError::Model),
            Standing::PutOut(retry_after_s) => Err(ApiError::PutOut { retry_after_s }),
        }
    }
}

fn fingerprint(receipts: &ReceiptLog) -> String {
    let digest = receipts.keyset_digest().to_string();
    digest.chars().take(12).fold(String::from("fp_"), |mut s, c| {
        s.push(c);
        s
    })
}

impl Inner {
    /// What is served: models of the keyset that no administrator unloaded or put out.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &Serving> {
        let is_served = |m: &&Serving| self.orders.standing(&m.model.name) == Standing::Served;
        self.models.iter().filter(is_served)
    }

    /// Who asks, by a request's head, and what its body has to be.
    pub(crate) fn caller(&self, asking: &Asking) -> Result<(Who, Promise), ApiError> {
        let keyset = self.receipts.keyset_digest();
        self.access
            .identify(asking, self.receipts.keyset().tier, &keyset, (self.clock)())
    }

    /// Who asks without a body.
    pub(crate) fn who(&self, asking: &Asking) -> Result<Who, ApiError> {
        let (who, promise) = self.caller(asking)?;
        promise.keep(b"").map(|()| who)
    }

    /// A seed for a caller who gave none: the receipt names it, so the answer can be asked for again.
    pub(crate) fn fresh_seed(&self) -> Result<u64, ApiError> {
        let mut bytes = [0; 8];
        if !(self.random)(&mut bytes) {
            return Err(ApiError::Random);
        }
        Ok(u64::from_be_bytes(bytes) >> 11)
    }

    pub(crate) fn fresh(&self) -> Result<FreshBytes, ApiError> {
        let mut fresh = FreshBytes {
            id: [0; 16],
            request_salt: [0; 32],
            response_salt: [0; 32],
        };
        let filled = (self.random)(&mut fresh.id)
            && (self.random)(&mut fresh.request_salt)
            && (self.random)(&mut fresh.response_salt);
        if filled { Ok(fresh) } else { Err(ApiError::Random) }
    }
}
