//! TPMs alone (tier 1) and under a paravisor (tier 2).

use std::sync::LazyLock;

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384};
use hanzo_policy::{
    AllowList, AppraisalPolicy, PcrValues, PrivacyTier, RevocationPolicy, SnpParavisor, TdxParavisor, TpmPolicy,
    TpmReference,
};
use hanzo_simulated_tee::{AkKind, LogBuilder, QuoteFormat, SimulatedTpm, TdSpec, TpmSpec};
use hanzo_verifier::{AttestationResult, VerifierContext, VerifyError};

use crate::fixture::*;
use crate::tdx;

static LOG: LazyLock<LogBuilder> = LazyLock::new(|| LogBuilder::tcg().boot("root=/dev/vda config=abc"));
static TPM: LazyLock<SimulatedTpm> = LazyLock::new(|| SimulatedTpm::for_tests().booted(&LOG));
/// A paravisor's vTPM. The key is searched once.
static VTPM: LazyLock<SimulatedTpm> = LazyLock::new(|| vtpm("vtpm"));

fn vtpm(name: &str) -> SimulatedTpm {
    let mut spec = TpmSpec::new(name);
    spec.ak = AkKind::Rsa2048;
    let seed = b"tests of whole verdicts, seed 01";
    SimulatedTpm::from_seed(seed, &spec).unwrap().booted(&LOG)
}

/// Qualifying data of a statement: its SHA-256, whole.
fn data(statement: &Statement) -> [u8; 32] {
    statement.digest256().unwrap().0
}

/// Codes of the failed rules of tier 1: that a TPM alone shows nothing of tier 2 is told besides.
fn below_tier_1(result: Result<AttestationResult, VerifyError>) -> (Vec<&'static str>, u8) {
    let (mut codes, exit_code) = failed(result);
    codes.retain(|code| *code != "tier.cpu_tee.no_evidence");
    (codes, exit_code)
}

fn by_tpm(statement: &Statement) -> CpuEvidence {
    CpuEvidence::Tpm(TPM.evidence(&data(statement)))
}

fn table(tpm: &SimulatedTpm) -> TpmPolicy {
    let value = |index: u8| (index, Digest256(tpm.pcrs()[usize::from(index)]));
    TpmPolicy::any_pinned(vec![TpmReference {
        name: name("healthy"),
        config_digest: Digest256::of(CONFIG.as_bytes()),
        pcrs: PcrValues([4, 7, 9].map(value).into()),
        pcrs_sha384: PcrValues::none(),
    }])
}

/// Accepts the TPM by its key.
fn pinned() -> VerifierContext {
    VerifierContext {
        anchors: Anchors::vendor().with_tpm_ak(Digest256::of(&TPM.ak_public())),
        collateral: Collateral::default(),
        policy: AppraisalPolicy::closed(PrivacyTier::AtRest).with_tpm(table(&TPM)),
    }
}

#[test]
fn a_tpm_whose_key_is_pinned_reaches_tier_1_and_never_2() {
    let mut honest = keyset();
    honest.simulated = false;
    let cpu = by_tpm(&cpu_statement(&honest, &[]));
    let bundle = envelope(honest, cpu);
    let mut context = pinned();
    let result = verify(&bundle, &context).unwrap();
    assert_eq!(
        (result.tier(), result.reference_name()),
        (PrivacyTier::AtRest, Some("healthy"))
    );
    assert!(!result.simulated(), "tier 1 rests on what the caller pinned");
    let view = result.view();
    assert_eq!((view.kind, view.product, view.tdx), ("tpm", "tpm", None));
    let shown = view.tpm.unwrap();
    assert_eq!(
        (shown.ak_origin, shown.ak_root, shown.event_log),
        ("pinned", None, true)
    );
    assert_eq!(shown.ak, Digest256::of(&TPM.ak_public()).to_string());
    assert_eq!(shown.pcrs[&4], hex::encode(TPM.pcrs()[4]));

    context.policy.minimum_tier = PrivacyTier::CpuTee;
    assert_eq!(
        failed(verify(&bundle, &context)),
        (vec!["tier.cpu_tee.no_evidence"], 40)
    );
}

