//! `hanzo up --vm`: the same appliance with its guest in a measured image, booted under QEMU.
//!
//! Nothing is simulated but the TPM, which is software (swtpm) and says so in the verdict's tier. What the boot will measure
//! is written down before it boots; broker and client ask for exactly that, from that TPM's key.

mod image;
mod role;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Anchors, Collateral, Digest256};
use hanzo_client::ClientConfig;
use hanzo_image::kernel::Choice;
use hanzo_image::reference::{self, Release};
use hanzo_image::run::Accelerator;
use hanzo_policy::AppraisalPolicy;
use hanzo_pqc::Dek;
use hanzo_vault::KeyPolicy;
use hanzo_verifier::VerifierContext;

use crate::adapters::{self, SealedAdapter};
use crate::broker::Broker;
use crate::callers;
use crate::error::ApplianceError;
use crate::paths::Layout;
use crate::plan::{KEY_LIFETIME_S, Plan};
use crate::platform;
use crate::progress::Progress;
use crate::start::Asked;
use crate::supervise::Role;
use crate::up::{self, Parts, QUICK, Reach};

pub(crate) use role::{VmRole, run as run_role};

/// Time for the machine: `hanzo-image` gives up before.
const MACHINE: std::time::Duration = std::time::Duration::from_secs(2700);
/// For one step of a connection.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
/// What the reference value is called.
const IMAGE: &str = concat!("hanzo-up-vm-", env!("CARGO_PKG_VERSION"));
/// How the guest, on QEMU's user network, sees this machine's loopback.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Options of `hanzo up --vm`.
#[derive(Debug, Clone, Args)]
pub(crate) struct VmArgs {
    /// Boot the guest's measured image under QEMU with a software TPM, and serve from inside it (tier 1)
    #[arg(long)]
    pub(crate) vm: bool,
    /// The image's static guest [default: hanzo-guest.static beside this program; image/build-guest makes it]
    #[arg(long, value_name = "FILE", requires = "vm")]
    vm_guest: Option<PathBuf>,
    /// The image's static engine [default: hanzo-engine.static beside this program; image/build-engine makes it]
    #[arg(long, value_name = "FILE", requires = "vm")]
    vm_engine: Option<PathBuf>,
    /// Directory with the image's pinned Debian packages [default: fetched by apt-get, kept below the cache folder]
    #[arg(long, value_name = "DIR", requires = "vm")]
    vm_packages: Option<PathBuf>,
    /// The image's kernel [default: our own if its file lies beside the packages, else Debian's]
    #[arg(long, value_enum, requires = "vm")]
    vm_kernel: Option<Choice>,
    /// The machine's memory in MiB
    #[arg(long, value_name = "MIB", requires = "vm", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(512..=1_048_576))]
    vm_memory: u32,
    /// The machine's processors
    #[arg(long, value_name = "N", requires = "vm", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    vm_processors: u32,
    /// What executes the guest's instructions
    #[arg(long, value_enum, requires = "vm", default_value_t = Accelerator::Tcg)]
    vm_accelerator: Accelerator,
}

