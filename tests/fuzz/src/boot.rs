//! What a machine is going to boot: images, kernels and initrds, prediction files and logs beside them.

#[path = "../../../measured-boot/tests/logs/images.rs"]
mod images;

use std::sync::LazyLock;

use hanzo_attestation::eventlog::Algorithm;
use hanzo_measured_boot::crtm::Crtm;
use hanzo_measured_boot::event::Platform;
use hanzo_measured_boot::explain::{explain_log, explain_registers};
use hanzo_measured_boot::kernel::{Handover, Initrd, Kernel, Patch, handed_over};
use hanzo_measured_boot::pe::{Padding, Pe};
use hanzo_measured_boot::prediction::Prediction;
use hanzo_measured_boot::replay::Replay;
use hanzo_measured_boot::uki::Uki;

/// A prediction that a reader accepts.
pub const PREDICTION: &[u8] = include_bytes!("../../../measured-boot/tests/vectors/prediction.json");

/// A PE image.
pub fn pe(data: &[u8]) {
    let Ok(pe) = Pe::parse(data) else { return };
    let (measured, signed) = (pe.authenticode(Padding::AsMeasured), pe.authenticode(Padding::AsSigned));
    // A certificate table ends the file, so a signed image of whole words is measured as it was signed.
    if data.len().is_multiple_of(8) && !pe.is_signed() {
        assert_eq!(measured, signed);
    }
}

/// A kernel, and the same bytes as an initrd.
pub fn kernel(data: &[u8]) {
    let _ = Initrd::parse(data);
    let Ok(kernel) = Kernel::parse(data) else { return };
    let patch = |initrd_bytes| {
        Handover::Patched(Patch {
            memory_bytes: 512 << 20,
            initrd_bytes,
        })
    };
    for handover in [Handover::Raw, patch(None), patch(Some(4096))] {
        if let Ok(handed) = handed_over(&kernel, "quiet", handover) {
            assert_eq!(handed.len(), data.len());
            let _ = Pe::parse(&handed);
        }
    }
}

/// A unified kernel image.
pub fn uki(data: &[u8]) {
    let Ok(uki) = Uki::parse(data) else { return };
    assert!(uki.measured().len() <= hanzo_measured_boot::uki::MEASURED.len());
    assert!(uki.section(".linux").is_some());
}

/// A prediction file; and the same bytes as a log that is compared with a prediction.
pub fn prediction(data: &[u8]) {
    static EXPECTED: LazyLock<Option<Prediction>> = LazyLock::new(|| Prediction::from_slice(PREDICTION).ok());
    if let Ok(prediction) = Prediction::from_slice(data) {
        // What was read is what is written: one spelling.
        assert_eq!(prediction.to_vec().ok().as_deref(), Some(data));
    }
    for platform in [Platform::Tpm, Platform::Tdx] {
        let (Ok(replay), Some(expected)) = (Replay::of(data, platform), EXPECTED.as_ref()) else {
            continue;
        };
        let _ = Crtm::recorded_in(&replay.log);
        for (bank, values) in &replay.banks {
            let found = explain_log(expected, &replay, *bank, &[]);
            let by_value = explain_registers(expected, values, *bank, &[]);
            // A log without a difference leads to the predicted registers.
            if let (Ok(found), Ok(by_value), Algorithm::Sha256) = (found, by_value, bank) {
                assert!(!found.is_empty() || by_value.is_empty());
            }
        }
    }
}

/// Images of our own.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let sections = || {
        [
            images::section(".text", &[1; 32]),
            images::section(".cmdline", b"quiet"),
            images::section(".osrel", b"ID=hanzo\n"),
            images::section(".linux", &images::kernel(&[4; 64])),
            images::section(".initrd", &images::cpio("init", &images::elf(62))),
        ]
    };
    let image = images::pe(&sections(), b"");
    vec![
        ("pe", "plain", images::pe(&sections(), b"tail")),
        ("pe", "signed", images::signed(image.clone(), &[7; 24])),
        ("uki", "image", image),
        ("kernel", "kernel", images::kernel(&[4; 64])),
        ("kernel", "initrd", images::cpio("init", &images::elf(62))),
        ("prediction", "prediction", PREDICTION.to_vec()),
    ]
}
