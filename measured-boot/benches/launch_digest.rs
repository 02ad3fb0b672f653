//! Processor time of SNP launch digests, ours and `sev-snp-measure`'s, over the same files in the same run.
//!
//! `HANZO_SEV_SNP_MEASURE=DIR cargo bench -p hanzo-measured-boot --bench launch_digest --profile dev`, after
//! `pip install --no-deps --target DIR sev-snp-measure==0.0.13`. Without it only ours is timed, and the output says so.
//! Firmware: the file in `HANZO_OVMF_FD`, or a generated image of 4 MiB with AmdSevX64's sections, of which half is blank.

#[path = "../tests/support/image.rs"]
mod image;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hanzo_attestation::name::Name;
use hanzo_measured_boot::firmware::Firmware;
use hanzo_measured_boot::matrix::{BootFiles, Machine, Measured, ReferenceMatrix, SecureTsc, SnpAxes, VmShape};
use hanzo_measured_boot::snp::{CpuModel, GuestFeatures, HostKernel, KernelHashes, SnpLaunch, Vmm};

const CMDLINE: &str = "console=ttyS0 panic=-1 quiet";
/// Sizes of a Debian cloud kernel and of our initrd without an engine.
const KERNEL_BYTES: usize = 11_708_352;
const INITRD_BYTES: usize = 601_856;
const ROUNDS: usize = 7;

/// Each digest once, then processor time of one call and of all.
const PEER: &str = r#"
import sys, time
from sevsnpmeasure import guest, vcpu_types
from sevsnpmeasure.sev_mode import SevMode
folder, with_kernel, rounds = sys.argv[1], sys.argv[2] == "kernel", int(sys.argv[3])
files = (f"{folder}/kernel", f"{folder}/initrd", sys.argv[4]) if with_kernel else (None, None, None)
cases = [line.split() for line in sys.stdin]
def one(vcpus, cpu, features):
    return guest.calc_launch_digest(SevMode.SEV_SNP, int(vcpus), vcpu_types.CPU_SIGS[cpu], f"{folder}/ovmf", *files, int(features))
def best(what):
    times = []
    for _ in range(rounds):
        start = time.process_time(); what(); times.append(time.process_time() - start)
    return min(times)
for case in cases: print(one(*case).hex())
print(best(lambda: one(*cases[0])))
print(best(lambda: [one(*case) for case in cases]))
"#;

/// Its command line, for one digest; processor time of the whole process, from its start.
const PROGRAM: &str = r#"
import sys, time
from sevsnpmeasure import cli
folder, with_kernel = sys.argv[1], sys.argv[2] == "kernel"
boot = ["--kernel", f"{folder}/kernel", "--initrd", f"{folder}/initrd", "--append", sys.argv[4]] if with_kernel else []
sys.argv = ["sev-snp-measure", "--mode", "snp", "--vcpus", "1", "--vcpu-type", "EPYC-Milan", "--ovmf", f"{folder}/ovmf", *boot]
cli.main()
print(time.process_time())
"#;

struct Files {
    ovmf: Vec<u8>,
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    checks_kernels: bool,
}

impl Files {
    fn boot(&self) -> BootFiles<'_> {
        let with = |file| self.checks_kernels.then_some(file);
        BootFiles {
            firmware: &self.ovmf,
            kernel: with(self.kernel.as_slice()),
            initrd: with(self.initrd.as_slice()),
            cmdline: if self.checks_kernels { CMDLINE } else { "" },
        }
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn shapes() -> Vec<VmShape> {
    let axes = SnpAxes {
        image: Name::new("bench").unwrap(),
        vmms: vec![(Vmm::Qemu, Name::new("10.0.2").unwrap())],
        host_kernels: vec![HostKernel::FromLinux6_10],
        vcpus: vec![1, 2, 4, 8],
        cpus: vec![CpuModel::Milan, CpuModel::Genoa],
        ram_mib: 4096,
        guest_features: vec![GuestFeatures::SNP],
        secure_tsc: vec![SecureTsc::Off, SecureTsc::On],
    };
    axes.shapes().unwrap()
}

/// Processor time of this thread: what others run on the machine is not in it. Without Linux' account of it, wall time.
fn on_cpu() -> Option<Duration> {
    // The account is brought up to date when the thread is scheduled.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(account.split(' ').next()?.parse().ok()?))
}

fn best(mut run: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let (cpu, start) = (on_cpu(), Instant::now());
        run();
        let wall = start.elapsed();
        cpu.zip(on_cpu()).map_or(wall, |(from, to)| to.saturating_sub(from))
    });
    times.min().unwrap().as_secs_f64()
}