#[test]
fn a_key_that_nobody_pinned_stays_at_tier_0() {
    // As a software TPM comes: its key, and nothing that stands behind it.
    let bare = answer_by(|statement| {
        let mut evidence = TPM.evidence(&data(statement));
        evidence.ak_certificates.clear();
        CpuEvidence::Tpm(evidence)
    });
    let mut context = pinned();
    verify(&bare, &context).unwrap();
    context.anchors = Anchors::vendor();
    context.policy.revocation = RevocationPolicy::AcceptMissing;
    assert_eq!(below_tier_1(verify(&bare, &context)), (vec!["tpm.ak.unknown"], 40));
    let other = SimulatedTpm::from_seed(&[9; 32], &TpmSpec::new("other")).unwrap();
    context.anchors = Anchors::vendor().with_tpm_ak(Digest256::of(&other.ak_public()));
    assert_eq!(below_tier_1(verify(&bare, &context)), (vec!["tpm.ak.unknown"], 40));
    // Certificates that lead to nobody's root are a claim that fails.
    assert_eq!(refusal(verify(&answer_by(by_tpm), &context)), ("tpm.chain.root", 20));
    context.policy.minimum_tier = PrivacyTier::Open;
    let result = verify(&bare, &context).unwrap();
    assert_eq!(result.tier(), PrivacyTier::Open);
    assert_eq!(result.view().tpm.unwrap().ak_origin, "unknown");
}

#[test]
fn a_key_that_chains_to_a_pinned_root_counts_and_has_no_revocation_list() {
    let bundle = answer_by(by_tpm);
    let mut context = pinned();
    context.anchors = Anchors::vendor().with_tpm_root(TPM.root_der().to_vec());
    assert_eq!(
        below_tier_1(verify(&bundle, &context)),
        (vec!["revocation.missing"], 40)
    );
    context.policy.revocation = RevocationPolicy::AcceptMissing;
    let result = verify(&bundle, &context).unwrap();
    assert_eq!(result.tier(), PrivacyTier::AtRest);
    let shown = result.view().tpm.unwrap();
    assert_eq!(shown.ak_origin, "chained");
    assert_eq!(shown.ak_root, Some(Digest256::of(TPM.root_der()).to_string()));
}

/// A machine whose TPM keeps both banks, and a policy that states both.
#[test]
fn a_reference_that_states_both_banks_needs_a_quote_of_both() {
    let log = LogBuilder::tcg_both().boot("root=/dev/vda config=abc");
    let tpm = SimulatedTpm::for_tests().booted(&log);
    let mut context = pinned();
    let sha384 = |index: u8| (index, Digest384(tpm.pcrs_sha384().unwrap()[usize::from(index)]));
    let stated = |context: &mut VerifierContext, values| {
        context.policy.tpm.as_mut().unwrap().references[0].pcrs_sha384 = PcrValues(values);
    };
    stated(&mut context, [4, 7, 9].map(sha384).into());
    let both = answer_by(|statement| CpuEvidence::Tpm(tpm.evidence(&data(statement))));
    let result = verify(&both, &context).unwrap();
    assert_eq!(result.tier(), PrivacyTier::AtRest);
    let shown = result.view().tpm.unwrap();
    assert_eq!(shown.pcrs_sha384[&9], sha384(9).1.to_string());
    assert!(shown.event_log);

    // The same machine, quoted in one bank: for who states one it is good.
    let one = answer_by(|statement| {
        let mut evidence = tpm.evidence(&data(statement));
        evidence.quote = tpm.quote(&[4, 7, 9], &data(statement));
        CpuEvidence::Tpm(evidence)
    });
    verify(&one, &pinned()).unwrap();
    let missing = vec!["tpm.pcrs.sha384.not_quoted", "config.not_reference"];
    assert_eq!(below_tier_1(verify(&one, &context)), (missing, 40));
    // Its log tells the other bank all the same: no log replaces a signature.
    assert!(log.pcrs_sha384().is_some());
    stated(&mut context, [(4, Digest384([1; 48]))].into());
    let other = vec!["tpm.pcrs.sha384", "config.not_reference"];
    assert_eq!(below_tier_1(verify(&both, &context)), (other, 40));
}

