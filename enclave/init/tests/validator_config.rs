//! A validator's configuration: what is read, and the nearest of everything that is not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

use hanzo_init::{NetworkPlan, NodeConfig, NodeConfigError};

fn text() -> String {
    format!(
        r#"
version = 1
role = "validator"
network = 31337
genesis = "{genesis}"
rpc = "0.0.0.0:9650"
listen = "0.0.0.0:9651"
address = "validator.example:9651"
required_tier = 1
policy = """
minimum_tier = 1
"""
tpm_keys = ["{genesis}"]
tpm_roots = ["3082"]
simulator_root = "3083"
bond = "5000"
[account]
key_id = "hanzo/validator/one"
subject = "validator-one"
[kbs]
address = "10.0.2.2:8080"
grant_lifetime_s = 60
[kbs.signer]
suite = "ml-dsa-65"
ml_dsa = "{ml_dsa}"
ed25519 = "{ed25519}"
[[peer]]
account = "0x{account}"
address = "10.0.2.2:9701"
[[peer]]
account = "0x{other}"
address = "10.0.2.2:9702"
"#,
        genesis = "22".repeat(32),
        ml_dsa = "ab".repeat(1952),
        ed25519 = "cd".repeat(32),
        account = "11".repeat(32),
        other = "33".repeat(32),
    )
}

