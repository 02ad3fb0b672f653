//! One real boot of a unified kernel image from a disk: firmware, stub and kernel measure what was predicted of the file.
//!
//! Needs QEMU 10, swtpm, the static `hanzo-guest` in this target directory, and `HANZO_IMAGE_PACKAGES`: a directory with the
//! pinned packages, or one they may be fetched into. Says loudly which of them is missing. The image is a `debug` one: its
//! shell shows the TPM's registers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hanzo_image::assemble::{FIRMWARE, Parts, VARIABLES};
use hanzo_image::fetch::{MIRROR, Source};
use hanzo_image::inputs::COMMITTED;
use hanzo_image::uki::{self, Contents};
use hanzo_image::{Inputs, Recipe, build};
use hanzo_init::{Network, Profile};
use hanzo_measured_boot::{Digests, efi};

/// Processor time after which a silent guest counts as hung.
const CPU_MAX_S: f64 = 90.0;
const BOOT_MAX: Duration = Duration::from_secs(400);
const TICKS_PER_S: f64 = 100.0;
const ASK: &str = "for i in 4 9 11 12; do for b in sha256 sha384; do read v < /sys/class/tpm/tpm0/pcr-$b/$i; echo \
                   \"register $b $i $v.\"; done; done\n";

fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "NO UNIFIED IMAGE WAS BOOTED: {why}");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[String], piped: bool) -> Killed {
    let pipe = || if piped { Stdio::piped() } else { Stdio::null() };
    let child = Command::new("setsid")
        .args(["setpriv", "--pdeathsig", "KILL", program])
        .args(arguments)
        .stdin(pipe())
        .stdout(pipe())
        .spawn();
    Killed(child.unwrap())
}

fn cpu_s(child: &Child) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_S)
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn recipe() -> Recipe {
    let (ml_dsa, ed25519, root) = ("00".repeat(1952), "00".repeat(32), "11".repeat(32));
    let config = format!(
        "version = 1\noperator = \"o\"\nimage = \"dev\"\nrequired_tier = 1\nkeyset_lifetime_s = 3600\nauth = \"none\"\n\
         [kbs]\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{ml_dsa}\"\n\
         ed25519 = \"{ed25519}\"\n[store]\nid = \"s\"\nkey_id = \"t/store/s\"\n[[models]]\nname = \"m\"\n\
         weights_root = \"{root}\"\nkey_id = \"t/model/m\"\ncontext_tokens = 512\n[limits]\n\
         body_bytes_max = 65536\nconcurrent_requests = 2\nrequest_timeout_s = 60\n"
    );
    let network = Network {
        interface: "eth0".into(),
        address: "10.0.2.15".parse().unwrap(),
        prefix: 24,
        gateway: Some("10.0.2.2".parse().unwrap()),
    };
    let (listen, kbs) = ("0.0.0.0:8443".parse().unwrap(), "10.0.2.2:8080".parse().unwrap());
    Recipe::new(Profile::Debug, config, listen, kbs, network).unwrap()
}

