//! The boot that was predicted gets its key; nearly the same boot does not.

use std::collections::BTreeMap;
use std::io::Write as _;

use hanzo_attestation::eventlog::Algorithm;
use hanzo_attestation::name::Name;
use hanzo_attestation::tpm::AkOrigin;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_image::run::Word;
use hanzo_image::{predict, run};
use hanzo_init::Profile;
use hanzo_measured_boot::event::Input;
use hanzo_measured_boot::explain::explain_log;
use hanzo_measured_boot::prediction::Prediction;
use hanzo_policy::AllowList;
use hanzo_vault::KeyPolicy;
use serde_json::json;

use crate::captured::Captured;
use crate::changed::{Change, one_byte_of_each};
use crate::setting::{MODEL_KEY, STORE_KEY, Setting, not_tested};

/// What the reference value is called.
const IMAGE: &str = "appliance-o";
/// Registers that the quote must show as predicted. Nothing is measured into PCR 8, which is compared as well.
const REGISTERS: std::ops::RangeInclusive<u32> = 0..=9;

#[test]
fn a_predicted_boot_gets_its_key_by_quote_and_no_other_image_s() {
    let Some(mut setting) = Setting::new(Profile::Core) else {
        return;
    };
    let recipe = setting.recipe(Profile::Core, "o");
    let command_line = recipe.command_line().unwrap();
    let image = setting.image("image", &recipe);
    let machine = setting.machine(&image);

    // The file is written first; what it says is read back from it.
    let file = setting.dir.path().join("prediction.json");
    let bytes = match predict::predict(&machine, &|_| ()) {
        Err(error) if error.to_string().contains("; install ") => return not_tested(&error.to_string()),
        prediction => prediction.unwrap().to_vec().unwrap(),
    };
    std::fs::write(&file, bytes).unwrap();
    let prediction = predict::read(&file).unwrap();
    let policy = setting.policy(&image, &prediction, IMAGE, Setting::store_subject());
    setting.broker.put(STORE_KEY, &policy);
    // The model's key is for the nearest other image: one byte of the archive.
    let changes = one_byte_of_each(&image, &prediction, &command_line);
    let near = changes.iter().find(|change| change.input == Input::Initrd).unwrap();
    let mut for_near = demanding(&policy, setting.ak, &near.prediction, &near.command_line);
    for_near.subject = Name::new(&Setting::model_subject()).unwrap();
    setting.broker.put(MODEL_KEY, &for_near);

    let report = run::run(&machine, Some(&prediction), true, &|_| ()).unwrap();
    let _ = writeln!(std::io::stderr(), "{report}");
    let Word::Refused { reason } = &report.word else {
        panic!("a key for another image was released");
    };
    assert!(reason.contains("kbs.refused") && reason.contains(MODEL_KEY), "{reason}");

    let sent = Captured::all(&setting.seen);
    // The store's key, its lease, the model's key.
    let [store, lease, other] = &sent[..] else {
        panic!("expected three exchanges, got {}", sent.len());
    };
    as_predicted(lease, &setting, &prediction);
    as_predicted(store, &setting, &prediction);
    assert_eq!(store.decide(setting.ak, &policy), Ok(1));
    both_banks_count(store, setting.ak, &policy);
    explained(store, setting.ak, &policy, &changes);
    floors_and_pins(store, setting.ak, &policy);

    // The broker's audit: which policy decided, on which evidence, and what came of it.
    let granted = setting.broker.decisions(STORE_KEY);
    let line = |member: &str| granted[0][member].clone();
    assert_eq!(granted.len(), 1);
    assert_eq!(line("action"), "grant");
    assert_eq!((line("tier"), line("simulated")), (json!(1), json!(false)));
    assert_eq!(line("policy"), json!(policy.digest().unwrap()));
    assert_eq!(line("evidence"), json!(store.digest()));
    assert_eq!(line("about"), "image 1");
    let refused = setting.broker.decisions(MODEL_KEY);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["action"], "refuse");
    assert_eq!(refused[0]["failed"], json!(["tpm.pcrs"]));
    assert_eq!(refused[0]["evidence"], json!(other.digest()));
}

