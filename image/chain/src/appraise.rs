//! Validators' evidence, judged as their peers judge it: the vendors' roots, an appraisal policy, this machine's clock.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignExpectation, ForeignFormat, Supplied};
use hanzo_attestation::{Anchors, Collateral, Digest256, UnixTime, jcs};
use hanzo_chain_types::{EVIDENCE_BYTES_MAX, ValidatorKeys};
use hanzo_ledger::MAINNET;
use hanzo_policy::AppraisalPolicy;
use hanzo_verifier::VerifierContext;
use hanzo_verifier::foreign::verify_foreign;

use crate::init::Plan;
use crate::{ChainError, files};

/// Longest policy in bytes.
const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Longest root certificate in bytes.
const ROOT_BYTES_MAX: usize = 16 * 1024;

/// What counts as evidence of a validator.
pub(crate) struct Evidence {
    context: VerifierContext,
}

/// What evidence was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appraised {
    pub(crate) tier: u8,
    pub(crate) simulated: bool,
}

impl Evidence {
    /// By a policy file, TPMs' attestation keys that count, and a simulator's root certificate where simulated evidence is to count.
    pub(crate) fn by(policy: &Path, tpm_keys: &[Digest256], simulator_root: Option<&Path>) -> Result<Self, ChainError> {
        let text = files::read(policy, POLICY_BYTES_MAX)?;
        let policy = AppraisalPolicy::from_toml(&text).map_err(|e| ChainError::File {
            path: policy.into(),
            expected: "an appraisal policy (`hanzo-verify policy`)",
            got: e.to_string(),
        })?;
        let mut anchors = tpm_keys.iter().copied().fold(Anchors::vendor(), Anchors::with_tpm_ak);
        if let Some(root) = simulator_root {
            anchors = anchors.with_simulator_ark(files::read(root, ROOT_BYTES_MAX)?.to_vec());
        }
        Ok(Self {
            context: VerifierContext {
                anchors,
                collateral: Collateral::default(),
                policy,
            },
        })
    }

    /// As the plan of a network says. A plan without a policy begins nothing.
    pub(crate) fn of(dir: &Path, plan: &Plan) -> Result<Self, ChainError> {
        let wrong = |expected, got: String| ChainError::File {
            path: dir.join("chain.toml"),
            expected,
            got,
        };
        let Some(policy) = &plan.policy else {
            let expected = "`policy`, the appraisal policy that validators\u{2019} evidence is held against";
            return Err(wrong(expected, "none".into()));
        };
        if plan.network == MAINNET && plan.simulator_root.is_some() {
            let expected = "no `simulator_root` on the main network, which takes no simulated evidence";
            return Err(wrong(expected, "one".into()));
        }
        let root: Option<PathBuf> = plan.simulator_root.as_ref().map(|root| dir.join(root));
        Self::by(&dir.join(policy), &plan.tpm_keys, root.as_deref())
    }

    /// Whether `evidence` is genuine, good enough, and signs the statement of exactly these keys: purpose `hanzo.validator.v1`, their
    /// digest, and the nonce of network, validator and incarnation.
    pub(crate) fn appraise(&self, path: &Path, evidence: &[u8], keys: &ValidatorKeys) -> Result<Appraised, ChainError> {
        let refused = |code: &'static str, why: String| ChainError::Appraisal {
            path: path.into(),
            validator: keys.validator.to_string(),
            why,
            code,
        };
        let cpu: CpuEvidence = jcs::from_slice("evidence", evidence, EVIDENCE_BYTES_MAX)
            .map_err(|e| refused("chain.evidence.json", e.to_string()))?;
        let read = ForeignEvidence::read(ForeignFormat::Member, evidence, &Supplied::default());
        let read = read.map_err(|e| refused(e.code(), e.to_string()))?;
        let signed = keys.signed_in(&cpu);
        let signed = signed.map_err(|e| refused("chain.evidence.statement", e.to_string()))?;
        let expected = ForeignExpectation {
            report_data: Some(signed),
            nonce: None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let reading = verify_foreign(&read, &expected, &self.context, UnixTime(now.as_secs()))
            .map_err(|e| refused(e.code(), e.to_string()))?;
        Ok(Appraised {
            tier: reading.tier_if_fresh().number(),
            simulated: reading.simulated(),
        })
    }

    /// As [`Self::appraise`], and good enough for the network's rules.
    pub(crate) fn admits(
        &self,
        path: &Path,
        evidence: &[u8],
        keys: &ValidatorKeys,
        params: &hanzo_ledger::Params,
    ) -> Result<Appraised, ChainError> {
        let found = self.appraise(path, evidence, keys)?;
        let refused = |code: &'static str, why: String| ChainError::Appraisal {
            path: path.into(),
            validator: keys.validator.to_string(),
            why,
            code,
        };
        if found.simulated && !params.simulated_votes {
            let why = "it is a simulator\u{2019}s, and this network\u{2019}s rules (simulated_votes) do not allow that";
            return Err(refused("chain.evidence.simulated", why.into()));
        }
        if found.tier < params.validator_tier_min {
            let why = format!(
                "expected tier {} or more, got {}",
                params.validator_tier_min, found.tier
            );
            return Err(refused("chain.evidence.tier", why));
        }
        Ok(found)
    }
}
