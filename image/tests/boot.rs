//! One real boot: predicted first, then measured by a software TPM under QEMU.
//!
//! Needs QEMU 10, swtpm, the static `hanzo-guest` in this target directory, and `HANZO_IMAGE_PACKAGES`: a directory with the
//! pinned packages, or one they may be fetched into. Says loudly which of them is missing.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_image::assemble::{INITRD, Parts};
use hanzo_image::fetch::{MIRROR, Source};
use hanzo_image::inputs::COMMITTED;
use hanzo_image::manifest::{FILE, Measured};
use hanzo_image::run::{Accelerator, Machine, Word};
use hanzo_image::{Inputs, Manifest, Recipe, build, predict, run};
use hanzo_init::{Network, Profile};

fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "NO IMAGE WAS BOOTED: {why}");
}

fn static_guest() -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let guest = here
        .ancestors()
        .nth(3)?
        .join("x86_64-unknown-linux-gnu/release/hanzo-guest");
    guest.exists().then_some(guest)
}

fn recipe(kbs: &str) -> Recipe {
    recipe_of(kbs, "o")
}

fn recipe_of(kbs: &str, operator: &str) -> Recipe {
    // Keys of zeros: the guest gets as far as its configuration, and says so.
    let (ml_dsa, ed25519, root) = ("00".repeat(1952), "00".repeat(32), "11".repeat(32));
    let config = format!(
        "version = 1\noperator = \"{operator}\"\nimage = \"dev\"\nrequired_tier = 1\nkeyset_lifetime_s = 3600\nauth = \"none\"\n\
         [kbs]\ngrant_lifetime_s = 60\n[kbs.signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{ml_dsa}\"\n\
         ed25519 = \"{ed25519}\"\n[store]\nid = \"s\"\nkey_id = \"t/store/s\"\n[[models]]\nname = \"m\"\n\
         weights_root = \"{root}\"\nkey_id = \"t/model/m\"\ncontext_tokens = 512\n[limits]\n\
         body_bytes_max = 65536\nconcurrent_requests = 2\nrequest_timeout_s = 60\n"
    );
    let network = Network {
        interface: "eth0".into(),
        address: "10.0.2.15".parse().unwrap(),
        prefix: 24,
        gateway: Some("10.0.2.2".parse().unwrap()),
    };
    let listen = "0.0.0.0:8443".parse().unwrap();
    Recipe::new(Profile::Core, config, listen, kbs.parse().unwrap(), network).unwrap()
}

fn machine(image: &Path, dir: &Path) -> Machine {
    Machine {
        image: image.to_owned(),
        console: dir.join("console.log"),
        // A free one, as far as that can be known.
        port: std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map(|address| address.port())
            .unwrap(),
        links: None,
        memory_mib: 512,
        processors: 1,
        accelerator: Accelerator::Tcg,
        packs: Vec::new(),
        tpm: None,
    }
}

#[test]
fn a_boot_measures_what_was_predicted_before_it() {
    let Some(packages) = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from) else {
        return not_tested("HANZO_IMAGE_PACKAGES names no directory for the pinned packages");
    };
    let Some(guest) = static_guest() else {
        return not_tested(
            "no static hanzo-guest: cargo build --release --target x86_64-unknown-linux-gnu with crt-static",
        );
    };
    let inputs = Inputs::parse(COMMITTED).unwrap();
    let source = Source::Archive {
        kept: std::path::absolute(packages).unwrap(),
        mirror: MIRROR.into(),
    };
    let dir = tempfile::tempdir().unwrap();
    let parts = match Parts::gather(inputs, &source, Profile::Core, &guest, None, &|_| ()) {
        // Debian keeps old versions for a limited time; a package with other bytes is never a reason to pass.
        Err(error) if error.code() == "image.package.gone" => return not_tested(&error.to_string()),
        parts => parts.unwrap(),
    };
    let image = dir.path().join("image");
    build(&parts, &recipe("10.0.2.2:8080"), &image, &|_| ()).unwrap();
    let machine = machine(&image, dir.path());
    let prediction = match predict::predict(&machine, &|_| ()) {
        Err(error) if error.code() == "image.tool" => return not_tested(&error.to_string()),
        outcome => outcome.unwrap(),
    };

    let report = run::run(&machine, Some(&prediction), true, &|_| ()).unwrap();
    let _ = writeln!(std::io::stderr(), "{report}");
    assert!(report.as_predicted);
    assert_eq!(report.registers["sha256"].len(), 10);
    assert_eq!(report.registers["sha384"].len(), 10);
    let Word::Refused { reason } = &report.word else {
        panic!("keys of zeros were accepted");
    };
    assert!(reason.ends_with("[config.value]"), "{reason}");

    // The nearest other image: one digit of the broker's address, which lies in the archive.
    let other = dir.path().join("other");
    build(&parts, &recipe("10.0.2.3:8080"), &other, &|_| ()).unwrap();
    let elsewhere = Machine {
        image: other,
        ..machine.clone()
    };
    let prediction = predict::predict(&elsewhere, &|_| ()).unwrap();
    let error = predict::compare(&prediction, &report.registers, report.log.as_deref()).unwrap_err();
    assert_eq!(error.code(), "image.prediction");
    let text = error.to_string();
    assert!(text.contains("PCR 9") && !text.contains("PCR 4"), "{text}");
    let none = predict::compare(&prediction, &predict::Registers::new(), None).unwrap_err();
    assert!(
        none.to_string().contains("PCR 0 (sha256): the guest showed none"),
        "{none}"
    );

    // The archive of another configuration under this one's command line: a host that made the manifest fit.
    let mixed = dir.path().join("mixed");
    build(&parts, &recipe_of("10.0.2.2:8080", "p"), &mixed, &|_| ()).unwrap();
    let archive = std::fs::read(mixed.join(INITRD)).unwrap();
    std::fs::write(image.join(INITRD), &archive).unwrap();
    let mut manifest = Manifest::read(&image).unwrap();
    manifest.outputs.insert(INITRD.into(), Measured::of(&archive));
    std::fs::write(image.join(FILE), manifest.to_bytes().unwrap()).unwrap();
    let report = run::run(&machine, None, true, &|_| ()).unwrap();
    let Word::Refused { reason } = &report.word else {
        panic!("another configuration was accepted");
    };
    assert!(reason.starts_with("hanzo-init: "), "{reason}");
    assert!(reason.ends_with("[config.digest_mismatch]; switching off"), "{reason}");
}
