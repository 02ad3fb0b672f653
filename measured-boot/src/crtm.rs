//! What firmware measures of itself into PCR 0.
//!
//! OVMF logs its version string and two volumes: that of its early phase (PEI) and that of its drivers (DXE). The DXE
//! volume is hashed as it was unpacked from the file. The PEI volume lies in RAM, its modules run in place and write to
//! their variables, so its digest is not that of any bytes of the file (in one build two bytes differ: the port of the
//! ACPI timer). It was the same over all machines of one type that were tried, see `measured-boot/LOGS.md` section 6. It is
//! a parameter, taken from one recorded boot of exactly this file, named by its SHA-256.

use hanzo_attestation::digest::{Digest256, Digest384};
use hanzo_attestation::eventlog::{Algorithm, EventLog, LoggedEvent, kind};

use crate::digests::Digests;
use crate::efi;
use crate::pcr::EV_PLATFORM_CONFIG_FLAGS;

/// EV_EFI_PLATFORM_FIRMWARE_BLOB.
pub const EV_EFI_PLATFORM_FIRMWARE_BLOB: u32 = 0x8000_0008;
/// Most volumes of one firmware.
const VOLUMES_MAX: usize = 16;

/// What firmware measures of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crtm {
    /// Of the version string.
    pub version: Digests,
    /// Of the volumes, in order.
    pub volumes: Vec<Digests>,
    /// What else it measures.
    pub profile: Profile,
}

/// What a build of OVMF measures besides itself, by the version of the recorded boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// No ACPI blobs: tables that the host makes reach the guest unmeasured. SecureBoot holds one byte, 0. It takes the
    /// kernel whose header QEMU patched, whatever QEMU.
    Ovmf2022_11,
    /// The ACPI blobs; SecureBoot is empty. It takes the kernel as it is where QEMU offers it.
    Ovmf2025_02,
}

/// Firmware whose boot was recorded: SHA-256 of the files with these volumes, version, digests of the two volumes.
struct Recorded {
    files: &'static [&'static str],
    version: &'static str,
    profile: Profile,
    volumes: [(&'static str, &'static str); 2],
}

const RECORDED: [Recorded; 2] = [
    // Debian's ovmf 2025.02-8+deb13u1: OVMF.fd and OVMF_CODE_4M.fd.
    Recorded {
        files: &[
            "14954040cc754ade0c625ac3470ea46d4c14318b5b1396de4ef77090203d76db",
            "624e06de18b4fa535e90db7160d00d3d07d206422b89999bf1e27d920264e4e0",
        ],
        version: "2025.02-8+deb13u1",
        profile: Profile::Ovmf2025_02,
        volumes: [
            (
                "a386f05738e11e7b8c253dc47b96bfc66d3d9ce62ee7b30ee3d4a6c5215e7e4e",
                "12ad02c30d46cf89266ee49041394c0841d1987db638162ae5aac73b69c66c1752fa0369dc09cea957bcfc487a8356c6",
            ),
            (
                "450136d3f01290a89f67a4ecc0e3f8a9d16f49e9eb4e17c4cacdffdeea32f806",
                "10d7a73a4f51a085ed7f5c753df5138baed369eb4c9ad5353be7150c9ddb59ab7cfc920b451696d06baf09d86dbc35bf",
            ),
        ],
    },
    // Debian's ovmf 2022.11-6+deb12u2: OVMF.fd. Its version string is empty.
    Recorded {
        files: &["7b456907dd0786d415999e801a1ac4637b8ed4d7cf5378cfc6edbe5e574dd773"],
        version: "",
        profile: Profile::Ovmf2022_11,
        volumes: [
            (
                "f163cd8fcee98919f1aacec92a7b734a1fcac8d015b60a6ac8c6db4e9dd9b0ce",
                "e466ea13ba891f61fb8502c5e6ca2a7ee1a242018491b6262ae6abce3af545e3d941d12e50ee8375b39cc998cf165882",
            ),
            (
                "614b0bfb88626b36415706a5143619938a38542e732587e2fa05c481f2843d4d",
                "2852e11689129d10abf0fff6d9721b51865261b90d9a615f7c93856afcf3c6936b51faa6e52d375d09e3a8d0a66a7e47",
            ),
        ],
    },
];

