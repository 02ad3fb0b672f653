//! What an image's boot will measure, written down before it boots; and what a boot measured, against that.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hanzo_attestation::Digest256;
use hanzo_attestation::eventlog::Algorithm;
use hanzo_attestation::name::Name;
use hanzo_measured_boot::acpi::AcpiBlobs;
use hanzo_measured_boot::boot::DirectBoot;
use hanzo_measured_boot::crtm::Crtm;
use hanzo_measured_boot::event::Platform;
use hanzo_measured_boot::explain::{explain_log, explain_registers};
use hanzo_measured_boot::kernel::{Handover, Patch};
use hanzo_measured_boot::prediction::{Prediction, Shape, TpmModel};
use hanzo_measured_boot::replay::Replay;

use crate::assemble::{FIRMWARE, INITRD, KERNEL, Progress};
use crate::error::ImageError;
use crate::manifest::Manifest;
use crate::run::{MACHINE, Machine, acpi_blobs, qemu_version};

pub(crate) const LOADER: &str = "etc/table-loader";
pub(crate) const RSDP: &str = "etc/acpi/rsdp";
pub(crate) const TABLES: &str = "etc/acpi/tables";
const TPM_LOG: &str = "etc/tpm/log";
/// The blobs that firmware measures.
pub(crate) const BLOBS: [&str; 4] = [LOADER, RSDP, TABLES, TPM_LOG];

/// Predicts PCR 0 to 9 of `machine`, from the image's files and the tables that this host's QEMU makes.
///
/// # Establishes
/// Which values an untouched boot of these files on such a machine leaves in the TPM.
///
/// # Errors
/// [`ImageError`]; [`ImageError::Prediction`] with the reason of the measured-boot crate.
pub fn predict(machine: &Machine, progress: Progress<'_>) -> Result<Prediction, ImageError> {
    let manifest = Manifest::read(&machine.image)?;
    let command_line = manifest.recipe()?.command_line()?;
    progress("asking QEMU for its ACPI tables");
    let blobs = acpi_blobs(machine, &manifest)?;
    let blob = |name: &'static str| {
        blobs.get(name).map(Vec::as_slice).ok_or_else(|| ImageError::Malformed {
            file: "fw_cfg".into(),
            offset: 0,
            expected: name,
            got: "no such file".into(),
        })
    };
    let read = |name: &str| {
        let path = machine.image.join(name);
        fs::read(&path).map_err(ImageError::io(&path))
    };
    let (firmware, kernel, initrd) = (read(FIRMWARE)?, read(KERNEL)?, read(INITRD)?);
    let shape = shape(machine)?;
    let patch = Patch {
        memory_bytes: shape.memory_bytes,
        initrd_bytes: Some(initrd.len() as u64),
    };
    let (major, minor) = major_and_minor(shape.qemu.as_str());
    let boot = DirectBoot {
        firmware: &firmware,
        kernel: &kernel,
        command_line: &command_line,
        initrd: Some(&initrd),
        acpi: AcpiBlobs {
            loader: blob(LOADER)?,
            rsdp: blob(RSDP)?,
            tpm_log: Some(blob(TPM_LOG)?),
            tables: blob(TABLES)?,
        },
        handover: Handover::of_qemu(major, minor, patch).map_err(refused)?,
        shape,
    };
    let crtm = Crtm::known(&Digest256::of(&firmware)).map_err(refused)?;
    boot.predict_tpm(crtm).map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> ImageError {
    ImageError::Prediction {
        what: error.to_string(),
    }
}

/// The machine as predictions name it.
pub(crate) fn shape(machine: &Machine) -> Result<Shape, ImageError> {
    let name = |text: &str| Name::new(text).map_err(refused);
    let mut devices = vec![name("virtio-net-pci")?];
    for _ in &machine.packs {
        devices.push(name("virtio-blk-pci")?);
    }
    let (version, program) = qemu_version()?;
    let program = fs::read(&program).map_err(ImageError::io(&program))?;
    Ok(Shape {
        cpu_model: name(machine.accelerator.cpu_model())?,
        devices,
        machine: name(MACHINE)?,
        memory_bytes: u64::from(machine.memory_mib) << 20,
        qemu: name(&version)?,
        qemu_sha256: Digest256::of(&program),
        tpm: TpmModel::Crb,
        vcpus: machine.processors,
    })
}

pub(crate) fn major_and_minor(version: &str) -> (u16, u16) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Reads a prediction.
///
/// # Errors
/// [`ImageError::Io`], [`ImageError::Prediction`].
pub fn read(path: &Path) -> Result<Prediction, ImageError> {
    let bytes = fs::read(path).map_err(ImageError::io(path))?;
    Prediction::from_slice(&bytes).map_err(refused)
}

/// Registers as a guest's console showed them, by bank.
pub type Registers = BTreeMap<String, BTreeMap<u32, String>>;

/// Compares what a boot measured with what was predicted: every predicted register, in both banks. With an event log that
/// leads to these registers each difference is named by its event and input; without, by what the values alone tell.
///
/// # Does not establish
/// That a TPM holds these values: they come from a console. A quote does, and goes through the verifier.
///
/// # Errors
/// [`ImageError::Prediction`] with one reason per difference, or if a register is missing.
pub fn compare(prediction: &Prediction, measured: &Registers, log: Option<&[u8]>) -> Result<(), ImageError> {
    let replay = log.and_then(|log| Replay::of(log, Platform::Tpm).ok());
    let mut reasons = Vec::new();
    for (bank, algorithm) in [("sha256", Algorithm::Sha256), ("sha384", Algorithm::Sha384)] {
        let shown = measured.get(bank).cloned().unwrap_or_default();
        let mut values = BTreeMap::new();
        for register in prediction.registers() {
            match shown.get(&register.register).and_then(|text| bytes_of(text)) {
                Some(bytes) => drop(values.insert(register.register, bytes)),
                None => reasons.push(format!("PCR {} ({bank}): the guest showed none", register.register)),
            }
        }
        let findings = explain_registers(prediction, &values, algorithm, &[]).map_err(refused)?;
        let told = replay.as_ref().filter(|replay| leads_to(replay, algorithm, &values));
        match told {
            Some(replay) if !findings.is_empty() => {
                let findings = explain_log(prediction, replay, algorithm, &[]).map_err(refused)?;
                reasons.extend(findings.into_iter().map(|finding| finding.text));
            }
            _ => reasons.extend(findings.into_iter().map(|finding| finding.text)),
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(ImageError::Prediction {
        what: reasons.join("\n"),
    })
}

/// A log that leads to other registers than those shown explains nothing.
fn leads_to(replay: &Replay, bank: Algorithm, shown: &BTreeMap<u32, Vec<u8>>) -> bool {
    let Some(replayed) = replay.banks.get(&bank) else {
        return false;
    };
    let is_zero = |value: &[u8]| value.iter().all(|byte| *byte == 0);
    shown.iter().all(|(register, value)| match replayed.get(register) {
        Some(led) => led == value,
        None => is_zero(value),
    })
}

pub(crate) fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}
