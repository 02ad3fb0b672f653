//! A one-byte change of each input is named, with a log and without; and what cannot be told is said to be unknown.

use std::collections::BTreeMap;

use hanzo_attestation::eventlog::Algorithm;
use hanzo_attestation::name::Name;
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::event::{ExpectedEvent, Input, Platform, Step};
use hanzo_measured_boot::explain::{Difference, Known, Verdict, explain_log, explain_registers};
use hanzo_measured_boot::kernel::{Handover, Kernel, Patch, handed_over};
use hanzo_measured_boot::pe::Padding;
use hanzo_measured_boot::replay::Replay;

use crate::images::put;
use crate::machine::{Machine, log_of};

type Change = fn(&mut Machine);

/// Each input with one byte of it changed.
fn changes() -> Vec<(Input, u32, Change)> {
    vec![
        (Input::Firmware, 0, |m| m.firmware[5000] ^= 1),
        (Input::SecureBoot, 7, |m| {
            *m = Machine {
                secure_boot: secure_boot_on(),
                ..m.clone()
            }
        }),
        (Input::AcpiLoader, 1, |m| m.loader[0] ^= 1),
        (Input::AcpiRsdp, 1, |m| m.rsdp[35] ^= 1),
        (Input::AcpiTables, 1, |m| m.tables[40] ^= 1),
        (Input::BootVariables, 1, |m| m.boot_option[8] ^= 1),
        (Input::Kernel, 4, |m| *m.kernel.last_mut().unwrap() ^= 1),
        (Input::CommandLine, 9, |m| m.command_line.push('x')),
        (Input::Initrd, 9, |m| m.initrd.as_mut().unwrap()[0] ^= 1),
    ]
}

fn secure_boot_on() -> Vec<u8> {
    use hanzo_measured_boot::efi;
    efi::variable_data(&efi::GLOBAL_VARIABLE, "SecureBoot", &[1])
}

