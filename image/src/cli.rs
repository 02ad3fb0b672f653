//! The command line.

mod launch;

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use hanzo_attestation::Digest256;
use hanzo_init::{Dhcp, Network, NetworkPlan};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use self::launch::{GuardArgs, MachineArgs};
use crate::assemble::{Node, Parts, build};
use crate::error::ImageError;
use crate::fetch::{MIRROR, Source};
use crate::inputs::{COMMITTED, Inputs};
use crate::kernel::{self, Choice};
use crate::manifest::Manifest;
use crate::predict;
use crate::profile::{GPU, GpuProfile};
use crate::recipe::Recipe;
use crate::reference;
use crate::release::cli::ReleaseCommand;
use crate::run;
use crate::tpm;
use crate::uki;
use crate::verify::verify;

const EXAMPLES: &str = "\
Examples:
  RUSTFLAGS=\"-C target-cpu=x86-64-v3 -C target-feature=+crt-static\" \\
      cargo build --release --target x86_64-unknown-linux-gnu -p hanzo-guest
  hanzo-image build out --config config.toml --guest target/x86_64-unknown-linux-gnu/release/hanzo-guest
  hanzo-image verify out --guest target/x86_64-unknown-linux-gnu/release/hanzo-guest
  hanzo-image run out --port 8443 --until-ready

Exit codes: 0 done; 1 usage, files, tools; 10 an input is malformed or not the pinned one; 20 the image differs from the
one made again; 30 the machine did not get as far as it should.";

/// Make, check and boot the guest's image.
#[derive(Debug, Parser)]
#[command(name = "hanzo-image", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Print the result as JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an image from pinned inputs; the directory must not exist
    #[command(
        after_help = "Examples:\n  hanzo-image build out --config config.toml --guest hanzo-guest --packages debs\n  hanzo-image build node --config observer.toml --guest hanzo-guest --packages debs \\\n      --validator hanzo-validator --genesis genesis.bin"
    )]
    Build {
        /// Where the image appears
        dir: PathBuf,
        #[command(flatten)]
        ingredients: IngredientArgs,
        /// Which kernel [default: our own if its file lies beside the packages, else Debian's]
        #[arg(long, value_enum)]
        kernel: Option<Choice>,
        #[command(flatten)]
        decisions: DecisionArgs,
    },
    /// Make an image again and compare every byte; the first difference is named
    #[command(after_help = "Example:\n  hanzo-image verify out --guest hanzo-guest --packages debs")]
    Verify {
        /// The image
        dir: PathBuf,
        #[command(flatten)]
        ingredients: IngredientArgs,
    },
    /// Boot an image under QEMU: with a software TPM, or launched by SEV-SNP or TDX
    #[command(
        after_help = "Examples:\n  hanzo-image run out --port 8443 --console console.log --until-ready\n  hanzo-image run validator --port 9650 --links 9651 --tpm tpm\n  hanzo-image run out --launch snp --firmware snp.fd --cpu EPYC-Genoa --processors 4"
    )]
    Run {
        /// The image
        dir: PathBuf,
        /// Port of 127.0.0.1 that leads to the guest's
        #[arg(long, default_value_t = 8443)]
        port: u16,
        /// Port of 127.0.0.1 that leads to a validator's links
        #[arg(long, value_name = "PORT")]
        links: Option<u16>,
        /// Where the console is written
        #[arg(long, default_value = "console.log")]
        console: PathBuf,
        #[command(flatten)]
        machine: MachineArgs,
        #[command(flatten)]
        guard: GuardArgs,
        /// A prediction: the registers that the guest shows must be its registers
        #[arg(long)]
        prediction: Option<PathBuf>,
        /// Stop at the guest's first word: serving, or why not
        #[arg(long)]
        until_ready: bool,
    },
    /// Write down what an image's boot will measure, before it boots: PCR 0 to 9, or SNP launch digests, or MRTD and RTMRs
    #[command(
        after_help = "Examples:\n  hanzo-image predict out --output prediction.json\n  hanzo-image run out --until-ready --prediction prediction.json\n  hanzo-image predict out --output snp.json --launch snp --firmware snp.fd --cpu EPYC-Milan,EPYC-Genoa --processors 1,4 --secure-tsc off,on"
    )]
    Predict {
        /// The image
        dir: PathBuf,
        /// Where the prediction is written
        #[arg(long)]
        output: PathBuf,
        #[command(flatten)]
        machine: MachineArgs,
    },
    /// Make a software TPM and print its attestation key's digest, which a broker pins (`tpm_keys`). It proves no hardware
    #[command(after_help = "Example:\n  hanzo-image tpm tpm\n  hanzo-image run out --tpm tpm")]
    Tpm {
        /// Where its state is kept; made if it is not there
        dir: PathBuf,
    },
    /// Print the appraisal policy of a predicted image: tier 1, every predicted register, by these attestation keys alone
    #[command(
        after_help = "Example:\n  hanzo-image policy out --prediction prediction.json --name appliance-0.1.0 --ak $(hanzo-image tpm tpm)"
    )]
    Policy {
        /// The image
        dir: PathBuf,
        /// Its prediction
        #[arg(long)]
        prediction: PathBuf,
        /// What the reference value is called
        #[arg(long)]
        name: String,
        /// SHA-256 of an attestation key's SubjectPublicKeyInfo; once for each machine
        #[arg(long, required = true)]
        ak: Vec<String>,
    },
    /// Make one unified kernel image (UKI) of an image: what firmware starts from a disk
    #[command(after_help = "Example:\n  hanzo-image uki out --output EFI/BOOT/BOOTX64.EFI --packages debs")]
    Uki {
        /// The image
        dir: PathBuf,
        /// The file, which must not exist
        #[arg(long)]
        output: PathBuf,
        #[command(flatten)]
        packages: PackageArgs,
    },
    /// Make a release: keys, manifest, signatures, log, bundle (policy/RELEASE.md)
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Write an image's bill of materials: CycloneDX 1.6, the same bytes for the same image
    #[command(after_help = "Example:\n  hanzo-image sbom out --lock Cargo.lock --output sbom.json")]
    Sbom {
        /// The image
        dir: PathBuf,
        /// The lock file that guest and engine were built with
        #[arg(long, default_value = "Cargo.lock")]
        lock: PathBuf,
        /// The lock file that the node of the chain was built with, if the image is one: enclave/chain/validator/Cargo.lock
        #[arg(long)]
        validator_lock: Option<PathBuf>,
        /// Where the bill is written
        #[arg(long)]
        output: PathBuf,
    },
    /// Print the pinned inputs
    Inputs,
    /// Print shell completions
    #[command(after_help = "Example:\n  hanzo-image completions bash > /etc/bash_completion.d/hanzo-image")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// What goes in.
