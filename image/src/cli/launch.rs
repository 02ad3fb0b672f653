//! Arguments of the machine, and what `run` and `predict` do with confidential ones.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hanzo_measured_boot::matrix::{Measured, ReferenceMatrix, SecureTsc};
use hanzo_measured_boot::snp::CpuModel;
use serde_json::json;

use crate::assemble::Progress;
use crate::confidential::{Host, Launch, Protection, SignedIdBlock};
use crate::error::ImageError;
use crate::firmware::{COMMITTED, Pins, Tee};
use crate::matrix::{self, SnpOptions};
use crate::run::{self, Accelerator, Machine};

/// Ports of 127.0.0.1 that lead to what the guest serves, and to a validator's links.
pub(super) type Ports = (u16, Option<u16>);

/// How the guest is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// QEMU executes every instruction; slow, and everywhere
    Tcg,
    /// The host's KVM
    Kvm,
    /// SEV-SNP: encrypted, and measured by the processor
    Snp,
    /// TDX: encrypted, and measured by the processor
    Tdx,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TscArg {
    /// The host sets the guest's clock
    Off,
    /// The clock is out of the host's reach
    On,
}

/// The machine.
#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Memory in MiB
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(256..=1_048_576))]
    memory_mib: u32,
    /// Virtual processors; predictions for snp and tdx take several numbers
    #[arg(long, default_value = "1", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    processors: Vec<u32>,
    /// What executes the guest's instructions, and what protects it
    #[arg(long, value_enum, default_value_t = Kind::Tcg, visible_alias = "accelerator")]
    launch: Kind,
    /// The pinned firmware (snp, tdx): what image/firmware/build made
    #[arg(long)]
    firmware: Option<PathBuf>,
    /// Other firmware pins than the committed ones
    #[arg(long)]
    firmware_pins: Option<PathBuf>,
    /// A software TPM made by `hanzo-image tpm`; without it each boot has another (tcg, kvm)
    #[arg(long)]
    tpm: Option<PathBuf>,
    /// A sealed pack on a disk of its own; once for each model of the configuration, in its order
    #[arg(long)]
    pack: Vec<PathBuf>,
    /// Processor model (snp), such as EPYC-Milan or EPYC-Genoa; predictions take several
    #[arg(long, value_delimiter = ',')]
    cpu: Vec<CpuModel>,
    /// Secure TSC (snp); predictions take both
    #[arg(long, value_enum, value_delimiter = ',')]
    secure_tsc: Vec<TscArg>,
}

/// What of a confidential launch is no property of the machine.
#[derive(Debug, Args)]
pub(super) struct GuardArgs {
    /// ID block (snp), 96 bytes: the processor starts this launch digest alone
    #[arg(long, requires = "id_auth")]
    id_block: Option<PathBuf>,
    /// Its authentication block, 4096 bytes
    #[arg(long, requires = "id_block")]
    id_auth: Option<PathBuf>,
    /// Port of the host's quote generation service (tdx), usually 4050
    #[arg(long)]
    quote_port: Option<u32>,
    /// Print QEMU's command line (snp, tdx), and launch nothing
    #[arg(long)]
    print: bool,
}

fn wrong(what: &'static str, expected: &'static str, got: impl Display) -> ImageError {
    ImageError::Launch {
        what,
        expected,
        got: got.to_string(),
    }
}

/// The one value of an option that takes several elsewhere.
fn one<T: Copy>(what: &'static str, values: &[T]) -> Result<T, ImageError> {
    match values {
        [one] => Ok(*one),
        _ => Err(wrong(what, "one value", values.len())),
    }
}

impl MachineArgs {
    /// The TEE, if the guest is a confidential one.
    pub(super) fn tee(&self) -> Option<Tee> {
        match self.launch {
            Kind::Tcg | Kind::Kvm => None,
            Kind::Snp => Some(Tee::Snp),
            Kind::Tdx => Some(Tee::Tdx),
        }
    }

    /// The machine, with the first number of processors.
    fn machine(&self, image: PathBuf, console: PathBuf, (port, links): Ports) -> Machine {
        Machine {
            tpm: self.tpm.clone(),
            packs: self.pack.clone(),
            image,
            console,
            port,
            links,
            memory_mib: self.memory_mib,
            processors: self.processors.first().copied().unwrap_or(1),
            accelerator: match self.launch {
                Kind::Tcg => Accelerator::Tcg,
                _ => Accelerator::Kvm,
            },
        }
    }

    /// A machine without a TEE.
    ///
    /// # Errors
    /// [`ImageError::Launch`] for options of confidential ones.
    pub(super) fn plain(self, image: PathBuf, console: PathBuf, ports: Ports) -> Result<Machine, ImageError> {
        one("--processors", &self.processors)?;
        if self.firmware.is_some() || self.firmware_pins.is_some() {
            return Err(wrong("--firmware", "--launch snp or tdx", "the image's own firmware"));
        }
        self.no_snp_options()?;
        Ok(self.machine(image, console, ports))
    }

    fn no_snp_options(&self) -> Result<(), ImageError> {
        if self.cpu.is_empty() && self.secure_tsc.is_empty() {
            return Ok(());
        }
        Err(wrong("--cpu, --secure-tsc", "--launch snp", "another launch"))
    }

    fn pins(&self) -> Result<Pins, ImageError> {
        match &self.firmware_pins {
            Some(path) => Pins::parse(&super::text_of(path)?),
            None => Pins::parse(COMMITTED),
        }
    }

    fn firmware(&self) -> Result<&Path, ImageError> {
        let missing = "none: build it once with image/firmware/build, and keep it";
        let path = self.firmware.as_deref();
        path.ok_or_else(|| wrong("--firmware", "the pinned firmware of this TEE", missing))
    }

