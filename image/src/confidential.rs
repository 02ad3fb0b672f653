//! How a confidential guest is launched: QEMU's command line for SEV-SNP and for TDX.
//!
//! The configuration stands on the measured command line (`hanzo.config=`). Its digest is given to the processor as well, as
//! HOST_DATA or MRCONFIGID, so that a report shows it without a look at the reference values: both must be the image's.
//! There is no TPM: one that the host runs proves nothing here.
//!
//! # Spec
//! QEMU `docs/system/i386/amd-memory-encryption.rst` (10.0) and `docs/system/i386/tdx.rst` (10.1); `qapi/qom.json`,
//! `SevSnpGuestProperties` and `TdxGuestProperties`.

mod host;
mod id_block;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::Digest256;
use hanzo_measured_boot::matrix::{ReferenceMatrix, SecureTsc};
use hanzo_measured_boot::snp::CpuModel;
use serde::Serialize;

pub use self::host::Host;
pub use self::id_block::SignedIdBlock;
use crate::assemble::{INITRD, KERNEL};
use crate::error::ImageError;
use crate::firmware::{Pins, Tee};
use crate::manifest::Manifest;
use crate::matrix::{self, SnpOptions};
use crate::run::{Boot, GUARDED, GUARDED_NETWORK, MACHINE, Machine, absolute, disks};

/// POLICY of our guests: SMT is allowed, bit 17 is always one; no debugging, no migration.
pub const SNP_POLICY: u64 = 0x3_0000;
/// Where SNP processors (Milan, Genoa, Turin) have the bit that marks encrypted memory.
const C_BIT: u32 = 51;

/// What protects the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// SEV-SNP.
    Snp {
        /// The processor model; its signature is measured.
        cpu: CpuModel,
        /// Whether the guest's clock is out of the host's reach; needs a QEMU with this property.
        secure_tsc: SecureTsc,
        /// What the processor compares the launch with before it starts the guest.
        id_block: Option<SignedIdBlock>,
    },
    /// TDX.
    Tdx {
        /// Port of the host's quote generation service (vsock); without it the guest gets reports and no quotes.
        quote_port: Option<u32>,
    },
}

/// A launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What protects it.
    pub protection: Protection,
    /// The pinned firmware.
    pub firmware: PathBuf,
}

impl Launch {
    /// Which processor.
    pub fn tee(&self) -> Tee {
        match self.protection {
            Protection::Snp { .. } => Tee::Snp,
            Protection::Tdx { .. } => Tee::Tdx,
        }
    }

    /// Everything that can be wrong with a launch before a host is looked at: the image against its manifest, the firmware
    /// against its pin, the ID block against what the launch will measure. Gives QEMU's arguments, the console left out.
    ///
    /// # Errors
    /// [`ImageError::FirmwarePin`], [`ImageError::Different`], [`ImageError::Measured`], [`ImageError::Launch`].
    pub fn prepare(&self, machine: &Machine, pins: &Pins) -> Result<Prepared, ImageError> {
        let firmware = pins.read(self.tee(), &self.firmware)?;
        let manifest = Manifest::read(&machine.image)?;
        let boot = Boot::of(machine, &manifest)?;
        let config = Digest256::of(manifest.recipe.config.as_bytes());
        let expected = match &self.protection {
            Protection::Snp {
                cpu,
                secure_tsc,
                id_block,
            } => {
                let options = SnpOptions {
                    cpus: vec![*cpu],
                    processors: vec![machine.processors],
                    secure_tsc: vec![*secure_tsc],
                    memory_mib: machine.memory_mib,
                };
                let expected = matrix::snp(&machine.image, &self.firmware, &firmware, &options)?;
                if let Some(block) = id_block {
                    block.fits(&expected, SNP_POLICY)?;
                }
                Some(expected)
            }
            Protection::Tdx { .. } => None,
        };
        let arguments = self.arguments(machine, &boot, config)?;
        Ok(Prepared {
            arguments,
            boot,
            expected,
        })
    }

