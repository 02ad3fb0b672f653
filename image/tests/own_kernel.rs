//! An image with our own kernel: small, without modules, and measured as predicted.
//!
//! Needs what `boot.rs` needs, and our own kernel in `HANZO_IMAGE_PACKAGES`. Says loudly what is missing.

#[path = "image/support.rs"]
mod support;

use std::io::Write as _;
use std::path::PathBuf;

use hanzo_image::assemble::{INITRD, KERNEL, Parts};
use hanzo_image::fetch::{MIRROR, Source};
use hanzo_image::inputs::COMMITTED;
use hanzo_image::kernel::{self, Pins};
use hanzo_image::run::{Accelerator, Machine, Word};
use hanzo_image::{Inputs, build, predict, run};
use hanzo_init::Profile;

/// Kernel and archive of an image without an engine.
const BYTES_MAX: u64 = 16_000_000;

fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr(), "NO IMAGE WITH OUR OWN KERNEL WAS BOOTED: {why}");
}

#[test]
fn an_image_with_our_kernel_is_small_and_measured_as_predicted() {
    let Some(packages) = std::env::var_os("HANZO_IMAGE_PACKAGES").map(PathBuf::from) else {
        return not_tested("HANZO_IMAGE_PACKAGES names no directory for the pinned packages");
    };
    let here = std::env::current_exe().unwrap();
    let guest = here
        .ancestors()
        .nth(3)
        .unwrap()
        .join("x86_64-unknown-linux-gnu/release/hanzo-guest");
    if !guest.exists() {
        return not_tested("no static hanzo-guest in this target directory");
    }
    let source = Source::Archive {
        kept: std::path::absolute(packages).unwrap(),
        mirror: MIRROR.into(),
    };
    let inputs = Inputs {
        own_kernel: Some(Pins::parse(kernel::COMMITTED).unwrap().kernel),
        ..Inputs::parse(COMMITTED).unwrap()
    };
    let parts = match Parts::gather(inputs, &source, Profile::Core, &guest, None, &|_| ()) {
        Err(error) if ["image.kernel.missing", "image.package.gone"].contains(&error.code()) => {
            return not_tested(&error.to_string());
        }
        parts => parts.unwrap(),
    };
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let manifest = build(&parts, &support::recipe(Profile::Core), &image, &|_| ()).unwrap();
    assert_eq!(manifest.inputs.modules, Vec::<String>::new());
    assert!(!manifest.inputs.packages.contains_key("kernel"));
    let bytes = manifest.outputs[KERNEL].bytes + manifest.outputs[INITRD].bytes;
    assert!(
        bytes <= BYTES_MAX,
        "kernel and archive: {bytes} bytes, at most {BYTES_MAX}"
    );

    let machine = Machine {
        image,
        console: dir.path().join("console.log"),
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
    };
    let prediction = match predict::predict(&machine, &|_| ()) {
        Err(error) if error.code() == "image.tool" => return not_tested(&error.to_string()),
        outcome => outcome.unwrap(),
    };
    let report = run::run(&machine, Some(&prediction), true, &|_| ()).unwrap();
    let _ = writeln!(std::io::stderr(), "{report}");
    assert!(report.as_predicted);
    // Keys of zeros: the guest gets as far as its configuration, and says so.
    let Word::Refused { reason } = &report.word else {
        panic!("keys of zeros were accepted");
    };
    assert!(reason.ends_with("[config.value]"), "{reason}");
}