/// Boots from a disk with this directory's files and asks the guest's shell for the registers: its whole console.
fn console(image: &Path, disk: &Path, state: &Path) -> String {
    let at = |name: &str| state.join(name).display().to_string();
    fs::create_dir(at("tpm")).unwrap();
    let made = Command::new("swtpm_setup")
        .args(words(&format!(
            "--tpm2 --tpmstate {} --createek --pcr-banks sha256,sha384 --overwrite",
            at("tpm")
        )))
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let tpm = format!(
        "socket --tpm2 --tpmstate dir={} --ctrl type=unixio,path={} --terminate",
        at("tpm"),
        at("sock")
    );
    let _tpm = start("swtpm", &words(&tpm), false);
    while !Path::new(&at("sock")).exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::copy(image.join(VARIABLES), at("vars")).unwrap();
    let arguments = format!(
        "-no-user-config -nodefaults -no-reboot -machine pc-q35-10.0,smm=off,accel=tcg -cpu max -m 768 -display none -vga none \
         -monitor none -serial stdio -drive if=pflash,unit=0,format=raw,readonly=on,file={} \
         -drive if=pflash,unit=1,format=raw,file={} -drive if=none,id=disk,format=raw,readonly=on,file=fat:{} \
         -device virtio-blk-pci,drive=disk,addr=2,romfile=,bootindex=0 -netdev user,id=net,restrict=on \
         -device virtio-net-pci,netdev=net,addr=1,romfile= -chardev socket,id=tpm,path={} -tpmdev \
         emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm",
        image.join(FIRMWARE).display(),
        at("vars"),
        disk.display(),
        at("sock"),
    );
    let mut qemu = start("qemu-system-x86_64", &words(&arguments), true);
    let (mut input, mut output) = (qemu.0.stdin.take().unwrap(), qemu.0.stdout.take().unwrap());
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            heard.lock().unwrap().extend(&bytes[..count]);
        }
    });
    let (started, mut asked) = (Instant::now(), false);
    loop {
        let text = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
        let last = text.split_once("register sha384 12 ");
        if last.is_some_and(|(_, value)| value.contains('.')) {
            return text;
        }
        if !asked && text.contains("its shell stays") {
            // Its prompt comes a moment later.
            std::thread::sleep(Duration::from_secs(1));
            input.write_all(ASK.as_bytes()).unwrap();
            asked = true;
        }
        let used = cpu_s(&qemu.0).unwrap_or_default();
        assert!(qemu.0.try_wait().unwrap().is_none(), "QEMU ended: {text}");
        assert!(
            used < CPU_MAX_S && started.elapsed() < BOOT_MAX,
            "after {used:.0} s of processor time: {text}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A register that begins with zeros and takes these.
fn extended(digests: &[Digests]) -> (String, String) {
    let (mut sha256, mut sha384) = ([0; 32], [0; 48]);
    for digest in digests {
        sha256 = hanzo_measured_boot::sha256(&[&sha256, &digest.sha256.0]).0;
        sha384 = hanzo_measured_boot::sha384(&[&sha384, &digest.sha384.0]).0;
    }
    (
        hanzo_attestation::Digest256(sha256).to_string(),
        hanzo_attestation::Digest384(sha384).to_string(),
    )
}

#[test]
fn a_unified_image_measures_what_was_predicted_of_its_file() {
    let Some(packages) = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from) else {
        return not_tested("HANZO_IMAGE_PACKAGES names no directory for the pinned packages");
    };
    let here = std::env::current_exe().unwrap();
    let target = here.ancestors().nth(3).unwrap();
    let guest = target.join("x86_64-unknown-linux-gnu/release/hanzo-guest");
    if !guest.exists() {
        return not_tested("no static hanzo-guest in this target directory");
    }
    for (tool, option) in [
        ("qemu-system-x86_64", "--version"),
        ("swtpm", "--version"),
        ("swtpm_setup", "--version"),
    ] {
        let said = Command::new(tool).arg(option).output();
        if !said.is_ok_and(|said| {
            tool != "qemu-system-x86_64" || String::from_utf8_lossy(&said.stdout).contains("version 1")
        }) {
            return not_tested(&format!("no {tool}, or too old a one"));
        }
    }
    let inputs = Inputs::parse(COMMITTED).unwrap();
    let source = Source::Archive {
        kept: std::path::absolute(packages).unwrap(),
        mirror: MIRROR.into(),
    };
    let gone = |error: &hanzo_image::ImageError| error.code() == "image.package.gone";
    let parts = match Parts::gather(inputs.clone(), &source, Profile::Debug, &guest, None, &|_| ()) {
        Err(error) if gone(&error) => return not_tested(&error.to_string()),
        parts => parts.unwrap(),
    };
    let dir = tempfile::tempdir().unwrap();
    let (image, disk) = (dir.path().join("image"), dir.path().join("disk"));
    build(&parts, &recipe(), &image, &|_| ()).unwrap();
    fs::create_dir_all(disk.join("EFI/BOOT")).unwrap();
    let file = disk.join("EFI/BOOT/BOOTX64.EFI");
    let made = match uki::make(&image, &file, &inputs, &source, &|_| ()) {
        Err(error) if gone(&error) => return not_tested(&error.to_string()),
        made => made.unwrap(),
    };
    eprint!("{made}");
    let text = console(&image, &disk, dir.path());
    let shown = |bank: &str, index: u32| {
        let found = text.lines().rev().find_map(|line| {
            let value = line.trim().strip_prefix(&format!("register {bank} {index} "))?;
            Some(value.trim_end_matches('.').to_ascii_lowercase())
        });
        found.unwrap_or_else(|| panic!("no PCR {index}: {text}"))
    };
    let both = |index: u32| (shown("sha256", index), shown("sha384", index));
    let pair = |digests: Digests| (digests.sha256.to_string(), digests.sha384.to_string());
    assert_eq!(both(11), pair(made.measured.pcr11), "PCR 11");
    assert_eq!(both(9), pair(made.measured.pcr9), "PCR 9");
    assert_eq!(both(12), ("00".repeat(32), "00".repeat(48)), "PCR 12");
    // From a disk, the firmware tells that it calls before it loads.
    let (calling, separator) = (Digests::of(efi::CALLING_APPLICATION), Digests::of(&efi::SEPARATOR));
    let pcr4 = extended(&[calling, separator, made.measured.image, made.measured.kernel]);
    assert_eq!(both(4), pcr4, "PCR 4");

    // Of one word more on the command line nothing of this would be true.
    let mut other = Contents::of(&image).unwrap();
    other.command_line += " debug";
    let stub = uki::stub(&source, &inputs.stub).unwrap();
    let other = uki::measured(&other.write(&stub).unwrap()).unwrap();
    assert_ne!(both(9), pair(other.pcr9));
    assert_ne!(both(11), pair(other.pcr11));
    assert_ne!(made.measured.image, other.image);
}
