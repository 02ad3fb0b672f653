//! QEMU and swtpm: which versions, and how they are called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hanzo_init::disks::PACK_SERIAL;

use super::process::Own;
use super::{Accelerator, Boot, MACHINE, Machine};
use crate::assemble::{FIRMWARE, INITRD, KERNEL, VARIABLES};
use crate::error::ImageError;

pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// Older ones hand a patched kernel to the firmware, or lack AVX2 under TCG, which the guest needs.
const QEMU_MAJOR_MIN: u32 = 10;
const QEMU_REMEDY: &str = "install qemu-system-x86 10 or newer; on Debian 12 it is in bookworm-backports: apt-get install -t bookworm-backports --no-install-recommends qemu-system-x86 seabios";
const TPM_REMEDY: &str = "install swtpm and swtpm-tools";
/// What swtpm calls a TPM's permanent state.
const TPM_STATE: &str = "tpm2-00.permall";
/// Most packs of a machine.
pub const PACKS_MAX: usize = 16;
/// The network card is in slot 1.
const FIRST_PACK_SLOT: usize = 2;
/// How long swtpm may take to listen.
const TPM_START: Duration = Duration::from_secs(20);

/// Requires QEMU, in a version that boots our images.
pub(super) fn check_qemu() -> Result<(), ImageError> {
    let said = output(QEMU, &["--version"], QEMU_REMEDY)?;
    if version_of(&said).is_none_or(|major| major < QEMU_MAJOR_MIN) {
        return Err(ImageError::Tool {
            program: QEMU,
            why: format!(
                "expected version {QEMU_MAJOR_MIN} or newer, got {:?}",
                said.lines().next().unwrap_or_default()
            ),
            remedy: QEMU_REMEDY,
        });
    }
    Ok(())
}

/// Requires both programs.
pub(crate) fn check() -> Result<(), ImageError> {
    check_qemu()?;
    output("swtpm", &["--version"], TPM_REMEDY)?;
    output("swtpm_setup", &["--print-capabilities"], TPM_REMEDY).map(drop)
}

fn version_of(said: &str) -> Option<u32> {
    let (_, rest) = said.split_once("version ")?;
    rest.split('.').next()?.parse().ok()
}

fn output(program: &'static str, arguments: &[&str], remedy: &'static str) -> Result<String, ImageError> {
    let failed = |why: String| ImageError::Tool { program, why, remedy };
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(failed(format!("{}: {}", done.status, said.trim())));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// What QEMU prints for these arguments.
pub(crate) fn qemu_says(arguments: &[&str]) -> Result<String, ImageError> {
    output(QEMU, arguments, QEMU_REMEDY)
}

/// A TPM 2.0 with both banks, listening in `state`: a copy of `kept`, or a fresh one.
pub(crate) fn software_tpm(state: &Path, kept: Option<&Path>) -> Result<Own, ImageError> {
    let dir = state.join("tpm");
    fs::create_dir(&dir).map_err(ImageError::io(&dir))?;
    match kept {
        Some(kept) => copy_tpm(kept, &dir)?,
        None => new_tpm(&dir)?,
    }
    let socket = state.join("tpm.sock");
    let control = format!("type=unixio,path={}", socket.display());
    listening_tpm(
        &dir,
        &["--ctrl", &control, "--terminate"],
        &socket,
        &state.join("tpm.err"),
    )
}

/// Makes a TPM's state in `dir`, which is there and empty.
pub(crate) fn new_tpm(dir: &Path) -> Result<(), ImageError> {
    // A relative path would be taken from swtpm's own directory.
    let place = path(dir)?;
    let arguments = [
        "--tpm2",
        "--tpmstate",
        &place,
        "--createek",
        "--pcr-banks",
        "sha256,sha384",
        "--overwrite",
    ];
    output("swtpm_setup", &arguments, TPM_REMEDY).map(drop)
}

/// Copies a TPM's permanent state, so that the boot writes to none but its own.
pub(crate) fn copy_tpm(kept: &Path, dir: &Path) -> Result<(), ImageError> {
    let (from, to) = (kept.join(TPM_STATE), dir.join(TPM_STATE));
    fs::copy(&from, &to).map(drop).map_err(ImageError::io(&from))
}

/// swtpm over the state in `dir`, as soon as there is a `socket`.
pub(crate) fn listening_tpm(dir: &Path, interface: &[&str], socket: &Path, errors: &Path) -> Result<Own, ImageError> {
    let state = format!("dir={}", path(dir)?);
    let fixed = ["socket", "--tpm2", "--tpmstate", &state];
    let mut tpm = Own::start("swtpm", fixed.iter().chain(interface), errors)?;
    let start = Instant::now();
    while !socket.exists() {
        let ended = tpm.ended();
        if ended.is_some() || start.elapsed() > TPM_START {
            return Err(ImageError::Tool {
                program: "swtpm",
                why: format!("does not listen: {}", tpm.said()),
                remedy: TPM_REMEDY,
            });
        }
        sleep(Duration::from_millis(20));
    }
    Ok(tpm)
}

/// QEMU's version and its program's file.
pub(super) fn qemu_version() -> Result<(String, PathBuf), ImageError> {
    let said = output(QEMU, &["--version"], QEMU_REMEDY)?;
    let version = said.split_once("version ").map(|(_, rest)| rest);
    let version = version
        .and_then(|rest| rest.split([' ', '\n', '(']).next())
        .unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|dir| dir.join(QEMU))
        .find(|file| file.is_file());
    let program = program.ok_or_else(|| ImageError::Tool {
        program: QEMU,
        why: "not found on PATH".into(),
        remedy: QEMU_REMEDY,
    })?;
    Ok((version.to_owned(), program))
}

