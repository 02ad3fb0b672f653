//! Models that are opened again when somebody asks them, and what may be started of any.
//!
//! A model on demand is opened at boot like any other, because the keyset names only what was seen whole; then its files go, and its data
//! key stays. Opened again it is held against the same root, and its manifest against the time that it is then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::config::{Config, ModelConfig};
use hanzo_inference::OpenError;
use hanzo_pqc::Dek;

use crate::clock::GrantClock;
use crate::engine::{Pool, Reopen, Startable};
use crate::error::GuestError;
use crate::models::{ModelError, OpenError as NotOpened, OpenedModel, PackedModel, Terms, open_model};
use crate::options::GuestOptions;
use crate::runtime_dir::{Places, RuntimeDir};

/// How long an engine of a caller's own idles before it ends, where its model does not say, in seconds.
const OWN_IDLE_S: u64 = 600;

/// Whether the model's files lie in memory only while it runs: adapters and what they go on stay open.
pub(crate) fn closes(config: &Config, model: &ModelConfig) -> bool {
    let is_base = config
        .models
        .iter()
        .any(|other| other.base.as_ref() == Some(&model.name));
    model.on_demand.is_some() && model.base.is_none() && !is_base
}

/// What may be started of the models in `opened`, which are in the order of the configuration.
pub(crate) fn pool(
    options: &GuestOptions,
    config: &Config,
    opened: &[OpenedModel],
    keys: Vec<Arc<Dek>>,
    runtime: &RuntimeDir,
    clock: GrantClock,
) -> Result<Pool, GuestError> {
    let mut startable = BTreeMap::new();
    for (index, ((model, opened), dek)) in config.models.iter().zip(opened).zip(keys).enumerate() {
        let again = Again {
            options: options.clone(),
            config: config.clone(),
            model: model.clone(),
            index: u16::try_from(index).map_err(|_| GuestError::NoSubject)?,
            dek,
            places: runtime.places().clone(),
            clock,
        };
        let idle_s = model.on_demand.map_or(OWN_IDLE_S, |on_demand| on_demand.idle_s);
        let one = Startable {
            job: opened.job(),
            on_demand: model.on_demand.is_some(),
            idle: Duration::from_secs(idle_s),
            reopen: closes(config, model).then(|| again.reopen()),
        };
        startable.insert(model.name.clone(), one);
    }
    let (sandbox, limits) = (options.sandbox.clone(), options.limits);
    Ok(Pool::new(sandbox, limits, startable, runtime.places().clone()))
}

/// What it takes to open a model again.
struct Again {
    options: GuestOptions,
    config: Config,
    model: ModelConfig,
    index: u16,
    dek: Arc<Dek>,
    places: Places,
    clock: GrantClock,
}

impl Again {
    fn reopen(self) -> Reopen {
        let again = Arc::new(self);
        Arc::new(move || {
            let again = again.clone();
            Box::pin(async move { again.open().await })
        })
    }

    async fn open(&self) -> Result<std::path::PathBuf, OpenError> {
        let failed = |code: &str, text: String| {
            tracing::error!(model = %self.model.name, code, "not opened again: {text}");
            OpenError::Failed
        };
        let (signers, now) = (self.config.model_signers.as_ref(), self.clock.now());
        let terms = Terms::new(signers, now, self.config.required_tier);
        let terms = terms.map_err(|e| failed(e.code(), e.to_string()))?;
        let out = self.places.model_again(self.index.into());
        let out = out.map_err(|e| failed(e.code(), e.to_string()))?;
        let sealed = PackedModel {
            options: &self.options,
            model: &self.model,
            index: self.index,
            terms: &terms,
            dek: self.dek.clone(),
            out: out.clone(),
        };
        open_model(sealed).await.map(|opened| opened.dir).map_err(|error| {
            // Whatever was begun is of no use.
            let _ = std::fs::remove_dir_all(&out);
            let (is_room, text) = match &error {
                NotOpened::Model(e) => (is_room(e), e.to_string()),
                NotOpened::Engine(e) => (false, e.to_string()),
            };
            let error = failed("model.reopen", text);
            if is_room { OpenError::Room } else { error }
        })
    }
}

fn is_room(error: &ModelError) -> bool {
    matches!(error.code(), "model.room" | "model.memory")
}