#[test]
fn other_registers_keys_and_configurations_are_refused_by_policy() {
    let codes = |ask: &dyn Fn(&mut TpmPolicy)| {
        let mut context = pinned();
        ask(context.policy.tpm.as_mut().unwrap());
        below_tier_1(verify(&answer_by(by_tpm), &context))
    };
    assert_eq!(
        codes(&|t| t.references[0].pcrs = PcrValues([(4, Digest256([1; 32]))].into())),
        (vec!["tpm.pcrs", "config.not_reference"], 40)
    );
    assert_eq!(
        codes(&|t| t.references[0].config_digest.0[0] ^= 1),
        (vec!["config.not_reference"], 40)
    );
    assert_eq!(
        codes(&|t| t.hardware = AllowList::Listed(vec![Digest256([1; 32])])),
        (vec!["tpm.hardware"], 40)
    );
    // Registers that the quote does not select are nobody's word.
    let few = answer_by(|statement| {
        let mut evidence = TPM.evidence(&data(statement));
        evidence.quote = TPM.quote(&[4, 7], &data(statement));
        evidence.event_log = None;
        CpuEvidence::Tpm(evidence)
    });
    assert_eq!(
        below_tier_1(verify(&few, &pinned())),
        (vec!["tpm.pcrs", "config.not_reference"], 40)
    );
    let mut logged = pinned();
    logged.policy.tpm.as_mut().unwrap().event_log = hanzo_policy::Presence::Required;
    verify(&answer_by(by_tpm), &logged).unwrap();
    let unlogged = answer_by(|statement| {
        let mut evidence = TPM.evidence(&data(statement));
        evidence.event_log = None;
        CpuEvidence::Tpm(evidence)
    });
    assert_eq!(below_tier_1(verify(&unlogged, &logged)), (vec!["tpm.event_log"], 40));
}

#[test]
fn qualifying_data_are_compared_whole() {
    let over = |made: &dyn Fn(&Statement) -> Vec<u8>| {
        let bundle = answer_by(|statement| CpuEvidence::Tpm(TPM.evidence(&made(statement))));
        verify(&bundle, &pinned())
            .map_err(|e| (e.code(), e.exit_code()))
            .map(drop)
    };
    assert_eq!(over(&|s| data(s).to_vec()), Ok(()));
    let unbound = Err(("binding.qualifying_data", 30));
    assert_eq!(over(&|s| data(s)[..31].to_vec()), unbound, "a prefix");
    assert_eq!(over(&|_| vec![]), unbound);
    assert_eq!(over(&|s| [&data(s)[..], &[0]].concat()), unbound, "longer");
    assert_eq!(
        over(&|s| [data(s), [0; 32]].concat()),
        unbound,
        "padded as REPORT_DATA is"
    );
    assert_eq!(
        over(&|s| s.report_data().unwrap().to_vec()),
        unbound,
        "REPORT_DATA itself"
    );
    let mut changed = answer_by(by_tpm);
    let CpuEvidence::Tpm(evidence) = &mut changed.cpu else {
        panic!("TPM evidence")
    };
    evidence.quote.pcrs[4].value.0[0] ^= 1;
    assert_eq!(refusal(verify(&changed, &pinned())), ("tpm.quote.pcr_digest", 20));
}

/// Accepts the vTPM's registers under the paravisors of these tests.
pub fn azure() -> VerifierContext {
    let td = TdSpec::new(QuoteFormat::V4);
    let mut context = context();
    let snp = context.policy.snp.as_mut().unwrap();
    snp.references.clear();
    snp.paravisors = vec![SnpParavisor {
        name: name("paravisor"),
        measurement: launch(healthy()).measurement(),
    }];
    let with_td = tdx::context_of(&td);
    let mut table_of_td = with_td.policy.tdx.unwrap();
    table_of_td.references.clear();
    let [rtmr0, rtmr1, rtmr2, rtmr3] = td.rtmr.map(Digest384);
    table_of_td.paravisors = vec![TdxParavisor {
        name: name("paravisor"),
        mrtd: Digest384(td.mr_td),
        rtmr0,
        rtmr1,
        rtmr2,
        rtmr3,
    }];
    context.policy.tdx = Some(table_of_td);
    context.policy.tpm = Some(table(&VTPM));
    for root in with_td.anchors.simulator_tdx_roots() {
        context.anchors = context.anchors.with_simulator_tdx_root(root.clone());
    }
    context
}

