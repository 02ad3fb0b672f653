//! `hanzo-guest gpu-probe` as a person meets it: without a driver, and with libraries built here that answer as the driver's do.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn asked(arguments: &[&str], libraries: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-guest"));
    command.args(arguments).env_remove("LD_LIBRARY_PATH");
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.output().unwrap()
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Builds both libraries; `None`, and said aloud, where there is no C compiler.
fn libraries(scenario: &str, flags: &[&str]) -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../device/tests/evidence/library");
    for (source, library) in [("nvml.c", "libnvidia-ml.so.1"), ("cuda.c", "libcuda.so.1")] {
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror"])
            .args(flags)
            .arg("-o");
        match cc.arg(dir.path().join(library)).arg(sources.join(source)).status() {
            Ok(status) => assert!(status.success(), "{source} does not compile"),
            Err(_) => {
                say("C COMPILER MISSING: the GPU probe was NOT checked");
                return None;
            }
        }
    }
    std::fs::write(dir.path().join("scenario"), scenario).unwrap();
    Some(dir)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn without_a_driver_there_is_one_reason_and_no_panic() {
    for library in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib"];
        if folders.iter().any(|folder| Path::new(folder).join(library).exists()) {
            say("THIS MACHINE HAS AN NVIDIA DRIVER: not run");
            return;
        }
    }
    let text = asked(&["gpu-probe"], None);
    let said = String::from_utf8_lossy(&text.stderr).into_owned();
    assert_eq!(text.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("GPU: libnvidia-ml.so.1: ") && said.trim_end().ends_with("[gpu.library]"),
        "{said}"
    );
    let found = json(&asked(&["gpu-probe", "--json"], None));
    assert_eq!(found["agree"], false);
    assert_eq!(found["error"]["code"], "gpu.library");
    // The process that asks CUDA, alone: an answer, not a panic.
    let survey = asked(&["gpu-survey"], None);
    assert_eq!(
        (survey.status.code(), survey.stdout.as_slice(), survey.stderr.as_slice()),
        (Some(1), &b"{\"refused\":\"library\"}\n"[..], &b""[..])
    );
    assert_eq!(asked(&["gpu-probe", "--yaml"], None).status.code(), Some(2));
    let other = asked(&["gpu-survey", "--whatever"], None);
    assert!(String::from_utf8_lossy(&other.stdout).contains("process"), "{other:?}");
    // NVML alone is a driver of which half is missing.
    let Some(dir) = libraries("", &[]) else { return };
    std::fs::remove_file(dir.path().join("libcuda.so.1")).unwrap();
    let half = asked(&["gpu-probe", "--json"], Some(dir.path()));
    assert_eq!(half.status.code(), Some(1));
    assert_eq!(json(&half)["error"]["code"], "cuda.library");
}

