//! The firmware's check of kernel, initrd and command line, without a machine that has SEV-SNP: the table of hashes that a
//! launch would put into measured memory is put there by QEMU's loader.
//!
//! It shows that the table that this workspace measures is the one that the firmware reads, and that the firmware starts
//! nothing else. It does not show that a processor measures the table.
//!
//! Needs QEMU 10, the static `hanzo-guest` in this target directory, and in `HANZO_IMAGE_PACKAGES` the pinned packages and the
//! pinned firmware (`image/firmware/build snp DIR`). Says loudly which of them is missing.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanzo_image::assemble::{INITRD, KERNEL, Parts};
use hanzo_image::fetch::Source;
use hanzo_image::firmware::{COMMITTED as PINS, Pins, Tee};
use hanzo_image::inputs::COMMITTED;
use hanzo_image::matrix::{self, SnpOptions};
use hanzo_image::{Inputs, Recipe, build};
use hanzo_init::{Network, Profile};
use hanzo_measured_boot::firmware::Firmware;
use hanzo_measured_boot::matrix::{Measured, SecureTsc};
use hanzo_measured_boot::snp::{
    CpuModel, GuestFeatures, HostKernel, KernelHashes, SnpLaunch, SnpShape, TscFields, Vmm,
};
use hanzo_measured_boot::tdx::{PageOrder, mrtd};

/// A wrong table gets this many times the processor time of the right one's whole boot.
const PATIENCE: f64 = 1.5;
/// Bound on one boot.
const BOOT_MAX: Duration = Duration::from_secs(300);
const TICKS_PER_S: f64 = 100.0;

fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "THE FIRMWARE'S HASH CHECK WAS NOT TESTED: {why}");
}

/// An image, and the firmware that checks it.
struct Bench {
    dir: tempfile::TempDir,
    firmware: PathBuf,
    image: PathBuf,
    command_line: String,
}

