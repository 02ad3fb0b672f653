//! From files to a prediction: what goes in is what is named, and whatever does not fit together is refused.

use hanzo_measured_boot::acpi::AcpiBlobs;
use hanzo_measured_boot::boot::{BootError, DirectBoot};
use hanzo_measured_boot::crtm::{Crtm, Profile};
use hanzo_measured_boot::event::{Input, Step};
use hanzo_measured_boot::kernel::{Handover, Patch};
use hanzo_measured_boot::prediction::{Prediction, Shape, TpmModel};
use hanzo_measured_boot::{Digests, crtm, sha384};

use crate::firmware_image::Image;
use crate::images::{cpio, elf};
use crate::machine::{Machine, shape};

struct Files {
    machine: Machine,
    firmware: Vec<u8>,
    initrd: Vec<u8>,
    tpm_log: Vec<u8>,
}

impl Files {
    fn new() -> Self {
        Self {
            machine: Machine::new(),
            firmware: Image::new(64 << 10).build(),
            initrd: cpio("init", &elf(62)),
            tpm_log: vec![0; 65_536],
        }
    }

    fn boot(&self) -> DirectBoot<'_> {
        DirectBoot {
            firmware: &self.firmware,
            kernel: &self.machine.kernel,
            command_line: &self.machine.command_line,
            initrd: Some(&self.initrd),
            acpi: AcpiBlobs {
                loader: &self.machine.loader,
                rsdp: &self.machine.rsdp,
                tpm_log: Some(&self.tpm_log),
                tables: &self.machine.tables,
            },
            handover: Handover::Raw,
            shape: shape(),
        }
    }
}

fn recorded() -> Crtm {
    Crtm {
        version: crtm::version("made"),
        volumes: vec![Digests::of(b"volume")],
        profile: Profile::Ovmf2025_02,
    }
}

fn code(result: Result<Prediction, BootError>) -> &'static str {
    result.map_or_else(|e| e.code(), |_| "accepted")
}

fn step(prediction: &Prediction, step: Step) -> String {
    let event = prediction.events().iter().find(|e| e.step == step).unwrap();
    event.sha384.to_string()
}

#[test]
fn a_prediction_names_every_file_and_survives_its_file() {
    let files = Files::new();
    for prediction in [
        files.boot().predict_tpm(recorded()).unwrap(),
        files.boot().predict_tdx().unwrap(),
    ] {
        let named: Vec<_> = prediction.inputs().iter().map(|i| i.input).collect();
        assert_eq!(named.len(), 8, "{named:?}");
        assert_eq!(
            prediction.input(Input::Initrd).unwrap().bytes,
            files.initrd.len() as u64
        );
        assert_eq!(
            step(&prediction, Step::Initrd),
            Digests::of(&files.initrd).sha384.to_string()
        );
        let bytes = prediction.to_vec().unwrap();
        assert_eq!(Prediction::from_slice(&bytes).unwrap(), prediction);
    }
    // The variable store of a TD is the part of the firmware file that its metadata names.
    let td = files.boot().predict_tdx().unwrap();
    assert_eq!(
        step(&td, Step::ConfigurationVolume),
        sha384(&[&files.firmware[..4096]]).to_string()
    );
}

