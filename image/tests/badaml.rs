//! A host's ACPI tables against the guest: AML that writes into the guest's memory, and a register block placed there.
//!
//! The first file of the archive holds a mark. Four tables (the DSDT itself, and an SSDT, OSDT and PSDT) each write their
//! letter into it before the kernel unpacks it, after everything was measured; the FADT places a register block in it. Under
//! Debian's kernel all of that happens, and with `acpi_no_static_ssdt` most of it still does. Under our own, nothing.
//!
//! Needs QEMU 10, iasl, setsid, and `HANZO_IMAGE_PACKAGES` with Debian's kernel, busybox and our own kernel; says loudly
//! which of them is missing.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanzo_image::cpio::Archive;
use hanzo_image::fetch::{MIRROR, Source, own_kernel, package};
use hanzo_image::inputs::COMMITTED;
use hanzo_image::kernel::{self, Pins};
use hanzo_image::{ImageError, Inputs, deb};

const MARK: &[u8] = b"hanzoaml........\n";
/// By letter: the table's signature and the byte of the mark that it writes.
const TABLES: [(&str, &[u8; 4], u8); 4] = [
    ("D", b"DSDT", 8),
    ("S", b"SSDT", 9),
    ("O", b"OSDT", 10),
    ("P", b"PSDT", 11),
];
/// The register block's two bytes in the mark.
const REGISTERS: u64 = 12;
/// Where the host leaves its DSDT; kept free by the command line.
const DSDT_AT: u64 = 0x1800_0000;
const MEMORY: u64 = 0x2000_0000;
/// What QEMU keeps free at the top of memory for the firmware's tables.
const FIRMWARE_KEEPS: u64 = 0x2_0000;
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 nokaslr memmap=64K$0x18000000";
/// As `od -c` shows it.
const UNTOUCHED: &str = "hanzoaml........\\n";
/// The button is the FADT's; the kernel has no driver for it.
const DEVICES: [&str; 6] = [
    "LNXPWRBN:00",
    "LNXSYBUS:00",
    "LNXSYBUS:01",
    "LNXSYSTM:00",
    "MSFT0101:00",
    "PNP0A08:00",
];
const BOOT_MAX: Duration = Duration::from_secs(300);

const SAY: &str = "B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sysfs /sys
echo
echo \"MARK $($B od -An -c /a-marker | $B tr -d ' \\n')\"
echo \"DEVICES $($B ls /sys/bus/acpi/devices | $B tr '\\n' ' ')\"
echo \"DSDT $($B dd if=/sys/firmware/acpi/tables/DSDT bs=1 skip=10 count=14 2>/dev/null)\"
echo \"MODULES $($B ls /proc/modules /sys/kernel/kexec_loaded /sys/fs/bpf /dev/mem 2>/dev/null | $B tr '\\n' ' ')\"
echo \"UPTIME $($B cat /proc/uptime)\"
echo END
$B poweroff -f
";

fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "NO HOST'S AML WAS TRIED: {why}");
}

struct Kernels {
    debian: PathBuf,
    own: PathBuf,
    archive: PathBuf,
    archive_bytes: u64,
}

fn kernels(dir: &Path, source: &Source) -> Result<Kernels, ImageError> {
    let inputs = Inputs::parse(COMMITTED)?;
    let pins = Pins::parse(kernel::COMMITTED)?;
    let own = own_kernel(source, &pins.kernel)?;
    let one = |pinned, wanted: &str| -> Result<Vec<u8>, ImageError> {
        let files = deb::files("package", &package(source, pinned)?, |path| path.starts_with(wanted))?;
        Ok(files.into_values().next().unwrap())
    };
    let debian = one(&inputs.kernel, "boot/vmlinuz-")?;
    let busybox = one(&inputs.shell, "usr/bin/busybox")?;
    let mut archive = Archive::default();
    for name in ["dev", "etc", "bin", "proc", "sys"] {
        archive.directory(name);
    }
    archive.file("a-marker", MARK.to_vec(), false);
    archive.file("etc/say", SAY.into(), false);
    archive.file("etc/inittab", b"::sysinit:/bin/busybox sh /etc/say\n".to_vec(), false);
    archive.file("bin/busybox", busybox.clone(), true);
    // Under this name it is the applet `init`.
    archive.file("init", busybox, true);
    let archive = archive.to_bytes();
    assert_eq!(
        archive[120..120 + MARK.len()],
        *MARK,
        "the mark is where the tables look for it"
    );
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(ImageError::io(&path)).map(|()| path)
    };
    Ok(Kernels {
        debian: put("debian", &debian)?,
        own: put("own", &own)?,
        archive_bytes: archive.len() as u64,
        archive: put("archive", &archive)?,
    })
}

