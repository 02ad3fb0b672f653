//! The boot, in the one order there is (DESIGN section 5, flow 1). Each step can stop it; none is skipped.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::Digest256;
use hanzo_attestation::config::{CONFIG_BYTES_MAX, Config, StoreWriters};
use hanzo_attestation::name::Name;
use hanzo_device::Attester;
use hanzo_device::entropy::mixed_seed;
use hanzo_inference::EngineEndpoint;
use hanzo_kbs_protocol::OpenedGrant;
use hanzo_pqc::{Dek, suites_for_tier};
use hanzo_receipts::{Fence, LOG_SEED_LEN, Origin, PublicLog, ReceiptLogError};
use hanzo_store::{EncryptedDb, StoreMode};
use rustix::fs::OFlags;
use tokio::task::spawn_blocking;

use crate::clock::GrantClock;
use crate::demand;
use crate::devices::admit_devices;
use crate::egress::{Egress, EgressLimits};
use crate::engine::sandbox::{Isolation, spare_this_process};
use crate::engine::{EngineJob, Engines, Pool};
use crate::error::GuestError;
use crate::fence::Fenced;
use crate::grants::GrantDesk;
use crate::kbs_http::KbsDoor;
use crate::keys::BootKeys;
use crate::models::{OpenError, OpenedModel, PackedModel, Terms, open_adapter, open_model};
use crate::options::GuestOptions;
use crate::rotation::{Epoch, Sealer, new_keys};
use crate::runtime_dir::{RuntimeDir, RuntimeDirError};
use crate::sealing::Standing;
use crate::versions::hold_versions;

/// A boot that may serve.
pub(crate) struct Booted {
    pub(crate) sealer: Sealer,
    pub(crate) first: Epoch,
    pub(crate) endpoints: Vec<EngineEndpoint>,
    // Engines before the directory they run in.
    pub(crate) engines: Engines,
    pub(crate) pool: Pool,
    pub(crate) runtime: RuntimeDir,
    /// The lease of the store, where the configuration says that it has one writer.
    pub(crate) fenced: Option<Fenced>,
}

/// Everything from the configuration to evidence over the keyset. A boot that fails gives its lease back.
pub(crate) async fn boot(options: &GuestOptions, attester: Arc<dyn Attester>) -> Result<Booted, GuestError> {
    let mut fenced = None;
    match steps(options, attester, &mut fenced).await {
        Ok(booted) => Ok(Booted { fenced, ..booted }),
        Err(error) => {
            if let Some(fenced) = fenced {
                fenced.release().await;
            }
            Err(error)
        }
    }
}

async fn steps(
    options: &GuestOptions,
    attester: Arc<dyn Attester>,
    fenced: &mut Option<Fenced>,
) -> Result<Booted, GuestError> {
    hanzo_device::harden_process()?;
    if options.sandbox.isolation == Isolation::Whole {
        spare_this_process()?;
    }
    let (config, config_text) = measured_config(&options.config_path, attester.as_ref())?;
    let keys = new_keys(config.required_tier, config.sealed, Vec::new()).await?;

    // After the grants the lease's keeper dials through it, and nothing else does.
    let door = Arc::new(kbs_door(options, &config)?);
    let (granted, standing, clock) = all_grants(options, &door, &config, &attester, &keys, fenced).await?;
    let runtime = RuntimeDir::create(&options.runtime_dir, options.plaintext)?;
    // After the first grant, which set the clock; before any engine could ask a GPU for something.
    admit_devices(&attester, &options.devices, clock.now()).await?;
    let (store, model_keys) = open_store(&options.store_path, granted, standing).await?;
    let log = open_log(&config, store.clone()).await?;
    if let Some(fenced) = fenced {
        fenced.attach(log.clone()).await?;
    }
    let terms = Terms::new(config.model_signers.as_ref(), clock.now(), config.required_tier)
        .map_err(crate::models::ModelError::from)?;
    let model_keys: Vec<_> = model_keys.into_iter().map(Arc::new).collect();
    let models = open_models(options, &config, &terms, &model_keys, &runtime).await?;
    let (jobs, endpoints) = engine_jobs(&config, &models, &runtime)?;
    let pool = demand::pool(options, &config, &models, model_keys, &runtime, clock)?;
    let on_demand = config.models.iter().filter(|model| model.on_demand.is_some()).count();
    let engines = Engines::start(&options.sandbox, jobs, on_demand, &options.limits).await?;

    let sealer = Sealer {
        booted_at: clock.now(),
        config,
        config_text,
        standing,
        models: models.into_iter().map(|model| model.served).collect(),
        collateral: options.devices.collateral.clone(),
        attester,
        store,
        log,
        shelf: Arc::default(),
        clock,
    };
    // The wrapping key ends here, and the data keys but those of models on demand: this boot asks for nothing more.
    let first = sealer.seal(keys).await?;
    if let Some(fenced) = fenced {
        // Nobody is shown a log that the broker does not hold.
        fenced.advance().await?;
    }
    Ok(Booted {
        sealer,
        first,
        endpoints,
        engines,
        pool,
        runtime,
        fenced: None,
    })
}

