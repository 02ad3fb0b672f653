//! The root sealed by a TPM: swtpm, driven by tpm2-tools, both packaged by Debian.

#[path = "support/swtpm.rs"]
mod swtpm;

use std::fs;

use hanzo_root::{RootConfig, RootError, Surroundings};
use swtpm::Swtpm;

fn code<T>(outcome: Result<T, RootError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(e) => e.code(),
    }
}

#[test]
fn a_tpm_hands_the_root_out_in_the_state_that_sealed_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let Some(tpm) = Swtpm::start(&dir.path().join("tpm")) else {
        return;
    };
    let config = |tpm: &Swtpm, pcrs: &[u8]| RootConfig::Tpm {
        path: dir.path().join("root.json"),
        tcti: tpm.tcti.clone(),
        pcrs: pcrs.to_vec(),
    };
    let load = |tpm: &Swtpm, pcrs: &[u8]| config(tpm, pcrs).provider(&Surroundings::default()).load();
    let right = config(&tpm, &[0, 16]);
    let root = right.provider(&Surroundings::default()).create().unwrap();
    for _ in 0..2 {
        assert_eq!(load(&tpm, &[0, 16]).unwrap().expose(), root.expose());
    }
    assert_eq!(code(right.provider(&Surroundings::default()).create()), "root.exists");
    assert_eq!(code(load(&tpm, &[0])), "root.range", "other registers than the blob's");
    for bad in [&[][..], &[16, 0], &[0, 0], &[24]] {
        assert_eq!(code(load(&tpm, bad)), "root.range");
    }

    // Another state of the machine; 16 is the debug register, which alone can be reset.
    let digest = "sha256=".to_owned() + &"ab".repeat(32);
    assert!(tpm.tool("tpm2_pcrextend", &[&format!("16:{digest}")]));
    assert_eq!(code(load(&tpm, &[0, 16])), "root.tpm.policy");
    assert!(tpm.tool("tpm2_pcrreset", &["16"]));
    assert_eq!(code(load(&tpm, &[0, 16])), "ok");

    // An altered blob, another TPM, none at all.
    let path = dir.path().join("root.json");
    let text = fs::read_to_string(&path).unwrap();
    for (member, expected) in [("private", "root.tpm"), ("commitment", "root.commitment")] {
        let value = text
            .split_once(&format!("\"{member}\":\""))
            .unwrap()
            .1
            .split('"')
            .next()
            .unwrap();
        let last = if value.ends_with('0') { "1" } else { "0" };
        fs::write(
            &path,
            text.replace(value, &format!("{}{last}", &value[..value.len() - 1])),
        )
        .unwrap();
        assert_eq!(code(load(&tpm, &[0, 16])), expected, "{member}");
    }
    fs::write(&path, &text).unwrap();
    let other = Swtpm::start(&dir.path().join("other")).unwrap();
    assert_eq!(code(load(&other, &[0, 16])), "root.tpm");
    let none = RootConfig::Tpm {
        path,
        tcti: "device:/nonexistent/tpm".into(),
        pcrs: vec![0, 16],
    };
    assert_eq!(code(none.provider(&Surroundings::default()).load()), "root.tpm");
    // Whether one answers at all; the state that unseals is not asked about.
    let reachable = |config: &RootConfig| code(config.provider(&Surroundings::default()).reachable());
    assert_eq!((reachable(&right), reachable(&none)), ("ok", "root.tpm"));
}
