//! Machines that are nearly the right one, in front of the same broker and with the same TPM.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hanzo_image::assemble::{KERNEL, Parts, build_with};
use hanzo_image::fetch::Source;
use hanzo_image::frames::Frames;
use hanzo_image::inputs::{COMMITTED, Inputs};
use hanzo_image::manifest::{FILE, Measured};
use hanzo_image::run::{Report, Word};
use hanzo_image::{Manifest, Profile, Recipe};
use serde_json::{Value, json};

use crate::appliance::Up;
use crate::broker::Broker;
use crate::needs::{Needs, private_dir};

/// The key that a guest asks for first.
const STORE_KEY: &str = "hanzo/store/appliance-store";

fn reason(report: &Report) -> &str {
    match &report.word {
        Word::Refused { reason } => reason,
        Word::Serving => panic!("it serves"),
    }
}

/// The guest says that its broker refused, and no more; the broker's audit says why.
fn by_the_broker(report: &Report, broker: &Broker, failed: &Value) {
    let reason = reason(report);
    assert!(reason.starts_with("hanzo-guest: "), "{reason}");
    assert!(reason.contains("kbs.refused") && reason.contains(STORE_KEY), "{reason}");
    let decisions = broker.decisions(STORE_KEY);
    let last = decisions.last().unwrap();
    assert_eq!((&last["action"], &last["failed"]), (&json!("refuse"), failed), "{last}");
}

/// The very image that runs, while it runs: the store has one writer.
pub fn a_second_guest(up: &Up) {
    let report = up.boot(&up.at("image"), &up.packs());
    let reason = reason(&report);
    assert!(reason.ends_with("[fence.held]"), "{reason}");
}

/// One bit of the model's weights, after they were sealed: the guest has their key, and stops; the user is told.
pub fn a_changed_pack(needs: &Needs) {
    let state = private_dir();
    let run = state.path().join("up/run");
    let mut child = needs.command(state.path()).spawn().unwrap();
    // The prediction comes after the pack, and before the machine.
    let prediction = run.join("prediction.json");
    while !prediction.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it predicted");
        std::thread::sleep(Duration::from_millis(5));
    }
    let packs = fs::read_dir(run.join("packs")).unwrap().flatten();
    let mut packs: Vec<_> = packs.map(|pack| pack.path()).collect();
    packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(packs.last().unwrap())
        .unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();

    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    let error: Value = serde_json::from_str(said.trim()).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("[pack.chunk.not_authentic]"), "{said}");
}

/// The debug profile of the same configuration and programs; and one byte of the kernel, in a copy whose manifest fits.
pub fn other_images(needs: &Needs, up: &Up, broker: &Broker) {
    let image = up.at("image");
    let changed = one_byte_of_the_kernel(&image, &up.state.path().join("changed"));
    by_the_broker(&up.boot(&changed, &up.packs()), broker, &json!(["tpm.pcrs"]));

    let debug = up.state.path().join("debug");
    let made = Manifest::read(&image).unwrap();
    let is = made.recipe;
    let recipe = Recipe::new(Profile::Debug, is.config, is.listen, is.kbs.unwrap(), is.network).unwrap();
    let inputs = Inputs {
        own_kernel: made.inputs.own_kernel.clone(),
        ..Inputs::parse(COMMITTED).unwrap()
    };
    let source = Source::Directory(needs.packages.clone());
    let engine = Some(needs.engine.as_path());
    let parts = Parts::gather(inputs, &source, Profile::Debug, &needs.guest, engine, &|_| ()).unwrap();
    build_with(&parts, &recipe, &debug, &Frames::default(), &|_| ()).unwrap();
    by_the_broker(&up.boot(&debug, &up.packs()), broker, &json!(["tpm.pcrs"]));
}

/// In the text of its version, which nothing executes and the setup header points to.
fn one_byte_of_the_kernel(image: &Path, copy: &Path) -> PathBuf {
    fs::create_dir(copy).unwrap();
    for entry in fs::read_dir(image).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let mut kernel = fs::read(image.join(KERNEL)).unwrap();
    let text = 0x200 + usize::from(u16::from_le_bytes([kernel[0x20e], kernel[0x20f]]));
    assert!(kernel[text].is_ascii_digit(), "the text of the version");
    kernel[text] ^= 1;
    fs::write(copy.join(KERNEL), &kernel).unwrap();
    let mut manifest = Manifest::read(copy).unwrap();
    manifest.outputs.insert(KERNEL.into(), Measured::of(&kernel));
    fs::write(copy.join(FILE), manifest.to_bytes().unwrap()).unwrap();
    copy.to_owned()
}

/// The very image that runs, once the broker asks for the next version.
pub fn an_image_that_is_too_old(up: &Up, broker: &Broker) {
    let mut policy = broker.policy(STORE_KEY);
    policy.minimum_image_version += 1;
    broker.set_policy(STORE_KEY, &policy);
    let report = up.boot(&up.at("image"), &up.packs());
    by_the_broker(&report, broker, &json!(["kbs.image.too_old"]));
}
