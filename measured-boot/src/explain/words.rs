//! The explanations in words: where, what was expected, what came, which input, what to look at.

use hanzo_attestation::eventlog::{Algorithm, LoggedEvent};
use hanzo_attestation::name::Name;

use super::Verdict;
use crate::event::{ExpectedEvent, Input, Platform, Step};
use crate::prediction::Prediction;

/// A register as people call it.
fn register_name(platform: Platform, register: u32) -> String {
    match (platform, register) {
        (Platform::Tpm, n) => format!("PCR {n}"),
        (Platform::Tdx, 1..=4) => format!("RTMR{}", register.saturating_sub(1)),
        (Platform::Tdx, n) => format!("CC measurement register {n}"),
    }
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::CrtmVersion => "version string of the firmware",
        Step::FirmwareVolume => "volume of the firmware",
        Step::TdHob => "hand-off block of the launch",
        Step::ConfigurationVolume => "variable store of the firmware",
        Step::SecureBootVariable => "variable of Secure Boot",
        Step::AcpiLoader => "etc/table-loader",
        Step::AcpiRsdp => "etc/acpi/rsdp",
        Step::AcpiTpmLog => "etc/tpm/log",
        Step::AcpiTables => "etc/acpi/tables",
        Step::Image => "Authenticode hash of the kernel",
        Step::InnerKernel => "Authenticode hash of the kernel in the unified image",
        Step::BootOrder => "BootOrder",
        Step::BootOption => "boot option",
        Step::CallingApplication => "start of the boot option",
        Step::Separator => "separator",
        Step::LoadOptions => "command line",
        Step::Initrd => "initrd",
        Step::ExitInvocation => "call of ExitBootServices",
        Step::ExitSuccess => "success of ExitBootServices",
        Step::SectionName => "name of a section of the unified image",
        Step::SectionData => "section of the unified image",
    }
}

fn input_name(input: Input) -> &'static str {
    match input {
        Input::Firmware => "firmware",
        Input::SecureBoot => "Secure Boot variables",
        Input::Shape => "RAM size",
        Input::AcpiLoader => "ACPI blob etc/table-loader",
        Input::AcpiRsdp => "ACPI blob etc/acpi/rsdp",
        Input::AcpiTpmLog => "ACPI blob etc/tpm/log",
        Input::AcpiTables => "ACPI blob etc/acpi/tables",
        Input::BootVariables => "boot variables",
        Input::Kernel => "kernel",
        Input::CommandLine => "command line",
        Input::Initrd => "initrd",
        Input::Constant => "course of the boot",
    }
}

/// What to look at when an input differs.
fn look_at(input: Input) -> &'static str {
    match input {
        Input::Firmware => "another firmware file or build was started",
        Input::SecureBoot => "the variable store holds keys or a Secure Boot state that the prediction does not",
        Input::Shape => "the machine has another amount of RAM, or firmware with other memory sections",
        Input::AcpiLoader | Input::AcpiRsdp => "another QEMU, machine type, or list of devices",
        Input::AcpiTpmLog => "another TPM device, or none",
        Input::AcpiTables => {
            "another QEMU, machine type, number of processors, RAM, device, or place of the 64-bit BARs (CPU model, \
             address width)"
        }
        Input::BootVariables => "the variable store holds other boot options",
        Input::Kernel => {
            "another kernel file, or one whose header QEMU patched (before 10.0, or with firmware before 2025.02)"
        }
        Input::CommandLine => "another command line: compare -append byte by byte",
        Input::Initrd => "another initrd file",
        Input::Constant => "the boot took another way, or firmware of another kind wrote this",
    }
}

/// Length and hash of the file that was predicted, if the input is one.
fn predicted_file(prediction: &Prediction, input: Input) -> String {
    match prediction.input(input) {
        Some(file) => format!(" (predicted from {} bytes with SHA-256 {})", file.bytes, file.sha256),
        None => String::new(),
    }
}

pub(super) fn changed(
    prediction: &Prediction,
    expected: &ExpectedEvent,
    number: usize,
    bank: Algorithm,
    got: &[u8],
    known: Option<&Name>,
) -> String {
    let input = expected.step.input();
    let register = register_name(prediction.platform(), expected.register);
    let wanted = hex::encode(expected.digest(bank).unwrap_or_default());
    let head = format!(
        "{register}: event {number}, {}: expected {bank} {wanted}, got {}: the {} differs{}",
        step_name(expected.step),
        hex::encode(got),
        input_name(input),
        predicted_file(prediction, input),
    );
    match known {
        Some(name) => format!("{head}: it is {name}"),
        None => format!("{head}: {}", look_at(input)),
    }
}

pub(super) fn missing(prediction: &Prediction, expected: &ExpectedEvent) -> String {
    let input = expected.step.input();
    format!(
        "{}: {}: expected and not in the log: the {} was not measured{}: {}",
        register_name(prediction.platform(), expected.register),
        step_name(expected.step),
        input_name(input),
        predicted_file(prediction, input),
        look_at(input),
    )
}

pub(super) fn added(
    prediction: &Prediction,
    logged: &LoggedEvent,
    bank: Algorithm,
    got: &[u8],
    known: Option<&Name>,
) -> String {
    let what = match known {
        Some(name) => format!("it is {name}"),
        None => "nothing of the prediction measures this".to_owned(),
    };
    format!(
        "{}: event {} (type {:#x}) with {bank} {}: not expected: {what}",
        register_name(prediction.platform(), logged.register),
        logged.number,
        logged.kind,
        hex::encode(got),
    )
}

pub(super) fn register(
    prediction: &Prediction,
    register: u32,
    bank: Algorithm,
    predicted: &[u8],
    got: &[u8],
    verdict: &Verdict,
) -> String {
    let why = match verdict {
        Verdict::NothingMeasured => {
            "nothing was measured: firmware without TPM support, or a register that nobody extended".to_owned()
        }
        Verdict::Instead { step, known } => {
            format!(
                "exactly what {known} as {} leads to: the {} differs",
                step_name(*step),
                input_name(step.input())
            )
        }
        Verdict::Without { step } => format!(
            "exactly what the boot without this event leads to: {}: the {} was not measured",
            step_name(*step),
            input_name(step.input())
        ),
        Verdict::Twice { step } => format!("exactly what this event twice leads to: {}", step_name(*step)),
        Verdict::StoppedBefore { step } => format!(
            "exactly what the events before this one lead to: {}: read too early, or the boot stopped there",
            step_name(*step)
        ),
        Verdict::ErrorSeparator => "exactly what a separator that reports a firmware error leads to".to_owned(),
        Verdict::Locality { locality } => {
            format!("exactly what a TPM started from locality {locality} leads to")
        }
        Verdict::Only { input } => format!(
            "the {} differs{}, unless an event was added: no other input is measured here: {}",
            input_name(*input),
            predicted_file(prediction, *input),
            look_at(*input)
        ),
        Verdict::Undecided { inputs } if inputs.is_empty() => {
            "unknown: no input is measured here, so an event was added or the boot took another way: give the event log"
                .to_owned()
        }
        Verdict::Undecided { inputs } => {
            let inputs: Vec<_> = inputs.iter().map(|i| input_name(*i)).collect();
            format!(
                "unknown: any of these could have made it: {}: give the event log",
                inputs.join(", ")
            )
        }
    };
    format!(
        "{}: expected {bank} {}, got {}: {why}",
        register_name(prediction.platform(), register),
        hex::encode(predicted),
        hex::encode(got),
    )
}
