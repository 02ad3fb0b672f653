//! Launches by SEV-SNP and TDX, as far as a machine without either goes: the command line, the values beside it, and
//! everything that is refused before a processor is asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_image::build;
use hanzo_image::confidential::{Host, Launch, Protection};
use hanzo_image::firmware::COMMITTED;
use hanzo_init::Profile;
use hanzo_measured_boot::matrix::{Measured, ReferenceMatrix, SecureTsc};
use hanzo_measured_boot::snp::CpuModel;
use hanzo_measured_boot::snp::id_block::{AuthBlock, IdBlock, IdKey, IdSignature};
use serde_json::Value;

use crate::firmware_image::Image;
use crate::support::{Pantry, config, recipe};

/// An image, a firmware file, and pins that name it for both processors.
struct Bench {
    pantry: Pantry,
    firmware: PathBuf,
    pins: PathBuf,
}

impl Bench {
    fn new() -> Self {
        Self::with(&Image::new(262_144))
    }

    fn with(firmware: &Image) -> Self {
        let pantry = Pantry::new();
        let parts = pantry.parts(Profile::Core).unwrap();
        build(&parts, &recipe(Profile::Core), &pantry.path("out"), &|_| ()).unwrap();
        let bytes = firmware.build();
        let digest = Digest256::of(&bytes).to_string();
        let pins: Vec<_> = COMMITTED
            .split("[platform.")
            .enumerate()
            .map(|(part, text)| match (part, text.split_once("sha256 = ")) {
                (1.., Some((before, _))) => format!("{before}sha256 = \"{digest}\"\n"),
                _ => text.to_owned(),
            })
            .collect();
        let bench = Self {
            firmware: pantry.path("own.fd"),
            pins: pantry.path("pins.toml"),
            pantry,
        };
        fs::write(&bench.firmware, bytes).unwrap();
        fs::write(&bench.pins, pins.join("[platform.")).unwrap();
        bench
    }