#[test]
fn a_change_of_each_file_changes_the_registers() {
    let files = Files::new();
    let changes: [fn(&mut Files); 6] = [
        |f| *f.machine.kernel.last_mut().unwrap() ^= 1,
        |f| f.machine.command_line.push('x'),
        |f| f.initrd.push(0),
        |f| f.machine.loader[0] ^= 1,
        |f| f.machine.rsdp[20] ^= 1,
        |f| f.machine.tables[20] ^= 1,
    ];
    let tpm = files.boot().predict_tpm(recorded()).unwrap();
    let td = files.boot().predict_tdx().unwrap();
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = Files::new();
        change(&mut other);
        assert_ne!(
            other.boot().predict_tpm(recorded()).unwrap().registers(),
            tpm.registers(),
            "{number}"
        );
        assert_ne!(
            other.boot().predict_tdx().unwrap().registers(),
            td.registers(),
            "{number}"
        );
    }
    let more = DirectBoot {
        shape: Shape {
            memory_bytes: 1 << 30,
            ..shape()
        },
        ..files.boot()
    };
    assert_ne!(more.predict_tdx().unwrap().registers(), td.registers());
    let mut other = Files::new();
    other.firmware[7] ^= 1;
    assert_ne!(other.boot().predict_tdx().unwrap().registers(), td.registers());
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let files = Files::new();
    let good = files.boot();
    assert_eq!(code(good.predict_tpm(recorded())), "accepted");
    let tpm = |boot: DirectBoot<'_>| code(boot.predict_tpm(recorded()));
    assert_eq!(
        tpm(DirectBoot {
            shape: Shape {
                tpm: TpmModel::None,
                ..shape()
            },
            ..files.boot()
        }),
        "boot.no_tpm"
    );
    let no_blob = AcpiBlobs {
        tpm_log: None,
        ..good.acpi
    };
    assert_eq!(
        tpm(DirectBoot {
            acpi: no_blob,
            ..files.boot()
        }),
        "boot.no_tpm"
    );
    assert_eq!(
        code(
            DirectBoot {
                acpi: no_blob,
                ..files.boot()
            }
            .predict_tdx()
        ),
        "accepted"
    );
    assert_eq!(
        tpm(DirectBoot {
            kernel: &elf(183),
            ..files.boot()
        }),
        "kernel.architecture"
    );
    let other = cpio("init", &elf(183));
    assert_eq!(
        tpm(DirectBoot {
            initrd: Some(&other),
            ..files.boot()
        }),
        "initrd.architecture"
    );
    assert_eq!(
        tpm(DirectBoot {
            command_line: "a\tb",
            ..files.boot()
        }),
        "cmdline.character"
    );
    let swapped = AcpiBlobs {
        rsdp: good.acpi.tables,
        ..good.acpi
    };
    assert_eq!(
        tpm(DirectBoot {
            acpi: swapped,
            ..files.boot()
        }),
        "acpi.shape"
    );
    assert_eq!(
        tpm(DirectBoot {
            shape: Shape { vcpus: 0, ..shape() },
            ..files.boot()
        }),
        "prediction.shape"
    );
    let patch = |memory_bytes, initrd_bytes| {
        Handover::Patched(Patch {
            memory_bytes,
            initrd_bytes,
        })
    };
    let length = Some(files.initrd.len() as u64);
    assert_eq!(
        tpm(DirectBoot {
            handover: patch(512 << 20, length),
            ..files.boot()
        }),
        "accepted"
    );
    assert_eq!(
        tpm(DirectBoot {
            handover: patch(1 << 30, length),
            ..files.boot()
        }),
        "boot.handover"
    );
    assert_eq!(
        tpm(DirectBoot {
            handover: patch(512 << 20, None),
            ..files.boot()
        }),
        "boot.handover"
    );
    // Firmware that takes the patched kernel, and measures no ACPI blob.
    let old = || Crtm {
        profile: Profile::Ovmf2022_11,
        ..recorded()
    };
    assert_eq!(code(files.boot().predict_tpm(old())), "boot.old_firmware");
    let patched = DirectBoot {
        handover: patch(512 << 20, length),
        ..files.boot()
    };
    let prediction = patched.predict_tpm(old()).unwrap();
    assert!(prediction.events().iter().all(|e| e.step != Step::AcpiTables));
    let td = |image: &Image| {
        code(
            DirectBoot {
                firmware: &image.build(),
                ..files.boot()
            }
            .predict_tdx(),
        )
    };
    let mut image = Image::new(64 << 10);
    image.tdvf.retain(|section| section.4 != 1);
    assert_eq!(td(&image), "boot.section");
    let mut image = Image::new(64 << 10);
    image.tdvf.retain(|section| section.4 != 2);
    assert_eq!(td(&image), "boot.section");
    image.with_tdvf = false;
    assert_eq!(td(&image), "firmware.missing");
    // Memory sections of 8 MiB and above in a machine of less.
    let small = DirectBoot {
        shape: Shape {
            memory_bytes: 4 << 20,
            ..shape()
        },
        ..files.boot()
    };
    assert_eq!(code(small.predict_tdx()), "rtmr.hob.range");
}

#[test]
fn the_usual_alternatives_are_offered() {
    let files = Files::new();
    let known = files.boot().alternatives().unwrap();
    let names: Vec<_> = known.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "kernel-raw",
            "kernel-patched-by-qemu",
            "command-line-without-initrd",
            "command-line-with-initrd"
        ]
    );
    assert_ne!(known[0].sha384, known[1].sha384);
    let tiny = DirectBoot {
        shape: Shape {
            memory_bytes: 1,
            ..shape()
        },
        ..files.boot()
    };
    assert_eq!(tiny.alternatives().unwrap().len(), 3);
}