/// One evil table per letter, compiled as an SSDT and signed as what it claims to be. None without iasl.
fn tables(dir: &Path) -> Option<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for (letter, signature, place) in TABLES {
        let ascii = format!("{:#x}", letter.as_bytes()[0]);
        let text = include_str!("badaml/evil.asl")
            .replace("EVLETTER", &format!("EV{letter}0"))
            .replace("LETTER", letter)
            .replace("DIGIT", &format!("{place:X}"))
            .replace("PLACE", &place.to_string())
            .replace("ASCII", &ascii);
        let source = dir.join(format!("{letter}.asl"));
        fs::write(&source, text).unwrap();
        let done = Command::new("iasl")
            .arg("-p")
            .arg(dir.join(letter))
            .arg(&source)
            .output()
            .ok()?;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        let path = dir.join(format!("{letter}.aml"));
        let mut table = fs::read(&path).unwrap();
        table[..4].copy_from_slice(signature);
        seal(&mut table);
        fs::write(&path, table).unwrap();
        paths.push(path);
    }
    Some(paths)
}

/// ACPI's checksum: all bytes together are 0.
fn seal(table: &mut [u8]) {
    table[9] = 0;
    table[9] = table
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg();
}

/// A FADT (ACPI 6.5, section 5.2.9, revision 3) with the machine's registers, the host's DSDT, and GPE block 0 in the mark.
fn fadt(mark_at: u64) -> Vec<u8> {
    let mut table = vec![0; 244];
    let mut put = |at: usize, bytes: &[u8]| table[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"FACP");
    put(4, &244_u32.to_le_bytes());
    put(8, &[3]);
    put(10, b"EVIL  BADAML  ");
    put(40, &(DSDT_AT as u32).to_le_bytes());
    put(46, &9_u16.to_le_bytes());
    put(48, &0xB2_u32.to_le_bytes());
    put(52, &[2, 3]);
    put(56, &0x600_u32.to_le_bytes());
    put(64, &0x604_u32.to_le_bytes());
    put(76, &0x608_u32.to_le_bytes());
    put(88, &[4, 2, 0, 4, 2]);
    put(112, &0x35_u32.to_le_bytes());
    put(140, &DSDT_AT.to_le_bytes());
    // Space 0 is memory: 16 bits, read by bytes.
    put(220, &[0, 16, 0, 1]);
    put(224, &(mark_at + REGISTERS).to_le_bytes());
    seal(&mut table);
    table
}

/// What a guest said, by the line's first word.
struct Said {
    console: String,
    /// The guest switched its machine off.
    off: bool,
    wall: Duration,
}

impl Said {
    fn of(&self, word: &str) -> &str {
        let lines = self.console.lines().filter_map(|line| line.trim().strip_prefix(word));
        lines
            .last()
            .unwrap_or_else(|| panic!("no {word}: {}", self.console))
            .trim()
    }
}

