//! Which kernels compute: the widest that the processor has, unless told to take less.

use std::process::Command;

use crate::fixture;

/// The set that the engine's log names.
fn chosen(most: Option<&str>) -> String {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-engine-llama"));
    command
        .args(["measure", "--runs", "1", "--max-tokens", "2", "--threads", "1"])
        .arg(fixture::model_dir(root.path()))
        .env_clear();
    if let Some(most) = most {
        command.env("HANZO_LLAMA_KERNELS", most);
    }
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    let after = log.split_once("kernels=\"").unwrap_or_else(|| panic!("{log}")).1;
    after.split('"').next().unwrap().to_owned()
}

#[test]
fn kernels_are_chosen_and_can_only_be_narrowed() {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let avx512 = [
        "avx512f",
        "avx512cd",
        "avx512vl",
        "avx512dq",
        "avx512bw",
        "avx512vbmi",
        "avx512_vnni",
        "avx512_bf16",
    ];
    let wide = avx512.into_iter().all(has);
    let amx = wide && has("amx_tile") && has("amx_int8");
    let widest = match (wide, amx) {
        (false, _) => "avx2",
        (true, false) => "avx512",
        (true, true) => "amx",
    };
    assert_eq!(chosen(None), widest);
    assert_eq!(chosen(Some("amx")), widest);
    assert_eq!(chosen(Some("nonsense")), widest);
    assert_eq!(chosen(Some("avx2")), "avx2");
    assert_eq!(chosen(Some("avx512")), if wide { "avx512" } else { "avx2" });
}
