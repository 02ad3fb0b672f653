//! What a confidential launch of an image measures, for every machine that it is meant for, before any launch.
//!
//! The values are `hanzo-measured-boot`'s; here are the image's files, the pinned firmware and, for RTMR0, the ACPI tables
//! of this host's QEMU.

use std::fs;
use std::path::Path;

use hanzo_attestation::Digest384;
use hanzo_attestation::name::Name;
use hanzo_measured_boot::acpi::AcpiBlobs;
use hanzo_measured_boot::boot::DirectBoot;
use hanzo_measured_boot::kernel::{Handover, Patch};
use hanzo_measured_boot::matrix::{
    BootFiles, Machine as Shape, MatrixError, ReferenceMatrix, SecureTsc, SnpAxes, TdxMachine, VmShape,
};
use hanzo_measured_boot::prediction::{Shape as DirectShape, TpmModel};
use hanzo_measured_boot::snp::{CpuModel, GuestFeatures, HostKernel, Vmm};
use hanzo_measured_boot::tdx::PageOrder;

use crate::assemble::{INITRD, KERNEL, Progress};
use crate::error::ImageError;
use crate::manifest::Manifest;
use crate::predict;
use crate::run::{self, Machine};

/// The VMM that our machine type asks for at least.
const QEMU_VERSION: &str = "10.0";
/// How RTMR3 is after a boot: nothing extends it.
const RTMR3: Digest384 = Digest384([0; 48]);

/// Machines under SEV-SNP; every combination has a value. The host's kernel is from 6.11 on, the first that launches SNP
/// guests, so that registers are as from 6.10 on and SEV_FEATURES has no DebugSwap.
#[derive(Debug, Clone)]
pub struct SnpOptions {
    /// Processor models.
    pub cpus: Vec<CpuModel>,
    /// Numbers of virtual processors.
    pub processors: Vec<u32>,
    /// With or without Secure TSC.
    pub secure_tsc: Vec<SecureTsc>,
    /// Memory in MiB; not measured.
    pub memory_mib: u32,
}

/// Files of an image that a launch measures, as they are.
struct Files {
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    command_line: String,
    /// Begins the names of values.
    name: String,
}

impl Files {
    fn read(image: &Path) -> Result<Self, ImageError> {
        let manifest = Manifest::read(image)?;
        run::intact(image, &manifest)?;
        let read = |name: &str| {
            let path = image.join(name);
            fs::read(&path).map_err(ImageError::io(&path))
        };
        Ok(Self {
            kernel: read(KERNEL)?,
            initrd: read(INITRD)?,
            command_line: manifest.recipe()?.command_line()?,
            name: manifest.recipe.profile.to_string(),
        })
    }

    fn predict(&self, path: &Path, firmware: &[u8], shapes: &[VmShape]) -> Result<ReferenceMatrix, ImageError> {
        let files = BootFiles {
            firmware,
            kernel: Some(&self.kernel),
            initrd: Some(&self.initrd),
            cmdline: &self.command_line,
        };
        ReferenceMatrix::predict(&files, shapes).map_err(refused(path))
    }
}

fn refused(path: &Path) -> impl Fn(MatrixError) -> ImageError {
    let path = path.to_owned();
    move |error| ImageError::Measured {
        path: path.clone(),
        code: error.code(),
        text: error.to_string(),
        help: error.help(),
    }
}

fn name(text: &str) -> Result<Name, ImageError> {
    Name::new(text).map_err(|e| ImageError::Prediction { what: e.to_string() })
}

/// Launch digests of an image. `firmware` are the bytes of the pinned file `path`.
///
/// # Establishes
/// Which MEASUREMENT a report has after an untouched launch on these machines.
///
/// # Errors
/// [`ImageError::Different`], [`ImageError::Measured`].
pub fn snp(image: &Path, path: &Path, firmware: &[u8], options: &SnpOptions) -> Result<ReferenceMatrix, ImageError> {
    let files = Files::read(image)?;
    let axes = SnpAxes {
        image: name(&files.name)?,
        vmms: vec![(Vmm::Qemu, name(QEMU_VERSION)?)],
        host_kernels: vec![HostKernel::FromLinux6_10],
        vcpus: options.processors.clone(),
        cpus: options.cpus.clone(),
        ram_mib: options.memory_mib.into(),
        guest_features: vec![GuestFeatures::SNP],
        secure_tsc: options.secure_tsc.clone(),
    };
    let shapes = axes.shapes().map_err(refused(path))?;
    files.predict(path, firmware, &shapes)
}

