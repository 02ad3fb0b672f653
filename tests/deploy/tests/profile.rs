//! The GPU profile: what its description says, what is refused of it, and that no image is made of it.

use std::process::ExitCode;

use clap::Parser;
use hanzo_image::profile::{GPU, GpuProfile};
use hanzo_tests_deploy::files::{root, text};

#[test]
fn the_committed_description_is_whole_and_says_why_there_is_no_image() {
    let profile = GpuProfile::parse(GPU).unwrap();
    assert_eq!(profile.driver.packages.len(), 5);
    assert_eq!(profile.devices.len(), 2);
    let refusal = profile.refusal();
    assert_eq!(refusal.code(), "image.profile.not_built");
    assert_eq!(refusal.exit_code(), 10);
    assert!(refusal.to_string().contains("module.sig_enforce"), "{refusal}");
}

#[test]
fn its_neighbours_are_refused() {
    for (good, bad, what) in [
        ("version = 1", "version = 2", "version"),
        ("name = \"gpu\"", "name = \"core\"", "name"),
        ("mode = \"on\"", "mode = \"devtools\"", "the file"),
        ("devtools = \"off\"", "devtools = \"on\"", "the file"),
        ("ready = \"after-attestation\"", "ready = \"at-boot\"", "the file"),
        (
            "persistence = \"on\"\n",
            "persistence = \"on\"\nextra = 1\n",
            "the file",
        ),
        ("fabric_manager = \"none\"\n", "", "the file"),
        ("gpus_max = 1", "gpus_max = 8", "topology.gpus_max"),
        ("device = \"2335\"", "device = \"2331\"", "devices[1].device"),
        ("device = \"2331\"", "device = \"0x2331\"", "devices[0].device"),
        ("vendor = \"10de\"", "vendor = \"1002\"", "devices[0].vendor"),
        (
            "release = \"550.163.01\"",
            "release = \"550.163.02\"",
            "policy.minimum_driver",
        ),
        (
            "modules = [\"nvidia\", ",
            "modules = [\"../nvidia\", ",
            "driver.modules",
        ),
        ("[driver.packages.nvml]", "[driver.packages.graphics]", "the file"),
        (
            "minimum_driver = \"550.163.01\"",
            "minimum_driver = \"550.x\"",
            "policy.minimum_driver",
        ),
    ] {
        let text = GPU.replace(good, bad);
        assert_ne!(text, GPU, "{good}");
        let refused = GpuProfile::parse(&text).unwrap_err();
        assert_eq!(refused.code(), "image.profile", "{bad}");
        // A package of another release is found before the policy is looked at.
        let said = refused.to_string();
        assert!(
            said.contains(&format!("profile: {what}:"))
                || (what == "policy.minimum_driver" && said.contains("the driver's release")),
            "{bad}: {said}"
        );
    }
    let unpinned = GPU.replace("bytes = 27720", "bytes = 0");
    assert_eq!(GpuProfile::parse(&unpinned).unwrap_err().code(), "image.inputs");
    assert_eq!(
        GpuProfile::parse(&" ".repeat(64 * 1024 + 1)).unwrap_err().code(),
        "image.profile"
    );
}

#[test]
fn every_purpose_has_its_package() {
    let without = GPU.split("[driver.packages.persistence]").next().unwrap().to_owned()
        + GPU.split("sha256 = \"a88e").nth(1).unwrap().split_once('\n').unwrap().1;
    let refused = GpuProfile::parse(&without).unwrap_err();
    assert!(refused.to_string().contains("driver.packages"), "{refused}");
}

#[test]
fn hanzo_image_refuses_to_build_it_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let words = |profile: &'static str| {
        let out = out.to_str().unwrap().to_owned();
        let words = [
            "hanzo-image",
            "--quiet",
            "--json",
            "build",
            &out,
            "--config",
            "/nonexistent",
            "--guest",
            "/nonexistent",
        ];
        let words = words
            .map(str::to_owned)
            .into_iter()
            .chain(["--profile".to_owned(), profile.to_owned()]);
        hanzo_image::cli::Cli::try_parse_from(words)
    };
    // As malformed input is refused, before a file is looked at; the other profile gets as far as its configuration.
    assert_eq!(hanzo_image::cli::run(words("gpu").unwrap()), ExitCode::from(10));
    assert_eq!(hanzo_image::cli::run(words("core").unwrap()), ExitCode::from(1));
    assert!(words("gpu-devtools").is_err());
    assert!(!out.exists());
}

/// The profile says what a policy has to allow, because the template does not.
#[test]
fn the_profile_says_where_the_policy_template_refuses_it() {
    let numbers = |version: &str| version.split('.').map(|n| n.parse().unwrap()).collect::<Vec<u32>>();
    let template = text(&root().join("policy/src/template/gpu.toml"));
    let floor = template
        .split("minimum_driver = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let profile = GpuProfile::parse(GPU).unwrap();
    assert!(
        numbers(&profile.driver.release) < numbers(floor),
        "the note in gpu.toml is out of date"
    );
    assert!(numbers(&profile.policy.minimum_driver) <= numbers(&profile.driver.release));
    assert!(GPU.contains("refuses this one"));
}
