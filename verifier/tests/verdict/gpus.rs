//! What keeps genuine, bound devices below tier 3: references, revocation, allow-lists, completeness.

use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{Base64, CpuEvidence};
use hanzo_policy::{Admission, AllowList, Count, GpuPolicy, Presence, PrivacyTier, Ueid};
use hanzo_simulated_tee::{DeviceSpec, OcspStatus, SimulatedDevice, SimulatedTpm};
use hanzo_verifier::VerifierContext;

use crate::fixture::*;
use crate::machine::*;

fn table(context: &mut VerifierContext) -> &mut GpuPolicy {
    context.policy.gpu.as_mut().unwrap()
}

/// A refusal of tier 3 leaves tier 2 as it was.
fn capped(devices: &[SimulatedDevice], context: &VerifierContext) -> Vec<&'static str> {
    let bundle = compose(devices, snp);
    let (codes, exit_code) = failed(verify(&bundle, context));
    assert_eq!(exit_code, 40);
    let mut lower = context.clone();
    lower.policy.minimum_tier = PrivacyTier::CpuTee;
    assert_eq!(verify(&bundle, &lower).unwrap().tier(), PrivacyTier::CpuTee);
    codes
}

#[test]
fn several_gpus_without_protected_pcie_are_capped_with_the_reason() {
    let hoppers = gpus([DeviceSpec::hopper(1), DeviceSpec::hopper(2)]);
    let codes = capped(&hoppers, &context_with(2, 0));
    assert_eq!(codes, ["gpu.multi.not_protected", "gpu.topology"]);
    let e = verify(&compose(&hoppers, snp), &context_with(2, 0)).unwrap_err();
    assert!(e.to_string().contains("NVLink traffic between them is in clear"), "{e}");
    let blackwells = gpus([DeviceSpec::blackwell(1), DeviceSpec::blackwell(2)]);
    let codes = capped(&blackwells, &context_with(2, 0));
    assert_eq!(codes, ["gpu.multi.nvlink_unproven", "gpu.topology"]);
    // One of two.
    let half = protected().into_iter().enumerate().map(|(i, device)| {
        let mut spec = device.spec().clone();
        spec.protected_pcie = spec.protected_pcie.map(|_| i == 0);
        vendor().device(spec)
    });
    let half: Vec<_> = half.collect();
    assert_eq!(capped(&half, &context_with(2, 2)), ["gpu.multi.not_protected"]);
}

#[test]
fn the_set_of_gpus_and_switches_must_be_complete() {
    let machine = vendor().machine(1, 3, 2);
    let all = |range: std::ops::Range<usize>| -> Vec<SimulatedDevice> {
        machine[range]
            .iter()
            .map(|d| vendor().device(d.spec().clone()))
            .collect()
    };
    verify(&compose(&all(0..5), snp), &context_with(3, 2)).unwrap();
    assert_eq!(capped(&all(1..5), &context_with(3, 2)), ["gpu.count", "gpu.topology"]);
    assert_eq!(
        capped(&all(0..4), &context_with(3, 2)),
        ["gpu.switch_count", "gpu.topology"]
    );
    // A policy that counts nothing still sees who is missing: the others name it.
    let mut any = context_with(0, 0);
    (table(&mut any).gpus, table(&mut any).switches) = (Count::Any, Count::Any);
    verify(&compose(&all(0..5), snp), &any).unwrap();
    assert_eq!(capped(&all(1..5), &any), ["gpu.topology"]);
    assert_eq!(capped(&all(0..4), &any), ["gpu.topology"]);
    assert_eq!(capped(&all(0..3), &any), ["gpu.topology"]);
    let mut closed = context_with(3, 2);
    closed.policy.gpu = None;
    assert_eq!(capped(&all(0..5), &closed), ["gpu.not_admitted"]);
}