/// The machine, stopped before its first instruction, answering at `state`/qtest.sock.
pub(super) fn stopped_qemu(machine: &Machine, boot: &Boot, state: &Path) -> Result<Own, ImageError> {
    stopped(arguments(machine, boot, state)?, state)
}

/// A machine of these arguments, stopped likewise.
pub(crate) fn stopped(mut arguments: Vec<String>, state: &Path) -> Result<Own, ImageError> {
    let socket = path(&state.join("qtest.sock"))?;
    arguments.extend([
        "-S".into(),
        "-qtest".into(),
        format!("unix:{socket},server=on,wait=off"),
    ]);
    arguments.extend(["-qtest-log", "none", "-serial", "null"].map(str::to_owned));
    Own::start(QEMU, arguments, &state.join("qemu.err"))
}

/// The machine, running, its console in a file and its port forwarded.
pub(super) fn qemu(machine: &Machine, boot: &Boot, state: &Path) -> Result<Own, ImageError> {
    let mut arguments = arguments(machine, boot, state)?;
    arguments.extend(["-serial".into(), format!("file:{}", path(&machine.console)?)]);
    Own::start(QEMU, arguments, &state.join("qemu.err"))
}

/// The machine. What is measured of it: kernel, archive, command line, firmware, and ACPI tables, which follow from the
/// devices given here. Without a window for 64-bit BARs those tables do not depend on where the firmware puts them.
fn arguments(machine: &Machine, boot: &Boot, state: &Path) -> Result<Vec<String>, ImageError> {
    let image = |name: &str| path(&machine.image.join(name));
    let accelerator = match machine.accelerator {
        Accelerator::Tcg => "tcg",
        Accelerator::Kvm => "kvm",
    };
    let arguments = [
        ["-machine", &format!("{MACHINE},smm=off,accel={accelerator}")],
        ["-cpu", machine.accelerator.cpu_model()],
        ["-smp", &machine.processors.to_string()],
        ["-m", &machine.memory_mib.to_string()],
        ["-display", "none"],
        ["-vga", "none"],
        ["-monitor", "none"],
        ["-parallel", "none"],
        [
            "-drive",
            &format!("if=pflash,unit=0,format=raw,readonly=on,file={}", image(FIRMWARE)?),
        ],
        [
            "-drive",
            &format!("if=pflash,unit=1,format=raw,file={}", path(&state.join(VARIABLES))?),
        ],
        ["-kernel", &image(KERNEL)?],
        ["-initrd", &image(INITRD)?],
        ["-append", &boot.command_line],
        ["-fw_cfg", "name=opt/ovmf/X-PciMmio64Mb,string=0"],
        ["-netdev", &format!("user,id=net,{}", boot.forwards)],
        ["-device", "virtio-net-pci,netdev=net,addr=1,romfile="],
        [
            "-chardev",
            &format!("socket,id=tpm,path={}", path(&state.join("tpm.sock"))?),
        ],
        ["-tpmdev", "emulator,id=tpm,chardev=tpm"],
        ["-device", "tpm-crb,tpmdev=tpm"],
    ];
    let plain = ["-no-user-config", "-nodefaults", "-no-reboot"];
    let mut all: Vec<_> = plain
        .into_iter()
        .chain(arguments.into_iter().flatten())
        .map(str::to_owned)
        .collect();
    all.extend(disks(machine, "")?);
    Ok(all)
}

/// A raw disk for each pack, whose serial says which: the guest looks for no other. `more` are properties of the devices.
pub(crate) fn disks(machine: &Machine, more: &str) -> Result<Vec<String>, ImageError> {
    if machine.packs.len() > PACKS_MAX {
        return Err(ImageError::Inputs {
            what: "--pack".into(),
            expected: "at most 16: one for each model of the configuration",
            got: machine.packs.len().to_string(),
        });
    }
    let mut arguments = Vec::new();
    for (at, pack) in machine.packs.iter().enumerate() {
        // QEMU's own message for a missing file would come after the TPM was made.
        std::fs::File::open(pack).map_err(ImageError::io(pack))?;
        let (file, serial, slot) = (path(pack)?, format!("{PACK_SERIAL}{at}"), FIRST_PACK_SLOT + at);
        arguments.extend([
            "-drive".to_owned(),
            format!("if=none,id={serial},format=raw,readonly=on,file={file}"),
            "-device".to_owned(),
            format!("virtio-blk-pci,drive={serial},serial={serial},addr={slot:#x},romfile={more}"),
        ]);
    }
    Ok(arguments)
}

/// An absolute path as QEMU's option lists take it: there a comma ends a value.
pub(crate) fn path(path: &Path) -> Result<String, ImageError> {
    let absolute = std::path::absolute(path).map_err(ImageError::io(path))?;
    match absolute.to_str() {
        Some(text) if !text.contains(',') => Ok(text.to_owned()),
        _ => Err(ImageError::Inputs {
            what: absolute.display().to_string(),
            expected: "a UTF-8 path without commas (QEMU's options end there)",
            got: "another".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(
            version_of("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n"),
            Some(10)
        );
        assert_eq!(version_of("QEMU emulator version 7.2.22\n"), Some(7));
        assert_eq!(version_of("something else"), None);
    }
}
