//! A processor, its GPUs and its switches: one verdict over exactly these devices.

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::bundle::{Base64, Bundle, DeviceCollateral, DeviceEvidence};
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Nonce, RawEvidence};
use hanzo_policy::PrivacyTier;
use hanzo_simulated_tee::{DeviceSpec, SimulatedTpm};
use hanzo_verifier::{read_bundle, verify_bundle, verify_rcar};
use serde_json::{Value, json};

use crate::fixture::*;
use crate::machine::*;

#[test]
fn two_protected_gpus_with_their_switches_reach_tier_3() {
    let devices = protected();
    let bundle = compose(&devices, snp);
    let result = verify(&bundle, &context_with(2, 2)).unwrap();
    assert_eq!(result.tier(), PrivacyTier::GpuCc);
    assert!(result.simulated());
    assert_eq!(above(&result), ["gpu.tee_io.sev_tio_not_verified"]);
    let view = serde_json::to_value(result.view()).unwrap();
    assert_eq!((&view["cpu_gpu_binding"], &view["tier"]), (&json!("hash"), &json!(3)));
    let shown: Vec<_> = view["devices"].as_array().unwrap().iter().collect();
    assert_eq!(shown.len(), 4);
    for (device, shown) in devices.iter().zip(shown) {
        assert_eq!(shown["device_id"], device.device_id());
        assert_eq!((&shown["rim"], &shown["ocsp"]), (&json!("matched"), &json!("good")));
        let role = if device.spec().arch.is_gpu() { "gpu" } else { "switch" };
        assert_eq!((&shown["role"], &shown["simulated"]), (&json!(role), &json!(true)));
    }
    assert_eq!(view["devices"][0]["protected_pcie"], true);
    // The same guest judged by a policy that asks for less, and by one that asks for more.
    let mut context = context_with(2, 2);
    context.policy.minimum_tier = PrivacyTier::CpuTee;
    assert_eq!(verify(&bundle, &context).unwrap().tier(), PrivacyTier::GpuCc);
    context.policy.minimum_tier = PrivacyTier::GpuTeeIo;
    assert_eq!(
        failed(verify(&bundle, &context)),
        (vec!["gpu.tee_io.sev_tio_not_verified"], 40)
    );
}

#[test]
fn one_gpu_needs_no_switch_and_zero_gpus_never_reach_tier_3() {
    for spec in [DeviceSpec::hopper(1), DeviceSpec::blackwell(1)] {
        let result = verify(&compose(&gpus([spec]), snp), &context_with(1, 0)).unwrap();
        assert_eq!(result.tier(), PrivacyTier::GpuCc);
    }
    let mut any = context_with(0, 0);
    let table = any.policy.gpu.as_mut().unwrap();
    (table.gpus, table.switches) = (hanzo_policy::Count::Any, hanzo_policy::Count::Any);
    assert_eq!(
        failed(verify(&healthy_bundle(), &any)),
        (vec!["tier.gpu_cc.no_evidence"], 40)
    );
    let switches = gpus([DeviceSpec::ls10(1)]);
    let (codes, exit_code) = failed(verify(&compose(&switches, snp), &any));
    assert_eq!((codes[0], exit_code), ("tier.gpu_cc.no_evidence", 40), "{codes:?}");
    // The last GPU taken away, with a statement over the rest.
    let rest = &protected()[2..];
    let (codes, exit_code) = failed(verify(&compose(rest, snp), &any));
    assert!(codes.contains(&"tier.gpu_cc.no_evidence"), "{codes:?}");
    assert_eq!(exit_code, 40);
    assert_eq!(refusal(verify(&healthy_bundle(), &context_with(1, 0))).1, 40);
}

#[test]
fn a_device_added_removed_repeated_or_moved_after_the_statement_is_unbound() {
    let devices = protected();
    let good = compose(&devices, snp);
    let context = context_with(2, 2);
    let answer = device_nonce(&keyset());
    let stranger = gpus([DeviceSpec::hopper(9)])[0].evidence(&answer);
    let changed = |edit: &dyn Fn(&mut Vec<DeviceEvidence>)| {
        let mut bundle = good.clone();
        edit(&mut bundle.devices);
        verify(&bundle, &context)
            .map_err(|e| (e.code(), e.exit_code()))
            .map(drop)
    };
    assert_eq!(changed(&|_| {}), Ok(()));
    let unbound = Err(("binding.report_data", 30));
    assert_eq!(changed(&|d| d.push(stranger.clone())), unbound, "added");
    assert_eq!(changed(&|d| d.truncate(3)), unbound, "removed");
    assert_eq!(changed(&Vec::clear), unbound, "all removed");
    assert_eq!(changed(&|d| d[0] = stranger.clone()), unbound, "exchanged");
    assert_eq!(changed(&|d| d.swap(0, 1)), unbound, "reordered");
    assert_eq!(changed(&|d| d.rotate_left(1)), unbound);
    assert_eq!(
        changed(&|d| d[0] = devices[0].evidence(&answer)),
        unbound,
        "asked again: another signature"
    );
    assert_eq!(changed(&|d| d[3].certificates.0.push(b'\n')), unbound);
    assert_eq!(changed(&|d| d.push(d[0].clone())), Err(("device.duplicate", 20)));
    // A guest that lists one GPU twice and signs that list.
    let twice = vec![good.devices[0].clone(), good.devices[0].clone()];
    let bundle = compose_list(twice, collateral(&devices), snp);
    assert_eq!(refusal(verify(&bundle, &context)), ("device.duplicate", 20));
}