/// The quote, by the verifier: each register of either bank is signed. The log replays to both, event by event.
fn as_predicted(sent: &Captured, setting: &Setting, prediction: &Prediction) {
    let claims = sent.claims(setting.ak);
    assert_eq!(claims.ak_origin, AkOrigin::Pinned);
    let replay = sent.replay();
    for register in REGISTERS {
        let predicted = prediction.register(register).unwrap();
        let index = u8::try_from(register).unwrap();
        assert_eq!(
            Some(claims.pcrs[&index]),
            predicted.sha256.map(|d| d.0),
            "PCR {register}"
        );
        assert_eq!(
            claims.pcrs_sha384[&index], predicted.sha384.0,
            "PCR {register} (SHA-384)"
        );
        for bank in [Algorithm::Sha256, Algorithm::Sha384] {
            let zeros = vec![0; predicted.value(bank).unwrap().len()];
            let replayed = replay.banks[&bank].get(&register).unwrap_or(&zeros);
            assert_eq!(
                Some(replayed.as_slice()),
                predicted.value(bank),
                "PCR {register} ({bank})"
            );
        }
    }
    assert!(claims.event_log.is_some());
    for bank in [Algorithm::Sha256, Algorithm::Sha384] {
        assert_eq!(explain_log(prediction, &replay, bank, &[]), Ok(Vec::new()));
    }
}

/// `policy`, asking for what was predicted here.
fn demanding(policy: &KeyPolicy, ak: Digest256, prediction: &Prediction, command_line: &str) -> KeyPolicy {
    let name = Name::new(IMAGE).unwrap();
    let table = prediction.tpm_policy(name, command_line, AllowList::Listed(vec![ak]));
    let mut policy = policy.clone();
    policy.appraisal.tpm = Some(table.unwrap());
    policy
}

/// Another value of any one register of the SHA-384 bank: refused, though the SHA-256 bank is as predicted. So is evidence
/// that leaves the SHA-384 bank out, as a host's other quote would; nobody but the TPM makes one, so the policy is asked
/// for a register that this quote does not select.
fn both_banks_count(sent: &Captured, ak: Digest256, policy: &KeyPolicy) {
    let stated = |policy: &mut KeyPolicy| {
        let table = policy.appraisal.tpm.as_mut().unwrap();
        std::mem::take(&mut table.references[0].pcrs_sha384.0)
    };
    let with = |registers: BTreeMap<u8, Digest384>| {
        let mut other = policy.clone();
        other.appraisal.tpm.as_mut().unwrap().references[0].pcrs_sha384.0 = registers;
        sent.decide(ak, &other)
    };
    let predicted = stated(&mut policy.clone());
    assert!(REGISTERS.eq(predicted.keys().map(|index| u32::from(*index))));
    assert_eq!(with(predicted.clone()), Ok(1));
    for index in predicted.keys() {
        let mut other = predicted.clone();
        other.get_mut(index).unwrap().0[47] ^= 1;
        assert_eq!(with(other), Err(vec!["tpm.pcrs.sha384"]), "PCR {index}");
    }
    let mut more = predicted;
    more.insert(10, Digest384([0; 48]));
    assert_eq!(with(more), Err(vec!["tpm.pcrs.sha384.not_quoted"]));
}

/// One byte of kernel, initrd, command line or firmware: refused, and the log names the event and its input.
fn explained(sent: &Captured, ak: Digest256, policy: &KeyPolicy, changes: &[Change]) {
    let replay = sent.replay();
    assert_eq!(changes.len(), 4);
    for change in changes {
        let other = demanding(policy, ak, &change.prediction, &change.command_line);
        assert_eq!(sent.decide(ak, &other), Err(vec!["tpm.pcrs"]), "{:?}", change.input);
        for bank in [Algorithm::Sha256, Algorithm::Sha384] {
            let findings = explain_log(&change.prediction, &replay, bank, &[]).unwrap();
            let [finding] = &findings[..] else {
                panic!("{:?}: expected one difference, got {findings:?}", change.input);
            };
            assert_eq!((finding.register, finding.input), (change.register, Some(change.input)));
            let _ = writeln!(std::io::stderr(), "{:?}: {}", change.step, finding.text);
        }
    }
}

/// The same evidence under a higher floor, and under other pins.
fn floors_and_pins(sent: &Captured, ak: Digest256, policy: &KeyPolicy) {
    let mut newer = policy.clone();
    newer.minimum_image_version = 2;
    assert_eq!(sent.decide(ak, &newer), Err(vec!["kbs.image.too_old"]));
    newer.image_versions.insert(Name::new(IMAGE).unwrap(), 2);
    assert_eq!(sent.decide(ak, &newer), Ok(1));
    // A broker that pins another TPM, and one that pins this TPM for others' keys alone.
    let another = Digest256([7; 32]);
    assert_eq!(
        sent.decide(another, policy),
        Err(vec!["revocation.missing", "tpm.ak.unknown"])
    );
    let mut listed = policy.clone();
    listed.appraisal.tpm.as_mut().unwrap().hardware = AllowList::Listed(vec![another]);
    assert_eq!(sent.decide(ak, &listed), Err(vec!["tpm.hardware"]));
}
