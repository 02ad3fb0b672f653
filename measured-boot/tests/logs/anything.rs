//! No bytes make a reader panic, and none makes it hold more than a few copies of them.

use hanzo_measured_boot::kernel::{Handover, Initrd, Kernel, Patch, handed_over};
use hanzo_measured_boot::pe::{Padding, Pe};
use hanzo_measured_boot::prediction::Prediction;
use hanzo_measured_boot::uki::Uki;
use proptest::prelude::*;

use crate::images::{cpio, elf, kernel, pe, section, signed};

fn read(bytes: &[u8]) {
    if let Ok(pe) = Pe::parse(bytes) {
        pe.authenticode(Padding::AsMeasured);
        pe.authenticode(Padding::AsSigned);
    }
    if let Ok(uki) = Uki::parse(bytes) {
        uki.measured();
    }
    let patch = Patch {
        memory_bytes: 512 << 20,
        initrd_bytes: Some(4096),
    };
    if let Ok(kernel) = Kernel::parse(bytes) {
        let patched = handed_over(&kernel, "quiet", Handover::Patched(patch));
        assert!(patched.is_err() || patched.is_ok_and(|p| p.len() == bytes.len()));
    }
    let _ = Initrd::parse(bytes);
    let _ = Prediction::from_slice(bytes);
}

fn seeds() -> Vec<Vec<u8>> {
    let sections = [
        section(".linux", &[1; 64]),
        section(".osrel", &[2; 32]),
        section(".text", &[3; 16]),
    ];
    vec![
        signed(pe(&sections, b"tail"), &[7; 16]),
        kernel(&[4; 64]),
        cpio("init", &elf(62)),
        include_bytes!("../vectors/prediction.json").to_vec(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_and_cut_ends_are_read_or_refused(
        seed in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = seeds().swap_remove(seed);
        for (place, value) in changes {
            let place = place.index(bytes.len().min(0x500));
            bytes[place] = value;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        read(&bytes);
    }

    #[test]
    fn noise_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        read(&bytes);
    }
}