    /// Exit code, standard output and standard error; arguments are words.
    fn image(&self, arguments: &str) -> (Option<i32>, String, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_hanzo-image"))
            .args(arguments.split(' '))
            .arg("out")
            .current_dir(self.pantry.dir.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    }

    /// With the bench's own firmware.
    fn own(&self, arguments: &str) -> (Option<i32>, String, String) {
        self.image(&format!("{arguments} --firmware own.fd --firmware-pins pins.toml"))
    }

    fn refused(&self, arguments: &str, code: &str, exit: i32) -> String {
        let (got, said, text) = self.own(arguments);
        assert_eq!(got, Some(exit), "{arguments}: {said}{text}");
        assert!(text.contains(&format!("[{code}]")), "{arguments}: {text}");
        text
    }

    /// What `run --print` prints, without the paths of this run.
    fn printed(&self, arguments: &str) -> String {
        let (code, said, text) = self.own(&format!("run --print --console console.log {arguments}"));
        assert_eq!(code, Some(0), "{text}");
        let dir = fs::canonicalize(self.pantry.dir.path()).unwrap();
        said.replace(dir.to_str().unwrap(), "DIR")
    }
}

fn append() -> String {
    recipe(Profile::Core).command_line().unwrap()
}

#[test]
fn the_command_line_of_an_snp_launch() {
    let bench = Bench::new();
    let said = bench.printed("--launch snp --cpu EPYC-Genoa --processors 4 --port 9443");
    let host_data = STANDARD.encode(Digest256::of(config().as_bytes()).0);
    let (values, command) = said.split_once('\n').unwrap();
    assert!(
        values.starts_with("# core.qemu.6.10.epyc-genoa.4v.f1  MEASUREMENT "),
        "{values}"
    );
    let expected = format!(
        "qemu-system-x86_64 \\
  -no-user-config \\
  -nodefaults \\
  -no-reboot \\
  -machine pc-q35-10.0,smm=off,accel=kvm,confidential-guest-support=sev0,memory-backend=ram1 \\
  -object memory-backend-memfd,id=ram1,size=512M,share=true,prealloc=false \\
  -object sev-snp-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x30000,kernel-hashes=on,host-data={host_data} \\
  -cpu EPYC-Genoa \\
  -smp 4 \\
  -m 512M \\
  -display none \\
  -vga none \\
  -monitor none \\
  -parallel none \\
  -bios DIR/own.fd \\
  -kernel DIR/out/kernel \\
  -initrd DIR/out/initrd.cpio.zst \\
  -append '{}' \\
  -fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=0 \\
  -netdev user,id=net,hostfwd=tcp:127.0.0.1:9443-:8443 \\
  -device virtio-net-pci,netdev=net,addr=1,romfile=,disable-legacy=on,iommu_platform=true \\
  -serial file:DIR/console.log
",
        append()
    );
    assert_eq!(command, expected);
    // Secure TSC is a property of the launch, and another digest.
    let other = bench.printed("--launch snp --cpu EPYC-Genoa --processors 4 --port 9443 --secure-tsc on");
    assert!(
        other.contains(&format!("host-data={host_data},secure-tsc=on \\")),
        "{other}"
    );
    assert_ne!(other.lines().next(), said.lines().next());
}

#[test]
fn the_command_line_of_a_tdx_launch() {
    let bench = Bench::new();
    let said = bench.printed("--launch tdx --quote-port 4050 --memory-mib 2048");
    let id = [Digest256::of(config().as_bytes()).0.as_slice(), &[0; 16]].concat();
    let object = format!(
        "'{{\"qom-type\":\"tdx-guest\",\"id\":\"tdx0\",\"mrconfigid\":\"{}\",\"quote-generation-socket\":{{\"type\":\"vsock\",\
         \"cid\":\"2\",\"port\":\"4050\"}}}}'",
        STANDARD.encode(id)
    );
    let expected = format!(
        "qemu-system-x86_64 \\
  -no-user-config \\
  -nodefaults \\
  -no-reboot \\
  -machine pc-q35-10.0,smm=off,accel=kvm,confidential-guest-support=tdx0,kernel-irqchip=split \\
  -object {object} \\
  -cpu host \\
  -smp 1 \\
  -m 2048M \\
"
    );
    assert!(said.starts_with(&expected), "{said}");
    assert!(
        said.contains("  -bios DIR/own.fd \\\n") && !said.contains("pflash"),
        "{said}"
    );
}

#[test]
fn a_matrix_feeds_the_policy() {
    let bench = Bench::new();
    let arguments =
        "predict --output snp.json --launch snp --cpu EPYC-Milan,EPYC-Genoa --processors 1,2,8 --secure-tsc off,on";
    let (code, said, text) = bench.own(&format!("--json {arguments}"));
    assert_eq!(code, Some(0), "{text}");
    let matrix = ReferenceMatrix::from_canonical(&fs::read(bench.pantry.path("snp.json")).unwrap()).unwrap();
    assert_eq!(matrix.values().len(), 12);
    let said: Value = serde_json::from_str(&said).unwrap();
    let references = said["policy"]["snp"]["references"].as_array().unwrap();
    assert_eq!(references.len(), 12);
    let digest = Digest256::of(config().as_bytes()).to_string();
    for (value, reference) in matrix.values().iter().zip(references) {
        let Measured::Snp { measurement } = value.measured else {
            panic!("a TDX value")
        };
        assert_eq!(reference["measurement"], measurement.to_string());
        assert_eq!(reference["config_digest"], digest);
        assert_eq!(reference["name"], value.shape.name.to_string());
    }
    // One processor less in the list, and a machine that was not predicted is not in the policy.
    let (code, _, _) = bench.own("predict --output one.json --launch snp --cpu EPYC-Milan --processors 1");
    assert_eq!(code, Some(0));
    let one = ReferenceMatrix::from_canonical(&fs::read(bench.pantry.path("one.json")).unwrap()).unwrap();
    assert_eq!(one.values()[0], matrix.values()[0]);
}

#[test]
fn other_firmware_is_neither_launched_nor_measured() {
    let bench = Bench::new();
    for arguments in [
        "run --launch snp --cpu EPYC-Milan",
        "run --print --launch tdx",
        "predict --output never --launch snp --cpu EPYC-Milan",
    ] {
        // The committed pins name other bytes.
        let (code, _, said) = bench.image(&format!("{arguments} --firmware own.fd"));
        assert_eq!(code, Some(10), "{said}");
        assert!(said.contains("[image.firmware.pin]"), "{said}");
        assert!(
            said.contains("own.fd: SHA-256: expected ") && said.contains("image/firmware/build"),
            "{said}"
        );
    }
    assert!(!bench.pantry.path("never").exists());
    let mut bytes = fs::read(&bench.firmware).unwrap();
    bytes[77] ^= 1;
    fs::write(&bench.firmware, bytes).unwrap();
    bench.refused("run --print --launch snp --cpu EPYC-Milan", "image.firmware.pin", 10);
}

#[test]
fn firmware_that_cannot_be_measured_is_refused_though_pinned() {
    // Debian's own OVMF: it would start any kernel.
    let mut without = Image::new(262_144);
    without.sev.retain(|(_, _, kind)| *kind != 0x10);
    let said = Bench::with(&without).refused("run --print --launch snp --cpu EPYC-Milan", "snp.kernel_unchecked", 10);
    assert!(
        said.contains("own.fd: ") && said.contains("SNP_KERNEL_HASHES section"),
        "{said}"
    );
    let mut without = Image::new(262_144);
    without.with_sev = false;
    Bench::with(&without).refused("run --print --launch snp --cpu EPYC-Milan", "firmware.missing", 10);
    let mut without = Image::new(262_144);
    without.with_tdvf = false;
    Bench::with(&without).refused("run --print --launch tdx", "firmware.missing", 10);
    let mut outside = Image::new(262_144);
    outside.tdvf[0].0 = 262_144;
    let said = Bench::with(&outside).refused("run --print --launch tdx", "firmware.section.outside_file", 10);
    assert!(said.contains("own.fd: "), "{said}");
}

#[test]
fn options_that_do_not_fit_together() {
    let bench = Bench::new();
    for arguments in [
        "run --print --launch snp",
        "run --print --launch snp --cpu EPYC-Milan,EPYC-Genoa",
        "run --print --launch snp --cpu EPYC-Milan --processors 1,2",
        "run --print --launch snp --cpu EPYC-Milan --secure-tsc on,off",
        "run --print --launch snp --cpu EPYC-Milan --quote-port 4050",
        "run --print --launch tdx --cpu EPYC-Milan",
        "run --print --launch tdx --tpm tpm",
        "run --launch snp --cpu EPYC-Milan --prediction prediction.json",
        "run --launch tcg",
        "predict --launch snp --output never",
    ] {
        bench.refused(arguments, "image.launch", 1);
    }
    for arguments in [
        "run --print",
        "run --quote-port 4050",
        "run --cpu EPYC-Milan",
        "predict --output never --processors 1,2",
        "run --print --launch snp --cpu EPYC-Milan",
    ] {
        let (code, _, said) = bench.image(arguments);
        assert_eq!(
            (code, said.contains("[image.launch]")),
            (Some(1), true),
            "{arguments}: {said}"
        );
    }
    let (code, _, said) = bench.own("run --print --launch snp --cpu EPYC-9000");
    assert_eq!((code, said.contains("--cpu")), (Some(1), true), "{said}");
    assert!(!bench.pantry.path("never").exists());
}

#[test]
fn a_changed_image_is_not_launched() {
    let bench = Bench::new();
    let kernel = bench.pantry.path("out/kernel");
    fs::write(&kernel, b"MZ another kernel").unwrap();
    for arguments in ["run --print --launch snp --cpu EPYC-Milan", "run --print --launch tdx"] {
        let said = bench.refused(arguments, "image.different", 20);
        assert!(said.contains("kernel: is not what the manifest says"), "{said}");
    }
}

#[test]
fn an_id_block_is_checked_before_the_processor_does() {
    let bench = Bench::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let sign = |message: &[u8]| {
        let signature = pair.sign(&SystemRandom::new(), message).unwrap();
        IdSignature::from_fixed(signature.as_ref()).unwrap()
    };
    let write = |launch_digest, policy| {
        let block = IdBlock {
            launch_digest,
            family_id: [1; 16],
            image_id: [2; 16],
            guest_svn: 3,
            policy,
        };
        let key = IdKey::from_point(pair.public_key().as_ref()).unwrap();
        let auth = AuthBlock::new(key, sign(&block.bytes()), None);
        fs::write(bench.pantry.path("block"), block.bytes()).unwrap();
        fs::write(bench.pantry.path("auth"), auth.bytes()).unwrap();
    };
    let launch = "--launch snp --cpu EPYC-Milan";
    let shown = bench.printed(launch);
    let (_, digest) = shown.lines().next().unwrap().split_once("MEASUREMENT ").unwrap();
    let digest = Digest384::from_hex(digest).unwrap();
    let with_block = format!("{launch} --id-block block --id-auth auth");
    write(digest, 0x3_0000);
    let said = bench.printed(&with_block);
    let block = STANDARD.encode(fs::read(bench.pantry.path("block")).unwrap());
    assert!(said.contains(&format!(",id-block={block},id-auth=")), "{said}");

    let run = format!("run --print {with_block}");
    // Of one processor more.
    let said = bench.refused(&format!("{run} --processors 2"), "image.different", 20);
    assert!(said.contains("the processor would refuse the launch"), "{said}");
    write(digest, 0xb_0000);
    let said = bench.refused(&run, "image.different", 20);
    assert!(said.contains("policy is 0x30000, the ID block says 0xb0000"), "{said}");
    write(digest, 0x3_0000);
    let mut block = fs::read(bench.pantry.path("block")).unwrap();
    block[84] ^= 1;
    fs::write(bench.pantry.path("block"), &block).unwrap();
    bench.refused(&run, "snp.id_block.signature", 10);
    fs::write(bench.pantry.path("block"), &block[1..]).unwrap();
    bench.refused(&run, "snp.id_block.length", 10);
    let (code, _, said) = bench.own(&format!("run --print {launch} --id-block block"));
    assert_eq!((code, said.contains("--id-auth")), (Some(1), true), "{said}");
}

/// A host with these files below its root.
fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn launch(protection: Protection) -> Launch {
    Launch {
        protection,
        firmware: "own.fd".into(),
    }
}

fn snp(secure_tsc: SecureTsc) -> Launch {
    launch(Protection::Snp {
        cpu: CpuModel::Milan,
        secure_tsc,
        id_block: None,
    })
}

#[test]
fn what_a_host_lacks_is_named_with_what_to_do() {
    const KVM: (&str, &str) = ("dev/kvm", "");
    const SEV: (&str, &str) = ("dev/sev", "");
    const SNP: (&str, &str) = ("sys/module/kvm_amd/parameters/sev_snp", "Y\n");
    const TDX: (&str, &str) = ("sys/module/kvm_intel/parameters/tdx", "Y\n");
    let tdx = launch(Protection::Tdx { quote_port: None });
    let says = |files: &[(&str, &str)], launch: &Launch| {
        let error = Host::at(host(files).path()).check(launch).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("image.host", 1), "{error}");
        error.to_string()
    };
    let text = says(&[], &snp(SecureTsc::Off));
    assert!(
        text.contains("/dev/kvm: expected a device") && text.contains("join the group kvm"),
        "{text}"
    );
    let text = says(&[KVM], &snp(SecureTsc::Off));
    assert!(
        text.contains("parameters/sev_snp: expected Y") && text.contains("kvm_amd.sev_snp=1"),
        "{text}"
    );
    let text = says(&[KVM, (SNP.0, "N\n")], &snp(SecureTsc::Off));
    assert!(text.contains("got \"N\""), "{text}");
    let text = says(&[KVM, SNP], &snp(SecureTsc::Off));
    assert!(text.contains("/dev/sev: expected a device"), "{text}");
    let text = says(&[KVM, SNP, SEV], &tdx);
    assert!(
        text.contains("parameters/tdx: expected Y") && text.contains("kvm_intel.tdx=1"),
        "{text}"
    );

