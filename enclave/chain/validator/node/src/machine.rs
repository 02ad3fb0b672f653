//! What makes evidence, and what is asked of others'.

use std::sync::Arc;

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Anchors, Collateral};
use hanzo_chain_links::{Appraiser, AttestError, Attester, PolicyAppraiser};
use hanzo_device::detect::Surroundings;
use hanzo_device::endorsements::Endorsements;
use hanzo_policy::{AppraisalPolicy, POLICY_BYTES_MAX};
use hanzo_verifier::VerifierContext;

use crate::config::{Config, EvidenceKind, Policy};
use crate::error::NodeError;
use crate::files;

/// What makes evidence, and what judges it.
#[derive(Clone)]
pub struct Machine {
    /// Of this machine.
    pub attester: Arc<dyn Attester>,
    /// Of others.
    pub appraiser: Arc<dyn Appraiser>,
}

/// Makes a [`Machine`] for a configuration.
pub type MakeMachine = fn(&Config) -> Result<Machine, NodeError>;

struct Hardware(Box<dyn hanzo_device::Attester>);

impl Attester for Hardware {
    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, AttestError> {
        self.0.evidence(request).map_err(|e| AttestError(e.to_string()))
    }
}

/// The policy of a configuration, if it has one.
///
/// # Errors
/// [`NodeError::File`]; [`NodeError::Part`] for a text that is no policy.
pub fn policy(config: &Config) -> Result<Option<AppraisalPolicy>, NodeError> {
    let (shown, bytes) = match &config.policy {
        None => return Ok(None),
        Some(Policy::Text(text)) => ("the configuration's policy".to_owned(), text.clone().into_bytes()),
        Some(Policy::File(path)) => {
            let max = u64::try_from(POLICY_BYTES_MAX).unwrap_or(u64::MAX);
            (path.display().to_string(), files::read(path, max)?)
        }
    };
    AppraisalPolicy::from_toml(&bytes)
        .map(Some)
        .map_err(|e| NodeError::part("policy", e.code(), format!("{shown}: {e}")))
}

/// The vendors' roots and what a configuration pins. Evidence under a simulator's root stays simulated, whoever pins it.
pub fn anchors(config: &Config) -> Anchors {
    let pins = &config.pins;
    let roots = pins.tpm_roots.iter().cloned();
    let anchors = roots.fold(Anchors::vendor(), Anchors::with_tpm_root);
    let anchors = pins.tpm_keys.iter().copied().fold(anchors, Anchors::with_tpm_ak);
    match &pins.simulator_root {
        Some(root) => anchors.with_simulator_ark(root.clone()),
        None => anchors,
    }
}

/// This machine's security processor, the vendors' roots and the policy file: the production program's.
///
/// # Errors
/// [`NodeError::Value`] for simulated evidence, which this program knows nothing of; [`NodeError::Part`] where the machine has no
/// security processor.
pub fn hardware(config: &Config) -> Result<Machine, NodeError> {
    hardware_in(config, Surroundings::host)
}

/// As [`hardware`], on a machine that is found where the caller says.
///
/// # Errors
/// As [`hardware`].
pub fn hardware_in(
    config: &Config,
    surroundings: impl FnOnce(Endorsements) -> Surroundings,
) -> Result<Machine, NodeError> {
    let Some(policy) = policy(config)?.filter(|_| config.evidence == EvidenceKind::Hardware) else {
        return Err(NodeError::Value {
            path: config.file(crate::config::CONFIG_FILE),
            field: "evidence",
            expected: "hardware: this program has no simulator (hanzo-validator-simulated does)".into(),
            got: "simulated".into(),
        });
    };
    let failed = |e: hanzo_device::DeviceError| NodeError::part("evidence", e.code(), e);
    let endorsements = match &config.endorsements {
        None => Endorsements::default(),
        Some(dir) => Endorsements::load(dir).map_err(failed)?,
    };
    let attester = hanzo_device::detect::detect(surroundings(endorsements)).map_err(failed)?;
    Ok(Machine {
        attester: Arc::new(Hardware(attester)),
        appraiser: Arc::new(PolicyAppraiser(VerifierContext {
            anchors: anchors(config),
            collateral: Collateral::default(),
            policy,
        })),
    })
}