/// MRTD in both orders of pages and, for each number of processors, RTMR0 to RTMR2. Needs QEMU for its ACPI tables.
///
/// # Does not establish
/// That a TD agrees in RTMR0: the tables are those of a machine without TDX, and none was available to compare with.
///
/// # Errors
/// [`ImageError::Tool`], [`ImageError::Different`], [`ImageError::Measured`], [`ImageError::Prediction`].
pub fn tdx(
    machine: &Machine,
    path: &Path,
    firmware: &[u8],
    processors: &[u32],
    progress: Progress<'_>,
) -> Result<ReferenceMatrix, ImageError> {
    let files = Files::read(&machine.image)?;
    let mut shapes = Vec::new();
    for vcpus in processors {
        for (page_order, word) in [(PageOrder::SinglePass, "single"), (PageOrder::TwoPass, "two")] {
            let text = format!("{}.tdx.{}m.{vcpus}v.{word}", files.name, machine.memory_mib);
            let machine = Shape::Tdx(TdxMachine {
                vmm_version: name(QEMU_VERSION)?,
                page_order,
                vcpus: *vcpus,
                ram_mib: machine.memory_mib.into(),
            });
            shapes.push(VmShape {
                name: name(&text)?,
                machine,
            });
        }
    }
    let mut matrix = files.predict(path, firmware, &shapes)?;
    for vcpus in processors {
        progress(&format!("asking QEMU for the ACPI tables of {vcpus} processors"));
        let machine = Machine {
            processors: *vcpus,
            ..machine.clone()
        };
        let rtmrs = rtmrs(&machine, &files, firmware)?;
        for shape in &shapes {
            if matches!(&shape.machine, Shape::Tdx(tdx) if tdx.vcpus == *vcpus) {
                matrix.set_rtmrs(&shape.name, rtmrs).map_err(refused(path))?;
            }
        }
    }
    Ok(matrix)
}

fn rtmrs(machine: &Machine, files: &Files, firmware: &[u8]) -> Result<[Digest384; 4], ImageError> {
    let failed = |what: String| ImageError::Prediction { what };
    let blobs = run::td_acpi_blobs(machine, firmware)?;
    let blob = |name: &'static str| {
        let found = blobs.get(name).map(Vec::as_slice);
        found.ok_or_else(|| failed(format!("fw_cfg: expected a file {name}, got none")))
    };
    let shape = DirectShape {
        cpu_model: name("host")?,
        tpm: TpmModel::None,
        ..predict::shape(machine)?
    };
    let patch = Patch {
        memory_bytes: shape.memory_bytes,
        initrd_bytes: Some(files.initrd.len() as u64),
    };
    let (major, minor) = predict::major_and_minor(shape.qemu.as_str());
    let boot = DirectBoot {
        firmware,
        kernel: &files.kernel,
        command_line: &files.command_line,
        initrd: Some(&files.initrd),
        acpi: AcpiBlobs {
            loader: blob(predict::LOADER)?,
            rsdp: blob(predict::RSDP)?,
            tpm_log: None,
            tables: blob(predict::TABLES)?,
        },
        handover: Handover::of_qemu(major, minor, patch).map_err(|e| failed(e.to_string()))?,
        shape,
    };
    let prediction = boot.predict_tdx().map_err(|e| failed(e.to_string()))?;
    let register = |index: u32| {
        let value = prediction.register(index).map(|register| register.sha384);
        value.ok_or_else(|| failed(format!("RTMR{}: not predicted", index.saturating_sub(1))))
    };
    Ok([register(1)?, register(2)?, register(3)?, RTMR3])
}
