//! TDX: RTMR0 to RTMR2 of a real quote from what is on record of its inputs.

use hanzo_attestation::Digest384;
use hanzo_measured_boot::crtm::Profile;
use hanzo_measured_boot::efi;
use hanzo_measured_boot::event::{Platform, mr_index, registers_of};
use hanzo_measured_boot::rtmr::{AcceptedMemory, PREDICTED, TdBoot, TdImage, td_hob};
use hanzo_measured_boot::{Digests, sha384};

use crate::vectors::vector;

/// Memory sections of OVMF before edk2-stable202505.
const ACCEPTED: [AcceptedMemory; 4] = [
    AcceptedMemory {
        start: 0x81_0000,
        bytes: 0x1_0000,
    },
    AcceptedMemory {
        start: 0x80_b000,
        bytes: 0x2000,
    },
    AcceptedMemory {
        start: 0x80_9000,
        bytes: 0x2000,
    },
    AcceptedMemory {
        start: 0x80_0000,
        bytes: 0x6000,
    },
];
const HOB_AT: u64 = 0x80_9000;

fn hex(text: &str) -> Digest384 {
    Digest384::from_hex(text).unwrap()
}

/// dstack 0.6.0, 2 vCPUs, 2 GiB, QEMU 8.2.2. The digests of ACPI blobs, kernel, command line and initrd are those that its
/// log and its image's own list name.
pub fn boot() -> TdBoot {
    let boot = hanzo_measured_boot::pcr::BootVariables::default();
    TdBoot {
        td_hob: sha384(&[&td_hob(HOB_AT, &ACCEPTED, 2 << 30).unwrap()]),
        configuration_volume: hex(
            "344bc51c980ba621aaa00da3ed7436f7d6e549197dfe699515dfa2c6583d95e6412af21c097d473155875ffd561d6790",
        ),
        secure_boot: efi::no_secure_boot(Profile::Ovmf2025_02).map(|d| d.sha384),
        acpi_loader: hex(
            "095d04cf26fe03aef6e3561fa24c1aa1cea93f4aeaf563b1f9f7616184c53454875925759434769cec2490acb563a337",
        ),
        acpi_rsdp: hex(
            "8d9a4d4777a1bc77ecd9d8d37a4628129a80052a510320159a20a923bd07a0e90d8d1f2e1ebf088992b25f0d0fa672ef",
        ),
        acpi_tpm_log: None,
        acpi_tables: hex(
            "3070721e169bc41884724cb0e6b3082e1baf249083d8b389181ba50b9afa951057876c380b8870e8c2facf2eff67a2b6",
        ),
        boot_order: boot.order.sha384,
        boot_options: boot.options.iter().map(|d| d.sha384).collect(),
        image: TdImage::Direct {
            kernel: hex(
                "ac7e632dcf5cd2a1fe5c1f41f4d9b8219570e64ed3c61038fdbf25404e6f542ffd57f276bc5076307efaf882e6d64177",
            ),
            load_options: hex(
                "786280842b7364287a3a70d96f7e309252857beb45fb1f91314a2ea863db0adc04c8431ecbf29a966405604631a5aab8",
            ),
            initrd: Some(hex(
                "4fe4f7710134a61d7def357add6ac50bdbfeee5032a4c100375e207216ffe42a3bd5822b24e679f91501fff795b81521",
            )),
        },
    }
}

/// RTMR0 to RTMR2 of that machine's quote.
pub const QUOTED: [&str; 3] = [
    "f8438db36b96f85d8752ff7f24a89ec05c79ec9eda2ba732c897fb970ca429365b7471b1c054cb84f17b1c2b23ba6640",
    "2023546e7f3b9d1228e274f70c44d481162540f8452544520a796a52f06879709b81a824a26792a7822327504b0d2aee",
    "4c1b739ed451a637b0f82642e48a5ea83925d23633c72e7385c8e9aca4175e133ed1625b7d92eb39edf509c27ff392dc",
];