#[derive(Debug, Args)]
struct IngredientArgs {
    /// The static hanzo-guest, which becomes /init
    #[arg(long)]
    guest: PathBuf,
    /// A static inference engine; without it the image has none, and says so
    #[arg(long)]
    engine: Option<PathBuf>,
    /// A static hanzo-validator: the image is a node of the AI chain, without an agent, and --config is the node's
    #[arg(long)]
    validator: Option<PathBuf>,
    /// The genesis of the node's chain
    #[arg(long)]
    genesis: Option<PathBuf>,
    #[command(flatten)]
    packages: PackageArgs,
}

/// Where the pinned packages are.
#[derive(Debug, Args)]
struct PackageArgs {
    /// Directory with the pinned Debian packages; without it they are fetched by apt-get
    #[arg(long)]
    packages: Option<PathBuf>,
    /// Where fetched packages are kept
    #[arg(long, default_value = ".hanzo-image-packages", conflicts_with = "packages")]
    keep: PathBuf,
    /// Base address of a Debian mirror
    #[arg(long, default_value = MIRROR, conflicts_with = "packages")]
    mirror: String,
    /// Other pinned inputs than the committed ones
    #[arg(long)]
    inputs: Option<PathBuf>,
}

/// What a person decides.
#[derive(Debug, Args)]
struct DecisionArgs {
    /// The guest's configuration, or the node's; its SHA-256 goes on the measured command line
    #[arg(long)]
    config: PathBuf,
    /// core has no shell and no way out; connected may list names outside; debug has a shell on the console. Each has another measurement
    #[arg(long, value_enum, default_value_t = ProfileArg::Core)]
    profile: ProfileArg,
    /// Where the guest serves [default: 0.0.0.0:8443]; a node's configuration says it itself
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Where the guest reaches its key broker [default: 10.0.2.2:8080, the host under QEMU's user network]; a node has none
    #[arg(long)]
    kbs: Option<SocketAddr>,
    /// The guest's address and prefix
    #[arg(long, default_value = "10.0.2.15/24")]
    address: String,
    /// The guest's gateway
    #[arg(long, default_value = "10.0.2.2")]
    gateway: Ipv4Addr,
    /// Take address and gateway from whoever answers DHCP instead; nothing else of an answer is read
    #[arg(long, conflicts_with_all = ["address", "gateway"])]
    dhcp: bool,
    /// Serve on this AF_VSOCK port besides
    #[arg(long)]
    vsock_port: Option<u32>,
    /// Take sealed messages (OHTTP) here without TLS, for relays: IP:PORT
    #[arg(long)]
    sealed: Option<SocketAddr>,
    /// Where the host's egress broker is, for names that the configuration lists: IP:PORT, or vsock:PORT at the host
    #[arg(long)]
    egress: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileArg {
    Core,
    Connected,
    Debug,
    /// Described in image/profiles/gpu.toml, and refused: not built in this version
    Gpu,
}

impl ProfileArg {
    fn profile(self) -> Result<hanzo_init::Profile, ImageError> {
        match self {
            Self::Core => Ok(hanzo_init::Profile::Core),
            Self::Connected => Ok(hanzo_init::Profile::Connected),
            Self::Debug => Ok(hanzo_init::Profile::Debug),
            Self::Gpu => Err(GpuProfile::parse(GPU)?.refusal()),
        }
    }
}

/// Does what was asked, and says how it went.
pub fn run(cli: Cli) -> ExitCode {
    let bar = if cli.quiet || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new_spinner()
    };
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    let progress = |what: &str| bar.set_message(what.to_owned());
    let json = cli.json;
    let outcome = execute(cli, &progress);
    bar.finish_and_clear();
    match outcome {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            if json {
                println!(
                    "{}",
                    json!({"error": {"code": error.code(), "text": error.to_string()}})
                );
            }
            eprintln!("hanzo-image: {error} [{}]", error.code());
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(cli: Cli, progress: &dyn Fn(&str)) -> Result<String, ImageError> {
    match cli.command {
        Command::Build {
            dir,
            ingredients,
            kernel,
            decisions,
        } => {
            let recipe = decisions.recipe(ingredients.validator.is_some())?;
            let parts = ingredients.gather(recipe.profile, kernel, progress)?;
            let manifest = build(&parts, &recipe, &dir, progress)?;
            Ok(told(&manifest, &dir, "made", cli.json))
        }
        Command::Verify { dir, ingredients } => {
            let claimed = Manifest::read(&dir)?;
            // Which kind it is, the image says; which bytes, our pins.
            let kernel = match claimed.inputs.own_kernel {
                Some(_) => Choice::Own,
                None => Choice::Debian,
            };
            let parts = ingredients.gather(claimed.recipe.profile, Some(kernel), progress)?;
            let manifest = verify(&dir, &parts, progress)?;
            Ok(told(&manifest, &dir, "the same when made again", cli.json))
        }
        Command::Run {
            dir,
            port,
            links,
            console,
            machine,
            guard,
            prediction,
            until_ready,
        } => {
            if let Some(tee) = machine.tee() {
                if prediction.is_some() {
                    return Err(ImageError::Launch {
                        what: "--prediction",
                        expected: "--launch tcg or kvm",
                        got: format!("{tee}: its report is compared by the verifier"),
                    });
                }
                let place = (dir, console, (port, links));
                return guard.run(machine, tee, place, until_ready, cli.json, progress);
            }
            guard.none()?;
            let machine = machine.plain(dir, console, (port, links))?;
            let prediction = prediction.as_deref().map(predict::read).transpose()?;
            let report = run::run(&machine, prediction.as_ref(), until_ready, progress)?;
            Ok(if cli.json {
                format!("{}\n", json!(report))
            } else {
                report.to_string()
            })
        }
        Command::Predict { dir, output, machine } => {
            if let Some(tee) = machine.tee() {
                let matrix = machine.predict(tee, dir, progress)?;
                let bytes = matrix
                    .canonical()
                    .map_err(|e| ImageError::Prediction { what: e.to_string() })?;
                std::fs::write(&output, bytes).map_err(ImageError::io(&output))?;
                if cli.json {
                    let entries = launch::policy_entries(&matrix)?;
                    return Ok(format!("{}\n", json!({"matrix": output, "policy": entries})));
                }
                let listed = launch::listed("  ", &matrix);
                return Ok(format!("{}: predicted before any launch\n{listed}", output.display()));
            }
            let machine = machine.plain(dir, PathBuf::new(), (0, None))?;
            let prediction = predict::predict(&machine, progress)?;
            let bytes = prediction
                .to_vec()
                .map_err(|e| ImageError::Prediction { what: e.to_string() })?;
            std::fs::write(&output, bytes).map_err(ImageError::io(&output))?;
            if cli.json {
                return Ok(format!(
                    "{}\n",
                    json!({"prediction": output, "registers": prediction.registers()})
                ));
            }
            let mut text = format!("{}: predicted before any boot\n", output.display());
            for register in prediction.registers() {
                let sha256 = register.sha256.map(|digest| digest.to_string()).unwrap_or_default();
                text += &format!("  PCR {}  sha256 {sha256}\n", register.register);
            }
            Ok(text)
        }
        Command::Tpm { dir } => {
            let ak = tpm::make_or_open(&dir)?;
            Ok(match cli.json {
                true => format!("{}\n", json!({"directory": dir, "ak": ak})),
                false => format!("{ak}\n"),
            })
        }
        Command::Policy {
            dir,
            prediction,
            name,
            ak,
        } => {
            let keys = ak.iter().map(|text| ak_digest(text)).collect::<Result<_, _>>()?;
            let policy = reference::appraisal(&dir, &predict::read(&prediction)?, &name, keys)?;
            let said = match cli.json {
                true => policy
                    .canonical()
                    .map(|bytes| format!("{}\n", String::from_utf8_lossy(&bytes))),
                false => policy.to_toml(),
            };
            said.map_err(|e| ImageError::Prediction { what: e.to_string() })
        }
        Command::Uki { dir, output, packages } => {
            let (inputs, source) = packages.source()?;
            let made = uki::make(&dir, &output, &inputs, &source, progress)?;
            Ok(if cli.json {
                format!("{}\n", made.to_json())
            } else {
                made.to_string()
            })
        }
        Command::Release(command) => {
            let (text, value) = crate::release::cli::run(command)?;
            Ok(if cli.json { format!("{value}\n") } else { text })
        }
        Command::Sbom {
            dir,
            lock,
            validator_lock,
            output,
        } => {
            let node = validator_lock.as_deref().map(text_of).transpose()?;
            let bill = crate::sbom::of_image(&Manifest::read(&dir)?, &text_of(&lock)?, node.as_deref())?;
            std::fs::write(&output, &bill.bytes).map_err(ImageError::io(&output))?;
            if cli.json {
                return Ok(format!(
                    "{}\n",
                    json!({"sbom": output, "components": bill.components, "sha384": bill.sha384})
                ));
            }
            let (components, sha384) = (bill.components, bill.sha384);
            Ok(format!(
                "{}: {components} components, sha384 {sha384}\n",
                output.display()
            ))
        }
        Command::Inputs => Ok(format!("{COMMITTED}\n# Our own kernel\n{}", kernel::COMMITTED)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hanzo-image", &mut script);
            Ok(String::from_utf8_lossy(&script).into_owned())
        }
    }
}

impl PackageArgs {
    fn source(self) -> Result<(Inputs, Source), ImageError> {
        let text = match &self.inputs {
            Some(path) => text_of(path)?,
            None => COMMITTED.to_owned(),
        };
        let source = match self.packages {
            Some(dir) => Source::Directory(dir),
            None => Source::Archive {
                kept: std::path::absolute(&self.keep).map_err(ImageError::io(&self.keep))?,
                mirror: self.mirror,
            },
        };
        Ok((Inputs::parse(&text)?, source))
    }
}

impl IngredientArgs {
    fn gather(
        self,
        profile: hanzo_init::Profile,
        kernel: Option<Choice>,
        progress: &dyn Fn(&str),
    ) -> Result<Parts, ImageError> {
        let (inputs, source) = self.packages.source()?;
        let own_kernel = kernel::choose(kernel, &source)?;
        let inputs = Inputs { own_kernel, ..inputs };
        // First, as the other programs: it costs nothing to check.
        let node = match (&self.validator, &self.genesis) {
            (None, None) => None,
            (Some(program), Some(genesis)) => Some(Node::read(program, genesis)?),
            (one, _) => {
                let got = if one.is_some() {
                    "--validator alone"
                } else {
                    "--genesis alone"
                };
                return Err(ImageError::Inputs {
                    what: "--validator, --genesis".into(),
                    expected: "both, for a node of the chain, or neither",
                    got: got.into(),
                });
            }
        };
        let engine = self.engine.as_deref();
        let parts = Parts::gather(inputs, &source, profile, &self.guest, engine, progress)?;
        Ok(Parts { node, ..parts })
    }
}

impl DecisionArgs {
    fn recipe(self, is_node: bool) -> Result<Recipe, ImageError> {
        let wrong = || ImageError::Inputs {
            what: "--address".into(),
            expected: "an address and its prefix, such as 10.0.2.15/24",
            got: format!("{:?}", self.address),
        };
        let (address, prefix) = self.address.split_once('/').ok_or_else(wrong)?;
        let interface = "eth0".to_owned();
        let network = if self.dhcp {
            NetworkPlan::Dhcp(Dhcp { interface, dhcp: true })
        } else {
            NetworkPlan::Static(Network {
                interface,
                address: address.parse().map_err(|_| wrong())?,
                prefix: prefix.parse().map_err(|_| wrong())?,
                gateway: Some(self.gateway),
            })
        };
        let (profile, config) = (self.profile.profile()?, text_of(&self.config)?);
        let mut recipe = if is_node {
            let given = [("--listen", self.listen), ("--kbs", self.kbs)];
            if let Some((what, at)) = given.into_iter().find_map(|(what, at)| Some((what, at?))) {
                return Err(ImageError::Inputs {
                    what: what.into(),
                    expected: "none for a node of the chain, whose configuration says where it answers",
                    got: at.to_string(),
                });
            }
            Recipe::node(profile, config, network)?
        } else {
            let listen = self.listen.unwrap_or(LISTEN);
            Recipe::new(profile, config, listen, self.kbs.unwrap_or(KBS), network)?
        };
        recipe.vsock_port = self.vsock_port;
        recipe.sealed = self.sealed;
        recipe.egress = self.egress;
        Ok(recipe)
    }
}

/// Where an agent serves unless it is said.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
/// The host under QEMU's user network.
const KBS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2)), 8080);

