//! Boots that really differ, against the policy of the one that was predicted. Five boots of a quarter of a minute: only
//! with `HANZO_BOOT_ALL=1`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::eventlog::Algorithm;
use hanzo_image::assemble::{FIRMWARE, KERNEL};
use hanzo_image::manifest::{FILE, Measured};
use hanzo_image::run::Word;
use hanzo_image::{Manifest, predict, run};
use hanzo_init::Profile;
use hanzo_measured_boot::event::Input;
use hanzo_measured_boot::explain::explain_log;
use serde_json::json;

use crate::captured::Captured;
use crate::setting::{STORE_KEY, Setting};
use crate::{changed, firmware};

/// A copy of `image` with one file changed, and a manifest that says so: a host that makes everything fit.
fn with(image: &Path, name: &str, file: &str, change: fn(&[u8]) -> Vec<u8>) -> PathBuf {
    let copy = image.with_file_name(name);
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(image).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let bytes = change(&std::fs::read(image.join(file)).unwrap());
    std::fs::write(copy.join(file), &bytes).unwrap();
    let mut manifest = Manifest::read(&copy).unwrap();
    manifest.outputs.insert(file.into(), Measured::of(&bytes));
    std::fs::write(copy.join(FILE), manifest.to_bytes().unwrap()).unwrap();
    copy
}

#[test]
fn boots_of_changed_images_are_refused_and_each_change_is_named() {
    if std::env::var_os("HANZO_BOOT_ALL").is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "CHANGED IMAGES NOT BOOTED: HANZO_BOOT_ALL is not set"
        );
        return;
    }
    let Some(mut setting) = Setting::new(Profile::Debug) else {
        return;
    };
    let recipe = setting.recipe(Profile::Core, "o");
    let image = setting.image("image", &recipe);
    let prediction = predict::predict(&setting.machine(&image), &|_| ()).unwrap();
    let policy = setting.policy(&image, &prediction, "appliance", Setting::store_subject());
    setting.broker.put(STORE_KEY, &policy);

    // The port is in the archive alone.
    let mut port = recipe.clone();
    port.listen.set_port(8444);
    let boots = [
        (
            "kernel",
            with(&image, "kernel-changed", KERNEL, changed::kernel),
            vec![Input::Kernel],
        ),
        ("initrd", setting.image("initrd-changed", &port), vec![Input::Initrd]),
        (
            "firmware",
            with(&image, "firmware-changed", FIRMWARE, firmware::changed),
            vec![Input::Firmware],
        ),
        (
            "debug",
            setting.image("debug", &setting.recipe(Profile::Debug, "o")),
            vec![Input::CommandLine, Input::Initrd],
        ),
    ];
    for (what, image, inputs) in &boots {
        let report = run::run(&setting.machine(image), None, true, &|_| ()).unwrap();
        let Word::Refused { reason } = &report.word else {
            panic!("{what}: a key was released");
        };
        assert!(reason.contains("kbs.refused"), "{what}: {reason}");
        let sent = Captured::all(&setting.seen);
        let replay = sent.last().unwrap().replay();
        let findings = explain_log(&prediction, &replay, Algorithm::Sha256, &[]).unwrap();
        let named: Vec<_> = findings.iter().filter_map(|finding| finding.input).collect();
        assert_eq!(&named, inputs, "{what}: {findings:?}");
        for finding in findings {
            let _ = writeln!(std::io::stderr(), "{what}: {}", finding.text);
        }
        // What the console alone shows is explained as well.
        let error = predict::compare(&prediction, &report.registers, report.log.as_deref()).unwrap_err();
        let _ = writeln!(std::io::stderr(), "{what}, by the console: {error}");
    }
    let decisions = setting.broker.decisions(STORE_KEY);
    assert_eq!(decisions.len(), boots.len());
    for decision in decisions {
        assert_eq!(decision["action"], "refuse");
        assert_eq!(decision["failed"], json!(["tpm.pcrs"]), "{decision}");
    }
}