#[test]
fn reference_measurements_must_be_there_and_match() {
    let devices = protected();
    let mut bundle = compose(&devices, snp);
    bundle.collateral.rims.clear();
    assert_eq!(
        failed(verify(&bundle, &context_with(2, 2))),
        (vec!["gpu.rim.missing"], 40)
    );
    // The caller's own files do as well as stapled ones: nothing signs that list, each proves itself.
    let mut context = context_with(2, 2);
    context.collateral.rims = rims(&devices).into_iter().map(|b| b.0).collect();
    verify(&bundle, &context).unwrap();

    let mut sick = devices[1].spec().clone();
    sick.measurements.insert(25, vec![0; 48]);
    let sick = [
        vendor().device(devices[0].spec().clone()),
        vendor().device(sick),
        vendor().device(devices[2].spec().clone()),
        vendor().device(devices[3].spec().clone()),
    ];
    assert_eq!(capped(&sick, &context_with(2, 2)), ["gpu.rim.mismatch"]);
    let e = verify(&compose(&sick, snp), &context_with(2, 2)).unwrap_err();
    assert!(e.to_string().contains("got others at indexes [25]"), "{e}");

    // A RIM of a root that nobody named is not authentic.
    let mut bundle = compose(&devices, snp);
    let mut strict = crate::fixture::context();
    strict.policy = context_with(2, 2).policy;
    strict.anchors = strict
        .anchors
        .with_simulator_nvidia_root(vendor().device_root_der().to_vec());
    assert_eq!(refusal(verify(&bundle, &strict)), ("nvidia.rim.root", 20));
    let Base64(rim) = &mut bundle.collateral.rims[0];
    let text = String::from_utf8(std::mem::take(rim)).unwrap();
    let at = text.find("Hash0=\"").or_else(|| text.find("Hash=\"")).unwrap() + 10;
    let mut changed = text.into_bytes();
    changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
    *rim = changed;
    assert_eq!(refusal(verify(&bundle, &context_with(2, 2))), ("nvidia.rim.digest", 20));
}

#[test]
fn ocsp_answers_must_be_there_and_good() {
    let devices = protected();
    let judge = |answers: Vec<Base64>, ask: &dyn Fn(&mut GpuPolicy)| {
        let mut bundle = compose(&devices, snp);
        bundle.collateral.ocsp = answers;
        let mut context = context_with(2, 2);
        ask(table(&mut context));
        verify(&bundle, &context)
            .map_err(|e| (e.code(), e.exit_code()))
            .map(|r| r.tier())
    };
    let hold = || {
        ocsp_but(
            &devices,
            Some((
                1,
                OcspStatus::Revoked {
                    at: NOW.0 - 9,
                    reason: Some(6),
                },
            )),
        )
    };
    let revoked = || {
        ocsp_but(
            &devices,
            Some((
                1,
                OcspStatus::Revoked {
                    at: NOW.0 - 9,
                    reason: Some(1),
                },
            )),
        )
    };
    let tier_3 = Ok(PrivacyTier::GpuCc);
    assert_eq!(judge(ocsp_but(&devices, None), &|_| {}), tier_3);
    assert_eq!(judge(vec![], &|_| {}), Err(("gpu.ocsp.missing", 40)));
    assert_eq!(judge(vec![], &|t| t.ocsp = Presence::AcceptMissing), tier_3);
    assert_eq!(judge(hold(), &|_| {}), Err(("gpu.ocsp.on_hold", 40)));
    assert_eq!(judge(hold(), &|t| t.on_hold = Admission::Accept), tier_3);
    let not_authentic = Err(("nvidia.ocsp.revoked", 20));
    assert_eq!(judge(revoked(), &|_| {}), not_authentic);
    let open = |t: &mut GpuPolicy| {
        t.on_hold = Admission::Accept;
        t.ocsp = Presence::AcceptMissing;
    };
    assert_eq!(judge(revoked(), &open), not_authentic, "no policy accepts it");
    let unknown = ocsp_but(&devices, Some((1, OcspStatus::Unknown)));
    assert_eq!(judge(unknown, &open), Err(("nvidia.ocsp.unknown", 20)));
}

