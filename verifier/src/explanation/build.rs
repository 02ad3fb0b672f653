//! Runs the verification and writes down what it looked at.

use hanzo_attestation::binding::bind_foreign;
use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignExpectation};
use hanzo_attestation::{
    Authentic, AuthenticDevices, Binding, Bound, Claims, DeviceClaims, Nonce, RawEvidence, Revocation, UnixTime,
};
use hanzo_policy::{Appraisal, AppraisalPolicy, appraise};

use super::{Explanation, Hop, Node, RuleOutcome, RuleView, Status, amd, documents, failed_step, intel, nvidia, tpm};
use crate::error::VerifyError;
use crate::foreign::verify_foreign;
use crate::in_force::InForce;
use crate::verify::{VerifierContext, bind, read_bundle, verify_bundle};
use crate::view::VerdictView;

/// Explains a bundle, with the challenge that it answers or, without one, as [`read_bundle`] reads it.
///
/// # Does not establish
/// Anything: it shows. The verdict in it is the one that [`verify_bundle`] or [`read_bundle`] gave.
pub fn explain_bundle(
    bytes: &[u8],
    challenge: Option<&Nonce>,
    context: &VerifierContext,
    now: UnixTime,
) -> Explanation {
    let outcome = match challenge {
        Some(challenge) => verify_bundle(bytes, challenge, context, now).map(|r| r.view()),
        None => read_bundle(bytes, context, now).map(|r| r.view()),
    };
    let mut parts = Parts::default();
    if let Ok(bundle) = Bundle::parse(bytes) {
        parts.parsed = documents::bundle(&bundle);
        parts.authenticate(
            RawEvidence::from(bundle.cpu.clone()),
            authenticate_devices(
                &bundle.devices,
                &bundle.collateral,
                &context.anchors,
                &context.collateral,
                now,
            )
            .ok(),
            context,
            now,
        );
        let life_at = match challenge {
            Some(_) => now,
            None => UnixTime(now.0.min(bundle.keyset.not_after)),
        };
        if let Ok(bound) = bind(&bundle, challenge, context, now, life_at) {
            parts.bind(&bound);
            parts.appraisal = Some(appraise(&bound, Some(&bundle.keyset), &in_force(context, now)));
        }
    }
    parts.explanation("bundle", outcome)
}

/// Explains evidence in another project's format, with what the caller drew.
///
/// # Does not establish
/// Anything: it shows. The verdict in it is the one that [`verify_foreign`] gave.
pub fn explain_foreign(
    evidence: &ForeignEvidence,
    expected: &ForeignExpectation,
    context: &VerifierContext,
    now: UnixTime,
) -> Explanation {
    let outcome = verify_foreign(evidence, expected, context, now).map(|r| r.view().verdict);
    let mut parts = Parts {
        parsed: vec![
            Node::stated("format", evidence.format().name()),
            Node::stated("devices", evidence.devices().len().to_string()),
        ],
        ..Parts::default()
    };
    let devices = authenticate_devices(
        evidence.devices(),
        evidence.stapled(),
        &context.anchors,
        &context.collateral,
        now,
    )
    .ok();
    match evidence.primary() {
        Some(raw) => {
            parts.authenticate(raw.clone(), devices.clone(), context, now);
            let authentic = raw
                .clone()
                .parse()
                .and_then(|p| p.authenticate(&context.anchors, &context.collateral, now));
            if let (Ok(authentic), Some(devices)) = (authentic, devices)
                && let Ok(bound) = bind_foreign(authentic, devices, evidence.rule(), expected)
            {
                parts.bind(&bound);
                parts.appraisal = Some(appraise(&bound, None, &in_force(context, now)));
            }
        }
        None => {
            for (index, device) in devices.iter().flat_map(|d| d.devices()).enumerate() {
                parts.device(index, device);
            }
        }
    }
    parts.explanation("document", outcome)
}

/// The policy with its release in it; as it stands, and so granting nothing, where there is none that counts.
fn in_force(context: &VerifierContext, now: UnixTime) -> AppraisalPolicy {
    InForce::at(&context.policy, &context.collateral, now)
        .map_or_else(|_| context.policy.clone(), |in_force| in_force.policy.into_owned())
}

/// What each step looked at.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) parsed: Vec<Node>,
    pub(super) authentic: Vec<Node>,
    pub(super) bound: Vec<Node>,
    pub(super) chains: Vec<Vec<Hop>>,
    pub(super) appraisal: Option<Appraisal>,
}

impl Parts {
    pub(super) fn authenticate(
        &mut self,
        raw: RawEvidence,
        devices: Option<AuthenticDevices>,
        context: &VerifierContext,
        now: UnixTime,
    ) {
        let authentic = raw
            .parse()
            .and_then(|p| p.authenticate(&context.anchors, &context.collateral, now));
        if let Ok(authentic) = &authentic {
            self.primary(authentic);
        }
        for (index, device) in devices.iter().flat_map(|d| d.devices()).enumerate() {
            self.device(index, device);
        }
    }

