//! A panic names its place and quotes nothing. The test runs itself as the process that panics.

use std::process::Command;

const CHILD: &str = "HANZO_TEST_PANICS";

#[test]
fn a_panic_quotes_nothing() {
    if std::env::var_os(CHILD).is_some() {
        hanzo_guest::hide_panic_messages();
        let prompt = std::env::args().next().unwrap_or_default() + "CANARY-PROMPT";
        let _ = std::thread::spawn(move || panic!("while reading {prompt}")).join();
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["a_panic_quotes_nothing", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("CANARY"), "{text}");
    assert!(text.contains("guest.panic") && text.contains("panics.rs"), "{text}");
}