#[test]
fn the_allow_list_names_devices_by_ueid_or_by_device_id() {
    let devices = protected();
    let bundle = compose(&devices, snp);
    let ids = |pick: &dyn Fn(&hanzo_verifier::DeviceView) -> String| -> Vec<Ueid> {
        let view = verify(&bundle, &context_with(2, 2)).unwrap().view();
        view.devices.iter().map(|d| Ueid::from_hex(&pick(d)).unwrap()).collect()
    };
    let (ueids, device_ids) = (ids(&|d| d.ueid.clone()), ids(&|d| d.device_id.clone()));
    assert_ne!(ueids, device_ids);
    for listed in [ueids, device_ids] {
        let mut context = context_with(2, 2);
        table(&mut context).hardware = AllowList::Listed(listed.clone());
        verify(&bundle, &context).unwrap();
        for left_out in 0..4 {
            let mut fewer = listed.clone();
            fewer.remove(left_out);
            table(&mut context).hardware = AllowList::Listed(fewer);
            assert_eq!(failed(verify(&bundle, &context)), (vec!["gpu.hardware"], 40));
        }
    }
}

#[test]
fn each_other_rule_caps_its_device_and_names_itself_alone() {
    type Sick = fn(&mut DeviceSpec);
    type Ask = fn(&mut GpuPolicy);
    let cases: &[(&str, Sick, Ask)] = &[
        (
            "gpu.architecture",
            |_| {},
            |t| t.architectures = vec![hanzo_policy::Architecture::Blackwell],
        ),
        (
            "gpu.driver",
            |_| {},
            |t| t.minimum_driver = serde_json::from_str("\"551\"").unwrap(),
        ),
        ("gpu.fwid", |d| d.stated_fwid = None, |_| {}),
        (
            "gpu.feature_flag",
            |d| d.feature_flag = Some(3),
            |t| {
                t.feature_flags = AllowList::Listed(vec![1, 2]);
            },
        ),
    ];
    for (code, sick, ask) in cases {
        let (mut spec, mut context) = (DeviceSpec::hopper(1), context_with(1, 0));
        sick(&mut spec);
        ask(table(&mut context));
        assert_eq!(capped(&gpus([spec]), &context), [*code]);
    }
    let mut forged = DeviceSpec::hopper(1);
    forged.stated_fwid = Some([1; 48]);
    let bundle = compose(&gpus([forged]), snp);
    assert_eq!(
        refusal(verify(&bundle, &context_with(1, 0))),
        ("nvidia.fwid.mismatch", 20)
    );
}

#[test]
fn one_simulated_device_makes_the_machine_simulated() {
    // A TPM that the caller pinned is no simulator, and neither is its keyset: what is left is the GPU.
    let tpm = SimulatedTpm::for_tests();
    let mut honest = keyset();
    honest.simulated = false;
    let devices = gpus([DeviceSpec::hopper(1)]);
    let judged = |with_gpu: bool| {
        let list = if with_gpu {
            answers(&devices, &device_nonce(&honest))
        } else {
            vec![]
        };
        let statement = cpu_statement(&honest, &list);
        let cpu = CpuEvidence::Tpm(tpm.evidence(&statement.digest256().unwrap().0));
        let mut bundle = envelope(honest.clone(), cpu);
        bundle.devices = list;
        let mut context = with_devices(context(), PrivacyTier::Open, GpuPolicy::any_device(1, 0));
        context.anchors = context.anchors.with_tpm_ak(Digest256::of(&tpm.ak_public()));
        verify(&bundle, &context).unwrap()
    };
    assert!(!judged(false).simulated());
    let mixed = judged(true);
    assert!(mixed.simulated() && mixed.view().simulated && mixed.view().devices[0].simulated);
    assert!(!mixed.bound().authentic().is_simulated());
}