    pub(super) fn primary(&mut self, authentic: &Authentic<Claims>) {
        let (claims, simulated) = (authentic.claims(), authentic.is_simulated());
        if let Some(snp) = claims.snp() {
            self.chains.push(amd::chain(snp, simulated));
            self.authentic
                .push(Node::passed("AMD SEV-SNP report: signature, chain, TCB and chip id").with(amd::nodes(snp)));
        }
        if let Some(tdx) = claims.tdx() {
            self.chains.push(intel::chain(simulated));
            self.authentic.push(
                Node::passed("Intel TDX quote: signatures, PCK chain, QE identity, TCB info").with(intel::nodes(tdx)),
            );
        }
        if let Some(quote) = claims.tpm() {
            self.chains.push(tpm::chain(quote));
            self.authentic
                .push(Node::passed("TPM 2.0 quote: signature and register digest").with(tpm::nodes(quote)));
        }
        match claims {
            Claims::AzSnp(c) => self.authentic.push(tpm::hcl(&c.hcl)),
            Claims::AzTdx(c) => self.authentic.push(tpm::hcl(&c.hcl)),
            Claims::Snp(_) | Claims::Tdx(_) | Claims::Tpm(_) => {}
        }
        self.authentic.push(match authentic.revocation() {
            Revocation::Checked { next_update } => {
                Node::passed("revocation lists: fresh, signed, none names a certificate")
                    .saying(format!("next list {}", next_update.0))
            }
            Revocation::NoList => Node::step("revocation lists: none came along", Status::Failed),
        });
    }

    pub(super) fn device(&mut self, index: usize, device: &Authentic<DeviceClaims>) {
        let DeviceClaims::Nvidia(claims) = device.claims();
        self.chains.push(nvidia::chain(claims, device.is_simulated()));
        self.authentic.push(nvidia::node(index, claims));
    }

    pub(super) fn bind(&mut self, bound: &Bound<Claims>) {
        self.bound = match bound.binding() {
            Binding::Keyset { challenged, .. } => vec![
                Node::passed("the signed field is the statement over keyset, nonce and device list, whole"),
                Node::passed("every device answered the device statement over the same keyset and nonce")
                    .saying(bound.devices().len().to_string()),
                if *challenged {
                    Node::passed("the caller's own challenge is under the nonce")
                } else {
                    Node::step("freshness: answers nobody's challenge", Status::Failed)
                },
            ],
            Binding::Foreign { format, challenged } => vec![
                Node::passed("the signed field is what the format's own rule gives, whole").saying(format.name()),
                if *challenged {
                    Node::passed("the caller's own nonce or report data is under the signature")
                } else {
                    Node::step(
                        "freshness: nothing that the caller drew is under the signature",
                        Status::Failed,
                    )
                },
            ],
            Binding::Rcar { .. } => vec![Node::passed(
                "the signed field is the session's nonce, key and additional evidence, whole",
            )],
        };
    }

    pub(super) fn explanation(self, what: &str, outcome: Result<VerdictView, VerifyError>) -> Explanation {
        let failed = outcome.as_ref().err();
        let ended = failed.map_or(4, |e| failed_step(e.class()));
        let titles = [
            format!("read the {what}: form and bounds"),
            "authenticate: signatures and chains up to pinned roots".to_owned(),
            "bind: to this challenge and these keys".to_owned(),
            "appraise: by the policy's rules".to_owned(),
        ];
        let accepted = failed.is_none();
        let rules = self.appraisal.iter().flat_map(|a| rules(a, accepted)).collect();
        let parts = [self.parsed, self.authentic, self.bound, Vec::new()];
        let steps = titles
            .iter()
            .zip(parts)
            .enumerate()
            .map(|(i, (title, parts))| {
                let status = match i.cmp(&ended) {
                    std::cmp::Ordering::Less => Status::Passed,
                    std::cmp::Ordering::Equal => Status::Failed,
                    std::cmp::Ordering::Greater => Status::NotReached,
                };
                let mut node = Node::step(title, status).with(parts);
                if let (Status::Failed, Some(e)) = (status, failed) {
                    node.value = Some(e.to_string());
                    node.code = Some(e.code().to_owned());
                    node.help = Some(e.help().to_owned());
                }
                node
            })
            .collect();
        let (verdict, headline, code, exit_code) = match outcome {
            Ok(view) => {
                let head = headline(&view);
                (Some(view), head, None, 0)
            }
            Err(e) => {
                let head = format!("Refused: {e}");
                let (code, exit) = (e.code().to_owned(), e.exit_code());
                let view = match e {
                    VerifyError::Refused(refusal) => Some(refusal.view().clone()),
                    _ => None,
                };
                let head = match &view {
                    Some(view) => format!(
                        "Refused by policy: the evidence is authentic and reaches tier {}; the policy asks for tier {}",
                        view.tier, view.minimum_tier
                    ),
                    None => head,
                };
                (view, head, Some(code), exit)
            }
        };
        Explanation {
            accepted: code.is_none(),
            headline,
            code,
            exit_code,
            steps,
            chains: self.chains,
            rules,
            verdict,
        }
    }
}

/// A document that was accepted apart from freshness was not asked for it.
fn rules(appraisal: &Appraisal, accepted: bool) -> impl Iterator<Item = RuleView> {
    let needed: Vec<_> = appraisal
        .failures_for(appraisal.required())
        .filter(|f| !accepted || f.code != "freshness.none")
        .collect();
    appraisal.checks().iter().map(move |check| {
        let outcome = match &check.failures[..] {
            [] => RuleOutcome::Passed,
            failures if failures.iter().any(|f| needed.contains(&f)) => RuleOutcome::Failed,
            _ => RuleOutcome::NotAskedFor,
        };
        RuleView {
            outcome,
            check: check.clone(),
        }
    })
}

fn headline(view: &VerdictView) -> String {
    let simulated = if view.simulated {
        ", SIMULATED: nothing here is protected from the host"
    } else {
        ""
    };
    let fresh = if view.freshness == "none" {
        "; it answers nobody's challenge, so it says nothing about today"
    } else {
        ""
    };
    format!(
        "Accepted: tier {}, the policy asks for {}{simulated}{fresh}",
        view.tier, view.minimum_tier
    )
}
