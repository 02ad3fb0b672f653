//! The ACPI blobs of any q35 machine, as its firmware will read them: for machines other than those that [`crate::run`]
//! starts, such as one with GPUs, whose large BARs need the window that our own machines switch off.

use std::collections::BTreeMap;

use hanzo_measured_boot::acpi::{Cpu, Vendor};

use crate::error::ImageError;
use crate::predict::BLOBS;
use crate::run::qtest::Qtest;
use crate::run::tools::{check, software_tpm, stopped};

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// QEMU's arguments for machine type, processors, memory and devices. Without a TPM and an accelerator: it gets a
    /// `tpm-crb`, and nothing is executed.
    pub arguments: Vec<String>,
    /// RAM in bytes, as in the arguments.
    pub memory_bytes: u64,
    /// Where 64-bit BARs go.
    pub bars: Bars,
}

/// Where 64-bit BARs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bars {
    /// Below 4 GiB: the arguments say `opt/ovmf/X-PciMmio64Mb` = 0. Nothing is replayed.
    Low,
    /// Into the window that OVMF makes for this processor.
    Window(Cpu),
}

/// What CPUID says of QEMU's own models under TCG; `None` for others: say it yourself.
///
/// # Spec
/// QEMU 10.0 target/i386/cpu.c: `phys-bits` is 40 unless it is set, `guest-phys-bits` is set under KVM alone.
pub fn cpu_of(model: &str) -> Option<Cpu> {
    let vendor = match model {
        "qemu64" | "max" => Vendor::Amd,
        "Haswell" => Vendor::Intel,
        _ => return None,
    };
    Some(Cpu {
        vendor,
        physical_bits: 40,
        guest_physical_bits: 0,
        la57: model == "max",
    })
}

/// The blobs that its firmware will measure, by their names in fw_cfg.
///
/// # Does not establish
/// That the tables are good: the guest's kernel interprets them.
///
/// # Errors
/// [`ImageError::Tool`], [`ImageError::Prediction`] if the BARs have no place.
pub fn blobs(board: &Board) -> Result<BTreeMap<&'static str, Vec<u8>>, ImageError> {
    check()?;
    let state = tempfile::tempdir().map_err(ImageError::io(&std::env::temp_dir()))?;
    let _tpm = software_tpm(state.path(), None)?;
    let socket = format!("socket,id=tpm,path={}", state.path().join("tpm.sock").display());
    let mut arguments = board.arguments.clone();
    arguments.extend(["-accel", "tcg", "-display", "none", "-monitor", "none"].map(str::to_owned));
    arguments.extend(["-chardev", &socket, "-tpmdev", "emulator,id=tpm,chardev=tpm"].map(str::to_owned));
    arguments.extend(["-device", "tpm-crb,tpmdev=tpm"].map(str::to_owned));
    let qemu = stopped(arguments, state.path())?;
    let asked = Qtest::connect(&state.path().join("qtest.sock")).and_then(|mut qtest| {
        qtest.as_firmware_leaves_it()?;
        if let Bars::Window(cpu) = board.bars {
            qtest.place_bars(&cpu, board.memory_bytes)?;
        }
        qtest.files(&BLOBS)
    });
    asked.map_err(|error| ImageError::Tool {
        program: "qemu-system-x86_64",
        why: format!("{error}. {}", qemu.said()),
        remedy: "see what it said",
    })
}