#[test]
fn devices_that_answered_another_nonce_are_unbound_although_the_processor_signed_their_list() {
    let devices = protected();
    let context = context_with(2, 2);
    let relayed = |nonces: &[[u8; 32]]| {
        let list = devices
            .iter()
            .zip(nonces.iter().cycle())
            .map(|(device, nonce)| device.evidence(nonce))
            .collect();
        let bundle = compose_list(list, collateral(&devices), snp);
        verify(&bundle, &context)
            .map_err(|e| (e.code(), e.exit_code()))
            .map(drop)
    };
    let ours = device_nonce(&keyset());
    let mut other = keyset();
    other.channel_key.public_key = "ab".repeat(1216);
    let unbound = Err(("binding.device_nonce", 30));
    assert_eq!(relayed(&[ours]), Ok(()));
    assert_eq!(relayed(&[device_nonce(&other)]), unbound, "another guest's");
    assert_eq!(
        relayed(&[ours, ours, ours, device_nonce(&other)]),
        unbound,
        "one of four"
    );
    let earlier = Statement::for_devices(keyset().digest().unwrap(), Nonce([9; 32]));
    assert_eq!(relayed(&[earlier.digest256().unwrap().0]), unbound, "an earlier answer");
    assert_eq!(relayed(&[nonce().0]), unbound, "the bare nonce");
    assert_eq!(relayed(&[[0; 32]]), unbound);
}

#[test]
fn the_two_purposes_are_not_interchangeable() {
    let devices = protected();
    let context = context_with(2, 2);
    // Devices that answered a processor's statement, over no list and over their own.
    let list = answers(&devices, &device_nonce(&keyset()));
    for statement in [cpu_statement(&keyset(), &[]), cpu_statement(&keyset(), &list)] {
        let swapped = answers(&devices, &statement.digest256().unwrap().0);
        let bundle = compose_list(swapped, collateral(&devices), snp);
        assert_eq!(refusal(verify(&bundle, &context)), ("binding.device_nonce", 30));
    }
    // A processor that signed the devices' statement, whole and as its padded SHA-256.
    let statement = Statement::for_devices(keyset().digest().unwrap(), nonce());
    let mut padded = [0; 64];
    padded[..32].copy_from_slice(&statement.digest256().unwrap().0);
    for report_data in [statement.report_data().unwrap(), padded] {
        let bundle = compose_list(list.clone(), collateral(&devices), |_| snp_over(&report_data));
        assert_eq!(refusal(verify(&bundle, &context)), ("binding.report_data", 30));
    }
}

#[test]
fn only_devices_stand_in_the_device_list() {
    let devices = protected();
    let good = answers(&devices, &device_nonce(&keyset()));
    let tpm = SimulatedTpm::for_tests();
    let quote = tpm.quote(&[0, 4, 7], &device_nonce(&keyset())).message;
    let report = report_of(&mut healthy_bundle()).clone();
    for (kind, offered, expected) in [
        ("tpm", &quote.0, "device.kind"),
        ("snp", &report, "device.kind"),
        ("NVIDIA", &good[0].report.0, "device.kind"),
        ("nvidia", &quote.0, "nvidia.report.field"),
        ("nvidia", &report, "nvidia.report.field"),
    ] {
        let mut list = good.clone();
        list[1].kind = kind.into();
        list[1].report = Base64(offered.clone());
        let bundle = compose_list(list, collateral(&devices), snp);
        assert_eq!(refusal(verify(&bundle, &context_with(2, 2))), (expected, 10));
    }
}