impl Bench {
    fn new() -> Result<Self, String> {
        let packages = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from);
        let packages = packages.ok_or("HANZO_IMAGE_PACKAGES names no directory for packages and firmware")?;
        let pinned = Pins::parse(PINS).unwrap().platform[&Tee::Snp].sha256.to_string();
        let firmware = packages.join(format!("snp-{}.fd", &pinned[..16]));
        if !firmware.exists() {
            return Err(format!("no {}: image/firmware/build snp makes it", firmware.display()));
        }
        let here = std::env::current_exe().unwrap();
        let target = here.ancestors().nth(3).unwrap();
        let guest = target.join("x86_64-unknown-linux-gnu/release/hanzo-guest");
        if !guest.exists() {
            return Err("no static hanzo-guest in this target directory".into());
        }
        let network = Network {
            interface: "eth0".into(),
            address: "10.0.2.15".parse().unwrap(),
            prefix: 24,
            gateway: Some("10.0.2.2".parse().unwrap()),
        };
        // Keys of zeros: the guest gets as far as its configuration, and says so.
        let (ml_dsa, ed25519, root) = ("00".repeat(1952), "00".repeat(32), "11".repeat(32));
        let config = format!(
            "version = 1\noperator = \"o\"\nimage = \"dev\"\nrequired_tier = 1\nkeyset_lifetime_s = 3600\nauth = \"none\"\n\
             [kbs]\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{ml_dsa}\"\n\
             ed25519 = \"{ed25519}\"\n[store]\nid = \"s\"\nkey_id = \"t/store/s\"\n[[models]]\nname = \"m\"\n\
             weights_root = \"{root}\"\nkey_id = \"t/model/m\"\ncontext_tokens = 512\n[limits]\n\
             body_bytes_max = 65536\nconcurrent_requests = 2\nrequest_timeout_s = 60\n"
        );
        let (listen, kbs) = ("0.0.0.0:8443".parse().unwrap(), "10.0.2.2:8080".parse().unwrap());
        let recipe = Recipe::new(Profile::Core, config, listen, kbs, network).unwrap();
        let inputs = Inputs::parse(COMMITTED).unwrap();
        let source = Source::Directory(packages);
        let parts = match Parts::gather(inputs, &source, Profile::Core, &guest, None, &|_| ()) {
            Err(error) if error.code() == "image.package.missing" => return Err(error.to_string()),
            parts => parts.unwrap(),
        };
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        build(&parts, &recipe, &image, &|_| ()).unwrap();
        Ok(Self {
            firmware,
            image,
            command_line: recipe.command_line().unwrap(),
            dir,
        })
    }

    fn hashes(&self) -> KernelHashes {
        let read = |name: &str| fs::read(self.image.join(name)).unwrap();
        KernelHashes::of(&read(KERNEL), &read(INITRD), &self.command_line).unwrap()
    }

    /// Boots with this table where a launch would put it, until init says a word or the processor time is used. Gives
    /// whether it did, and the processor time.
    fn boot(&self, hashes: &KernelHashes, cpu_max_s: f64) -> (bool, f64) {
        let bytes = fs::read(&self.firmware).unwrap();
        let place = Firmware::parse(&bytes).unwrap().hash_table().unwrap().unwrap();
        let table = self.dir.path().join("table");
        fs::write(&table, hashes.table()).unwrap();
        let console = self.dir.path().join("console");
        fs::write(&console, b"").unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let load = format!("loader,file={},addr={:#x},force-raw=on", text(&table), place.gpa);
        let arguments = [
            ["-machine", "pc-q35-10.0,smm=off,accel=tcg"],
            ["-cpu", "max"],
            ["-m", "512"],
            ["-display", "none"],
            ["-vga", "none"],
            ["-monitor", "none"],
            ["-bios", &text(&self.firmware)],
            ["-kernel", &text(&self.image.join(KERNEL))],
            ["-initrd", &text(&self.image.join(INITRD))],
            ["-append", &self.command_line],
            ["-device", &load],
            ["-serial", &format!("file:{}", text(&console))],
        ];
        let plain = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"];
        let child = Command::new("setsid")
            .args(plain)
            .args(["-no-user-config", "-nodefaults", "-no-reboot"])
            .args(arguments.into_iter().flatten())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut qemu = Killed(child);
        let start = Instant::now();
        loop {
            let used = cpu_s(&qemu.0).unwrap_or_default();
            let said = String::from_utf8_lossy(&fs::read(&console).unwrap()).contains("hanzo-init: ");
            if said || used > cpu_max_s {
                return (said, used);
            }
            assert!(qemu.0.try_wait().unwrap().is_none(), "QEMU ended");
            assert!(
                start.elapsed() < BOOT_MAX,
                "this machine is overloaded: {used:.1} s of processor time"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cpu_s(child: &Child) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_S)
}

#[test]
fn the_firmware_starts_what_was_hashed_and_nothing_else() {
    let bench = match Bench::new() {
        Ok(bench) => bench,
        Err(why) => return not_tested(&why),
    };
    let version = Command::new("qemu-system-x86_64").arg("--version").output();
    if !version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("version 1")) {
        return not_tested("no QEMU 10 or newer");
    }
    let right = bench.hashes();
    let (booted, cpu_s) = bench.boot(&right, 60.0);
    assert!(
        booted,
        "the right table does not boot in {cpu_s:.1} s of processor time"
    );
    let patience = cpu_s * PATIENCE;
    eprintln!("the right table: init's first word after {cpu_s:.1} s of processor time");

    let other = |text: &[u8]| hanzo_attestation::Digest256::of(text);
    for (what, table) in [
        (
            "initrd",
            KernelHashes {
                initrd: other(b"another initrd"),
                ..right
            },
        ),
        (
            "kernel",
            KernelHashes {
                kernel: other(b"another kernel"),
                ..right
            },
        ),
        (
            "command line",
            KernelHashes {
                cmdline: other(b"another line"),
                ..right
            },
        ),
    ] {
        let (booted, used) = bench.boot(&table, patience);
        assert!(!booted, "booted with the hash of another {what}");
        eprintln!("the hash of another {what}: nothing after {used:.1} s of processor time");
    }
}

const PEER: &str = r#"
import sys
from sevsnpmeasure import guest, vcpu_types, vmm_types
from sevsnpmeasure.sev_mode import SevMode
ovmf, kernel, initrd, line = sys.argv[1:5]
for case in sys.argv[5:]:
    vcpus, cpu, features = case.split(",")
    print(guest.calc_launch_digest(SevMode.SEV_SNP, int(vcpus), vcpu_types.CPU_SIGS[cpu], ovmf, kernel, initrd, line,
                                   int(features, 0), vmm_type=vmm_types.VMMType.QEMU).hex())
"#;

