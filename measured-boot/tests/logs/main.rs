//! The log half: images, kernels, ACPI, registers, predictions, explanations; and what each refuses.

mod acpi;
mod anything;
mod boots;
mod explained;
#[path = "../support/image.rs"]
mod firmware_image;
mod images;
mod kernels;
mod local;
mod machine;
mod old_firmware;
mod pe;
mod predictions;
mod replays;
mod td;
mod uki;
mod unified;
mod vectors;