fn ak_digest(text: &str) -> Result<Digest256, ImageError> {
    Digest256::from_hex(text).ok_or_else(|| ImageError::Inputs {
        what: "--ak".into(),
        expected: "64 lower-case hex digits, as `hanzo-image tpm` prints them",
        got: format!("{text:?}"),
    })
}

fn text_of(path: &Path) -> Result<String, ImageError> {
    std::fs::read_to_string(path).map_err(ImageError::io(path))
}

fn told(manifest: &Manifest, dir: &Path, how: &str, json: bool) -> String {
    if json {
        return format!(
            "{}\n",
            json!({"directory": dir, "how": how, "outputs": manifest.outputs})
        );
    }
    let kernel = match manifest.inputs.own_kernel {
        Some(_) => "our own kernel",
        None => {
            "Debian's kernel, which runs the host's ACPI code (our own is beside no packages, or was not asked for)"
        }
    };
    let mut text = format!(
        "{}: {how}, profile {}, {kernel}\n",
        dir.display(),
        manifest.recipe.profile
    );
    for (name, measured) in &manifest.outputs {
        text += &format!("  {name:16} {:>11} bytes  sha256 {}\n", measured.bytes, measured.sha256);
    }
    if manifest.inputs.node.is_some() {
        text += "  a node of the AI chain: no agent and no engine; its configuration says whether it follows others or votes\n";
    } else if manifest.inputs.engine.is_none() {
        text += "  no engine: this image attests and gets its keys, but answers no questions\n";
    }
    text
}
