//! Booting an image under QEMU, with a software TPM, as a user of this machine.
//!
//! A guest under load is starved, not hung: QEMU and swtpm get a session of their own (the kernel shares processors by
//! session), and a boot is judged by the processor time it used, with one retry from a fresh TPM and fresh firmware
//! variables.

mod launch;
pub(crate) mod process;
pub(crate) mod qtest;
pub(crate) mod tools;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use hanzo_measured_boot::prediction::Prediction;
use serde::Serialize;

pub use self::launch::run_confidential;
pub(crate) use self::launch::{GUARDED, GUARDED_NETWORK, td_acpi_blobs};
use self::process::Own;
use self::qtest::Qtest;
pub use self::tools::PACKS_MAX;
pub(crate) use self::tools::{QEMU, disks, path as absolute, qemu_says};
use crate::assemble::{COMMAND_LINE, FIRMWARE, INITRD, KERNEL, Progress, VARIABLES};
use crate::error::ImageError;
use crate::manifest::{Manifest, Measured};
use crate::predict::{self, BLOBS, Registers};

/// Processor seconds after which a silent guest counts as hung; boots use 8 to 16.
const HUNG_CPU_S: f64 = 60.0;
/// The same for one that opens packs and loads models before it says a word.
const HUNG_WITH_PACKS_CPU_S: f64 = 900.0;
/// Wall time without any processor time after which it counts as dead.
const STILL: Duration = Duration::from_secs(30);
/// Bound on everything.
const BOOT_MAX: Duration = Duration::from_secs(300);
/// Bound on everything, with packs.
const BOOT_WITH_PACKS_MAX: Duration = Duration::from_secs(1200);
const POLL: Duration = Duration::from_millis(100);
/// Most of a console that is read, in bytes.
const CONSOLE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// QEMU itself; slow, and everywhere.
    Tcg,
    /// The host's KVM. A nested or paravirtual one may not run stock kernels.
    Kvm,
}

impl Accelerator {
    /// TCG's own model has AVX2 and RDSEED, which the guest needs; under KVM it is the host's.
    pub fn cpu_model(self) -> &'static str {
        match self {
            Self::Tcg => "max",
            Self::Kvm => "host",
        }
    }
}

/// QEMU's machine type, by version: `q35` alone would be another machine with another QEMU.
pub const MACHINE: &str = "pc-q35-10.0";

/// A machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The image's directory.
    pub image: PathBuf,
    /// Where the console is written.
    pub console: PathBuf,
    /// The port of 127.0.0.1 that leads to the guest's.
    pub port: u16,
    /// The port of 127.0.0.1 that leads to a validator's links; `None`: nobody reaches them from outside.
    pub links: Option<u16>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub processors: u32,
    /// What executes the guest.
    pub accelerator: Accelerator,
    /// Packs in the order of the configuration's models: each on a disk of its own, read-only.
    pub packs: Vec<PathBuf>,
    /// A TPM that [`crate::tpm::make`] made: each boot starts from a copy, so its attestation key can be pinned before the
    /// first boot. `None`: another TPM each time.
    pub tpm: Option<PathBuf>,
}

/// How a guest's boot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It serves.
    Serving,
    /// It switched itself off, and said why.
    Refused {
        /// The line.
        reason: String,
    },
}

