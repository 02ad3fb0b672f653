//! The program `hanzo-guest` as a person meets it.

use std::io::Write as _;
use std::process::Command;

fn guest(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hanzo-guest"))
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn on_a_machine_without_evidence_it_says_what_is_missing() {
    let evidence = [
        "/sys/kernel/config/tsm/report",
        "/dev/tdx_guest",
        "/dev/sev-guest",
        "/dev/tpmrm0",
    ];
    if evidence.iter().any(|place| std::path::Path::new(place).exists()) {
        let _ = writeln!(std::io::stderr(), "THIS MACHINE HAS configfs-tsm OR A TPM: not run");
        return;
    }
    let arguments = [
        "--kbs",
        "127.0.0.1:1",
        "--config",
        "/c",
        "--packs",
        "/p",
        "--store",
        "/s",
        "--",
        "engine",
    ];
    let (code, text) = guest(&arguments);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("this machine offers no evidence") && text.contains("[device.absent]"),
        "{text}"
    );
}

#[test]
fn help_has_examples_and_wrong_arguments_are_usage() {
    let (code, text) = guest(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("Examples:") && text.contains("Exit codes:"), "{text}");
    assert_eq!(guest(&["--kbs", "x"]).0, Some(2));
    let (code, text) = guest(&["--listen", "nowhere", "--kbs", "x"]);
    assert!(code == Some(2) && text.contains("vsock:PORT"), "{text}");
}

#[test]
fn it_contains_no_simulator() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_hanzo-guest")).unwrap();
    // Split, so that this test's own text is no match in any binary.
    let mark = ["hanzo/simulated", "-tee/v1"].concat();
    assert!(!program.windows(mark.len()).any(|w| w == mark.as_bytes()));
}