#[test]
fn gpus_that_both_libraries_show_alike_are_shown_and_copied_to() {
    for scenario in ["gpus=2", "gpus=2 pools=0", "gpus=2 feature=0"] {
        let Some(dir) = libraries(scenario, &[]) else { return };
        let output = asked(&["gpu-probe", "--json"], Some(dir.path()));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let found = json(&output);
        assert_eq!(found["agree"], true);
        assert_eq!(found["cuda"]["driver_api"], 13_000);
        let gpu = &found["cuda"]["gpus"][1];
        assert_eq!(gpu["uuid"], "GPU-00000000-0000-0000-0000-000000000001");
        assert_eq!(
            (gpu["pci"]["bus"].as_u64(), gpu["copied_bytes"].as_u64()),
            (Some(1), Some(1 << 20))
        );
        assert_eq!(gpu["compute_capability"], serde_json::json!([9, 0]));
        let on = !scenario.contains("feature=0");
        assert_eq!(found["confidential_computing"]["enabled"], on);
    }
    let Some(dir) = libraries("", &[]) else { return };
    let text = asked(&["gpu-probe"], Some(dir.path()));
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for part in [
        "580.95.05, CUDA 13.0",
        "TEST H100 at 0000:00:00.0",
        "not ready for work",
        "same GPUs",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_driver_that_disagrees_or_fails_is_refused_by_name() {
    for (scenario, status, code) in [
        ("cuda_gpus=0", 40, "gpu.probe.missing"),
        ("other_uuid=9", 40, "gpu.probe.missing"),
        ("gpus=2 cuda_same_uuid=1", 40, "gpu.probe.twice"),
        ("other_name=1", 40, "gpu.probe.differs"),
        ("other_bus=1", 40, "gpu.probe.differs"),
        ("cuda_major=8", 40, "gpu.probe.differs"),
        ("nvml_cuda=12080", 40, "gpu.probe.differs"),
        ("more_memory=2", 40, "gpu.probe.differs"),
        ("more_free=9", 40, "gpu.probe.differs"),
        ("wrong_byte=1048575", 40, "cuda.copy"),
        ("forgets_copy=1", 40, "cuda.copy"),
        ("gpus=0", 1, "gpu.probe.none"),
        ("cuda=12030 nvml_cuda=12030", 1, "cuda.version"),
        ("cuda_init=100", 1, "cuda.refused"),
        ("cuda_gpus=65", 1, "cuda.value"),
        ("retain=2", 1, "cuda.refused"),
        ("pinned=2", 1, "cuda.refused"),
        ("dies=1", 1, "cuda.process"),
    ] {
        let Some(dir) = libraries(scenario, &[]) else { return };
        let output = asked(&["gpu-probe", "--json"], Some(dir.path()));
        let found = json(&output);
        assert_eq!(found["error"]["code"], code, "{scenario}: {found}");
        assert_eq!(output.status.code(), Some(status), "{scenario}: {found}");
    }
    let Some(dir) = libraries("", &["-DWITHOUT_WAIT"]) else {
        return;
    };
    let output = asked(&["gpu-probe", "--json"], Some(dir.path()));
    let error = json(&output)["error"].clone();
    assert_eq!(error["code"], "cuda.function");
    assert!(
        error["message"].as_str().unwrap().contains("cuStreamWaitEvent"),
        "{error}"
    );
}

#[test]
fn a_library_that_was_taken_over_reaches_neither_network_nor_files_and_has_what_the_real_one_needs() {
    // The twin: unconfined, all of it can be done, so that the attempts are worth something.
    let Some(dir) = libraries("attacks=1", &[]) else {
        return;
    };
    let alone = dir.path().join("alone");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../device/tests/evidence/library/cuda.c");
    let built = Command::new("cc")
        .arg("-DALONE")
        .arg("-o")
        .arg(&alone)
        .arg(source)
        .status();
    assert!(built.unwrap().success());
    let free = Command::new(&alone).output().unwrap();
    let free = String::from_utf8_lossy(&free.stdout).into_owned();
    for each in [
        "tcp",
        "udp",
        "unix",
        "netlink",
        "new-file",
        "old-file",
        "tmp",
        "directory",
        "passwd",
        "fork",
        "exec",
    ] {
        assert!(free.split_whitespace().any(|word| word == each), "{each}: {free}");
    }
    std::fs::remove_file(dir.path().join("written")).unwrap();
    // In the process that asks, none; what it reached or lacked would stand in the GPU's name, which NVML tells otherwise.
    let output = asked(&["gpu-probe", "--json"], Some(dir.path()));
    let found = json(&output);
    assert_eq!(found["cuda"]["gpus"][0]["name"], "TEST H100", "{found}");
    assert_eq!(
        (output.status.code(), &found["agree"]),
        (Some(0), &true.into()),
        "{found}"
    );
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(!dir.path().join("written").exists());
    assert_eq!(
        std::fs::read_to_string(dir.path().join("scenario")).unwrap(),
        "attacks=1"
    );
    for confined in [&["gpu-survey"][..], &["gpu-survey", "--confined"]] {
        let survey = asked(confined, Some(dir.path()));
        let said = String::from_utf8_lossy(&survey.stdout).into_owned();
        assert!(said.contains("\"TEST H100\""), "{confined:?}: {survey:?}");
    }
}

#[test]
fn a_library_that_takes_memory_gets_no_more_than_there_is_for_it() {
    for (mib, enough) in [(64, true), (1024, false)] {
        let Some(dir) = libraries(&format!("eats={mib}"), &[]) else {
            return;
        };
        let survey = asked(&["gpu-survey", "--memory-bytes", "402653184"], Some(dir.path()));
        let said = String::from_utf8_lossy(&survey.stdout).into_owned();
        assert_eq!(survey.status.success(), enough, "{mib} MiB: {said}");
        assert_eq!(said.contains("CUDA_ERROR_OUT_OF_MEMORY"), !enough, "{mib} MiB: {said}");
    }
}