/// What a boot showed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The guest's word.
    pub word: Word,
    /// The guest's own uptime when init handed over to the agent, in seconds.
    pub init_uptime_s: Option<f64>,
    /// The guest's uptime at its word: that of init and what passed here since it was read, to a tenth of a second.
    pub word_uptime_s: Option<f64>,
    /// Wall time to the word, in seconds.
    pub wall_s: f64,
    /// QEMU's processor time to the word, in seconds.
    pub cpu_s: f64,
    /// 1, or 2 after a retry.
    pub attempt: u32,
    /// Kernel and compressed archive together, in bytes.
    pub image_bytes: u64,
    /// The TPM's registers as the guest's kernel showed them on the console: no evidence.
    pub registers: Registers,
    /// The boot's event log as the guest showed it there, if it did: no evidence either.
    #[serde(skip)]
    pub log: Option<Vec<u8>>,
    /// True if they were compared with a prediction, and equal.
    pub as_predicted: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.word {
            Word::Serving => writeln!(f, "the guest serves")?,
            Word::Refused { reason } => writeln!(f, "the guest refused: {reason}")?,
        }
        if let Some(uptime) = self.init_uptime_s {
            writeln!(f, "  guest uptime when init was done: {uptime:.2} s")?;
        }
        if let Some(uptime) = self.word_uptime_s {
            writeln!(f, "  guest uptime at its word: {uptime:.1} s")?;
        }
        if self.as_predicted {
            writeln!(f, "  every predicted register, in both banks, is as it was predicted")?;
        }
        writeln!(
            f,
            "  to its word: {:.1} s, {:.1} s of processor time, attempt {}\n  kernel and initrd: {} bytes",
            self.wall_s, self.cpu_s, self.attempt, self.image_bytes
        )
    }
}

/// Boots, waits for the guest's word, and then, unless `until_ready`, for the machine's end. With a prediction, the
/// registers that the guest shows are compared with it as soon as there is a word.
///
/// # Errors
/// [`ImageError::Prediction`] if a register differs;
/// [`ImageError::Tool`] if QEMU or swtpm is missing or too old, [`ImageError::Different`] if a file is not the manifest's,
/// [`ImageError::Boot`] if there was no word twice.
pub fn run(
    machine: &Machine,
    prediction: Option<&Prediction>,
    until_ready: bool,
    progress: Progress<'_>,
) -> Result<Report, ImageError> {
    let never = AtomicBool::new(false);
    run_and_tell(machine, prediction, &mut |_| !until_ready, &never, progress)
}

/// As [`run`]; `on_word` is told the word when it comes, and decides whether the machine goes on. It ends when `stop` is set
/// by another thread.
///
/// # Errors
/// As [`run`]; [`ImageError::Boot`] too if it was stopped before the guest said a word.
pub fn run_and_tell(
    machine: &Machine,
    prediction: Option<&Prediction>,
    on_word: &mut dyn FnMut(&Report) -> bool,
    stop: &AtomicBool,
    progress: Progress<'_>,
) -> Result<Report, ImageError> {
    tools::check()?;
    let manifest = Manifest::read(&machine.image)?;
    let boot = Boot::of(machine, &manifest)?;
    let mut attempt = 1;
    loop {
        progress(&format!("booting, attempt {attempt}"));
        // Fresh each time: a TPM remembers, and so do the firmware's variables.
        let state = tempfile::tempdir().map_err(ImageError::io(&std::env::temp_dir()))?;
        let mut guest = Guest::start(machine, &boot, state.path())?;
        match guest.word(machine, boot.bytes, attempt, stop) {
            Ok(mut report) => {
                if let Some(prediction) = prediction {
                    predict::compare(prediction, &report.registers, report.log.as_deref())?;
                    report.as_predicted = true;
                }
                if on_word(&report) {
                    progress("running");
                    guest.run_on(stop);
                }
                return Ok(report);
            }
            Err(error) if attempt == 2 || stop.load(Ordering::Relaxed) => return Err(error),
            Err(_) => attempt = 2,
        }
    }
}

/// Every file is the manifest's; gives the size of kernel and archive.
pub(crate) fn intact(image: &Path, manifest: &Manifest) -> Result<u64, ImageError> {
    let mut boot_bytes = 0;
    for name in [KERNEL, INITRD, COMMAND_LINE, FIRMWARE, VARIABLES] {
        let path = image.join(name);
        let bytes = fs::read(&path).map_err(ImageError::io(&path))?;
        if manifest.outputs.get(name) != Some(&Measured::of(&bytes)) {
            return Err(ImageError::Different {
                file: name.to_owned(),
                how: "is not what the manifest says: the image was changed after it was made; `hanzo-image verify` says where".into(),
            });
        }
        if [KERNEL, INITRD].contains(&name) {
            boot_bytes += bytes.len() as u64;
        }
    }
    Ok(boot_bytes)
}

