//! Confidential guests: their launch, and the ACPI tables of a machine like theirs.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::process::Own;
use super::qtest::Qtest;
use super::{Guest, MACHINE, Machine, Report, tools};
use crate::assemble::Progress;
use crate::confidential::Prepared;
use crate::error::ImageError;
use crate::predict::{LOADER, RSDP, TABLES};

/// Launches what was prepared, waits for the guest's word and then, unless `until_ready`, for its end. There is no second
/// attempt: a launch that the processor refuses is refused again.
///
/// # Errors
/// [`ImageError::Tool`], [`ImageError::Boot`].
pub fn run_confidential(
    machine: &Machine,
    prepared: &Prepared,
    until_ready: bool,
    progress: Progress<'_>,
) -> Result<Report, ImageError> {
    progress("launching");
    let never = AtomicBool::new(false);
    let state = tempfile::tempdir().map_err(ImageError::io(&std::env::temp_dir()))?;
    fs::write(&machine.console, b"").map_err(ImageError::io(&machine.console))?;
    let serial = format!("file:{}", tools::path(&machine.console)?);
    let arguments = prepared.arguments.iter().cloned().chain(["-serial".into(), serial]);
    let mut guest = Guest {
        qemu: Own::start(tools::QEMU, arguments, &state.path().join("qemu.err"))?,
        _tpm: None,
        started: Instant::now(),
    };
    let report = guest.word(machine, prepared.boot.bytes, 1, &never)?;
    if !until_ready {
        progress("running");
        guest.run_on(&never);
    }
    Ok(report)
}

/// The blobs that the firmware of a trust domain measures, out of a machine without TDX: no SMM, no 8259, no TPM, the same
/// devices.
pub(crate) fn td_acpi_blobs(machine: &Machine, firmware: &[u8]) -> Result<BTreeMap<&'static str, Vec<u8>>, ImageError> {
    tools::check_qemu()?;
    let state = tempfile::tempdir().map_err(ImageError::io(&std::env::temp_dir()))?;
    let file = state.path().join("firmware.fd");
    fs::write(&file, firmware).map_err(ImageError::io(&file))?;
    let socket = state.path().join("qtest.sock");
    let arguments = [
        ["-machine", &format!("{MACHINE},smm=off,pic=off,accel=tcg")],
        ["-cpu", "max"],
        ["-smp", &machine.processors.to_string()],
        ["-m", &machine.memory_mib.to_string()],
        ["-display", "none"],
        ["-vga", "none"],
        ["-monitor", "none"],
        ["-parallel", "none"],
        ["-serial", "null"],
        ["-bios", &tools::path(&file)?],
        ["-fw_cfg", "name=opt/ovmf/X-PciMmio64Mb,string=0"],
        ["-netdev", "user,id=net"],
        ["-device", GUARDED_NETWORK],
        ["-qtest", &format!("unix:{},server=on,wait=off", tools::path(&socket)?)],
        ["-qtest-log", "none"],
    ];
    let plain = ["-no-user-config", "-nodefaults", "-no-reboot", "-S"];
    let arguments = plain.into_iter().chain(arguments.into_iter().flatten());
    let mut arguments: Vec<_> = arguments.map(str::to_owned).collect();
    arguments.extend(tools::disks(machine, GUARDED)?);
    let qemu = Own::start(tools::QEMU, arguments, &state.path().join("qemu.err"))?;
    let asked = Qtest::connect(&socket).and_then(|mut qtest| {
        qtest.as_firmware_leaves_it()?;
        qtest.files(&[LOADER, RSDP, TABLES])
    });
    asked.map_err(|error| ImageError::Tool {
        program: tools::QEMU,
        why: format!("{error}. {}", qemu.said()),
        remedy: "see what it said",
    })
}

/// Properties of a confidential guest's devices: buffers in shared memory, which only modern devices ask for.
pub(crate) const GUARDED: &str = ",disable-legacy=on,iommu_platform=true";
/// Its network device, which has them too.
pub(crate) const GUARDED_NETWORK: &str =
    "virtio-net-pci,netdev=net,addr=1,romfile=,disable-legacy=on,iommu_platform=true";