    let has = |object: &str| {
        let asked = Command::new("qemu-system-x86_64")
            .args(["-machine", "none", "-object", object])
            .output();
        asked
            .ok()
            .map(|done| String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let Some(objects) = has("help") else {
        eprintln!("QEMU MISSING: what it lacks for SNP and TDX was not looked for");
        return;
    };
    let root = host(&[KVM, SNP, SEV, TDX]);
    let host = Host::at(root.path());
    assert_eq!(host.check(&tdx).is_ok(), objects.contains("tdx-guest"));
    assert_eq!(
        host.check(&snp(SecureTsc::Off)).is_ok(),
        objects.contains("sev-snp-guest")
    );
    let properties = has("sev-snp-guest,help").unwrap_or_default();
    let outcome = host.check(&snp(SecureTsc::On));
    assert_eq!(outcome.is_ok(), properties.contains("secure-tsc="));
    if let Err(error) = outcome {
        assert!(error.to_string().contains("leave --secure-tsc out"), "{error}");
    }
}

#[test]
fn this_machine_says_why_it_launches_nothing() {
    let is_host = |module: &str| Path::new("/sys/module").join(module).exists();
    if is_host("kvm_amd/parameters/sev_snp") || is_host("kvm_intel/parameters/tdx") {
        eprintln!("THIS HOST MAY HAVE A TEE: that its absence is named was not tested here");
        return;
    }
    let bench = Bench::new();
    for arguments in ["run --launch snp --cpu EPYC-Milan", "run --launch tdx"] {
        let said = bench.refused(arguments, "image.host", 1);
        assert!(said.starts_with("hanzo-image: this host: /"), "{said}");
        assert!(!bench.pantry.path("console.log").exists(), "nothing was started");
    }
}

/// The printed command through a shell: QEMU takes every option of it and ends at the host's KVM, which has no SNP.
#[test]
fn qemu_reads_the_command_line_of_an_snp_launch() {
    let version = Command::new("qemu-system-x86_64").arg("--version").output();
    if !version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("version 1")) {
        eprintln!("QEMU MISSING: whether it reads the command line of an SNP launch was not tested");
        return;
    }
    if Path::new("/sys/module/kvm_amd/parameters/sev_snp").exists() || !Path::new("/dev/kvm").exists() {
        eprintln!("NO KVM WITHOUT SNP HERE: whether QEMU reads the command line of an SNP launch was not tested");
        return;
    }
    let bench = Bench::new();
    let (_, command, _) = bench.own("run --print --console console.log --launch snp --cpu EPYC-Milan --port 0");
    let ends = |command: &str| {
        let done = Command::new("timeout")
            .args(["60", "sh", "-c", command])
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    let said = ends(&command);
    assert!(
        said.contains("KVM") && !said.contains("arameter") && !said.contains("roperty"),
        "{said}"
    );
    // One letter of one property.
    let said = ends(&command.replace("kernel-hashes", "kernel-hash"));
    assert!(said.contains("Invalid parameter 'kernel-hash'"), "{said}");
}