/// What of the image decides how QEMU is called.
#[derive(Debug)]
pub(crate) struct Boot {
    /// Kernel and archive together.
    bytes: u64,
    pub(crate) command_line: String,
    /// What the machine's ports lead to: QEMU's `hostfwd` options.
    pub(crate) forwards: String,
}

impl Boot {
    pub(crate) fn of(machine: &Machine, manifest: &Manifest) -> Result<Self, ImageError> {
        let recipe = manifest.recipe()?;
        let wrong = |expected, got: String| ImageError::Inputs {
            what: "--links".into(),
            expected,
            got,
        };
        let mut ports = vec![(machine.port, recipe.listen.port())];
        match (machine.links, recipe.links()) {
            (None, _) => {}
            (Some(own), _) if own == machine.port => {
                return Err(wrong("another port than --port", own.to_string()));
            }
            (Some(own), Some(links)) => ports.push((own, links.port())),
            (Some(own), None) => {
                return Err(wrong("none: only a validator's image takes links", own.to_string()));
            }
        }
        let forwards: Vec<_> = ports
            .iter()
            .map(|(own, guest)| format!("hostfwd=tcp:127.0.0.1:{own}-:{guest}"))
            .collect();
        Ok(Self {
            bytes: intact(&machine.image, manifest)?,
            command_line: recipe.command_line()?,
            forwards: forwards.join(","),
        })
    }
}

/// Looks for QEMU and swtpm.
///
/// # Errors
/// [`ImageError::Tool`]: one is missing or too old, and how to get it.
pub fn check_tools() -> Result<(), ImageError> {
    tools::check()
}

/// QEMU's version, and its program.
pub(crate) fn qemu_version() -> Result<(String, PathBuf), ImageError> {
    tools::qemu_version()
}

/// The blobs that the firmware of this machine will measure.
pub(crate) fn acpi_blobs(
    machine: &Machine,
    manifest: &Manifest,
) -> Result<BTreeMap<&'static str, Vec<u8>>, ImageError> {
    tools::check()?;
    let boot = Boot::of(machine, manifest)?;
    let state = tempfile::tempdir().map_err(ImageError::io(&std::env::temp_dir()))?;
    let tpm = tools::software_tpm(state.path(), machine.tpm.as_deref())?;
    copy_variables(machine, state.path())?;
    let qemu = tools::stopped_qemu(machine, &boot, state.path())?;
    let asked = Qtest::connect(&state.path().join("qtest.sock")).and_then(|mut qtest| {
        qtest.as_firmware_leaves_it()?;
        qtest.files(&BLOBS)
    });
    let blobs = asked.map_err(|error| ImageError::Tool {
        program: "qemu-system-x86_64",
        why: format!("{error}. {}", qemu.said()),
        remedy: "see what it said",
    });
    drop(qemu);
    drop(tpm);
    blobs
}

fn copy_variables(machine: &Machine, state: &Path) -> Result<(), ImageError> {
    let variables = state.join(VARIABLES);
    fs::copy(machine.image.join(VARIABLES), &variables).map_err(ImageError::io(&variables))?;
    make_writable(&variables)
}

/// Both processes; killed when dropped, QEMU first.
struct Guest {
    qemu: Own,
    _tpm: Option<Own>,
    started: Instant,
}

impl Guest {
    fn start(machine: &Machine, boot: &Boot, state: &Path) -> Result<Self, ImageError> {
        let tpm = tools::software_tpm(state, machine.tpm.as_deref())?;
        copy_variables(machine, state)?;
        fs::write(&machine.console, b"").map_err(ImageError::io(&machine.console))?;
        let qemu = tools::qemu(machine, boot, state)?;
        Ok(Self {
            qemu,
            _tpm: Some(tpm),
            started: Instant::now(),
        })
    }