fn replay(events: &[ExpectedEvent]) -> Replay {
    Replay::strict(&log_of(events), Platform::Tpm).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The final registers of a boot in one bank.
fn values(events: &[ExpectedEvent], bank: Algorithm) -> BTreeMap<u32, Vec<u8>> {
    let mut values = replay(events).banks[&bank].clone();
    values.entry(8).or_insert_with(|| vec![0; bank.digest_bytes()]);
    values
}

#[test]
fn with_a_log_a_change_of_each_input_is_named_first_and_alone() {
    let prediction = Machine::new().prediction();
    for bank in [Algorithm::Sha256, Algorithm::Sha384] {
        assert_eq!(
            explain_log(&prediction, &replay(prediction.events()), bank, &[]).unwrap(),
            []
        );
        for (input, register, change) in changes() {
            let mut other = Machine::new();
            change(&mut other);
            let found = explain_log(&prediction, &replay(&other.boot().events()), bank, &[]).unwrap();
            assert_eq!(found.len(), 1, "{input:?}: {found:?}");
            assert_eq!((found[0].input, found[0].register), (Some(input), register));
            assert!(matches!(found[0].difference, Difference::Changed { .. }));
        }
    }
}

#[test]
fn the_first_difference_of_the_boot_comes_first() {
    let prediction = Machine::new().prediction();
    let mut other = Machine::new();
    for (_, _, change) in changes() {
        change(&mut other);
    }
    let found = explain_log(&prediction, &replay(&other.boot().events()), Algorithm::Sha256, &[]).unwrap();
    let inputs: Vec<_> = found.iter().map(|f| f.input.unwrap()).collect();
    assert_eq!(
        inputs,
        [
            Input::Firmware,
            Input::SecureBoot,
            Input::AcpiLoader,
            Input::AcpiRsdp,
            Input::AcpiTables,
            Input::Kernel,
            Input::BootVariables,
            Input::CommandLine,
            Input::Initrd
        ]
    );
    // The text names register, event, digests, file and remedy.
    let text = &found[5].text;
    let expected = prediction.input(Input::Kernel).unwrap();
    for part in [
        "PCR 4",
        "Authenticode",
        "SHA-256",
        &expected.sha256.to_string(),
        "kernel differs",
        "QEMU patched",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn events_that_are_missing_or_added_are_told_from_changed_ones() {
    let prediction = Machine::new().prediction();
    let explain = |events: &[ExpectedEvent], known: &[Known]| {
        explain_log(&prediction, &replay(events), Algorithm::Sha384, known).unwrap()
    };
    // No initrd: its event is gone, and the command line has no initrd= either.
    let without = Machine {
        initrd: None,
        ..Machine::new()
    };
    let found = explain(&without.boot().events(), &[]);
    let inputs: Vec<_> = found.iter().map(|f| (f.input, f.difference)).collect();
    assert!(
        matches!(inputs[0], (Some(Input::CommandLine), Difference::Changed { .. })),
        "{inputs:?}"
    );
    assert!(matches!(
        inputs[1],
        (Some(Input::Initrd), Difference::Missing { step: Step::Initrd, .. })
    ));
    assert_eq!(inputs.len(), 2);
    // No TPM blob among the ACPI blobs.
    let without = Machine {
        tpm_log: false,
        ..Machine::new()
    };
    let found = explain(&without.boot().events(), &[]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].input, Some(Input::AcpiTpmLog));
    assert!(matches!(found[0].difference, Difference::Missing { .. }));
    // One more event in PCR 4, in front of the separator.
    let mut more = prediction.events().to_vec();
    let place = more.iter().position(|e| e.step == Step::Image).unwrap();
    let shim = ExpectedEvent {
        sha256: Some(Digests::of(b"shim").sha256),
        sha384: Digests::of(b"shim").sha384,
        ..more[place].clone()
    };
    more.insert(place, shim);
    let found = explain(&more, &[]);
    assert_eq!(found.len(), 1);
    assert!(matches!(found[0].difference, Difference::Added { .. }));
    assert_eq!((found[0].input, &found[0].known), (None, &None));
    let known = Known::new(Step::Image, name("shim"), Digests::of(b"shim"));
    assert_eq!(explain(&more, &[known])[0].known, Some(name("shim")));
}

#[test]
fn a_kernel_that_qemu_patched_is_recognised() {
    let machine = Machine::new();
    let prediction = machine.prediction();
    let kernel = Kernel::parse(&machine.kernel).unwrap();
    let patch = Handover::Patched(Patch {
        memory_bytes: 512 << 20,
        initrd_bytes: Some(100),
    });
    let patched = handed_over(&kernel, &machine.command_line, patch).unwrap();
    let digests = Kernel::parse(&patched).unwrap().pe().authenticode(Padding::AsMeasured);
    let known = [Known::new(Step::Image, name("kernel-patched-by-qemu"), digests)];
    let other = Machine {
        kernel: patched,
        ..Machine::new()
    }
    .boot()
    .events();
    let found = explain_log(&prediction, &replay(&other), Algorithm::Sha256, &known).unwrap();
    assert_eq!(found[0].known, Some(name("kernel-patched-by-qemu")));
    let found = explain_registers(
        &prediction,
        &values(&other, Algorithm::Sha256),
        Algorithm::Sha256,
        &known,
    )
    .unwrap();
    assert_eq!(
        found[0].verdict,
        Verdict::Instead {
            step: Step::Image,
            known: name("kernel-patched-by-qemu")
        }
    );
}

#[test]
fn without_a_log_an_input_is_named_only_if_nothing_else_could_have_made_it() {
    let prediction = Machine::new().prediction();
    for bank in [Algorithm::Sha256, Algorithm::Sha384] {
        assert_eq!(
            explain_registers(&prediction, &values(prediction.events(), bank), bank, &[]).unwrap(),
            []
        );
        for (input, register, change) in changes() {
            let mut other = Machine::new();
            change(&mut other);
            let found = explain_registers(&prediction, &values(&other.boot().events(), bank), bank, &[]).unwrap();
            assert_eq!((found.len(), found[0].register), (1, register), "{input:?}");
            match (register, &found[0].verdict) {
                // The firmware, Secure Boot and the kernel have a register to themselves.
                (0 | 4 | 7, verdict) => assert_eq!(*verdict, Verdict::Only { input }),
                (_, Verdict::Undecided { inputs }) => {
                    assert!(inputs.contains(&input) && inputs.len() > 1);
                    assert!(found[0].text.contains("unknown"), "{}", found[0].text);
                }
                other => panic!("{input:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn without_a_log_each_tried_change_is_proven_by_the_value() {
    let prediction = Machine::new().prediction();
    let bank = Algorithm::Sha256;
    let verdict = |events: &[ExpectedEvent], register: u32, known: &[Known]| {
        let found = explain_registers(&prediction, &values(events, bank), bank, known).unwrap();
        let found: Vec<_> = found.into_iter().filter(|f| f.register == register).collect();
        assert_eq!(found.len(), 1);
        found[0].verdict.clone()
    };
    let mut other = Machine::new();
    other.initrd.as_mut().unwrap()[0] ^= 1;
    let known = Known::new(
        Step::Initrd,
        name("initrd-debug"),
        Digests::of(other.initrd.as_ref().unwrap()),
    );
    assert_eq!(
        verdict(&other.boot().events(), 9, &[known.clone()]),
        Verdict::Instead {
            step: Step::Initrd,
            known: name("initrd-debug")
        }
    );
    // As another step it is no explanation.
    let elsewhere = Known {
        step: Step::LoadOptions,
        ..known
    };
    assert!(matches!(
        verdict(&other.boot().events(), 9, &[elsewhere]),
        Verdict::Undecided { .. }
    ));

    let without = |step: Step| -> Vec<_> { prediction.events().iter().filter(|e| e.step != step).cloned().collect() };
    assert_eq!(
        verdict(&without(Step::AcpiTpmLog), 1, &[]),
        Verdict::Without { step: Step::AcpiTpmLog }
    );
    assert_eq!(
        verdict(&without(Step::Initrd), 9, &[]),
        Verdict::Without { step: Step::Initrd }
    );
    let early: Vec<_> = prediction.events()[..prediction.events().len() - 2].to_vec();
    assert_eq!(
        verdict(&early, 5, &[]),
        Verdict::StoppedBefore {
            step: Step::ExitInvocation
        }
    );
    let mut twice = prediction.events().to_vec();
    let image = twice.iter().find(|e| e.step == Step::Image).unwrap().clone();
    let place = twice.iter().position(|e| e.step == Step::Image).unwrap();
    twice.insert(place, image);
    assert_eq!(verdict(&twice, 4, &[]), Verdict::Twice { step: Step::Image });

    // Nothing at all; another locality; a separator that reports an error; an unexpected event in PCR 2.
    let one = |register: u32, value: Vec<u8>| {
        let values = BTreeMap::from([(register, value)]);
        explain_registers(&prediction, &values, bank, &[]).unwrap()[0]
            .verdict
            .clone()
    };
    assert_eq!(one(4, vec![0; 32]), Verdict::NothingMeasured);
    let mut start = vec![0; 32];
    start[31] = 3;
    for event in prediction.events().iter().filter(|e| e.register == 0) {
        start = hanzo_measured_boot::sha256(&[&start, &event.sha256.unwrap().0])
            .0
            .to_vec();
    }
    assert_eq!(one(0, start), Verdict::Locality { locality: 3 });
    let separator = |value: &[u8]| {
        let digest = hanzo_measured_boot::sha256(&[value]);
        hanzo_measured_boot::sha256(&[&[0; 32], &digest.0]).0.to_vec()
    };
    assert_eq!(one(3, separator(&[1, 0, 0, 0])), Verdict::ErrorSeparator);
    assert_eq!(one(3, separator(&[2, 0, 0, 0])), Verdict::Undecided { inputs: vec![] });
    // What was not predicted is not explained.
    let found = explain_registers(&prediction, &BTreeMap::from([(10, vec![1; 32])]), bank, &[]).unwrap();
    assert_eq!(found, []);
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let machine = Machine::new();
    let prediction = machine.prediction();
    let log = replay(prediction.events());
    let code =
        |bank, known: &[Known]| explain_log(&prediction, &log, bank, known).map_or_else(|e| e.code(), |_| "accepted");
    let known = Known::new(Step::Image, name("other"), Digests::of(b""));
    assert_eq!(code(Algorithm::Sha256, &vec![known.clone(); 64]), "accepted");
    assert_eq!(code(Algorithm::Sha256, &vec![known; 65]), "explain.known");
    assert_eq!(code(Algorithm::Sha512, &[]), "explain.bank");
    let mut of_a_td = replay(prediction.events());
    of_a_td.platform = Platform::Tdx;
    let error = explain_log(&prediction, &of_a_td, Algorithm::Sha384, &[]).unwrap_err();
    assert_eq!(error.code(), "explain.platform");
    let values = |value: Vec<u8>| BTreeMap::from([(4, value)]);
    let code = |bank, value| {
        explain_registers(&prediction, &values(value), bank, &[]).map_or_else(|e| e.code(), |_| "accepted")
    };
    assert_eq!(code(Algorithm::Sha384, vec![0; 48]), "accepted");
    assert_eq!(code(Algorithm::Sha384, vec![0; 32]), "explain.length");
    assert_eq!(code(Algorithm::Sha1, vec![0; 20]), "explain.bank");
    // A byte of the kernel that no hash covers is no difference.
    let mut other = Machine::new();
    put(&mut other.kernel, 0x300 + 24 + 64, &[1, 2, 3, 4]);
    let found = explain_log(&prediction, &replay(&other.boot().events()), Algorithm::Sha256, &[]).unwrap();
    assert_eq!(found, []);
}

#[test]
fn in_a_td_ram_variable_store_kernel_command_line_and_initrd_are_named() {
    use hanzo_measured_boot::prediction::{InputFile, Prediction};
    use hanzo_measured_boot::rtmr::{PREDICTED, TdBoot, TdImage};
    use hanzo_measured_boot::sha384;

    let inputs = || {
        [
            Input::AcpiLoader,
            Input::AcpiRsdp,
            Input::AcpiTables,
            Input::Kernel,
            Input::CommandLine,
            Input::Initrd,
        ]
        .map(|input| InputFile::of(input, b"recorded elsewhere"))
        .to_vec()
    };
    let events = crate::td::boot().events();
    let prediction = Prediction::new(Platform::Tdx, &PREDICTED, events, inputs(), crate::machine::shape()).unwrap();
    let other = sha384(&[b"other"]);
    let image = |change: fn(&mut TdImage)| {
        let mut boot = crate::td::boot();
        change(&mut boot.image);
        boot
    };
    let boots = [
        (
            Input::Shape,
            1,
            TdBoot {
                td_hob: other,
                ..crate::td::boot()
            },
        ),
        (
            Input::SecureBoot,
            1,
            TdBoot {
                configuration_volume: other,
                ..crate::td::boot()
            },
        ),
        (
            Input::AcpiTables,
            1,
            TdBoot {
                acpi_tables: other,
                ..crate::td::boot()
            },
        ),
        (
            Input::Kernel,
            2,
            image(|i| {
                if let TdImage::Direct { kernel, .. } = i {
                    kernel.0[0] ^= 1
                }
            }),
        ),
        (
            Input::CommandLine,
            3,
            image(|i| {
                if let TdImage::Direct { load_options, .. } = i {
                    load_options.0[0] ^= 1
                }
            }),
        ),
        (
            Input::Initrd,
            3,
            image(|i| {
                if let TdImage::Direct { initrd: Some(d), .. } = i {
                    d.0[0] ^= 1
                }
            }),
        ),
    ];
    for (input, register, boot) in boots {
        // The area of a CC log is filled up.
        let log = [log_of(&boot.events()), vec![0xff; 64]].concat();
        let replay = Replay::strict(&log, Platform::Tdx).unwrap();
        let found = explain_log(&prediction, &replay, Algorithm::Sha384, &[]).unwrap();
        assert_eq!(found.len(), 1, "{input:?}");
        assert_eq!((found[0].input, found[0].register), (Some(input), register));
        assert!(
            found[0].text.starts_with(&format!("RTMR{}", register - 1)),
            "{}",
            found[0].text
        );
        let values = &replay.banks[&Algorithm::Sha384];
        let found = explain_registers(&prediction, values, Algorithm::Sha384, &[]).unwrap();
        assert_eq!((found.len(), found[0].register), (1, register));
        // The kernel has RTMR1 to itself.
        assert_eq!(
            found[0].verdict == Verdict::Only { input: Input::Kernel },
            register == 2
        );
    }
}