#[test]
fn launch_digests_of_the_built_firmware_are_the_peers() {
    let bench = match Bench::new() {
        Ok(bench) => bench,
        Err(why) => return not_tested(&why),
    };
    let firmware = Pins::parse(PINS).unwrap().read(Tee::Snp, &bench.firmware).unwrap();
    let options = SnpOptions {
        cpus: vec![CpuModel::EpycV4, CpuModel::Milan, CpuModel::Genoa],
        processors: vec![1, 2, 16],
        secure_tsc: vec![SecureTsc::Off, SecureTsc::On],
        memory_mib: 512,
    };
    let values = matrix::snp(&bench.image, &bench.firmware, &firmware, &options).unwrap();
    let mut cases = Vec::new();
    for vcpus in &options.processors {
        for cpu in &options.cpus {
            for features in ["0x1", "0x201"] {
                cases.push(format!("{vcpus},{},{features}", cpu.name()));
            }
        }
    }
    let mut python = Command::new("python3");
    if let Some(place) = std::env::var_os("HANZO_SEV_SNP_MEASURE") {
        python.env("PYTHONPATH", place);
    }
    let said = python
        .args(["-c", PEER])
        .args([&bench.firmware, &bench.image.join(KERNEL), &bench.image.join(INITRD)])
        .arg(&bench.command_line)
        .args(&cases)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    if errors.contains("ModuleNotFoundError") {
        return not_tested("PEER MISSING: Python module sevsnpmeasure (HANZO_SEV_SNP_MEASURE)");
    }
    assert!(said.status.success(), "{errors}");
    let theirs = String::from_utf8(said.stdout).unwrap();
    let theirs: Vec<_> = theirs.lines().collect();
    assert_eq!((theirs.len(), values.values().len()), (cases.len(), cases.len()));
    for ((value, theirs), case) in values.values().iter().zip(theirs).zip(&cases) {
        let Measured::Snp { measurement } = value.measured else {
            panic!("a TDX value")
        };
        assert_eq!(measurement.to_string(), theirs, "{case}: {}", value.shape.name);
    }
}

/// Digests of the pinned files by other programs: sev-snp-measure 0.0.13 (EPYC-v4, one processor, no kernel), and 40 lines of
/// Python for MRTD in both orders of pages.
const WITHOUT_KERNEL: &str =
    "cd1d50fe486de70ac9b639cdb81f79847269dac440372455be8ec53772e3a8f66656791fb95ff9c87027a5f46240e422";
const MRTD: [(PageOrder, &str); 2] = [
    (
        PageOrder::SinglePass,
        "9ca6ab7dd418b71bec60d8a8f762498fd62ae5d7b6de00ab35de9b71db32fe0476c7994dad0b6704455b6f8d932e8af4",
    ),
    (
        PageOrder::TwoPass,
        "4f41bf3e198c5f72cae02b6bb2f47dabed23d9f0bc66a702f337794ad89030bc8dbbf4d0383fb1f511ce09e7c54a9618",
    ),
];

#[test]
fn the_built_firmware_is_measured_as_by_other_programs() {
    let pins = Pins::parse(PINS).unwrap();
    let Some(packages) = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from) else {
        return not_tested("HANZO_IMAGE_PACKAGES names no directory for packages and firmware");
    };
    let read = |tee: Tee| {
        let name = format!("{tee}-{}.fd", &pins.platform[&tee].sha256.to_string()[..16]);
        let path = packages.join(&name);
        if !path.exists() {
            not_tested(&format!("no {name}: image/firmware/build {tee} makes it"));
            return None;
        }
        Some(pins.read(tee, &path).unwrap())
    };
    if let Some(bytes) = read(Tee::Snp) {
        let firmware = Firmware::parse(&bytes).unwrap();
        let shape = SnpShape {
            vmm: Vmm::Qemu,
            vcpus: 1,
            cpu: CpuModel::EpycV4.signature(),
            features: GuestFeatures::SNP,
            host: HostKernel::FromLinux6_10,
            tsc: TscFields::default(),
        };
        let launch = SnpLaunch::new(&firmware).unwrap();
        assert_eq!(launch.digest(None, &shape).unwrap().to_string(), WITHOUT_KERNEL);
    }
    if let Some(bytes) = read(Tee::Tdx) {
        let firmware = Firmware::parse(&bytes).unwrap();
        for (order, expected) in MRTD {
            assert_eq!(mrtd(&firmware, order).unwrap().to_string(), expected, "{order:?}");
        }
    }
}