    /// Until it ends, or is told to.
    fn run_on(&mut self, stop: &AtomicBool) {
        while self.qemu.ended().is_none() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            sleep(POLL);
        }
        self.qemu.wait();
    }

    fn word(
        &mut self,
        machine: &Machine,
        image_bytes: u64,
        attempt: u32,
        stop: &AtomicBool,
    ) -> Result<Report, ImageError> {
        let failed = |how: String| ImageError::Boot {
            how,
            console: machine.console.clone(),
        };
        let (hung_cpu_s, boot_max) = match machine.packs.is_empty() {
            true => (HUNG_CPU_S, BOOT_MAX),
            false => (HUNG_WITH_PACKS_CPU_S, BOOT_WITH_PACKS_MAX),
        };
        let mut grown = (0.0, Instant::now());
        let mut init: Option<(f64, Instant)> = None;
        loop {
            let ended = self.qemu.ended();
            let cpu_s = self.qemu.cpu_s().unwrap_or(grown.0);
            let console = console(&machine.console)?;
            init = init.or_else(|| Some((init_uptime(&console)?, Instant::now())));
            if let Some(word) = word_of(&console) {
                return Ok(Report {
                    word,
                    init_uptime_s: init.map(|(uptime, _)| uptime),
                    word_uptime_s: init.map(|(uptime, seen)| uptime + seen.elapsed().as_secs_f64()),
                    wall_s: self.started.elapsed().as_secs_f64(),
                    cpu_s,
                    attempt,
                    image_bytes,
                    registers: registers(&console),
                    log: event_log(&console),
                    as_predicted: false,
                });
            }
            if let Some(status) = ended {
                let said = self.qemu.said();
                return Err(failed(format!(
                    "QEMU ended ({status}) before the guest said a word. {said}"
                )));
            }
            if stop.load(Ordering::Relaxed) {
                return Err(failed("stopped before the guest said a word".into()));
            }
            if cpu_s > grown.0 {
                grown = (cpu_s, Instant::now());
            }
            if cpu_s > hung_cpu_s {
                return Err(failed(format!("no word after {cpu_s:.0} s of processor time")));
            }
            if grown.1.elapsed() > STILL {
                return Err(failed(format!("no processor time used for {} s", STILL.as_secs())));
            }
            if self.started.elapsed() > boot_max {
                return Err(failed(format!(
                    "no word after {} s, of which it got {cpu_s:.0} s of processor time: this machine is overloaded",
                    boot_max.as_secs()
                )));
            }
            sleep(POLL);
        }
    }
}

fn make_writable(path: &Path) -> Result<(), ImageError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(ImageError::io(path))
}

