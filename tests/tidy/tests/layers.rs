//! Layer rules 1 to 5, over the closure that is really built and the code that ends in it.

use hanzo_tests_tidy::graph::{assert_absent, closure, linked, linked_features};
use hanzo_tests_tidy::source::Source;
use hanzo_tests_tidy::tree::{WORKSPACES, files, members, members_of, production, root, shown, text};

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
const RANDOM: &[&str] = &["getrandom", "rand", "fastrand", "rand_chacha", "oorandom"];
const FILES_AND_CLOCKS: &[&str] = &[
    "libc", "nix", "rustix", "tempfile", "memmap2", "walkdir", "dirs", "time", "jiff", "rusqlite",
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
    "minreq",
    "quinn",
    "tungstenite",
];

/// Crates that seal, open, agree on keys, hash or speak TLS.
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

/// The one TLS there is.
const TLS: &[&str] = &["rustls", "tokio-rustls", "aws-lc-rs", "aws-lc-sys"];

/// What the code of a pure crate may not say. `hanzo-pqc` and `aws-lc-rs`, which the pure crates link to verify
/// signatures and hash, do have random sources: the closure cannot show that they are left alone, the code can.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time",
    "SystemTime",
    "Instant",
    "tokio",
    "File::",
    "stdin",
    "stdout",
    "stderr",
    "println!",
    "eprintln!",
    "async fn",
    "random",
    "rand::",
    "SystemRandom",
    "generate(",
    "SigningKeys",
    "PrivateKey",
    "KeyPair",
    "seal(",
    "thread_local!",
    "static mut",
];

/// A type's name is meant alone: `File::`, not `InputFile::`.
fn says(code: &str, word: &str) -> bool {
    let is_type = word.starts_with(|c: char| c.is_ascii_uppercase());
    let goes_on = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.match_indices(word)
        .any(|(at, _)| !(is_type && goes_on(&code[..at])))
}

#[test]
fn a_type_is_told_from_one_whose_name_ends_like_it() {
    assert!(says("let f = File::open(path);", "File::") && says("fs::File::open", "File::"));
    assert!(!says("InputFile::of(bytes)", "File::"));
    assert!(says("regenerate(4)", "generate("));
}

#[test]
fn rule_1_pure_crates_reach_no_runtime_socket_file_clock_or_random_source() {
    for package in [
        "hanzo-attestation",
        "hanzo-log",
        "hanzo-policy",
        "hanzo-verifier",
        "hanzo-measured-boot",
        "hanzo-ledger",
        "hanzo-chain-types",
    ] {
        let names = linked(package);
        for denied in [ASYNC_AND_SOCKETS, RANDOM, FILES_AND_CLOCKS, NETWORK_CLIENTS] {
            assert_absent("rule 1", package, &names, denied);
        }
        // Crate dcap-qvl parses dates with chrono. Without these features chrono has no clock and no time zone files.
        let chrono = linked_features(package, "chrono");
        for impure in ["clock", "now", "std", "iana-time-zone"] {
            assert!(
                !chrono.contains(impure),
                "rule 1: {package}: chrono has feature {impure}: {chrono:?}"
            );
        }
    }
    for folder in [
        "attestation/src",
        "attestation/log/src",
        "policy/src",
        "verifier/src",
        "measured-boot/src",
        "enclave/ledger/src",
        "enclave/chain/types/src",
    ] {
        let sources = production(&root().join(folder));
        assert!(
            sources.len() > 3,
            "rule 1: {folder} is nearly empty: is this its place?"
        );
        for file in sources {
            let code = Source::without_tests(&text(&file)).code;
            for word in IMPURE {
                assert!(
                    !says(&code, word),
                    "rule 1: {} says {word}: pass it in as an argument",
                    shown(&file)
                );
            }
        }
    }
}

/// Nor can the broker of connections outside, whose metrics endpoint is the proxy's: TLS ends in the guest and at the name.
#[test]
fn rule_2_the_host_proxy_cannot_name_a_decryptor() {
    for package in ["hanzo-proxy", "hanzo-egress"] {
        let names = closure(package);
        assert_absent("rule 2", package, &names, DECRYPTORS);
        let ours: Vec<_> = names
            .iter()
            .filter(|n| n.starts_with("hanzo") && ![package, "hanzo-proxy"].contains(&n.as_str()))
            .collect();
        assert!(
            ours.is_empty(),
            "rule 2: {package} reaches crates of other zones: {ours:?}"
        );
    }
}

/// Programs beside the proxy that speak TLS of their own (to an API server, to clients of a relay). What is sealed for a guest they
/// cannot open either: they name no KEM and no crate of another zone.
#[test]
fn rule_2_what_stands_beside_the_proxy_speaks_tls_and_can_open_nothing_sealed() {
    for package in ["hanzo-discover", "hanzo-relay"] {
        let names = closure(package);
        let sealing = DECRYPTORS.iter().filter(|d| !TLS.contains(d)).copied();
        assert_absent("rule 2", package, &names, &sealing.collect::<Vec<_>>());
        let mut ours = names.iter().filter(|n| n.starts_with("hanzo"));
        assert!(
            ours.all(|n| [package, "hanzo-proxy"].contains(&n.as_str())),
            "rule 2: {package} reaches crates of other zones"
        );
    }
}

#[test]
fn rule_3_the_simulator_is_in_no_production_binary() {
    let may = [
        "hanzo",
        "hanzo-chain-simulated",
        "hanzo-simulated-tee",
        "hanzo-tests-adversary",
    ];
    for (_, package) in members() {
        let names = closure(&package);
        if may.contains(&package.as_str()) {
            assert!(
                names.contains("hanzo-simulated-tee"),
                "rule 3: {package} no longer has the simulator: take it off this list"
            );
        } else {
            assert_absent("rule 3", &package, &names, &["hanzo-simulated-tee", "rsa"]);
        }
    }
}