    fn secure_tsc(&self) -> Vec<SecureTsc> {
        let of = |argument: &TscArg| match argument {
            TscArg::Off => SecureTsc::Off,
            TscArg::On => SecureTsc::On,
        };
        match self.secure_tsc.as_slice() {
            [] => vec![SecureTsc::Off],
            given => given.iter().map(of).collect(),
        }
    }

    fn cpus(&self) -> Result<&[CpuModel], ImageError> {
        match self.cpu.as_slice() {
            [] => Err(wrong(
                "--cpu",
                "a processor model: the launch digest depends on it",
                "none",
            )),
            given => Ok(given),
        }
    }

    /// `predict`: every launch digest, or MRTD and RTMRs.
    pub(super) fn predict(
        self,
        tee: Tee,
        image: PathBuf,
        progress: Progress<'_>,
    ) -> Result<ReferenceMatrix, ImageError> {
        let path = self.firmware()?;
        let firmware = self.pins()?.read(tee, path)?;
        match tee {
            Tee::Snp => {
                let options = SnpOptions {
                    cpus: self.cpus()?.to_vec(),
                    processors: self.processors.clone(),
                    secure_tsc: self.secure_tsc(),
                    memory_mib: self.memory_mib,
                };
                matrix::snp(&image, path, &firmware, &options)
            }
            Tee::Tdx => {
                self.no_snp_options()?;
                let machine = self.machine(image, PathBuf::new(), (0, None));
                matrix::tdx(&machine, path, &firmware, &self.processors, progress)
            }
        }
    }
}

impl GuardArgs {
    /// Nothing of it was given.
    ///
    /// # Errors
    /// [`ImageError::Launch`].
    pub(super) fn none(&self) -> Result<(), ImageError> {
        if self.id_block.is_none() && self.quote_port.is_none() && !self.print {
            return Ok(());
        }
        Err(wrong(
            "--id-block, --quote-port, --print",
            "--launch snp or tdx",
            "another launch",
        ))
    }

    fn launch(&self, machine: &MachineArgs, tee: Tee) -> Result<Launch, ImageError> {
        one("--processors", &machine.processors)?;
        if machine.tpm.is_some() {
            return Err(wrong("--tpm", "--launch tcg or kvm", tee));
        }
        let protection = match tee {
            Tee::Snp => {
                if self.quote_port.is_some() {
                    return Err(wrong("--quote-port", "--launch tdx", "snp"));
                }
                Protection::Snp {
                    cpu: one("--cpu", machine.cpus()?)?,
                    secure_tsc: one("--secure-tsc", &machine.secure_tsc())?,
                    id_block: match (&self.id_block, &self.id_auth) {
                        (Some(block), Some(auth)) => Some(SignedIdBlock::read(block, auth)?),
                        _ => None,
                    },
                }
            }
            Tee::Tdx => {
                machine.no_snp_options()?;
                if self.id_block.is_some() {
                    return Err(wrong("--id-block", "--launch snp", "tdx"));
                }
                Protection::Tdx {
                    quote_port: self.quote_port,
                }
            }
        };
        Ok(Launch {
            protection,
            firmware: machine.firmware()?.to_owned(),
        })
    }

    /// `run`: prints the command line, or launches if this host can.
    pub(super) fn run(
        self,
        arguments: MachineArgs,
        tee: Tee,
        (image, console, ports): (PathBuf, PathBuf, Ports),
        until_ready: bool,
        json: bool,
        progress: Progress<'_>,
    ) -> Result<String, ImageError> {
        let launch = self.launch(&arguments, tee)?;
        let pins = arguments.pins()?;
        let machine = arguments.machine(image, console, ports);
        let prepared = launch.prepare(&machine, &pins)?;
        if self.print {
            let command = prepared.command(&machine.console)?;
            return Ok(match (json, &prepared.expected) {
                (true, expected) => format!(
                    "{}\n",
                    json!({"command": command, "arguments": prepared.arguments, "values": expected.as_ref().map(ReferenceMatrix::values)})
                ),
                (false, Some(expected)) => format!("{}{command}", listed("# ", expected)),
                (false, None) => command,
            });
        }
        Host::this().check(&launch)?;
        let report = run::run_confidential(&machine, &prepared, until_ready, progress)?;
        Ok(if json {
            format!("{}\n", json!(report))
        } else {
            report.to_string()
        })
    }
}

/// Values for a person to read.
pub(super) fn listed(begin: &str, matrix: &ReferenceMatrix) -> String {
    let mut text = String::new();
    for value in matrix.values() {
        let name = &value.shape.name;
        match &value.measured {
            Measured::Snp { measurement } => text += &format!("{begin}{name}  MEASUREMENT {measurement}\n"),
            Measured::Tdx { mrtd, rtmrs } => {
                text += &format!("{begin}{name}  MRTD  {mrtd}\n");
                for (index, rtmr) in rtmrs.iter().flatten().enumerate() {
                    text += &format!("{begin}{name}  RTMR{index} {rtmr}\n");
                }
            }
        }
    }
    text
}

/// Values as an appraisal policy takes them.
pub(super) fn policy_entries(matrix: &ReferenceMatrix) -> Result<serde_json::Value, ImageError> {
    let refused = |error: hanzo_measured_boot::matrix::MatrixError| ImageError::Prediction {
        what: error.to_string(),
    };
    let (snp, tdx) = (
        matrix.snp_references().map_err(refused)?,
        matrix.tdx_references().map_err(refused)?,
    );
    Ok(json!({"snp": {"references": snp}, "tdx": {"references": tdx}}))
}