pub fn by_az_snp(statement: &Statement) -> CpuEvidence {
    CpuEvidence::AzSnpVtpm(VTPM.az_snp(&launch(healthy()), &data(statement)))
}

pub fn by_az_tdx(statement: &Statement) -> CpuEvidence {
    let quote = |report_data: &[u8; 64]| tdx::quoted(&TdSpec::new(QuoteFormat::V4), report_data);
    CpuEvidence::AzTdxVtpm(VTPM.az_tdx(quote, &data(statement)))
}

#[test]
fn a_guest_under_a_paravisor_reaches_tier_2_by_its_vtpm_s_registers_alone() {
    for (by, kind, rule) in [
        (
            by_az_snp as fn(&Statement) -> CpuEvidence,
            "az-snp-vtpm",
            "snp.paravisor",
        ),
        (by_az_tdx, "az-tdx-vtpm", "tdx.paravisor"),
    ] {
        let bundle = answer_by(by);
        let result = verify(&bundle, &azure()).unwrap();
        assert_eq!(result.tier(), PrivacyTier::CpuTee);
        assert!(result.simulated(), "the flag follows the processor's root");
        let view = result.view();
        assert_eq!(view.kind, kind);
        assert_eq!(
            (view.reference.as_deref(), view.paravisor.as_deref()),
            (Some("healthy"), Some("paravisor"))
        );
        assert_eq!(view.tpm.unwrap().ak_origin, "cpu-evidence");
        assert_eq!(view.tdx.is_some(), kind == "az-tdx-vtpm");
        assert_eq!(view.chip_id.is_some(), kind == "az-snp-vtpm");

        // The paravisor's measurement says nothing of the guest's image.
        let mut without = azure();
        without.policy.tpm.as_mut().unwrap().references.clear();
        assert_eq!(
            failed(verify(&bundle, &without)),
            (vec!["tpm.pcrs", "config.not_reference"], 40)
        );
        without.policy.tpm = None;
        assert_eq!(failed(verify(&bundle, &without)).0[0], "tpm.not_admitted");
        // Nor do the registers of a paravisor that nobody named.
        let mut unnamed = azure();
        unnamed.policy.snp.as_mut().unwrap().paravisors.clear();
        unnamed.policy.tdx.as_mut().unwrap().paravisors.clear();
        assert_eq!(failed(verify(&bundle, &unnamed)), (vec![rule], 40));
    }
}

#[test]
fn a_quote_of_another_machine_s_vtpm_and_one_for_another_statement_are_refused() {
    let mut bundle = answer_by(by_az_snp);
    let CpuEvidence::AzSnpVtpm(evidence) = &mut bundle.cpu else {
        panic!("Azure evidence")
    };
    let whole = evidence.clone();
    evidence.quote = vtpm("another").quote(&[4, 7, 9], &data(&cpu_statement(&keyset(), &[])));
    assert_eq!(refusal(verify(&bundle, &azure())), ("tpm.signature.invalid", 20));
    let mut stale = whole;
    stale.quote = VTPM.quote(&[4, 7, 9], &[7; 32]);
    stale.event_log = None;
    bundle.cpu = CpuEvidence::AzSnpVtpm(stale);
    assert_eq!(
        refusal(verify(&bundle, &azure())),
        ("binding.qualifying_data", 30),
        "user-data of the paravisor's report bind nothing"
    );
    // A TPM quote as the processor's evidence of the same guest, with the processor left out.
    let alone = answer_by(|statement| {
        let mut evidence = VTPM.evidence(&data(statement));
        evidence.ak_certificates.clear();
        CpuEvidence::Tpm(evidence)
    });
    assert_eq!(refusal(verify(&alone, &azure())).1, 40);
}
