//! A second recorded boot: QEMU 10.0.2 with OVMF 2022.11 (Debian's ovmf 2022.11-6+deb12u2), swtpm, the same kernel as in
//! `local.rs` without initrd. Its log was read from the guest's memory, the machine has 256 MiB.

use hanzo_attestation::Digest256;
use hanzo_attestation::eventlog::{Algorithm, EventLog};
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::crtm::{Crtm, Profile};
use hanzo_measured_boot::efi;
use hanzo_measured_boot::kernel::{Handover, Kernel, Patch, handed_over};
use hanzo_measured_boot::pcr::{BootImage, BootVariables, TpmBoot};
use hanzo_measured_boot::pe::{Padding, Pe};

use crate::local::pair;

const LOG: &[u8] = include_bytes!("../vectors/ovmf-2022.11.eventlog.bin");
const COMMAND_LINE: &str = "console=ttyS0 panic=0";

/// Of the kernel with QEMU's patches for this machine.
fn patched_kernel() -> Digests {
    pair(
        "d5965defb9b64ef1a4e0435920a509b04a31ddc221f5c44da09a3ef5320ac4d6",
        "01d54675109d69ebf9d45a51ac38084ec4ad6c9f0d76a2ad345527e1bee33bde7680a1e0593845646be3982f5cf520d4",
    )
}

fn known() -> Crtm {
    let file = "7b456907dd0786d415999e801a1ac4637b8ed4d7cf5378cfc6edbe5e574dd773";
    Crtm::known(&Digest256::from_hex(file).unwrap()).unwrap()
}

#[test]
fn old_firmware_measures_no_acpi_and_the_patched_kernel() {
    let log = EventLog::parse_tcg(LOG).unwrap();
    assert_eq!(Crtm::recorded_in(&log).unwrap(), known());
    let boot = TpmBoot {
        crtm: known(),
        secure_boot: efi::no_secure_boot(Profile::Ovmf2022_11),
        acpi: None,
        boot_variables: BootVariables::default(),
        image: BootImage::Direct {
            kernel: patched_kernel(),
            load_options: Digests::of(&efi::load_options(COMMAND_LINE, false).unwrap()),
            initrd: None,
        },
    };
    let events = boot.events();
    assert_eq!(log.events().len(), events.len());
    for (got, expected) in log.events().iter().zip(&events) {
        assert_eq!((got.register, got.kind), (expected.register, expected.kind));
        for bank in [Algorithm::Sha256, Algorithm::Sha384] {
            assert_eq!(Some(&got.digests[&bank][..]), expected.digest(bank), "{expected:?}");
        }
    }
}

#[test]
fn a_recorded_log_of_another_kind_of_firmware_is_refused() {
    let code = |bytes: &[u8]| {
        let log = EventLog::parse_tcg(bytes).unwrap();
        Crtm::recorded_in(&log).map_or_else(|e| e.code(), |_| "accepted")
    };
    assert_eq!(code(LOG), "accepted");
    // One byte of the digest of SecureBoot: neither of the two kinds.
    let sha384 = efi::no_secure_boot(Profile::Ovmf2022_11)[0].sha384.0;
    let at = LOG.windows(48).position(|w| w == sha384).unwrap();
    let mut other = LOG.to_vec();
    other[at] ^= 1;
    assert_eq!(code(&other), "crtm.log");
    // An option ROM or a second version string in PCR 0; no volume.
    let machine = crate::machine::Machine::new();
    let events = machine.boot().events();
    assert_eq!(code(&crate::machine::log_of(&events)), "accepted");
    for place in [0, 1] {
        let mut other = events.clone();
        other.insert(3, events[place].clone());
        other[3].kind = if place == 0 { 8 } else { 0x8000_0003 };
        assert_eq!(code(&crate::machine::log_of(&other)), "crtm.log");
    }
    assert_eq!(
        code(&crate::machine::log_of(&[&events[..1], &events[3..]].concat())),
        "crtm.log"
    );
    assert_eq!(code(&crate::machine::log_of(&events[1..])), "crtm.log");
}

#[test]
fn the_patched_hash_of_the_real_kernel_is_computed_from_its_file() {
    let Some(path) = std::env::var_os("HANZO_TEST_VMLINUZ") else {
        eprintln!("HANZO_TEST_VMLINUZ is not set: the hash of the patched real kernel was NOT computed");
        return;
    };
    let file = std::fs::read(path).unwrap();
    let kernel = Kernel::parse(&file).unwrap();
    let patch = Handover::Patched(Patch {
        memory_bytes: 256 << 20,
        initrd_bytes: None,
    });
    let patched = handed_over(&kernel, COMMAND_LINE, patch).unwrap();
    assert_eq!(
        Pe::parse(&patched).unwrap().authenticode(Padding::AsMeasured),
        patched_kernel()
    );
}
