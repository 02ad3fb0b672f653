//! Predictions of boots that differ in one byte of one input.

use hanzo_attestation::Digest256;
use hanzo_image::assemble::{FIRMWARE, INITRD, KERNEL};
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::efi;
use hanzo_measured_boot::event::{Input, Step};
use hanzo_measured_boot::kernel::Kernel;
use hanzo_measured_boot::pe::Padding;
use hanzo_measured_boot::prediction::{InputFile, Prediction};

use crate::firmware;

/// One changed input.
pub struct Change {
    pub input: Input,
    pub step: Step,
    /// The register that measures it.
    pub register: u32,
    /// What the changed boot will measure.
    pub prediction: Prediction,
    /// Its command line.
    pub command_line: String,
}

/// A byte of the kernel that nothing executes: in the text of its version, which the setup header points to.
pub fn kernel(file: &[u8]) -> Vec<u8> {
    let mut out = file.to_vec();
    let text = 0x200 + usize::from(u16::from_le_bytes([out[0x20e], out[0x20f]]));
    assert!(out[text].is_ascii_digit(), "the text of the version");
    out[text] ^= 1;
    out
}

/// One byte of each input of the image, one at a time.
pub fn one_byte_of_each(image: &std::path::Path, prediction: &Prediction, command_line: &str) -> Vec<Change> {
    let read = |name: &str| std::fs::read(image.join(name)).unwrap();
    let mut changes = Vec::new();
    let mut push = |input, step, register, place: usize, digests, bytes: &[u8], command_line: &str| {
        let mut events = prediction.events().to_vec();
        let mut of_step = events.iter_mut().filter(|event| event.step == step);
        let event = of_step.nth(place).unwrap();
        let Digests { sha256, sha384 } = digests;
        assert_ne!(event.sha384, sha384, "{input:?}: the same after a change");
        (event.sha256, event.sha384) = (Some(sha256), sha384);
        let mut inputs = prediction.inputs().to_vec();
        let file = inputs.iter_mut().find(|file| file.input == input).unwrap();
        *file = InputFile::of(input, bytes);
        let registers: Vec<_> = prediction.registers().iter().map(|r| r.register).collect();
        let shape = prediction.shape().clone();
        let platform = prediction.platform();
        changes.push(Change {
            input,
            step,
            register,
            prediction: Prediction::new(platform, &registers, events, inputs, shape).unwrap(),
            command_line: command_line.to_owned(),
        });
    };

    let other = kernel(&read(KERNEL));
    let hash = Kernel::parse(&other).unwrap().pe().authenticode(Padding::AsMeasured);
    push(Input::Kernel, Step::Image, 4, 0, hash, &other, command_line);

    let mut other = read(INITRD);
    *other.last_mut().unwrap() ^= 1;
    push(
        Input::Initrd,
        Step::Initrd,
        9,
        0,
        Digests::of(&other),
        &other,
        command_line,
    );

    let other = command_line.replace("panic=-1", "panic=-2");
    let options = Digests::of(&efi::load_options(&other, true).unwrap());
    push(
        Input::CommandLine,
        Step::LoadOptions,
        9,
        0,
        options,
        other.as_bytes(),
        &other,
    );

    // Of the firmware the drivers' volume is measured as it is unpacked: the second of the two volumes.
    let file = read(FIRMWARE);
    let (volume, other) = firmware::volumes(&file);
    let events = prediction.events().iter();
    let logged: Vec<_> = events
        .filter(|e| e.step == Step::FirmwareVolume)
        .map(|e| e.sha256)
        .collect();
    assert_eq!(
        logged[1],
        Some(Digest256::of(&volume)),
        "the volume in the file is the one that was predicted"
    );
    let hash = Digests::of(&other);
    push(Input::Firmware, Step::FirmwareVolume, 0, 1, hash, &other, command_line);
    changes
}