#[test]
fn a_validators_configuration_is_read_strictly() {
    let text = text();
    let config = NodeConfig::parse(text.as_bytes()).unwrap();
    let it = config.validator().unwrap();
    assert_eq!(it.policy, "minimum_tier = 1\n");
    assert_eq!((it.snapshot_behind, it.bond, it.required_tier), (7_200, Some(5_000), 1));
    assert_eq!(it.tpm_roots, [vec![0x30, 0x82]]);
    assert_eq!(it.simulator_root, Some(vec![0x30, 0x83]));
    assert_eq!((it.tpm_keys.len(), it.peers.len()), (1, 2));
    assert_eq!(it.account.key_id.to_string(), "hanzo/validator/one");
    let to = config.outward();
    assert_eq!(to.iter().map(|at| at.port()).collect::<Vec<_>>(), [9701, 9702, 8080]);

    let account = format!("account = \"0x{}\"", "33".repeat(32));
    let peers = &text[text.find("[[peer]]").unwrap()..];
    for (from, to, code) in [
        ("version = 1", "version = 2", "node.config.value"),
        ("version = 1", "version = 1\nwallet = \"w\"", "node.config.malformed"),
        ("version = 1", "version = 1\nregistrar = \"w\"", "node.config.malformed"),
        (
            "version = 1",
            "version = 1\nevidence = \"simulated\"",
            "node.config.malformed",
        ),
        ("version = 1", "version = 1\nfollow = []", "node.config.member"),
        ("\"validator\"", "\"observer\"", "node.config.member"),
        ("listen = \"0.0.0.0:9651\"\n", "", "node.config.member"),
        ("0.0.0.0:9651", "here:9651", "node.config.malformed"),
        ("address = \"validator.example:9651\"\n", "", "node.config.member"),
        ("validator.example:9651", "validator.example", "node.config.value"),
        ("validator.example:9651", "validator.example:0", "node.config.value"),
        ("validator.example:9651", "validator example:1", "node.config.value"),
        ("required_tier = 1", "required_tier = 0", "node.config.value"),
        ("required_tier = 1", "required_tier = 5", "node.config.value"),
        ("required_tier = 1\n", "", "node.config.member"),
        ("\nminimum_tier = 1\n", " ", "node.config.value"),
        ("\"3082\"", "\"308\"", "node.config.value"),
        ("\"3082\"", "\"\"", "node.config.value"),
        ("\"3082\"", "\"308G\"", "node.config.value"),
        ("\"3083\"", "\"308A\"", "node.config.value"),
        ("tpm_keys = [\"22", "tpm_keys = [\"", "node.config.malformed"),
        ("\"5000\"", "\"0\"", "node.config.value"),
        ("\"5000\"", "\"+5\"", "node.config.value"),
        ("\"5000\"", "5000", "node.config.malformed"),
        ("hanzo/validator/one", "hanzo/one", "node.config.malformed"),
        ("validator-one", "Validator One", "node.config.malformed"),
        ("10.0.2.2:8080", "10.0.2.2:0", "node.config.value"),
        ("10.0.2.2:8080", "kbs.example:8080", "node.config.malformed"),
        ("_s = 60", "_s = 0", "node.config.value"),
        ("_s = 60", "_s = 301", "node.config.value"),
        ("ml-dsa-65", "ml-dsa-44", "node.config.value"),
        ("ml-dsa-65", "ml-dsa-87", "node.config.value"),
        ("\"abab", "\"ab", "node.config.value"),
        ("\"cdcd", "\"CDcd", "node.config.value"),
        (peers, "", "node.config.member"),
        (&account, &account.replace("33", "11"), "node.config.value"),
        (&account, &account.replace("0x33", "0x3"), "node.config.value"),
        (&account, &account.replace("0x", ""), "node.config.value"),
        ("10.0.2.2:9702", "10.0.2.2:9701", "node.config.value"),
        ("10.0.2.2:9702", "10.0.2.2:0", "node.config.value"),
        ("10.0.2.2:9702", "peer.example:9702", "node.config.malformed"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is in the configuration");
        let error = NodeConfig::parse(changed.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{from} -> {to}: {error}");
    }
    let peer = |n: usize| format!("[[peer]]\naccount = \"0x{n:064x}\"\naddress = \"10.0.2.2:{n}\"\n");
    let with = |count: usize| text.replace(peers, &(1..=count).map(peer).collect::<String>());
    assert!(NodeConfig::parse(with(64).as_bytes()).is_ok());
    let error = NodeConfig::parse(with(65).as_bytes()).unwrap_err();
    assert_eq!(error.code(), "node.config.value");
    let certificate = |bytes: usize| text.replace("\"3083\"", &format!("\"{}\"", "30".repeat(bytes)));
    assert!(NodeConfig::parse(certificate(4096).as_bytes()).is_ok());
    let error = NodeConfig::parse(certificate(4097).as_bytes()).unwrap_err();
    assert_eq!(error.code(), "node.config.value");
}

#[test]
fn a_role_is_not_run_as_the_other() {
    let config = NodeConfig::parse(text().as_bytes()).unwrap();
    assert!(config.validator().is_ok());
    let error = config.observer().unwrap_err();
    assert!(
        matches!(
            error,
            NodeConfigError::Role {
                expected: "observer",
                got: "validator",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.code(), "node.config.role");
    let observer = format!(
        "version = 1\nrole = \"observer\"\nnetwork = 1\ngenesis = \"{}\"\nrpc = \"0.0.0.0:9650\"\n\
         [[follow]]\naddress = \"10.0.2.2:9650\"\n",
        "22".repeat(32)
    );
    let config = NodeConfig::parse(observer.as_bytes()).unwrap();
    assert!(config.observer().is_ok());
    let error = config.validator().unwrap_err();
    assert!(
        matches!(
            error,
            NodeConfigError::Role {
                expected: "validator",
                got: "observer",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_network_must_lead_to_peers_and_to_the_broker() {
    let config = NodeConfig::parse(text().as_bytes()).unwrap();
    let network = |gateway: &str| -> NetworkPlan {
        toml::from_str(&format!(
            "interface = \"eth0\"\naddress = \"10.0.2.15\"\nprefix = 24\n{gateway}"
        ))
        .unwrap()
    };
    assert_eq!(config.beyond(&network("")), None);
    for (from, to) in [("10.0.2.2:8080", "10.0.3.2:8080"), ("10.0.2.2:9702", "10.0.3.2:9702")] {
        let config = NodeConfig::parse(text().replace(from, to).as_bytes()).unwrap();
        assert_eq!(config.beyond(&network("")), Some(to.parse().unwrap()));
        assert_eq!(config.beyond(&network("gateway = \"10.0.2.2\"\n")), None);
    }
}
