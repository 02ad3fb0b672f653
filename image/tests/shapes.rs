//! Machines whose PCR 1 was written down before they booted, then read from their TPM (QEMU 10.0.2, OVMF
//! 2025.02-8+deb13u1): asked of this machine's QEMU, the same values come out. No guest runs here.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use hanzo_attestation::Digest256;
use hanzo_image::board::{Bars, Board, blobs, cpu_of};
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::acpi::AcpiBlobs;
use hanzo_measured_boot::crtm::{Crtm, Profile};
use hanzo_measured_boot::efi;
use hanzo_measured_boot::event::{Platform, registers_of};
use hanzo_measured_boot::pcr::{BootImage, BootVariables, TpmBoot};

/// The firmware of all of them.
const OVMF: &str = "624e06de18b4fa535e90db7160d00d3d07d206422b89999bf1e27d920264e4e0";
const NET: &str = "virtio-net-pci,netdev=net,addr=1";
const LOW: &str = "name=opt/ovmf/X-PciMmio64Mb,string=0";

fn board(memory_mib: u64, processors: u32, devices: &[&str], bars: Bars) -> Board {
    let mut arguments = vec![
        "-nodefaults".to_owned(),
        "-machine".into(),
        "q35,smm=off".into(),
        "-m".into(),
        memory_mib.to_string(),
        "-smp".into(),
        processors.to_string(),
        "-netdev".into(),
        "user,id=net".into(),
    ];
    for device in devices {
        arguments.extend(["-device".to_owned(), (*device).to_owned()]);
    }
    if bars == Bars::Low {
        arguments.extend(["-fw_cfg".to_owned(), LOW.to_owned()]);
    }
    Board {
        arguments,
        memory_bytes: memory_mib << 20,
        bars,
    }
}

/// The first 8 bytes of etc/acpi/tables' SHA-256 and of PCR 1 in both banks.
fn measured(blobs: &BTreeMap<&str, Vec<u8>>) -> [String; 3] {
    let acpi = AcpiBlobs {
        loader: &blobs["etc/table-loader"],
        rsdp: &blobs["etc/acpi/rsdp"],
        tpm_log: Some(&blobs["etc/tpm/log"]),
        tables: &blobs["etc/acpi/tables"],
    };
    let digests = acpi.digests().unwrap();
    let nothing = Digests::of(&[]);
    let boot = TpmBoot {
        crtm: Crtm::known(&Digest256::from_hex(OVMF).unwrap()).unwrap(),
        secure_boot: efi::no_secure_boot(Profile::Ovmf2025_02),
        acpi: Some(digests),
        boot_variables: BootVariables::default(),
        image: BootImage::Direct {
            kernel: nothing,
            load_options: nothing,
            initrd: None,
        },
    };
    let mut events = boot.events();
    events.retain(|event| event.register == 1);
    let pcr1 = registers_of(Platform::Tpm, &[1], &events)[0];
    let start = |text: String| text[..16].to_owned();
    [
        start(digests.tables.sha256.to_string()),
        start(pcr1.sha256.unwrap().to_string()),
        start(pcr1.sha384.to_string()),
    ]
}

/// True if the tables are the ones that this QEMU makes.
fn is_the_recorded_qemu() -> bool {
    let said = Command::new("qemu-system-x86_64").arg("--version").output();
    let said = said.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    said.is_ok_and(|said| said.starts_with("QEMU emulator version 10.0.2 "))
}

#[test]
fn pcr_1_of_the_recorded_machines_is_predicted_exactly() {
    if !is_the_recorded_qemu() {
        let _ = writeln!(
            std::io::stderr(),
            "NOT COMPARED: expected QEMU 10.0.2: other versions make other tables"
        );
        return;
    }
    let window = |model| Bars::Window(cpu_of(model).unwrap());
    let b = ["319514a4ab007128", "871c2447f1f7e258", "9c5a7ffa251f0aa9"];
    let shapes = [
        (
            "A: one device in the window",
            board(512, 1, &[NET], window("qemu64")),
            ["84e76ac1a5ebc3a4", "64ec3a3119159fe1", "83d58ad17ad16981"],
        ),
        ("B: no window, as our machines", board(512, 1, &[NET], Bars::Low), b),
        (
            "C: no 64-bit BAR",
            board(
                512,
                1,
                &["virtio-net-pci,netdev=net,addr=1,disable-modern=on"],
                window("qemu64"),
            ),
            b,
        ),
        (
            "D: two devices, two processors, 2 GiB",
            board(2048, 2, &[NET, "virtio-rng-pci,addr=2"], window("qemu64")),
            ["c07bcd2ae8d4b298", "beb30b5fd08e747d", "cb12e58fb81ce0a9"],
        ),
        (
            "E: an Intel model with 4 GiB",
            {
                let mut board = board(4096, 1, &[NET], window("Haswell"));
                board.arguments.extend(["-cpu".to_owned(), "Haswell".to_owned()]);
                board
            },
            ["b2d45b0f4b72db8e", "ad78c855afa299fc", "afdd9e5bfc15e2b2"],
        ),
    ];
    for (name, board, expected) in shapes {
        let found = match blobs(&board) {
            Err(error) if error.code() == "image.tool" && error.to_string().contains("swtpm") => {
                let _ = writeln!(std::io::stderr(), "NOT COMPARED: {error}");
                return;
            }
            found => found.unwrap(),
        };
        assert_eq!(measured(&found), expected, "{name}");
    }
    // Where the firmware puts a BAR shows: A without its replay is B.
    let paused = Board {
        bars: Bars::Low,
        ..board(512, 1, &[NET], window("qemu64"))
    };
    assert_eq!(measured(&blobs(&paused).unwrap()), b);
}