fn measure(label: &str, files: &Files) {
    let shapes = shapes();
    let boot = files.boot();
    let single = best(|| {
        std::hint::black_box(ReferenceMatrix::predict(&boot, &shapes[..1]).unwrap());
    });
    let all = best(|| {
        std::hint::black_box(ReferenceMatrix::predict(&boot, &shapes).unwrap());
    });
    let with = if files.checks_kernels {
        "kernel, initrd, command line"
    } else {
        "no kernel"
    };
    println!("{label}: firmware {} B, {with}", files.ovmf.len());
    let count = shapes.len();
    let line = |what: String, time: f64| format!("  {what:<58} {:>9.3} ms", 1e3 * time);
    println!("{}", line("ours, one shape".into(), single));
    println!("{}", line(format!("ours, {count} shapes"), all));
    let firmware = Firmware::parse(&files.ovmf).unwrap();
    let pages = best(|| {
        std::hint::black_box(SnpLaunch::new(&firmware).unwrap());
    });
    println!("{}", line("  of which the firmware's pages".into(), pages));
    let hashes = best(|| {
        std::hint::black_box(
            files
                .boot()
                .kernel
                .map(|_| KernelHashes::of(&files.kernel, &files.initrd, CMDLINE)),
        );
    });
    println!("{}", line("  of which SHA-256 of kernel and initrd".into(), hashes));
    let folder = tempfile::tempdir().unwrap();
    let Some(peer) = peer(files, &shapes, folder.path()) else {
        println!("  PEER MISSING: sevsnpmeasure is not installed (see the head of this file): NOT compared");
        return;
    };
    let values = ReferenceMatrix::predict(&boot, &shapes).unwrap();
    let ours = values.values().iter().map(|v| match &v.measured {
        Measured::Snp { measurement } => measurement.to_string(),
        Measured::Tdx { .. } => unreachable!("SNP shapes alone"),
    });
    assert_eq!(ours.collect::<Vec<_>>(), peer.digests, "the two disagree");
    for (what, theirs, ours) in [
        ("one call".to_owned(), peer.single, single),
        (format!("{count} calls in one process"), peer.all, all),
        ("its program once".to_owned(), peer.process, single),
        (
            format!("its program {count} times, as it has to be"),
            peer.process * count as f64,
            all,
        ),
    ] {
        println!(
            "{} {:>7.1} x ours",
            line(format!("sev-snp-measure, {what}"), theirs),
            theirs / ours
        );
    }
}

struct Peer {
    digests: Vec<String>,
    single: f64,
    all: f64,
    process: f64,
}

fn peer(files: &Files, shapes: &[VmShape], folder: &Path) -> Option<Peer> {
    for (name, bytes) in [
        ("ovmf", &files.ovmf),
        ("kernel", &files.kernel),
        ("initrd", &files.initrd),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let mut cases = String::new();
    for shape in shapes {
        let Machine::Snp(machine) = &shape.machine else {
            continue;
        };
        let tsc = if machine.secure_tsc == SecureTsc::On { 0x200 } else { 0 };
        let features = machine.guest_features.bits() | tsc;
        writeln!(cases, "{} {} {features}", machine.vcpus, machine.cpu.name()).unwrap();
    }
    std::fs::write(folder.join("cases"), cases).unwrap();
    let python = |script: &str, rounds: usize| -> Option<Vec<String>> {
        let mut python = Command::new("python3");
        let boot = if files.checks_kernels { "kernel" } else { "none" };
        python
            .arg("-c")
            .arg(script)
            .arg(folder)
            .arg(boot)
            .arg(rounds.to_string())
            .arg(CMDLINE);
        if let Some(place) = std::env::var_os("HANZO_SEV_SNP_MEASURE") {
            python.env("PYTHONPATH", place);
        }
        let cases = std::fs::File::open(folder.join("cases")).ok()?;
        let output = python.stdin(cases).output().ok().filter(|o| o.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    };
    let mut lines = python(PEER, 3)?;
    let all = lines.pop()?.parse().ok()?;
    let single = lines.pop()?.parse().ok()?;
    let mut process = f64::INFINITY;
    for _ in 0..ROUNDS {
        process = process.min(python(PROGRAM, 1)?.pop()?.parse().ok()?);
    }
    Some(Peer {
        digests: lines,
        single,
        all,
        process,
    })
}

fn main() {
    let generated = Files {
        ovmf: image::Image::new(4 << 20).build(),
        kernel: noise(KERNEL_BYTES),
        initrd: noise(INITRD_BYTES),
        checks_kernels: true,
    };
    measure("generated, measured direct boot", &generated);
    let bare = Files {
        checks_kernels: false,
        ..generated
    };
    measure("generated, firmware alone", &bare);
    match std::env::var_os("HANZO_OVMF_FD").map(std::fs::read) {
        Some(Ok(ovmf)) => measure("HANZO_OVMF_FD, firmware alone", &Files { ovmf, ..bare }),
        _ => println!("HANZO_OVMF_FD is not set: no packaged firmware was timed"),
    }
}