fn console(path: &Path) -> Result<String, ImageError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(ImageError::io(path))?;
    file.take(CONSOLE_BYTES_MAX as u64)
        .read_to_end(&mut bytes)
        .map_err(ImageError::io(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line without the firmware's escape sequences, which clear the screen and end in the middle of the first line.
fn plain(line: &str) -> &str {
    let text = match line.rfind('\x1b') {
        Some(at) => line
            .get(at..)
            .and_then(|rest| rest.find("hanzo-").and_then(|from| rest.get(from..))),
        None => Some(line),
    };
    text.unwrap_or_default().trim()
}

/// The first word on a console: a whole line.
fn word_of(console: &str) -> Option<Word> {
    let whole = console.rsplit_once('\n')?.0;
    let mut reason: Option<&str> = None;
    for line in whole.lines().map(plain) {
        if line.contains("\"message\":\"serving\"") || line.starts_with("hanzo-validator: serving ") {
            return Some(Word::Serving);
        }
        if line.contains("Kernel panic")
            || ["hanzo-guest: ", "hanzo-validator: "]
                .iter()
                .any(|program| line.starts_with(program))
        {
            reason = reason.or(Some(line));
        }
        // The debug profile stays for its shell.
        let last = line.ends_with("; switching off") || line.ends_with("its shell stays");
        if line.starts_with("hanzo-init: ") && last {
            reason = reason.or(Some(line));
            return reason.map(|reason| Word::Refused {
                reason: reason.to_owned(),
            });
        }
    }
    // A panicked kernel says nothing more.
    reason
        .filter(|line| line.contains("Kernel panic"))
        .map(|reason| Word::Refused {
            reason: reason.to_owned(),
        })
}

/// From `hanzo-init: [3.21] profile …`.
fn init_uptime(console: &str) -> Option<f64> {
    let line = console
        .lines()
        .map(plain)
        .find(|line| line.starts_with("hanzo-init: ["))?;
    let (uptime, _) = line.strip_prefix("hanzo-init: [")?.split_once(']')?;
    uptime.parse().ok()
}

/// From `hanzo-init: [3.21] pcr sha256 0 <hex>`.
fn registers(console: &str) -> Registers {
    let mut found = Registers::new();
    for line in console
        .lines()
        .map(plain)
        .filter(|line| line.starts_with("hanzo-init: ["))
    {
        let mut words = line.split(' ').skip(2);
        let (Some("pcr"), Some(bank), Some(index), Some(value)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if let Ok(index) = index.parse() {
            found
                .entry(bank.to_owned())
                .or_default()
                .insert(index, value.to_owned());
        }
    }
    found
}

/// From `hanzo-init: [3.21] log <hex>` up to `log end <bytes>`: whole or not at all.
fn event_log(console: &str) -> Option<Vec<u8>> {
    let mut log = Vec::new();
    for line in console.lines().map(plain) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["hanzo-init:", _, "log", "end", bytes] => return (bytes.parse() == Ok(log.len())).then_some(log),
            ["hanzo-init:", _, "log", hex] => log.extend(predict::bytes_of(hex)?),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_whole_line_that_is_a_word_counts() {
        let refused = |reason: &str| Some(Word::Refused { reason: reason.into() });
        let start = "\x1b[2J\x1b[01;01Hhanzo-init: [3.21] profile core, 6 modules, network up\r\n";
        assert_eq!(word_of(start), None);
        assert_eq!(init_uptime(start), Some(3.21));
        let shown = format!("{start}hanzo-init: [3.20] pcr sha256 9 ab\r\npcr sha256 8 cd\r\n");
        assert_eq!(
            registers(&shown)["sha256"].iter().collect::<Vec<_>>(),
            [(&9, &"ab".to_owned())]
        );
        let log = format!("{start}hanzo-init: [3.20] log 0aff\r\nhanzo-init: [3.20] log 01\r\n");
        assert_eq!(event_log(&log), None, "it is still being written");
        assert_eq!(
            event_log(&format!("{log}hanzo-init: [3.20] log end 3\r\n")),
            Some(vec![0x0a, 0xff, 1])
        );
        assert_eq!(
            event_log(&format!("{log}hanzo-init: [3.20] log end 4\r\n")),
            None,
            "lines are missing"
        );
        let serving = format!("{start}{{\"fields\":{{\"message\":\"serving\",\"tier\":1}}}}\r\n");
        assert_eq!(word_of(&serving), Some(Word::Serving));
        assert_eq!(word_of(serving.trim_end()), None, "a line that is still being written");
        let node = "hanzo-validator: serving RPC at 0.0.0.0:9650; it follows others and does not vote";
        assert_eq!(word_of(&format!("{start}{node}\r\n")), Some(Word::Serving));
        let why = "hanzo-guest: no KBS [kbs.connect]";
        let off = "hanzo-init: [4.00] agent: ended with exit code 1 [init.agent.ended]; switching off";
        assert_eq!(
            word_of(&format!("{start}{why}\r\n")),
            None,
            "the machine is not off yet"
        );
        assert_eq!(word_of(&format!("{start}{why}\r\n{off}\r\n")), refused(why));
        assert_eq!(word_of(&format!("{start}{off}\n")), refused(off));
        let stays = "hanzo-init: [4.00] the agent ended with exit code 1; this image is for debugging: its shell stays";
        assert_eq!(word_of(&format!("{start}{why}\r\n{stays}\r\n")), refused(why));
        let panic = "[    2.0] Kernel panic - not syncing: No working init found.";
        assert_eq!(word_of(&format!("{panic}\n")), refused(panic));
    }
}