    /// The machine. What SNP measures of it: firmware, kernel, archive, command line, number and model of processors. In a
    /// TD, memory, devices and ACPI tables too.
    fn arguments(&self, machine: &Machine, boot: &Boot, config: Digest256) -> Result<Vec<String>, ImageError> {
        let image = |name: &str| absolute(&machine.image.join(name));
        let memory = format!("{}M", machine.memory_mib);
        let (object, guard, cpu) = match &self.protection {
            Protection::Snp {
                cpu,
                secure_tsc,
                id_block,
            } => (
                snp_object(*secure_tsc, id_block.as_ref(), config),
                "confidential-guest-support=sev0,memory-backend=ram1",
                cpu.name(),
            ),
            Protection::Tdx { quote_port } => (
                tdx_object(*quote_port, config),
                "confidential-guest-support=tdx0,kernel-irqchip=split",
                "host",
            ),
        };
        let mut arguments: Vec<String> = ["-no-user-config", "-nodefaults", "-no-reboot"]
            .map(str::to_owned)
            .into();
        let mut option = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
        option("-machine", &format!("{MACHINE},smm=off,accel=kvm,{guard}"));
        if self.tee() == Tee::Snp {
            let backend = format!("memory-backend-memfd,id=ram1,size={memory},share=true,prealloc=false");
            option("-object", &backend);
        }
        option("-object", &object);
        option("-cpu", cpu);
        option("-smp", &machine.processors.to_string());
        option("-m", &memory);
        for nothing in ["-display", "-vga", "-monitor", "-parallel"] {
            option(nothing, "none");
        }
        // Confidential guests have no flash: the firmware is memory, and its variables are gone at the end.
        option("-bios", &absolute(&self.firmware)?);
        option("-kernel", &image(KERNEL)?);
        option("-initrd", &image(INITRD)?);
        option("-append", &boot.command_line);
        option("-fw_cfg", "name=opt/ovmf/X-PciMmio64Mb,string=0");
        option("-netdev", &format!("user,id=net,{}", boot.forwards));
        option("-device", GUARDED_NETWORK);
        arguments.extend(disks(machine, GUARDED)?);
        Ok(arguments)
    }
}

/// A launch that nothing but the host can still refuse.
#[derive(Debug)]
pub struct Prepared {
    /// QEMU's arguments, without the console.
    pub arguments: Vec<String>,
    pub(crate) boot: Boot,
    /// What the processor will measure (SNP).
    pub expected: Option<ReferenceMatrix>,
}

impl Prepared {
    /// The command, for a shell, one option a line.
    pub fn command(&self, console: &Path) -> Result<String, ImageError> {
        let mut text = String::from("qemu-system-x86_64");
        let serial = ["-serial".to_owned(), format!("file:{}", absolute(console)?)];
        for argument in self.arguments.iter().chain(&serial) {
            let begins = argument.starts_with('-');
            text += if begins { " \\\n  " } else { " " };
            text += &quoted(argument);
        }
        Ok(text + "\n")
    }
}

/// A word as POSIX shells take it.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=./:,+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn snp_object(secure_tsc: SecureTsc, id_block: Option<&SignedIdBlock>, config: Digest256) -> String {
    let mut object = format!(
        "sev-snp-guest,id=sev0,cbitpos={C_BIT},reduced-phys-bits=1,policy={SNP_POLICY:#x},kernel-hashes=on,host-data={}",
        STANDARD.encode(config.0)
    );
    if secure_tsc == SecureTsc::On {
        object += ",secure-tsc=on";
    }
    if let Some(block) = id_block {
        object += &format!(
            ",id-block={},id-auth={}",
            STANDARD.encode(block.block()),
            STANDARD.encode(block.auth())
        );
        if block.has_author() {
            object += ",author-key-enabled=on";
        }
    }
    object
}

fn tdx_object(quote_port: Option<u32>, config: Digest256) -> String {
    // 48 bytes: the 32 of the digest, then zeros, as KBS exchanges have it.
    let mut id = [0; 48];
    for (to, from) in id.iter_mut().zip(config.0) {
        *to = from;
    }
    let object = TdxObject {
        qom_type: "tdx-guest",
        id: "tdx0",
        mrconfigid: STANDARD.encode(id),
        // 2 is the host.
        quote_generation_socket: quote_port.map(|port| QuoteSocket {
            kind: "vsock",
            cid: "2",
            port: port.to_string(),
        }),
    };
    // Of strings alone: it has a form.
    serde_json::to_string(&object).unwrap_or_default()
}

/// As QEMU's `-object` takes it, in this order.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct TdxObject {
    qom_type: &'static str,
    id: &'static str,
    mrconfigid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    quote_generation_socket: Option<QuoteSocket>,
}

#[derive(Serialize)]
struct QuoteSocket {
    #[serde(rename = "type")]
    kind: &'static str,
    cid: &'static str,
    port: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("a=/b:c,d"), "a=/b:c,d");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_configuration_is_bound_to_the_launch() {
        let config = Digest256([7; 32]);
        let object = snp_object(SecureTsc::Off, None, config);
        let data = STANDARD.encode([7; 32]);
        assert!(
            object.ends_with(&format!("kernel-hashes=on,host-data={data}")),
            "{object}"
        );
        assert!(snp_object(SecureTsc::On, None, config).ends_with(",secure-tsc=on"));
        let object = tdx_object(Some(4050), config);
        let id = STANDARD.encode([[7; 32].as_slice(), &[0; 16]].concat());
        assert!(object.contains(&format!(r#""mrconfigid":"{id}""#)), "{object}");
        let socket = r#""quote-generation-socket":{"type":"vsock","cid":"2","port":"4050"}"#;
        assert!(object.contains(socket), "{object}");
        assert!(!tdx_object(None, config).contains("quote"));
    }
}