/// Parses only what was measured.
fn measured_config(path: &Path, attester: &dyn Attester) -> Result<(Config, String), GuestError> {
    let (text, measured) = measured_text(path, CONFIG_BYTES_MAX, attester)?;
    let config = Config::from_measured(&text, &measured)?;
    // The parser took it as UTF-8 already.
    let text = String::from_utf8(text).map_err(|_| GuestError::ConfigFile {
        path: path.to_owned(),
        source: std::io::ErrorKind::InvalidData.into(),
    })?;
    Ok((config, text))
}

/// The configuration's file, of which at most one byte more than it may have is read, and the digest that this machine measured.
pub(crate) fn measured_text(
    path: &Path,
    bytes_max: usize,
    attester: &dyn Attester,
) -> Result<(Vec<u8>, Digest256), GuestError> {
    let measured = attester.measured_config_digest()?;
    let mut text = Vec::new();
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32) // a FIFO would keep the boot waiting for ever
        .open(path)
        .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut text))
        .map_err(|source| GuestError::ConfigFile {
            path: path.to_owned(),
            source,
        })?;
    Ok((text, measured))
}

/// How the key broker is reached: by the configuration's word if it has one, else by the host's.
fn kbs_door(options: &GuestOptions, config: &Config) -> Result<KbsDoor, GuestError> {
    let limits = EgressLimits {
        step: Duration::from_millis(options.limits.kbs_timeout_ms),
        ..EgressLimits::default()
    };
    let egress = Egress::new(&config.egress, options.egress, limits)?;
    Ok(KbsDoor::new(&options.kbs_addr, egress))
}

/// The store's key, and each model's in the order of the configuration.
struct Granted {
    store: OpenedGrant,
    models: Vec<OpenedGrant>,
}

/// The store's key first: without it no other is asked for. Its lease next: where another guest writes, nothing more is done.
async fn all_grants(
    options: &GuestOptions,
    door: &Arc<KbsDoor>,
    config: &Config,
    attester: &Arc<dyn Attester>,
    keys: &BootKeys,
    fenced: &mut Option<Fenced>,
) -> Result<(Granted, Standing, GrantClock), GuestError> {
    let mut grants = GrantDesk::new(
        door,
        Duration::from_millis(options.limits.kbs_timeout_ms),
        attester.clone(),
        &keys.wrapping,
        &config.kbs,
        config.required_tier,
    )?;
    let store = grants.get(&config.store.key_id, &config.store.id).await?;
    let mut standing = Standing::of(&store.grant);
    let clock = grants.clock().ok_or(GuestError::NoClock)?;
    if config.store.writers == StoreWriters::One {
        let lease = Fenced::lease(&grants, &config.store.key_id, Arc::clone(door), clock, &options.limits);
        *fenced = Some(lease.await?);
    }
    let mut models = Vec::new();
    for model in &config.models {
        // 64 hex digits are a name.
        let subject = Name::new(&model.weights_root.to_string()).map_err(|_| GuestError::NoSubject)?;
        let opened = grants.get(&model.key_id, &subject).await?;
        standing = standing.and(&opened.grant);
        models.push(opened);
    }
    Ok((Granted { store, models }, standing, clock))
}