/// Kills and reaps on every way out.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots with these tables beside QEMU's own; `dsdt` lies where the FADT among them says.
fn boot(dir: &Path, kernel: &Path, archive: &Path, line: &str, listed: &[PathBuf], dsdt: Option<&Path>) -> Said {
    let console = dir.join("console");
    fs::write(&console, b"").unwrap();
    let mut arguments: Vec<String> = [
        "-machine",
        "pc-q35-10.0,smm=off,accel=tcg",
        "-cpu",
        "max",
        "-m",
        "512",
        "-smp",
        "1",
        "-display",
        "none",
        "-vga",
        "none",
        "-monitor",
        "none",
        "-parallel",
        "none",
        "-no-user-config",
        "-nodefaults",
        "-no-reboot",
        "-append",
        line,
    ]
    .map(str::to_owned)
    .into();
    let mut with = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    with("-kernel", kernel.display().to_string());
    with("-initrd", archive.display().to_string());
    with("-serial", format!("file:{}", console.display()));
    for path in listed {
        with("-acpitable", format!("file={}", path.display()));
    }
    if let Some(dsdt) = dsdt {
        with(
            "-device",
            format!("loader,file={},addr={DSDT_AT:#x},force-raw=on", dsdt.display()),
        );
    }
    // A session of its own: the kernel shares processors by session.
    let started = Instant::now();
    let child = Command::new("setsid")
        .arg("qemu-system-x86_64")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(fs::File::create(dir.join("qemu.err")).unwrap())
        .spawn();
    let mut qemu = Own(child.unwrap());
    let (mut ended, mut end) = (None, None);
    loop {
        let text = String::from_utf8_lossy(&fs::read(&console).unwrap()).into_owned();
        if text.contains("\nEND") {
            end = end.or_else(|| Some(Instant::now()));
        }
        ended = ended.or(qemu.0.try_wait().unwrap());
        // A machine without a way to be switched off stays.
        if ended.is_some() || end.is_some_and(|end: Instant| end.elapsed() > Duration::from_secs(20)) {
            let why = fs::read_to_string(dir.join("qemu.err")).unwrap();
            assert!(end.is_some(), "the guest said nothing: {text} {why}");
            return Said {
                console: text,
                off: ended.is_some(),
                wall: started.elapsed(),
            };
        }
        assert!(started.elapsed() < BOOT_MAX, "no end: {text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_hosts_aml_writes_under_debians_kernel_and_not_under_ours() {
    let Some(packages) = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from) else {
        return not_tested("HANZO_IMAGE_PACKAGES names no directory for the pinned packages");
    };
    for (program, argument) in [
        ("qemu-system-x86_64", "--version"),
        ("iasl", "-v"),
        ("setsid", "--version"),
    ] {
        if Command::new(program).arg(argument).output().is_err() {
            return not_tested(&format!("{program} is not installed"));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let source = Source::Archive {
        kept: std::path::absolute(packages).unwrap(),
        mirror: MIRROR.into(),
    };
    let kernels = match kernels(dir.path(), &source) {
        Err(error) if ["image.kernel.missing", "image.package.gone"].contains(&error.code()) => {
            return not_tested(&error.to_string());
        }
        kernels => kernels.unwrap(),
    };
    let mut listed = tables(dir.path()).unwrap();
    let dsdt = listed.remove(0);
    let with_qemus_dsdt = listed.clone();
    let archive_at = (MEMORY - FIRMWARE_KEEPS - 1 - kernels.archive_bytes) & !0xFFF;
    let fadt_path = dir.path().join("fadt");
    fs::write(&fadt_path, fadt(archive_at + 120)).unwrap();
    // The last FADT counts.
    listed.push(fadt_path);
    let boot = |what: &str, kernel: &Path, more: &str, whole: bool| {
        let (listed, dsdt) = match whole {
            true => (&listed, Some(dsdt.as_path())),
            false => (&with_qemus_dsdt, None),
        };
        let line = format!("{COMMAND_LINE}{more}");
        let said = boot(dir.path(), kernel, &kernels.archive, &line, listed, dsdt);
        let _ = writeln!(
            std::io::stderr(),
            "{what}: mark {}; guest uptime {}; {:.1} s wall; ACPI devices {}",
            said.of("MARK"),
            said.of("UPTIME"),
            said.wall.as_secs_f64(),
            said.of("DEVICES"),
        );
        said
    };

    let said = boot("Debian's kernel", &kernels.debian, "", true);
    let mark = said.of("MARK");
    assert!(mark.starts_with("hanzoamlDSOP"), "every table was interpreted: {mark}");
    assert!(!mark.starts_with("hanzoamlDSOP.."), "registers were written: {mark}");
    assert!(said.of("DEVICES").contains("EVIL0008"));

    let option = " acpi_no_static_ssdt";
    let said = boot("Debian's kernel, acpi_no_static_ssdt", &kernels.debian, option, true);
    let mark = said.of("MARK");
    assert!(
        mark.starts_with("hanzoamlD.OP"),
        "the option keeps out SSDTs alone: {mark}"
    );

    // Two DSDTs, one by each FADT: no AML at all is left, and nothing was written.
    let said = boot("our kernel", &kernels.own, "", true);
    assert_eq!(said.of("MARK"), UNTOUCHED);
    assert!(!said.of("DEVICES").contains("EVIL"));

    // QEMU's own DSDT and the three others: the devices are those of our table, and it switches the machine off.
    let said = boot("our kernel, QEMU's DSDT", &kernels.own, "", false);
    assert_eq!(said.of("MARK"), UNTOUCHED);
    assert_eq!(said.of("DSDT"), "HANZO GUESTQ35");
    assert_eq!(said.of("DEVICES").split(' ').collect::<Vec<_>>(), DEVICES);
    assert_eq!(said.of("MODULES"), "", "what is built out is not there");
    assert!(said.off, "our own table says how");
}
