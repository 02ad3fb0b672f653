//! What makes evidence, and what is asked of others'.

use std::sync::Arc;

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Anchors, Collateral};
use hanzo_chain_links::{Appraiser, AttestError, Attester, PolicyAppraiser};
use hanzo_device::endorsements::Endorsements;
use hanzo_policy::{AppraisalPolicy, POLICY_BYTES_MAX};
use hanzo_verifier::VerifierContext;

use crate::config::{Config, EvidenceKind};
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

/// This machine's security processor, the vendors' roots and the policy file: the production program's.
///
/// # Errors
/// [`NodeError::Value`] for simulated evidence, which this program knows nothing of; [`NodeError::Part`] where the machine has no
/// security processor.
pub fn hardware(config: &Config) -> Result<Machine, NodeError> {
    let Some(policy) = config
        .policy
        .as_ref()
        .filter(|_| config.evidence == EvidenceKind::Hardware)
    else {
        return Err(NodeError::Value {
            path: config.file(crate::config::CONFIG_FILE),
            field: "evidence",
            expected: "hardware: this program has no simulator (hanzo-validator-simulated does)".into(),
            got: "simulated".into(),
        });
    };
    let bytes = files::read(policy, u64::try_from(POLICY_BYTES_MAX).unwrap_or(u64::MAX))?;
    let policy = AppraisalPolicy::from_toml(&bytes)
        .map_err(|e| NodeError::part("policy", e.code(), format!("{}: {e}", policy.display())))?;
    let failed = |e: hanzo_device::DeviceError| NodeError::part("evidence", e.code(), e);
    let endorsements = match &config.endorsements {
        None => Endorsements::default(),
        Some(dir) => Endorsements::load(dir).map_err(failed)?,
    };
    let surroundings = hanzo_device::detect::Surroundings::host(endorsements);
    let attester = hanzo_device::detect::detect(surroundings).map_err(failed)?;
    Ok(Machine {
        attester: Arc::new(Hardware(attester)),
        appraiser: Arc::new(PolicyAppraiser(VerifierContext {
            anchors: Anchors::vendor(),
            collateral: Collateral::default(),
            policy,
        })),
    })
}