#[test]
fn a_composite_bundle_that_answers_nobody_can_be_read_and_is_not_a_verdict() {
    let mut bundle = compose(&protected(), snp);
    let context = context_with(2, 2);
    bundle.freshness = None;
    let bytes = bundle.canonical().unwrap();
    assert_eq!(
        refusal(verify_bundle(&bytes, &CHALLENGE, &context, NOW)),
        ("freshness.none", 30)
    );
    let reading = read_bundle(&bytes, &context, NOW).unwrap();
    assert_eq!(reading.tier_if_fresh(), PrivacyTier::GpuCc);
    assert_eq!(reading.appraisal().tier(), PrivacyTier::Open);
    let spaced = String::from_utf8(bytes).unwrap().replacen("{", "{ ", 1);
    assert_eq!(
        refusal(verify_bundle(spaced.as_bytes(), &CHALLENGE, &context, NOW)),
        ("bundle.not_canonical", 10)
    );
    let text = String::from_utf8(compose(&protected(), snp).canonical().unwrap()).unwrap();
    let moved = text.replacen("\"arch\":\"hopper\",", "", 1);
    let moved = moved.replacen("\"kind\":\"nvidia\",", "\"kind\":\"nvidia\",\"arch\":\"hopper\",", 1);
    assert_ne!(moved, text);
    assert_eq!(
        refusal(verify_bundle(moved.as_bytes(), &CHALLENGE, &context, NOW)),
        ("bundle.not_canonical", 10),
        "members out of order"
    );
}

/// A broker's session with these devices, in the string that the processor signs.
struct Session {
    key: Value,
    additional: String,
}

impl Session {
    fn over(devices: impl FnOnce(&[u8; 32]) -> Vec<DeviceEvidence>) -> Self {
        let key = json!({"alg": "hanzo-hpke-x-wing", "kty": "AKP", "pub": "b3Vycw"});
        let mut session = Self {
            key,
            additional: String::new(),
        };
        let nonce = session.runtime().device_nonce().unwrap();
        session.additional = additional(&devices(&nonce));
        session
    }

    fn runtime(&self) -> RcarRuntime<'_> {
        RcarRuntime {
            additional_evidence: &self.additional,
            nonce: "bm9uY2U=",
            tee_pubkey: &self.key,
        }
    }
}

fn additional(list: &[DeviceEvidence]) -> String {
    let list: Vec<Value> = list
        .iter()
        .map(|d| json!({"arch": d.arch.to_uppercase(), "certificate": d.certificates, "evidence": d.report}))
        .collect();
    json!({"nvidia": {"device_evidence_list": list}}).to_string()
}

fn with_collateral(devices: &DeviceCollateral) -> hanzo_verifier::VerifierContext {
    let mut context = context_with(2, 2);
    context.collateral.rims = devices.rims.iter().map(|b| b.0.clone()).collect();
    context.collateral.ocsp = devices.ocsp.iter().map(|b| b.0.clone()).collect();
    context
}

#[test]
fn a_session_s_devices_reach_tier_3_and_neither_binding_passes_for_the_other() {
    let devices = protected();
    let context = with_collateral(&collateral(&devices));
    let session = Session::over(|nonce| answers(&devices, nonce));
    let check = |session: &Session, report_data: &[u8; 64]| {
        verify_rcar(
            RawEvidence::from(snp_over(report_data)),
            &session.runtime(),
            &context,
            NOW,
        )
    };
    let signed = session.runtime().report_data().unwrap();
    let result = check(&session, &signed).unwrap();
    assert_eq!(result.tier(), PrivacyTier::GpuCc);
    let view = result.view();
    assert_eq!(
        (view.freshness, view.cpu_gpu_binding, view.devices.len()),
        ("session", "hash", 4)
    );

    let mut tail = signed;
    tail[63] = 1;
    let unbound = ("binding.rcar_report_data", 30);
    assert_eq!(refusal(check(&session, &tail)), unbound, "a tail after the 48 bytes");
    // Evidence of a bundle, its devices as additional evidence; and the session's evidence in a bundle.
    let bundle = compose(&devices, snp);
    let mut offered = Session::over(|_| vec![]);
    offered.additional = additional(&bundle.devices);
    let statement = cpu_statement(&keyset(), &bundle.devices).report_data().unwrap();
    assert_eq!(refusal(check(&offered, &statement)), unbound);
    let signed_anew = offered.runtime().report_data().unwrap();
    assert_eq!(
        refusal(check(&offered, &signed_anew)),
        ("binding.rcar_device_nonce", 30),
        "a processor that goes along: its devices answered a statement"
    );
    let list = answers(&devices, &session.runtime().device_nonce().unwrap());
    let in_bundle = |cpu: &[u8; 64]| -> Bundle { compose_list(list.clone(), collateral(&devices), |_| snp_over(cpu)) };
    assert_eq!(
        refusal(verify(&in_bundle(&signed), &context)),
        ("binding.report_data", 30)
    );
    let statement = cpu_statement(&keyset(), &list).report_data().unwrap();
    assert_eq!(
        refusal(verify(&in_bundle(&statement), &context)),
        ("binding.device_nonce", 30)
    );
}
