//! An image from its parts, and its parts from where they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hanzo_init::node::GENESIS_BYTES_MAX;
use hanzo_init::{Profile, Role};

use crate::cpio::Archive;
use crate::deb;
use crate::elf::Elf;
use crate::error::ImageError;
use crate::fetch::{Source, own_kernel, package};
use crate::frames::{Frames, Level};
use crate::inputs::{Inputs, Package};
use crate::manifest::{Decisions, FILE, FORMAT, Ingredients, Manifest, Measured};
use crate::module::Modules;
use crate::output::Output;
use crate::recipe::{MODULES, Recipe};

/// The kernel, as the firmware is given it.
pub const KERNEL: &str = "kernel";
/// The compressed archive.
pub const INITRD: &str = "initrd.cpio.zst";
/// The archive before compression; only its digest is kept.
pub const ARCHIVE: &str = "initrd.cpio";
/// The command line, without a newline.
pub const COMMAND_LINE: &str = "cmdline";
/// The firmware's code.
pub const FIRMWARE: &str = "firmware.fd";
/// The firmware's empty variables; each machine starts with a copy.
pub const VARIABLES: &str = "variables.fd";

const ZSTD: &str = "zstd 1.5.7, level 22 (engine: 12), one thread, no checksum";
const PROGRAM_BYTES_MAX: u64 = 1 << 30;
const FIRMWARE_CODE: &str = "usr/share/OVMF/OVMF_CODE_4M.fd";
const FIRMWARE_VARIABLES: &str = "usr/share/OVMF/OVMF_VARS_4M.fd";
const SHELL: &str = "usr/bin/busybox";

/// Everything that goes into an image, read and checked.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where the packages are from.
    pub inputs: Inputs,
    /// The kernel's file.
    pub kernel: Vec<u8>,
    /// Its modules.
    pub modules: Modules,
    /// The firmware's code.
    pub firmware: Vec<u8>,
    /// The firmware's variables.
    pub variables: Vec<u8>,
    /// The debug profile's shell.
    pub shell: Option<Vec<u8>>,
    /// The static guest.
    pub guest: Vec<u8>,
    /// The static engine, if the image has one.
    pub engine: Option<Vec<u8>>,
    /// The static node of the AI chain and the genesis of its chain, if the image is one.
    pub node: Option<Node>,
}

/// What an image holds that is a node of the AI chain.
#[derive(Debug, Clone)]
pub struct Node {
    /// The static program.
    pub program: Vec<u8>,
    /// Canonical bytes of the genesis; the node checks them against the digest in its configuration.
    pub genesis: Vec<u8>,
}