#[test]
fn the_predicted_rtmrs_are_those_of_a_real_quote() {
    let values = registers_of(Platform::Tdx, &PREDICTED, &boot().events());
    let got: Vec<_> = values.iter().map(|v| (v.register, v.sha384.to_string())).collect();
    let expected: Vec<_> = (1..).zip(QUOTED.map(str::to_owned)).collect();
    assert_eq!(got, expected);
    assert!(values.iter().all(|v| v.sha256.is_none()));
    let Some(recorded) = vector("measured-boot/tdx/dstack-tdx-lite-getquote.expected.json") else {
        return;
    };
    let recorded: serde_json::Value = serde_json::from_slice(&recorded).unwrap();
    for (index, quoted) in QUOTED.iter().enumerate() {
        assert_eq!(recorded["rtmr"][index], *quoted);
    }
}

#[test]
fn the_predicted_events_are_those_of_that_machines_log() {
    let Some(bytes) = vector("tdx/v4_dstack_tdx-lite-getquote.json") else {
        return;
    };
    let evidence: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let log: Vec<serde_json::Value> = serde_json::from_str(evidence["event_log"].as_str().unwrap()).unwrap();
    let logged: Vec<_> = log
        .iter()
        .filter(|e| e["imr"].as_u64().unwrap() < 3)
        .map(|e| {
            let register = e["imr"].as_u64().unwrap() + 1;
            (
                register,
                e["event_type"].as_u64().unwrap(),
                e["digest"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let expected: Vec<_> = boot()
        .events()
        .iter()
        .map(|e| (u64::from(e.register), u64::from(e.kind), e.sha384.to_string()))
        .collect();
    assert_eq!(logged, expected);
}

#[test]
fn the_hand_off_block_is_the_one_that_tdx_firmware_logged() {
    // The same digest stands in the log of another TD of 2 GiB with firmware of 2022.
    let logged = "0b8772e5b0b41b83e6044a68397e02f49fb47066b4fbe4917ea2c45c64f323fdacbb37948f821ebaf8bc9c938ba8a749";
    assert_eq!(boot().td_hob.to_string(), logged);
    let of = |memory| td_hob(HOB_AT, &ACCEPTED, memory).unwrap();
    assert_ne!(of((2 << 30) + 4096), of(2 << 30));
    // One descriptor more once RAM is split at 4 GiB.
    assert_eq!(of(0xb000_0000).len(), of(0xb000_0000 - 4096).len() + 48);
    let code = |accepted: &[AcceptedMemory], memory| {
        td_hob(HOB_AT, accepted, memory).map_or_else(|e| e.code(), |_| "accepted")
    };
    let range = |start, bytes| AcceptedMemory { start, bytes };
    assert_eq!(code(&[range(0, 4096), range(4096, 4096)], 1 << 30), "accepted");
    assert_eq!(code(&[range(0, 4097), range(4096, 4096)], 1 << 30), "rtmr.hob.range");
    assert_eq!(code(&[range(1 << 30, 0)], 1 << 30), "accepted");
    assert_eq!(code(&[range(1 << 30, 1)], 1 << 30), "rtmr.hob.range");
    assert_eq!(code(&[range(u64::MAX, 2)], 1 << 30), "rtmr.hob.range");
    assert_eq!(code(&[range(0, 0); 65], 1 << 30), "rtmr.hob.ranges");
    assert_eq!(code(&[], (1 << 52) + 1), "rtmr.hob.memory");
    assert_eq!(td_hob(u64::MAX, &[], 1 << 30).unwrap_err().code(), "rtmr.hob.range");
}

#[test]
fn pcrs_stand_for_registers_as_uefi_says() {
    let indexes: Vec<_> = (0..=16).map(mr_index).collect();
    let mut expected = vec![Some(0), Some(1)];
    expected.extend([Some(2); 5]);
    expected.push(Some(1));
    expected.extend([Some(3); 8]);
    expected.push(None);
    assert_eq!(indexes, expected);
    // BootOrder and Boot0000 as TDX firmware logged them.
    assert!(
        Digests::of(&efi::BOOT_ORDER_FIRST)
            .sha384
            .to_string()
            .starts_with("1dd6f7b457ad880d")
    );
    assert!(
        Digests::of(&efi::boot_ui_app())
            .sha384
            .to_string()
            .starts_with("23ada07f5261f12f")
    );
}
