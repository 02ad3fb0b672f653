//! What a run was asked to be, and its start: models and adapters sealed, every role started in turn.

use std::net::SocketAddr;
use std::path::Path;

use hanzo_attestation::config::Aci;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Anchors, Collateral, Digest256};
use hanzo_pqc::Dek;
use hanzo_verifier::VerifierContext;

use crate::adapters::{self, AdapterArg, SealedAdapter};
use crate::broker::{Broker, RunningBroker};
use crate::callers;
use crate::computes::Computes;
use crate::error::ApplianceError;
use crate::model::Model;
use crate::models::{Sealed, Wanted, files_bytes};
use crate::paths::Layout;
use crate::plan::{self, Plan};
use crate::platform;
use crate::progress::Progress;
use crate::runtime::RuntimeFolder;
use crate::supervise::Role;
use crate::up::{
    GUEST, Parts, QUICK, Reach, args_of, first, fresh_run, get_models, loopback, off_thread, parse_ready, seal,
};

/// What a run is to serve, and to whom.
pub(crate) struct Asked {
    /// The models.
    pub(crate) wanted: Wanted,
    /// What computes them.
    pub(crate) computes: Computes,
    /// Whether ACI documents are served too.
    pub(crate) aci: Aci,
    /// What goes on them.
    pub(crate) adapters: Vec<AdapterArg>,
    /// Callers besides those of adapters.
    pub(crate) callers: Vec<Name>,
    /// After how many idle seconds an engine ends, where engines start when asked for.
    pub(crate) idle_s: Option<u64>,
}

impl Asked {
    /// Models alone, for whoever asks.
    pub(crate) fn plain(wanted: Wanted, computes: Computes) -> Self {
        Self {
            wanted,
            computes,
            aci: Aci::Off,
            adapters: Vec::new(),
            callers: Vec::new(),
            idle_s: None,
        }
    }

    /// Everybody who is named, ascending.
    pub(crate) fn all_callers(&self) -> Vec<Name> {
        let of_adapters = self.adapters.iter().flat_map(|adapter| &adapter.callers);
        let mut all: Vec<_> = of_adapters.chain(&self.callers).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Seals what goes on `models`, of which `sealed` came.
    pub(crate) async fn seal_adapters(
        &self,
        models: Vec<Model>,
        sealed: &[Sealed],
        layout: &Layout,
    ) -> Result<(Vec<Model>, Vec<SealedAdapter>), ApplianceError> {
        let (adapters, computes) = (self.adapters.clone(), self.computes.clone());
        let roots: Vec<_> = sealed.iter().map(|sealed| sealed.root).collect();
        let layout = Layout {
            state: layout.state.clone(),
        };
        off_thread(move || {
            let done = adapters::seal(&adapters, &models, &roots, &computes, &layout)?;
            Ok((models, done))
        })
        .await
    }
}

/// Starts everything; what runs is in `parts`, also when this fails or is cancelled.
pub(crate) async fn start(
    asked: Asked,
    layout: &Layout,
    cache: &Path,
    parts: &mut Parts,
) -> Result<Reach, ApplianceError> {
    let models = get_models(asked.wanted.clone(), cache).await?;
    adapters::check(&asked.adapters, &models, &asked.computes)?;
    let callers = callers::make(&asked.all_callers(), layout)?;
    fresh_run(layout)?;
    // Each model, sealed under a fresh key that goes to the broker and nowhere else.
    let (models, sealed) = seal(models, layout).await?;
    let (models, adapters) = asked.seal_adapters(models, &sealed, layout).await?;
    let plan = Plan::new(&sealed)?
        .with_adapters(&adapters)?
        .on(asked.computes)
        .on_demand(asked.idle_s)
        .asked_by(callers.as_ref())
        .with_aci(asked.aci);

    let (processor, image) = {
        let material = layout.simulator();
        off_thread(move || Ok((platform::processor(&material)?, platform::image_digest()?))).await?
    };
    platform::write_private(&layout.simulator_root(), processor.ark_der())?;

    let broker = Broker::create(layout, processor.ark_der())?;
    let kbs = parts.kbs.insert(Role::start(
        "kbs",
        args_of([("--config", broker.config().as_os_str().into())]),
        &layout.logs(),
    )?);
    let kbs_at: SocketAddr = parse_ready("kbs", kbs.ready(QUICK).await?)?;
    let broker: RunningBroker = broker.running(kbs_at)?;

    let config = plan.config(broker.signer(), 2)?;
    let config_digest = Digest256::of(config.as_bytes());
    platform::write_private(&layout.config(), config.as_bytes())?;
    let policy = plan::appraisal(&image, config_digest)?;
    let text = policy.to_toml().map_err(|e| ApplianceError::Part(e.to_string()))?;
    platform::write_private(&layout.policy(), text.as_bytes())?;
    let bytes = models.iter().map(|model| files_bytes(&model.dir)).sum::<u64>();
    let bytes = adapters
        .iter()
        .fold(bytes, |sum, adapter| sum.saturating_add(adapter.bytes));
    let (reached, of_adapters): (Vec<_>, Vec<_>) = adapters.into_iter().map(SealedAdapter::split).unzip();
    for (planned, sealed) in plan.models.iter().zip(sealed.into_iter().chain(of_adapters)) {
        let policy = plan::key_policy(&policy, &planned.weights_root.to_string())?;
        broker.put(&planned.key, &sealed.dek, &policy).await?;
    }
    let store_dek = Dek::generate().map_err(|e| ApplianceError::Part(e.to_string()))?;
    broker
        .put(
            &plan.store_key,
            &store_dek,
            &plan::key_policy(&policy, plan.store.as_str())?,
        )
        .await?;
    drop(store_dek);

    let loopback = loopback();
    let folder = parts.folder.insert(RuntimeFolder::create(layout, bytes)?);
    let guest = parts.guest.insert(Role::start(
        "guest",
        args_of([
            ("--simulator", layout.simulator().into()),
            ("--image-digest", image.to_string().into()),
            ("--config-digest", config_digest.to_string().into()),
            ("--config", layout.config().into()),
            ("--listen", loopback.clone().into()),
            ("--kbs", kbs_at.to_string().into()),
            ("--packs", layout.packs().into()),
            ("--store", layout.store().into()),
            ("--runtime-dir", folder.path().into()),
        ]),
        &layout.logs(),
    )?);
    let guest_at = {
        let _bar = Progress::spinner("the guest attests, opens its model and loads it".into());
        tokio::select! {
            at = guest.ready(GUEST) => at?,
            error = kbs.stopped() => return Err(error),
        }
    };
    let guest_at: SocketAddr = parse_ready("guest", guest_at)?;
    let proxy = parts.proxy.insert(Role::start(
        "proxy",
        args_of([("--listen", loopback.into()), ("--guest", guest_at.to_string().into())]),
        &layout.logs(),
    )?);
    let proxy_at = parse_ready("proxy", proxy.ready(QUICK).await?)?;
    let context = VerifierContext {
        anchors: Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec()),
        collateral: Collateral::default(),
        policy,
    };
    let names = plan.models.iter().map(|m| m.name.to_string()).collect();
    let first = first(models)?;
    Ok(Reach {
        // Whoever brings an adapter wants to see what it does.
        model: reached.first().map_or(first.name, |adapter| adapter.name.clone()),
        models: names,
        adapters: reached,
        callers,
        model_dir: first.dir,
        proxy_at,
        context,
        tpm_key: None,
    })
}