impl Node {
    /// Reads both.
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::TooLarge`]; [`ImageError::Program`] if it is not static.
    pub fn read(program: &Path, genesis: &Path) -> Result<Self, ImageError> {
        let program = static_program(program)?;
        let genesis = bounded(genesis, GENESIS_BYTES_MAX as u64)?;
        Ok(Self { program, genesis })
    }
}

/// What is being done, for a person to watch.
pub type Progress<'a> = &'a dyn Fn(&str);

impl Parts {
    /// Gets the packages, and takes out of them what the image needs.
    ///
    /// # Errors
    /// [`ImageError`]; of the guest and the engine first, because they cost nothing to check.
    pub fn gather(
        inputs: Inputs,
        source: &Source,
        profile: Profile,
        guest: &Path,
        engine: Option<&Path>,
        progress: Progress<'_>,
    ) -> Result<Self, ImageError> {
        let guest = static_program(guest)?;
        let engine = engine.map(static_program).transpose()?;
        let (kernel, modules) = match &inputs.own_kernel {
            Some(pinned) => (own_kernel(source, pinned)?, Modules::none()),
            None => debian_kernel(source, &inputs.kernel, progress)?,
        };

        progress(&format!(
            "package {} {}",
            inputs.firmware.package, inputs.firmware.release
        ));
        let bytes = package(source, &inputs.firmware)?;
        let name = inputs.firmware.file_name().to_owned();
        let mut files = deb::files(&name, &bytes, |path| {
            path == FIRMWARE_CODE || path == FIRMWARE_VARIABLES
        })?;
        let firmware = files.remove(FIRMWARE_CODE).ok_or_else(|| lacks(&name, FIRMWARE_CODE))?;
        let variables = files
            .remove(FIRMWARE_VARIABLES)
            .ok_or_else(|| lacks(&name, FIRMWARE_VARIABLES))?;

        let shell = match profile {
            Profile::Core | Profile::Connected => None,
            Profile::Debug => {
                progress(&format!("package {} {}", inputs.shell.package, inputs.shell.release));
                let bytes = package(source, &inputs.shell)?;
                let name = inputs.shell.file_name().to_owned();
                let mut files = deb::files(&name, &bytes, |path| path == SHELL)?;
                Some(files.remove(SHELL).ok_or_else(|| lacks(&name, SHELL))?)
            }
        };
        Ok(Self {
            inputs,
            kernel,
            modules,
            firmware,
            variables,
            shell,
            guest,
            engine,
            node: None,
        })
    }
}

/// The kernel and the modules of Debian's package.
fn debian_kernel(source: &Source, pinned: &Package, progress: Progress<'_>) -> Result<(Vec<u8>, Modules), ImageError> {
    progress(&format!("package {} {}", pinned.package, pinned.release));
    let bytes = package(source, pinned)?;
    let name = pinned.file_name().to_owned();
    progress("unpacking kernel and modules");
    let mut files = deb::files(&name, &bytes, |path| {
        path.starts_with("boot/vmlinuz-")
            || path.ends_with("/modules.builtin")
            || (path.ends_with(".ko.xz") && path.starts_with("usr/lib/modules/"))
    })?;
    let path = files.keys().find(|path| path.starts_with("boot/")).cloned();
    let kernel = path.and_then(|path| files.remove(&path));
    let kernel = kernel.ok_or_else(|| lacks(&name, "boot/vmlinuz-*"))?;
    Ok((kernel, Modules::of(&name, files)))
}

fn lacks(package: &str, wanted: &str) -> ImageError {
    ImageError::NotInPackage {
        package: package.to_owned(),
        wanted: wanted.to_owned(),
    }
}

/// A program that runs where there is no library.
fn static_program(path: &Path) -> Result<Vec<u8>, ImageError> {
    let bytes = bounded(path, PROGRAM_BYTES_MAX)?;
    if !Elf::new(&path.to_string_lossy(), &bytes)?.is_static()? {
        return Err(ImageError::Program {
            path: path.to_owned(),
            expected: "a static program: the image has no libraries",
            got: "one that asks for a dynamic linker or a library",
            remedy: "build it with RUSTFLAGS=\"-C target-cpu=x86-64-v3 -C target-feature=+crt-static\" and --target x86_64-unknown-linux-gnu",
        });
    }
    Ok(bytes)
}

fn bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(ImageError::io(path))?;
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(ImageError::io(path))?;
    let got = bytes.len() as u64;
    if got > bytes_max {
        let path = path.to_owned();
        return Err(ImageError::TooLarge { path, got, bytes_max });
    }
    Ok(bytes)
}

/// An image that is a node has one, and no other has.
fn check_role(parts: &Parts, recipe: &Recipe) -> Result<(), ImageError> {
    let wrong = |expected, got: &str| {
        Err(ImageError::Inputs {
            what: "--validator".into(),
            expected,
            got: got.into(),
        })
    };
    match (recipe.role(), &parts.node) {
        (Role::Node, None) => wrong(
            "a static hanzo-validator and a genesis, for a configuration that is a node's",
            "none",
        ),
        (Role::Agent, Some(_)) => wrong("none for a configuration that is an agent's", "one"),
        (Role::Node, Some(_)) if parts.engine.is_some() => wrong("a node alone, without --engine", "both"),
        (Role::Node, Some(_)) | (Role::Agent, None) => Ok(()),
    }
}

/// The files of an image by name, the manifest among them.
pub type Files = BTreeMap<&'static str, Vec<u8>>;

/// Makes the files of an image. A function of its arguments: nothing else is read.
///
/// # Errors
/// [`ImageError`].
pub fn files(parts: &Parts, recipe: &Recipe, progress: Progress<'_>) -> Result<(Files, Manifest), ImageError> {
    files_with(parts, recipe, &Frames::default(), progress)
}

/// As [`files`], to the same bytes: with compressed frames out of a cache.
///
/// # Errors
/// As [`files`].
pub fn files_with(
    parts: &Parts,
    recipe: &Recipe,
    frames: &Frames,
    progress: Progress<'_>,
) -> Result<(Files, Manifest), ImageError> {
    check_role(parts, recipe)?;
    progress("choosing modules");
    let modules = parts.modules.pick(MODULES)?;
    let names: Vec<_> = modules.iter().map(|module| module.name.clone()).collect();
    let plan = recipe.plan(names.clone(), parts.engine.is_some()).to_text()?;

    let mut archive = Archive::default();
    for dir in ["dev", "proc", "run", "sys", "tmp"] {
        archive.directory(dir);
    }
    let at = |path: &'static str| path.trim_start_matches('/');
    archive.file("init", parts.guest.clone(), true);
    archive.file(at(hanzo_init::CONFIG_PATH), recipe.config().as_bytes().to_vec(), false);
    archive.file(at(hanzo_init::PLAN_PATH), plan.into_bytes(), false);
    if let Some(node) = &parts.node {
        archive.file(at(hanzo_init::GENESIS_PATH), node.genesis.clone(), false);
    }
    for module in modules {
        let path = format!("{}/{}.ko", at(hanzo_init::MODULES_DIR), module.name);
        archive.file(&path, module.bytes, false);
    }
    if let (Profile::Debug, Some(shell)) = (recipe.profile, &parts.shell) {
        archive.file(at(hanzo_init::SHELL_PATH), shell.clone(), true);
    }
    let mut archive = archive.to_bytes();
    let mut initrd = frames.compress(&archive, Level::Whole, progress)?;
    let engine = parts.engine.as_ref().map(|program| (hanzo_init::ENGINE_PATH, program));
    let node = parts.node.as_ref().map(|node| (hanzo_init::NODE_PATH, &node.program));
    if let Some((path, program)) = engine.or(node) {
        let mut second = Archive::default();
        second.file(at(path), program.clone(), true);
        let second = second.to_bytes();
        initrd.extend(frames.compress(&second, Level::Engine, progress)?);
        archive.extend(second);
    }

    let mut files = Files::new();
    files.insert(KERNEL, parts.kernel.clone());
    files.insert(INITRD, initrd);
    files.insert(COMMAND_LINE, recipe.command_line()?.into_bytes());
    files.insert(FIRMWARE, parts.firmware.clone());
    files.insert(VARIABLES, parts.variables.clone());

    let mut outputs: BTreeMap<_, _> = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), Measured::of(bytes)))
        .collect();
    outputs.insert(ARCHIVE.to_owned(), Measured::of(&archive));
    let mut packages = BTreeMap::new();
    if parts.inputs.own_kernel.is_none() {
        packages.insert("kernel".to_owned(), parts.inputs.kernel.clone());
    }
    packages.insert("firmware".to_owned(), parts.inputs.firmware.clone());
    if recipe.profile == Profile::Debug {
        packages.insert("shell".to_owned(), parts.inputs.shell.clone());
    }
    let manifest = Manifest {
        format: FORMAT.into(),
        recipe: Decisions {
            profile: recipe.profile,
            role: recipe.role(),
            config: recipe.config().to_owned(),
            listen: recipe.listen,
            kbs: recipe.kbs,
            network: recipe.network.clone(),
            vsock_port: recipe.vsock_port,
            sealed: recipe.sealed,
            egress: recipe.egress.clone(),
        },
        inputs: Ingredients {
            packages,
            own_kernel: parts.inputs.own_kernel.clone(),
            guest: Measured::of(&parts.guest),
            engine: parts.engine.as_deref().map(Measured::of),
            node: parts.node.as_ref().map(|node| Measured::of(&node.program)),
            genesis: parts.node.as_ref().map(|node| Measured::of(&node.genesis)),
            modules: names,
            zstd: ZSTD.into(),
        },
        outputs,
    };
    files.insert(FILE, manifest.to_bytes()?);
    Ok((files, manifest))
}

/// Makes an image and puts it at `place`, whole or not at all.
///
/// # Errors
/// [`ImageError`]; nothing is left behind then.
pub fn build(parts: &Parts, recipe: &Recipe, place: &Path, progress: Progress<'_>) -> Result<Manifest, ImageError> {
    build_with(parts, recipe, place, &Frames::default(), progress)
}

/// As [`build`], to the same bytes: with compressed frames out of a cache.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    parts: &Parts,
    recipe: &Recipe,
    place: &Path,
    frames: &Frames,
    progress: Progress<'_>,
) -> Result<Manifest, ImageError> {
    // First, so that a wrong place is told before minutes of work.
    let output = Output::begin(place)?;
    let (files, manifest) = files_with(parts, recipe, frames, progress)?;
    progress("writing");
    for (name, bytes) in &files {
        output.write(name, bytes)?;
    }
    output.publish()?;
    Ok(manifest)
}
