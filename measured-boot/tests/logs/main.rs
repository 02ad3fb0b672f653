//! The log half: images, kernels, ACPI, registers, predictions, explanations; and what each refuses.

mod acpi;
mod images;
mod kernels;
mod local;
mod pe;
mod td;
mod uki;
mod vectors;
