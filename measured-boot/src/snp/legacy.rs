//! SEV and SEV-ES: SHA-256 over firmware, hash table and register pages, in one stream.
//!
//! Reports of these guests are not accepted anywhere in this workspace; the digests are here to recognise and migrate them.

use hanzo_attestation::digest::Digest256;

use super::{BSP_EIP, CpuSignature, HostKernel, KernelHashes, SnpError, TscFields, VCPUS_MAX, Vmm, Vmsa};
use crate::firmware::Firmware;
use crate::hash::sha256;

/// What an SEV-ES digest depends on beside the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EsShape {
    /// Whose registers.
    pub vmm: Vmm,
    /// Virtual processors, 1 to [`VCPUS_MAX`].
    pub vcpus: u32,
    /// What CPUID says.
    pub cpu: CpuSignature,
    /// Which host kernel fills QEMU's register pages.
    pub host: HostKernel,
}

/// The digest of an SEV guest.
///
/// # Errors
/// [`SnpError::KernelUnchecked`] if there is a kernel and the firmware has no place for its hashes.
pub fn sev_digest(firmware: &Firmware<'_>, kernel: Option<&KernelHashes>) -> Result<Digest256, SnpError> {
    let table = table(firmware, kernel)?;
    Ok(sha256(&[firmware.bytes(), &table]))
}

/// The digest of an SEV-ES guest.
///
/// # Errors
/// As [`sev_digest`]; [`SnpError::Vcpus`]; [`SnpError::Firmware`] if there is more than one processor and the firmware does
/// not say where they start.
pub fn sev_es_digest(
    firmware: &Firmware<'_>,
    kernel: Option<&KernelHashes>,
    shape: &EsShape,
) -> Result<Digest256, SnpError> {
    if !(1..=VCPUS_MAX).contains(&shape.vcpus) {
        return Err(SnpError::Vcpus { got: shape.vcpus });
    }
    let table = table(firmware, kernel)?;
    let registers = |eip| Vmsa::real_mode(shape.vmm, eip, shape.cpu, None, shape.host, TscFields::default());
    let first = registers(BSP_EIP);
    let mut parts: Vec<&[u8]> = vec![firmware.bytes(), &table, first.bytes()];
    let others;
    if shape.vcpus > 1 {
        others = registers(firmware.reset_eip()?);
        for _ in 1..shape.vcpus {
            parts.push(others.bytes());
        }
    }
    Ok(sha256(&parts))
}

fn table(firmware: &Firmware<'_>, kernel: Option<&KernelHashes>) -> Result<Vec<u8>, SnpError> {
    let Some(hashes) = kernel else {
        return Ok(Vec::new());
    };
    if firmware.hash_table()?.is_none() {
        return Err(SnpError::KernelUnchecked {
            what: "SEV hash table entry",
        });
    }
    Ok(hashes.table().to_vec())
}