/// Opens the store, and gives up the models' keys once none of them is older than the store has seen.
async fn open_store(
    path: &Path,
    granted: Granted,
    standing: Standing,
) -> Result<(Arc<EncryptedDb>, Vec<Dek>), GuestError> {
    let path = path.to_owned();
    let mode = if standing.simulated {
        StoreMode::Simulated
    } else {
        StoreMode::Production
    };
    let opening = spawn_blocking(move || -> Result<_, GuestError> {
        let store = EncryptedDb::open_as(&path, &granted.store.dek, hanzo_receipts::SCHEMA, mode)?;
        hold_versions(&store, vec![granted.store])?;
        let models = hold_versions(&store, granted.models)?;
        Ok((Arc::new(store), models.into_iter().map(|m| m.dek).collect()))
    });
    opening.await.map_err(|_| GuestError::TaskEnded { what: "the store" })?
}

/// Opens the log of receipts in the store; at the first boot its key is made, which stays when boots end.
async fn open_log(config: &Config, store: Arc<EncryptedDb>) -> Result<Arc<PublicLog>, GuestError> {
    let origin = Origin::new(&config.log_origin()).map_err(ReceiptLogError::from)?;
    let (_, suite) = suites_for_tier(config.required_tier);
    let fence = match config.store.writers {
        StoreWriters::One => Fence::Kbs,
        StoreWriters::Many => Fence::None,
    };
    let opening = spawn_blocking(move || -> Result<_, GuestError> {
        let seed = mixed_seed::<LOG_SEED_LEN>()?;
        Ok(Arc::new(PublicLog::open(store, origin, suite, &seed, fence)?))
    });
    opening.await.map_err(|_| GuestError::TaskEnded { what: "the log" })?
}

/// Opens them, those that others go on first; in the order of the configuration.
async fn open_models(
    options: &GuestOptions,
    config: &Config,
    terms: &Terms,
    keys: &[Arc<Dek>],
    runtime: &RuntimeDir,
) -> Result<Vec<OpenedModel>, GuestError> {
    let mut sealed: Vec<_> = config.models.iter().zip(keys).enumerate().collect();
    sealed.sort_by_key(|(index, (model, _))| (model.base.is_some(), *index));
    let mut opened: BTreeMap<usize, OpenedModel> = BTreeMap::new();
    for (index, (model, dek)) in sealed {
        let sealed = PackedModel {
            options,
            model,
            // Far more than a configuration may name.
            index: u16::try_from(index).map_err(|_| GuestError::NoSubject)?,
            terms,
            dek: dek.clone(),
            out: runtime.places().model(index)?,
        };
        let base = |name: &Name| opened.values().find(|base| base.served.name == *name);
        let one = match model.base.as_ref().map(base) {
            None => open_model(sealed).await,
            Some(Some(base)) => open_adapter(sealed, base, runtime.places().merged(index)?).await,
            // The configuration was checked.
            Some(None) => return Err(GuestError::NoSubject),
        };
        let one = one.map_err(|e| match e {
            OpenError::Model(e) => GuestError::from(e),
            OpenError::Engine(e) => e.into(),
        })?;
        if demand::closes(config, model) {
            // It was what the keyset will say of it; who asks it opens it again.
            std::fs::remove_dir_all(&one.dir).map_err(|source| RuntimeDirError::Io {
                path: one.dir.clone(),
                source,
            })?;
        }
        opened.insert(index, one);
        tracing::info!(model = %model.name, root = %model.weights_root, "pack opened");
    }
    Ok(opened.into_values().collect())
}

fn engine_jobs(
    config: &Config,
    models: &[OpenedModel],
    runtime: &RuntimeDir,
) -> Result<(Vec<EngineJob>, Vec<EngineEndpoint>), GuestError> {
    let (mut jobs, mut endpoints) = (Vec::new(), Vec::new());
    for (index, (model, said)) in models.iter().zip(&config.models).enumerate() {
        let on_demand = said.on_demand.is_some();
        let mut job = model.job();
        if !on_demand {
            job.socket = runtime.places().socket(index)?;
            job.root = runtime.places().root(index)?;
        }
        // Far more than a configuration may name.
        job.index = u16::try_from(index).map_err(|_| GuestError::NoSubject)?;
        endpoints.push(EngineEndpoint {
            model: model.served.name.clone(),
            socket: job.socket.clone(),
            context_tokens: model.context_tokens,
            callers: said.callers.clone(),
            on_demand,
        });
        if !on_demand {
            jobs.push(job);
        }
    }
    Ok((jobs, endpoints))
}