#[test]
fn rule_4_the_guest_reaches_no_network_client() {
    for (folder, package) in members() {
        let in_guest = folder.starts_with(root().join("enclave"));
        if in_guest && package != "hanzo-engine" {
            assert_absent("rule 4", &package, &closure(&package), NETWORK_CLIENTS);
            // The guest keeps its store in a file; the broker's other backend stays out of it.
            assert_absent("rule 4", &package, &closure(&package), &["tokio-postgres"]);
        }
    }
    // A guest opens connections to its broker, and to the host's egress broker for names that its configuration lists. Datagrams go
    // to whoever leases it an address, if its plan asks for that, before the agent starts.
    let dialling: Vec<_> = production(&root().join("enclave"))
        .into_iter()
        .filter(|f| {
            let code = Source::without_tests(&text(f)).code;
            [
                "TcpStream::connect",
                "VsockStream::connect",
                "TcpSocket",
                "UdpSocket",
                "ToSocketAddrs",
                "lookup_host",
            ]
            .iter()
            .any(|w| code.contains(w))
        })
        .map(|f| shown(&f))
        .collect();
    // A validator, a program of its own, dials the peers that its configuration lists; a node that follows, the nodes of its own.
    let who = [
        "enclave/chain/validator/links/src/network.rs",
        "enclave/chain/validator/node/src/follow.rs",
        "enclave/guest/src/egress/wire.rs",
        "enclave/guest/src/kbs_http.rs",
        "enclave/init/src/dhcp/port.rs",
    ];
    assert_eq!(dialling, who, "rule 4: who dials");
}

#[test]
fn rule_4_only_the_engine_and_the_appliance_link_the_engine_library() {
    let engine = ["mistralrs", "mistralrs-core", "candle-core", "hanzo-engine"];
    for (_, package) in members() {
        if ["hanzo-engine", "hanzo"].contains(&package.as_str()) {
            assert!(closure(&package).contains("mistralrs"));
        } else {
            assert_absent("rule 4", &package, &closure(&package), &engine);
        }
    }
    let llama = ["llama-cpp-2", "llama-cpp-sys-2", "hanzo-engine-llama"];
    for (_, package) in members() {
        if ["hanzo-engine-llama", "hanzo"].contains(&package.as_str()) {
            assert!(closure(&package).contains("llama-cpp-2"));
        } else {
            assert_absent("rule 4", &package, &closure(&package), &llama);
        }
    }
}

/// The consensus engine comes with a runtime, a network and metrics of its own; its workspace has nothing of the simulated TEE but one
/// program for development, and no simulated peers but in tests.
#[test]
fn rule_4_only_the_validators_workspace_links_the_consensus_engine() {
    for (_, package) in members_of(WORKSPACES[0]) {
        let engine = ["commonware-consensus", "commonware-runtime", "commonware-p2p", "blst"];
        assert_absent("rule 4", &package, &closure(&package), &engine);
    }
    let mut linking = 0;
    for (_, package) in members_of(WORKSPACES[1]) {
        assert_absent("rule 4", &package, &closure(&package), NETWORK_CLIENTS);
        let features = linked_features(&package, "commonware-consensus");
        linking += usize::from(!features.is_empty());
        assert!(
            !features.contains("mocks"),
            "rule 4: {package} links simulated Byzantine validators"
        );
    }
    assert!(linking > 0, "no validator links the consensus engine");
}

/// Evidence comes to the verifier; what vendors say about it is fetched by one crate, for one program.
#[test]
fn rule_4_one_crate_of_the_verifier_dials_vendors_and_with_one_tls() {
    let may = ["hanzo-collateral", "hanzo-verify", "hanzo-engine", "hanzo"];
    for (_, package) in members() {
        let names = closure(&package);
        if may.contains(&package.as_str()) {
            assert!(
                names.contains("reqwest"),
                "{package} no longer dials: take it off this list"
            );
        } else {
            assert_absent("rule 4", &package, &names, NETWORK_CLIENTS);
        }
    }
    let other_tls = [
        "ring",
        "native-tls",
        "openssl",
        "openssl-sys",
        "hickory-resolver",
        "quinn",
    ];
    for package in ["hanzo-collateral", "hanzo-verify"] {
        assert_absent("rule 4", package, &closure(package), &other_tls);
    }
}

#[test]
fn rule_5_unsafe_lives_in_the_device_crate_alone() {
    let device = root().join("enclave/device");
    let mut front_doors = 0;
    for file in files(&root(), "rs") {
        if file.starts_with(&device) {
            continue;
        }
        let source = Source::of(&text(&file));
        if file.ends_with("src/lib.rs") {
            front_doors += 1;
            assert!(
                source.code.contains("#![forbid(unsafe_code)]"),
                "rule 5: {} does not forbid unsafe code",
                shown(&file)
            );
        }
        assert!(!source.has_word("unsafe"), "rule 5: {} has unsafe code", shown(&file));
    }
    assert!(front_doors > 15, "only {front_doors} libraries seen");
    let mut blocks = 0;
    for file in files(&device.join("src"), "rs") {
        let source = text(&file);
        let lines: Vec<_> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("unsafe {") || code.contains("unsafe impl") {
                blocks += 1;
                let near = &lines[at.saturating_sub(6)..=at];
                assert!(
                    near.iter().any(|l| l.contains("SAFETY:")),
                    "rule 5: {}:{}: no SAFETY comment",
                    shown(&file),
                    at + 1
                );
            }
        }
    }
    assert!(
        blocks > 0,
        "rule 5 saw no unsafe block in enclave/device: does it still read them?"
    );
}