/// Starts everything; what runs is in `parts`, also when this fails or is cancelled.
pub(crate) async fn start(
    args: VmArgs,
    asked: Asked,
    layout: &Layout,
    cache: &Path,
    parts: &mut Parts,
) -> Result<Reach, ApplianceError> {
    // Everything that may be missing, before anything that takes long.
    let programs = image::Programs::find(&args)?;
    up::off_thread(|| hanzo_image::run::check_tools().map_err(coded)).await?;
    let models = up::get_models(asked.wanted.clone(), cache).await?;
    adapters::check(&asked.adapters, &models, &asked.computes)?;
    let callers = callers::make(&asked.all_callers(), layout)?;
    up::fresh_run(layout)?;

    let tpm = layout.run().join("tpm");
    let ak = {
        let (_bar, tpm) = (Progress::spinner("making a software TPM".into()), tpm.clone());
        up::off_thread(move || hanzo_image::tpm::make(&tpm).map_err(coded)).await?
    };
    let (models, sealed) = up::seal(models, layout).await?;
    let (models, adapters) = asked.seal_adapters(models, &sealed, layout).await?;
    let plan = Plan::new(&sealed)?
        .with_adapters(&adapters)?
        .on(asked.computes)
        .on_demand(asked.idle_s)
        .asked_by(callers.as_ref());
    let names: Vec<_> = plan.models.iter().map(|m| m.name.to_string()).collect();
    let (reached, of_adapters): (Vec<_>, Vec<_>) = adapters.into_iter().map(SealedAdapter::split).unzip();

    let broker = Broker::create_for_tpm(layout, ak)?;
    let kbs = parts.kbs.insert(Role::start(
        "kbs",
        up::args_of([("--config", broker.config().as_os_str().into())])
            .into_iter()
            .chain(["--production".into()])
            .collect(),
        &layout.logs(),
    )?);
    let kbs_at: SocketAddr = up::parse_ready("kbs", kbs.ready(QUICK).await?)?;
    let broker = broker.running(kbs_at)?;

    let config = plan.config(broker.signer(), 1)?;
    platform::write_private(&layout.config(), config.as_bytes())?;
    let port = image::free_port()?;
    let place = image::Place {
        dir: layout.run().join("image"),
        packs: names
            .iter()
            .map(|name| layout.packs().join(format!("{name}.pack")))
            .collect(),
        tpm,
        console: layout.logs().join("console.log"),
        port,
    };
    let machine = place.machine(&args);
    let prediction = layout.run().join("prediction.json");
    let appraisal = {
        let recipe = image::recipe(config, SocketAddr::from((HOST, kbs_at.port())))?;
        let (machine, prediction, cache) = (machine.clone(), prediction.clone(), cache.to_owned());
        let (packages, kernel) = (args.vm_packages.clone(), args.vm_kernel);
        up::off_thread(move || {
            image::make(&programs, packages, kernel, &recipe, &machine.image, &cache)?;
            let predicted = image::predict(&machine, &prediction)?;
            reference::appraisal(&machine.image, &predicted, IMAGE, vec![ak]).map_err(coded)
        })
        .await?
    };
    let text = appraisal.to_toml().map_err(|e| ApplianceError::Part(e.to_string()))?;
    platform::write_private(&layout.policy(), text.as_bytes())?;
    for (planned, sealed) in plan.models.iter().zip(sealed.into_iter().chain(of_adapters)) {
        let policy = key_policy(&appraisal, &planned.weights_root.to_string())?;
        broker.put(&planned.key, &sealed.dek, &policy).await?;
    }
    let store_dek = Dek::generate().map_err(|e| ApplianceError::Part(e.to_string()))?;
    let policy = key_policy(&appraisal, plan.store.as_str())?;
    broker.put(&plan.store_key, &store_dek, &policy).await?;
    drop(store_dek);

    let vm = parts
        .guest
        .insert(Role::start("vm", place.arguments(&args, &prediction), &layout.logs())?);
    let guest_at = {
        let _bar =
            Progress::spinner("the image boots, attests, opens its model and loads it (minutes without KVM)".into());
        tokio::select! {
            at = vm.ready(MACHINE) => at?,
            error = kbs.stopped() => return Err(error),
        }
    };
    let proxy = parts.proxy.insert(Role::start(
        "proxy",
        up::args_of([("--listen", up::loopback().into()), ("--guest", guest_at.into())]),
        &layout.logs(),
    )?);
    let proxy_at = up::parse_ready("proxy", proxy.ready(QUICK).await?)?;
    let first = up::first(models)?;
    Ok(Reach {
        model: reached.first().map_or(first.name, |adapter| adapter.name.clone()),
        models: names,
        model_dir: first.dir,
        proxy_at,
        context: VerifierContext {
            anchors: Anchors::vendor().with_tpm_ak(ak),
            collateral: Collateral::default(),
            policy: appraisal,
        },
        tpm_key: Some(ak),
        adapters: reached,
        callers,
    })
}

/// The release policy of one key, for `subject` alone.
fn key_policy(appraisal: &AppraisalPolicy, subject: &str) -> Result<KeyPolicy, ApplianceError> {
    let name = |text: &str| Name::new(text).map_err(|e| ApplianceError::Part(e.to_string()));
    let release = Release {
        tenant: name("hanzo")?,
        subject: name(subject)?,
        image_version: 1,
        max_uses: 1000,
        not_after: platform::now().0 + KEY_LIFETIME_S,
    };
    reference::key_policy(appraisal.clone(), release).map_err(coded)
}

/// An emulated guest takes many times longer for the same work.
pub(crate) fn be_patient(config: &mut ClientConfig) {
    config.limits.handshake = PATIENCE;
    config.limits.attestation = PATIENCE;
    config.limits.proof = PATIENCE;
}

/// What the verdict's tier rests on here, for people.
pub(crate) fn caution(ak: &Digest256) -> String {
    format!(
        "The guest ran in a QEMU machine with a SOFTWARE TPM (swtpm) whose key this run pinned: {ak}\n\
         Tier 1 says which image booted, if that key is a TPM's. Whoever runs swtpm holds the key, and without SEV-SNP or\n\
         TDX whoever runs QEMU reads the machine's memory: this shows the path, and protects nothing from this computer.\n"
    )
}

fn coded(error: hanzo_image::ImageError) -> ApplianceError {
    ApplianceError::Coded {
        text: error.to_string(),
        code: error.code(),
    }
}
