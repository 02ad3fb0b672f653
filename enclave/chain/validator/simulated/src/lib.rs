//! A validator's machine that is a simulator: for networks whose rules say that simulated evidence votes.
//!
//! It gives **no protection from the host**. Whoever has the simulator's file makes evidence of anything.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(
    clippy::result_large_err,
    reason = "a refusal says what was expected and what came; it is not the fast path"
)]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::EvidenceRequest;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, UnixTime};
use hanzo_chain_links::{AttestError, Attester, PolicyAppraiser};
use hanzo_chain_node::config::{CONFIG_FILE, EvidenceKind};
use hanzo_chain_node::{Config, Machine, NodeError, files};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_simulated_tee::{LaunchSpec, SimulatedGuest, SimulatedProcessor, simulated_measurement};
use hanzo_verifier::VerifierContext;

/// What stands in for the image.
const IMAGE: &[u8] = b"hanzo-validator-simulated";
/// Longest file of a simulator in bytes.
const MATERIAL_BYTES_MAX: u64 = 256 * 1024;

struct Guest(SimulatedGuest);

impl Attester for Guest {
    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, AttestError> {
        Ok(CpuEvidence::Snp(self.0.evidence(request.report_data())))
    }
}

/// The simulator of a configuration. Others' evidence is held against its policy, or, without one, has to be this simulator's.
///
/// # Errors
/// [`NodeError::Value`] for hardware evidence; [`NodeError::Part`] for a file that is no simulator's.
pub fn simulator(config: &Config) -> Result<Machine, NodeError> {
    let file = config
        .simulator
        .as_ref()
        .filter(|_| config.evidence == EvidenceKind::Simulated);
    let file = file.ok_or_else(|| NodeError::Value {
        path: config.file(CONFIG_FILE),
        field: "evidence",
        expected: "simulated: this program knows a simulator alone (hanzo-validator does without)".into(),
        got: "hardware".into(),
    })?;
    let material = files::read(file, MATERIAL_BYTES_MAX)?;
    let failed = |text: &dyn std::fmt::Display| {
        NodeError::part("simulator", "node.simulator", format!("{}: {text}", file.display()))
    };
    let processor = SimulatedProcessor::from_material(&material).map_err(|e| failed(&e))?;
    let mut machine = machine(&processor).map_err(|e| failed(&e))?;
    if let Some(policy) = hanzo_chain_node::machine::policy(config)? {
        machine.appraiser = Arc::new(PolicyAppraiser(VerifierContext {
            anchors: hanzo_chain_node::machine::anchors(config).with_simulator_ark(processor.ark_der().to_vec()),
            collateral: Collateral::default(),
            policy,
        }));
    }
    Ok(machine)
}

/// A machine on a simulated processor.
///
/// # Errors
/// A text, never for this policy.
pub fn machine(processor: &SimulatedProcessor) -> Result<Machine, String> {
    let (image, config) = (Digest384::of(IMAGE), Digest256::of(b""));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|e| e.to_string())?;
    let crl = processor.crl_der(UnixTime(now.as_secs()));
    Ok(Machine {
        attester: Arc::new(Guest(processor.launch(LaunchSpec::new(image, config)).with_crl(crl))),
        appraiser: Arc::new(PolicyAppraiser(VerifierContext {
            anchors: Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec()),
            collateral: Collateral::default(),
            policy: policy()?,
        })),
    })
}

/// The policy that takes evidence of simulated validators and nothing else.
///
/// # Errors
/// A text, never for this policy.
pub fn policy() -> Result<AppraisalPolicy, String> {
    let (image, config) = (Digest384::of(IMAGE), Digest256::of(b""));
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
        measurement: simulated_measurement(&image, &config),
        config_digest: config,
    };
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    policy.check().map_err(|e| e.to_string())?;
    Ok(policy)
}
