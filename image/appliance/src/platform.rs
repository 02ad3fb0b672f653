//! The simulated TEE of one installation: its key material, and the attester that the guest role uses.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_device::{Attester, DeviceError, TimeSource};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_simulated_tee::{LaunchSpec, SimulatedGuest, SimulatedProcessor, simulated_measurement};
use zeroize::Zeroizing;

use crate::error::ApplianceError;
use crate::model::hash_file;
use crate::progress::Progress;

/// Longest material file in bytes.
const MATERIAL_BYTES_MAX: u64 = 1 << 20;

/// This machine's clock.
pub(crate) fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// The installation's processor, made with a random seed at first use.
pub(crate) fn processor(material: &Path) -> Result<SimulatedProcessor, ApplianceError> {
    if let Some(found) = load(material)? {
        return Ok(found);
    }
    let _bar = Progress::spinner("making the simulated processor's keys (once)".into());
    let mut seed = Zeroizing::new([0; 32]);
    hanzo_pqc::random::fill(seed.as_mut()).map_err(|e| ApplianceError::Part(e.to_string()))?;
    let made = SimulatedProcessor::from_seed(&seed).map_err(|e| ApplianceError::Part(e.to_string()))?;
    write_private(material, &made.to_material())?;
    Ok(made)
}

/// A new processor for a network of simulated validators, and the policy that takes their evidence.
pub(crate) fn simulator() -> Result<hanzo_chain_cli::Simulator, String> {
    let _bar = Progress::spinner("making the simulated processor's keys (once)".into());
    let mut seed = Zeroizing::new([0; 32]);
    hanzo_pqc::random::fill(seed.as_mut()).map_err(|e| e.to_string())?;
    let made = SimulatedProcessor::from_seed(&seed).map_err(|e| e.to_string())?;
    let config_digest = Digest256::of(b"");
    // What `hanzo-validator-simulated` says of itself.
    let image = Digest384::of(b"hanzo-validator-simulated");
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: 10,
            tee: 0,
            snp: 23,
            microcode: 84,
        }),
        ..TcbFloors::default()
    };
    let reference = SnpReference {
        name: Name::new("hanzo-validator-simulated").map_err(|e| e.to_string())?,
        measurement: simulated_measurement(&image, &config_digest),
        config_digest,
    };
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    Ok(hanzo_chain_cli::Simulator {
        material: made.to_material(),
        root: made.ark_der().to_vec(),
        policy: policy.to_toml().map_err(|e| e.to_string())?,
    })
}

/// Reads existing material; `None` if there is none.
pub(crate) fn load(material: &Path) -> Result<Option<SimulatedProcessor>, ApplianceError> {
    let meta = match fs::metadata(material) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(ApplianceError::io("cannot read", material))?,
    };
    if meta.permissions().mode() & 0o077 != 0 || meta.len() > MATERIAL_BYTES_MAX {
        return Err(ApplianceError::Part(format!(
            "{}: expected a file that only its owner can read, of at most {MATERIAL_BYTES_MAX} bytes; remove it to make new keys",
            material.display()
        )));
    }
    let bytes = Zeroizing::new(fs::read(material).map_err(ApplianceError::io("cannot read", material))?);
    let found = SimulatedProcessor::from_material(&bytes)
        .map_err(|e| ApplianceError::Part(format!("{}: {e}; remove it to make new keys", material.display())))?;
    Ok(Some(found))
}

/// Writes a file of mode 0600 whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ApplianceError> {
    let staged = path.with_extension("new");
    let io = || ApplianceError::io("cannot write", path);
    match fs::remove_file(&staged) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io()(e)),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)
        .map_err(io())?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io())?;
    fs::rename(&staged, path).map_err(io())?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|d| d.sync_all()).map_err(io())
}

/// What stands in for the image: SHA-384 of this very executable.
pub(crate) fn image_digest() -> Result<Digest384, ApplianceError> {
    let digest = hash_file(
        Path::new("/proc/self/exe"),
        &aws_lc_rs::digest::SHA384,
        "measuring this executable",
    )?;
    let mut out = [0; 48];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = from;
    }
    Ok(Digest384(out))
}

/// The guest's view of the simulated processor.
pub(crate) struct SimulatedAttester {
    guest: Mutex<SimulatedGuest>,
    config_digest: Digest256,
}

impl SimulatedAttester {
    /// Launches a healthy guest.
    pub(crate) fn launch(processor: &SimulatedProcessor, image: Digest384, config_digest: Digest256) -> Self {
        let guest = processor
            .launch(LaunchSpec::new(image, config_digest))
            .with_crl(processor.crl_der(now()));
        Self {
            guest: Mutex::new(guest),
            config_digest,
        }
    }
}

impl Attester for SimulatedAttester {
    fn kind(&self) -> &'static str {
        "snp"
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        let guest = self.guest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(CpuEvidence::Snp(guest.evidence(request.report_data())))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        Ok(self.config_digest)
    }

    fn time_source(&self) -> TimeSource {
        TimeSource::Host
    }
}
