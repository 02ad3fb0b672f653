//! Our own kernel in an image: by its pin, without modules, and told apart from Debian's.

use std::fs;

use hanzo_attestation::Digest256;
use hanzo_image::fetch::Source;
use hanzo_image::kernel::{COMMITTED, Choice, OwnKernel, Pins, choose};
use hanzo_image::{Inputs, build, verify::verify};
use hanzo_init::Profile;
use hanzo_policy::release::KERNELS_WITHOUT_HOST_AML;

use crate::support::{Pantry, recipe};

const KERNEL: &[u8] = b"MZ our kernel";

fn pantry() -> Pantry {
    let mut pantry = Pantry::new();
    fs::write(pantry.path("own.bzImage"), KERNEL).unwrap();
    pantry.inputs.own_kernel = Some(OwnKernel {
        file: "own.bzImage".into(),
        bytes: KERNEL.len() as u64,
        sha256: Digest256::of(KERNEL),
        tools: "none".into(),
    });
    // Nothing of Debian's kernel is needed then.
    fs::remove_file(pantry.path(pantry.inputs.kernel.file_name())).unwrap();
    pantry
}

#[test]
fn an_image_with_our_kernel_has_no_modules_and_says_which_kernel_it_is() {
    let pantry = pantry();
    let parts = pantry.parts(Profile::Core).unwrap();
    let dir = pantry.path("image");
    let manifest = build(&parts, &recipe(Profile::Core), &dir, &|_| ()).unwrap();
    assert_eq!(fs::read(dir.join("kernel")).unwrap(), KERNEL);
    assert_eq!(manifest.inputs.own_kernel, pantry.inputs.own_kernel);
    assert!(!manifest.inputs.packages.contains_key("kernel"));
    assert!(manifest.inputs.modules.is_empty());
    assert_eq!(verify(&dir, &parts, &|_| ()).unwrap(), manifest);

    let debian = Pantry::new().parts(Profile::Core).unwrap();
    let error = verify(&dir, &debian, &|_| ()).unwrap_err();
    assert_eq!(error.code(), "image.different");
    assert!(error.to_string().starts_with("initrd.cpio.zst: ") || error.to_string().starts_with("kernel: "));
}

#[test]
fn another_file_under_its_name_and_none_at_all_are_refused() {
    let pantry = pantry();
    let mut other = KERNEL.to_vec();
    other[3] ^= 1;
    fs::write(pantry.path("own.bzImage"), other).unwrap();
    let error = pantry.parts(Profile::Core).unwrap_err();
    assert_eq!(error.code(), "image.package.digest");
    fs::remove_file(pantry.path("own.bzImage")).unwrap();
    let error = pantry.parts(Profile::Core).unwrap_err();
    assert_eq!(error.code(), "image.kernel.missing");
    assert!(error.to_string().contains("image/kernel/build"), "{error}");
}

/// Without a word our own is taken where its file is, under any bytes: those are looked at when it is read.
#[test]
fn our_kernel_is_the_default_where_it_lies_beside_the_packages() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::Directory(dir.path().to_owned());
    let pinned = Pins::parse(COMMITTED).unwrap().kernel;
    assert_eq!(choose(None, &source).unwrap(), None);
    assert_eq!(choose(Some(Choice::Own), &source).unwrap(), Some(pinned.clone()));
    fs::write(dir.path().join(&pinned.file), b"MZ another").unwrap();
    assert_eq!(choose(None, &source).unwrap(), Some(pinned));
    assert_eq!(choose(Some(Choice::Debian), &source).unwrap(), None);
    let pantry = Pantry::new();
    let inputs = Inputs {
        own_kernel: choose(None, &source).unwrap(),
        ..pantry.inputs.clone()
    };
    fs::copy(
        dir.path().join(&inputs.own_kernel.as_ref().unwrap().file),
        pantry.path(&inputs.own_kernel.as_ref().unwrap().file),
    )
    .unwrap();
    let error = Pantry { inputs, ..pantry }.parts(Profile::Core).unwrap_err();
    assert_eq!(error.code(), "image.package.digest");
}

#[test]
fn verdicts_know_the_pinned_kernel_as_one_that_runs_no_hosts_aml() {
    let pinned = Pins::parse(COMMITTED).unwrap().kernel.sha256.to_string();
    assert!(KERNELS_WITHOUT_HOST_AML.contains(&pinned.as_str()), "{pinned}");
}

#[test]
fn the_committed_pins_are_read_and_their_neighbours_refused() {
    let pins = Pins::parse(COMMITTED).unwrap();
    assert_eq!(pins.source.package, "linux-source-6.12");
    let refused = [
        ("version = 1", "version = 2"),
        ("package = \"linux", "package = \"-linux"),
        ("file = \"", "file = \"../"),
        (".bzImage\"", ".img\""),
        ("[kernel]", "[kernel]\nsigned = true"),
        ("sha256 = \"", "sha256 = \"0"),
    ];
    for (from, to) in refused {
        assert!(COMMITTED.contains(from), "{from}");
        let error = Pins::parse(&COMMITTED.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.code(), "image.inputs", "{from}");
    }
}