impl Crtm {
    /// Of firmware whose boot was recorded, by the SHA-256 of its file.
    ///
    /// # Errors
    /// [`CrtmError::Unknown`]: record one boot and use [`Crtm::recorded_in`].
    pub fn known(firmware: &Digest256) -> Result<Self, CrtmError> {
        let unknown = CrtmError::Unknown { firmware: *firmware };
        let name = firmware.to_string();
        let found = RECORDED.iter().find(|r| r.files.contains(&name.as_str()));
        let Some(recorded) = found else { return Err(unknown) };
        let pair = |(sha256, sha384): (&str, &str)| {
            Some(Digests {
                sha256: Digest256::from_hex(sha256)?,
                sha384: Digest384::from_hex(sha384)?,
            })
        };
        let volumes: Option<Vec<_>> = recorded.volumes.into_iter().map(pair).collect();
        Ok(Self {
            version: version(recorded.version),
            volumes: volumes.ok_or(unknown)?,
            profile: recorded.profile,
        })
    }

    /// From the log of a boot of the same firmware file.
    ///
    /// # Does not establish
    /// That the log is true: compare it with a quote of that boot first, on a machine that you trust.
    ///
    /// # Errors
    /// [`CrtmError::Log`].
    pub fn recorded_in(log: &EventLog) -> Result<Self, CrtmError> {
        let wrong = |detail| CrtmError::Log { detail };
        let mut version = None;
        let mut volumes = Vec::new();
        for event in log.events().iter().filter(|e| e.register == 0) {
            let pair = || {
                let sha256 = event.digests.get(&Algorithm::Sha256)?.as_slice().try_into().ok()?;
                let sha384 = event.digests.get(&Algorithm::Sha384)?.as_slice().try_into().ok()?;
                Some(Digests {
                    sha256: Digest256(sha256),
                    sha384: Digest384(sha384),
                })
            };
            let pair = || pair().ok_or(wrong("expected a SHA-256 and a SHA-384 bank"));
            match event.kind {
                kind::EV_NO_ACTION => {}
                kind::EV_S_CRTM_VERSION if version.is_none() && volumes.is_empty() => version = Some(pair()?),
                EV_EFI_PLATFORM_FIRMWARE_BLOB if version.is_some() && volumes.len() < VOLUMES_MAX => {
                    volumes.push(pair()?);
                }
                kind::EV_SEPARATOR => break,
                _ => return Err(wrong("PCR 0: expected a version string, volumes and a separator alone")),
            }
        }
        let version = version.ok_or(wrong("PCR 0: expected EV_S_CRTM_VERSION first, got none"))?;
        if volumes.is_empty() {
            return Err(wrong("PCR 0: expected at least one firmware volume, got none"));
        }
        let profile = profile_of(log).ok_or(wrong(
            "PCR 1 and 7: expected ACPI blobs and an empty SecureBoot, or neither: firmware of another kind, or Secure Boot",
        ))?;
        Ok(Self {
            version,
            volumes,
            profile,
        })
    }
}

/// Which of the known kinds of firmware wrote a log.
fn profile_of(log: &EventLog) -> Option<Profile> {
    let acpi = |e: &LoggedEvent| e.register == 1 && e.kind == EV_PLATFORM_CONFIG_FLAGS;
    let with_acpi = log.events().iter().any(acpi);
    let first = |e: &&LoggedEvent| e.register == 7 && e.kind == kind::EV_EFI_VARIABLE_DRIVER_CONFIG;
    let secure_boot = log.events().iter().find(first)?.digests.get(&Algorithm::Sha384)?;
    let profile = match with_acpi {
        true => Profile::Ovmf2025_02,
        false => Profile::Ovmf2022_11,
    };
    let [expected, ..] = efi::no_secure_boot(profile);
    (expected.sha384.0 == secure_boot.as_slice()).then_some(profile)
}

/// Of a version string as OVMF measures it: UTF-16 with a zero.
pub fn version(text: &str) -> Digests {
    let units = text.encode_utf16().chain([0]);
    Digests::of(&units.flat_map(u16::to_le_bytes).collect::<Vec<_>>())
}

/// Why PCR 0 cannot be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CrtmError {
    /// No boot of this file was recorded.
    #[error(
        "firmware: what it measures of itself is not known for the file with SHA-256 {firmware}: boot it once on a machine \
         that you trust and give that boot's event log"
    )]
    Unknown {
        /// SHA-256 of the file.
        firmware: Digest256,
    },
    /// The recorded log does not tell.
    #[error("recorded event log: {detail}")]
    Log {
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl CrtmError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "crtm.unknown",
            Self::Log { .. } => "crtm.log",
        }
    }
}
