//! The image of one run, and its machine.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use hanzo_image::assemble::build_with;
use hanzo_image::fetch::{MIRROR, Source};
use hanzo_image::frames::Frames;
use hanzo_image::inputs::{COMMITTED, Inputs};
use hanzo_image::kernel::{self, Choice};
use hanzo_image::predict as predicting;
use hanzo_image::run::Machine;
use hanzo_image::{Network, Parts, Profile, Recipe};
use hanzo_measured_boot::prediction::Prediction;

use super::{VmArgs, coded};
use crate::error::ApplianceError;
use crate::paths::private_dir;
use crate::platform;
use crate::progress::Progress;

/// Where the guest serves.
const GUEST_PORT: u16 = 8443;

/// The two programs of an image that this repository's scripts make.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    guest: PathBuf,
    engine: PathBuf,
}

impl Programs {
    pub(super) fn find(args: &VmArgs) -> Result<Self, ApplianceError> {
        let beside = |name: &str| -> Result<PathBuf, ApplianceError> {
            let own = std::env::current_exe().map_err(ApplianceError::io("cannot find", "this program"))?;
            Ok(own.with_file_name(name))
        };
        let find = |given: &Option<PathBuf>, name: &'static str, script: &'static str, option: &'static str| {
            let path = given.clone().map_or_else(|| beside(name), Ok)?;
            match path.is_file() {
                true => Ok(path),
                false => Err(ApplianceError::NoProgram { path, script, option }),
            }
        };
        Ok(Self {
            guest: find(&args.vm_guest, "hanzo-guest.static", "image/build-guest", "--vm-guest")?,
            engine: find(
                &args.vm_engine,
                "hanzo-engine.static",
                "image/build-engine",
                "--vm-engine",
            )?,
        })
    }
}

/// What a person would decide about the image.
pub(super) fn recipe(config: String, kbs: SocketAddr) -> Result<Recipe, ApplianceError> {
    // QEMU's user network.
    let network = Network {
        interface: "eth0".into(),
        address: Ipv4Addr::new(10, 0, 2, 15),
        prefix: 24,
        gateway: Some(super::HOST),
    };
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, GUEST_PORT));
    Recipe::new(Profile::Core, config, listen, kbs, network).map_err(coded)
}

/// Makes the image in `place`. What costs minutes is kept below `cache`.
pub(super) fn make(
    programs: &Programs,
    packages: Option<PathBuf>,
    kernel: Option<Choice>,
    recipe: &Recipe,
    place: &Path,
    cache: &Path,
) -> Result<(), ApplianceError> {
    let bar = Progress::spinner("making the image".into());
    let progress = |what: &str| bar.say(format!("making the image: {what}"));
    let (kept, frames) = (cache.join("image-packages"), cache.join("image-frames"));
    private_dir(&frames)?;
    let source = match packages {
        Some(dir) => Source::Directory(dir),
        None => Source::Archive {
            kept,
            mirror: MIRROR.into(),
        },
    };
    let inputs = Inputs {
        own_kernel: kernel::choose(kernel, &source).map_err(coded)?,
        ..Inputs::parse(COMMITTED).map_err(coded)?
    };
    let engine = Some(programs.engine.as_path());
    let parts = Parts::gather(inputs, &source, recipe.profile, &programs.guest, engine, &progress).map_err(coded)?;
    build_with(&parts, recipe, place, &Frames::kept_in(&frames), &progress).map_err(coded)?;
    Ok(())
}

/// Writes down what the boot will measure.
pub(super) fn predict(machine: &Machine, file: &Path) -> Result<Prediction, ApplianceError> {
    let bar = Progress::spinner("predicting the boot".into());
    let prediction =
        predicting::predict(machine, &|what| bar.say(format!("predicting the boot: {what}"))).map_err(coded)?;
    let bytes = prediction.to_vec().map_err(|e| ApplianceError::Coded {
        text: e.to_string(),
        code: e.code(),
    })?;
    platform::write_private(file, &bytes)?;
    Ok(prediction)
}

/// A port of loopback that is free, as far as that can be known before QEMU takes it.
pub(super) fn free_port() -> Result<u16, ApplianceError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ApplianceError::io("cannot find a free port of", "127.0.0.1"))
}

/// Where a machine's files are, and its port of loopback.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) packs: Vec<PathBuf>,
    pub(super) tpm: PathBuf,
    pub(super) console: PathBuf,
    pub(super) port: u16,
}

impl Place {
    pub(super) fn machine(&self, args: &VmArgs) -> Machine {
        Machine {
            image: self.dir.clone(),
            console: self.console.clone(),
            port: self.port,
            links: None,
            memory_mib: args.vm_memory,
            processors: args.vm_processors,
            accelerator: args.vm_accelerator,
            packs: self.packs.clone(),
            tpm: Some(self.tpm.clone()),
        }
    }

    /// The same for the role that runs it.
    pub(super) fn arguments(&self, args: &VmArgs, prediction: &Path) -> Vec<OsString> {
        let accelerator = clap::ValueEnum::to_possible_value(&args.vm_accelerator);
        let accelerator = accelerator.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let packs = self
            .packs
            .iter()
            .flat_map(|pack| [OsString::from("--pack"), pack.into()]);
        let rest = crate::up::args_of([
            ("--image", self.dir.clone().into()),
            ("--tpm", self.tpm.clone().into()),
            ("--console", self.console.clone().into()),
            ("--port", self.port.to_string().into()),
            ("--memory", args.vm_memory.to_string().into()),
            ("--processors", args.vm_processors.to_string().into()),
            ("--accelerator", accelerator.into()),
            ("--prediction", prediction.into()),
        ]);
        rest.into_iter().chain(packs).collect()
    }
}
