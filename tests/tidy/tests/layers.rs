//! Layer rules 1 to 6 of the design, over the closure that is really built.

use hanzo_tests_tidy::{assert_absent, closure, code_only, files, linked, root, text};

const ASYNC_AND_SOCKETS: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "hyper",
    "reqwest",
    "ureq",
    "rustls",
    "axum",
    "tower",
    "vsock",
];
const RANDOM: &[&str] = &["getrandom", "rand", "rand_core_os", "fastrand", "rand_chacha"];
const FILES_AND_CLOCKS: &[&str] = &[
    "rustix", "tempfile", "memmap2", "walkdir", "dirs", "time", "chrono", "iocuddle", "rusqlite",
];
const NETWORK_CLIENTS: &[&str] = &[
    "reqwest",
    "ureq",
    "curl",
    "isahc",
    "libp2p",
    "aws-sdk-s3",
    "rust-s3",
    "object_store",
    "redis",
    "hf-hub",
    "attohttpc",
];

/// Crates that seal, open, agree on keys or speak TLS.
const DECRYPTORS: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "rustls",
    "tokio-rustls",
    "boring",
    "aes",
    "aes-gcm",
    "aes-gcm-siv",
    "chacha20poly1305",
    "aead",
    "ml-kem",
    "x-wing",
    "hpke",
    "kem",
    "x25519-dalek",
    "p256",
    "p384",
    "snow",
    "orion",
    "crypto_box",
    "age",
    "sha2",
    "sha3",
    "blake3",
    "hmac",
    "hkdf",
];

#[test]
fn rule_1_pure_crates_reach_no_runtime_socket_file_clock_or_random_source() {
    for package in ["hanzo-attestation", "hanzo-policy", "hanzo-verifier"] {
        let names = linked(package);
        for denied in [ASYNC_AND_SOCKETS, RANDOM, FILES_AND_CLOCKS, NETWORK_CLIENTS] {
            assert_absent("rule 1", package, &names, denied);
        }
    }
    for folder in ["attestation/src", "policy/src", "verifier/src"] {
        for file in files(&root().join(folder), "rs") {
            let code = code_only(&text(&file));
            for word in [
                "std::fs",
                "std::net",
                "std::env",
                "std::process",
                "SystemTime",
                "Instant::now",
                "std::thread",
                "tokio",
                "SystemRandom",
                "random::fill",
                "::generate(",
                "File::open",
                "println!",
                "eprintln!",
            ] {
                assert!(
                    !code.contains(word),
                    "rule 1: {} uses {word}: pass it in as an argument",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn rule_2_the_host_proxy_cannot_name_a_decryptor() {
    let names = closure("hanzo-proxy");
    assert_absent("rule 2", "hanzo-proxy", &names, DECRYPTORS);
    let ours: Vec<_> = names
        .iter()
        .filter(|n| n.starts_with("hanzo") && *n != "hanzo-proxy")
        .collect();
    assert!(
        ours.is_empty(),
        "rule 2: hanzo-proxy reaches crates of other zones: {ours:?}"
    );
}

#[test]
fn rule_3_the_simulator_is_in_no_production_binary() {
    for package in [
        "hanzo-guest",
        "hanzo-kbs",
        "hanzo-proxy",
        "hanzo-verify",
        "hanzo-engine",
        "hanzo-client",
        "hanzo-verifier",
    ] {
        assert_absent("rule 3", package, &closure(package), &["hanzo-simulated-tee", "rsa"]);
    }
    assert!(
        closure("hanzo").contains("hanzo-simulated-tee"),
        "the appliance on one machine is the one that has it"
    );
}

#[test]
fn rule_4_the_guest_reaches_no_network_client() {
    for package in [
        "hanzo-guest",
        "hanzo-device",
        "hanzo-channel",
        "hanzo-inference",
        "hanzo-receipts",
        "hanzo-pack",
    ] {
        assert_absent("rule 4", package, &closure(package), NETWORK_CLIENTS);
    }
}

#[test]
fn rule_4_only_the_engine_and_the_appliance_link_the_engine_library() {
    for package in [
        "hanzo-guest",
        "hanzo-kbs",
        "hanzo-proxy",
        "hanzo-verify",
        "hanzo-client",
        "hanzo-inference",
    ] {
        assert_absent(
            "rule 4",
            package,
            &closure(package),
            &["mistralrs", "mistralrs-core", "candle-core", "hanzo-engine"],
        );
    }
    assert!(closure("hanzo-engine").contains("mistralrs"));
}

#[test]
fn rule_5_unsafe_lives_in_the_device_crate_alone() {
    let device = root().join("enclave/device");
    for file in files(&root(), "rs") {
        let source = text(&file);
        if file.ends_with("src/lib.rs") && !file.starts_with(&device) {
            assert!(
                source.contains("#![forbid(unsafe_code)]"),
                "rule 5: {} does not forbid unsafe code",
                file.display()
            );
        }
        if file.starts_with(&device) || file.ends_with("tests/layers.rs") {
            continue;
        }
        for line in code_only(&source).lines() {
            let word = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|w| w == "unsafe");
            assert!(!word || line.contains("\"unsafe"), "rule 5: {}: {line}", file.display());
        }
    }
    for file in files(&device.join("src"), "rs") {
        let source = text(&file);
        let lines: Vec<_> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("unsafe {") || code.contains("unsafe impl") {
                let near = &lines[at.saturating_sub(6)..=at];
                assert!(
                    near.iter().any(|l| l.contains("SAFETY:")),
                    "{}:{}: no SAFETY comment",
                    file.display(),
                    at + 1
                );
            }
        }
    }
}

/// Every type that holds a secret. None may be copied, printed or serialised.
const SECRET_TYPES: &[(&str, &str)] = &[
    ("kbs/pqc/src", "Dek"),
    ("kbs/pqc/src", "SigningKeys"),
    ("kbs/pqc/src", "PrivateKey"),
];

#[test]
fn rule_6_secret_types_derive_nothing_that_leaks() {
    for (folder, name) in SECRET_TYPES {
        let mut seen = false;
        for file in files(&root().join(folder), "rs") {
            let source = text(&file);
            let lines: Vec<_> = source.lines().collect();
            for (at, line) in lines.iter().enumerate() {
                let line = line.trim_start();
                if !(line.starts_with(&format!("pub struct {name} "))
                    || line.starts_with(&format!("pub struct {name}(")))
                {
                    continue;
                }
                seen = true;
                let attributes = lines[..at].iter().rev().take_while(|l| {
                    let l = l.trim_start();
                    l.starts_with("#[") || l.starts_with("///")
                });
                for attribute in attributes.filter(|l| l.contains("derive(")) {
                    for leak in ["Clone", "Copy", "Debug", "Serialize"] {
                        assert!(
                            !attribute.contains(leak),
                            "rule 6: {name} derives {leak} in {}",
                            file.display()
                        );
                    }
                }
            }
            for leak in [
                "Clone",
                "Debug",
                "fmt::Debug",
                "std::fmt::Debug",
                "fmt::Display",
                "Display",
                "Serialize",
                "serde::Serialize",
            ] {
                assert!(
                    !source.contains(&format!("impl {leak} for {name} ")),
                    "rule 6: {name} implements {leak}"
                );
            }
        }
        assert!(seen, "rule 6: {folder} has no type {name}: keep this list true");
    }
}
