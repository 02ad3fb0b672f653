//! The key of a validator's account: released to the predicted image of a validator, and to no other.
//!
//! The validator's program is a stand-in, the guest's own: it does not know what it is asked, says so and ends. What counts here is what
//! the launcher did before it became that program.

use hanzo_image::assemble::{Node, build_with};
use hanzo_image::frames::Frames;
use hanzo_image::run::Word;
use hanzo_image::{Parts, Recipe, predict, run};
use hanzo_init::{Network, Profile};

use crate::setting::{Setting, not_tested};

const KEY: &str = "hanzo/validator/one";
const SUBJECT: &str = "validator-one";
const IMAGE: &str = "validator-o";

fn config(setting: &Setting) -> String {
    let signer = &setting.broker.made.identity.signer;
    let (suite, ml_dsa, ed25519) = (&signer.suite, &signer.ml_dsa, &signer.ed25519);
    let (zeros, port) = ("22".repeat(32), setting.broker.address.port());
    format!(
        "version = 1\nrole = \"validator\"\nnetwork = 36964\ngenesis = \"{zeros}\"\nrpc = \"0.0.0.0:9650\"\n\
         listen = \"0.0.0.0:9651\"\naddress = \"one.example:9651\"\nrequired_tier = 1\npolicy = \"minimum_tier = 1\"\n\
         [account]\nkey_id = \"{KEY}\"\nsubject = \"{SUBJECT}\"\n[kbs]\naddress = \"10.0.2.2:{port}\"\ngrant_lifetime_s = 60\n\
         [kbs.signer]\nsuite = \"{suite}\"\nml_dsa = \"{ml_dsa}\"\ned25519 = \"{ed25519}\"\n\
         [[peer]]\naccount = \"0x{zeros}\"\naddress = \"10.0.2.2:9701\"\n"
    )
}

#[test]
fn a_validators_image_gets_its_accounts_key_and_one_changed_by_a_byte_does_not() {
    let Some(mut setting) = Setting::new(Profile::Core) else {
        return;
    };
    let network = Network {
        interface: "eth0".into(),
        address: "10.0.2.15".parse().unwrap(),
        prefix: 24,
        gateway: Some("10.0.2.2".parse().unwrap()),
    };
    let recipe = Recipe::node(Profile::Core, config(&setting), network).unwrap();
    let node = Node {
        program: setting.parts.guest.clone(),
        genesis: b"genesis".to_vec(),
    };
    let parts = Parts {
        node: Some(node),
        ..setting.parts.clone()
    };
    let mut changed = parts.clone();
    changed.node.as_mut().unwrap().program.push(0);
    // What both have alike is compressed once.
    let kept = setting.dir.path().join("frames");
    std::fs::create_dir(&kept).unwrap();
    let frames = Frames::kept_in(&kept);
    let [image, other] = [("image", &parts), ("other", &changed)].map(|(name, parts)| {
        let image = setting.dir.path().join(name);
        build_with(parts, &recipe, &image, &frames, &|_| ()).unwrap();
        image
    });
    let prediction = match predict::predict(&setting.machine(&image), &|_| ()) {
        Err(error) if error.to_string().contains("; install ") => return not_tested(&error.to_string()),
        prediction => prediction.unwrap(),
    };
    let policy = setting.policy(&image, &prediction, IMAGE, SUBJECT);
    setting.broker.put(KEY, &policy);

    let console = |name: &str| std::fs::read_to_string(setting.dir.path().join(format!("{name}.console"))).unwrap();
    let refused = run::run(&setting.machine(&other), None, true, &|_| ()).unwrap();
    let Word::Refused { reason } = &refused.word else {
        panic!("the key was released to another image");
    };
    assert!(
        reason.contains("[kbs.refused]") && reason.contains("tpm.pcrs"),
        "{reason}"
    );
    assert!(!console("other").contains("granted"), "{reason}");

    // With a way to its links, which changes nothing that is measured.
    let mut machine = setting.machine(&image);
    machine.links = Some(setting.machine(&image).port);
    let report = run::run(&machine, Some(&prediction), true, &|_| ()).unwrap();
    assert!(report.as_predicted);
    let told = format!("node-sandbox: key {KEY} of the account granted, version 1, tier 1");
    assert!(console("image").contains(&told), "{report}");
    assert!(matches!(report.word, Word::Refused { .. }), "{report}");

    machine.links = Some(machine.port);
    let error = run::run(&machine, None, true, &|_| ()).unwrap_err();
    assert_eq!(error.code(), "image.inputs", "{error}");

    let decided = setting.broker.decisions(KEY);
    let said = |n: usize| (decided[n]["action"].clone(), decided[n]["about"].clone());
    assert_eq!(decided.len(), 2);
    assert_eq!(said(0).0, "refuse");
    assert_eq!(decided[0]["failed"], serde_json::json!(["tpm.pcrs"]));
    assert_eq!(said(1), ("grant".into(), "image 1".into()));
}
