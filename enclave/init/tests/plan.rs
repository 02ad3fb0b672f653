//! The plan and the measured command line: each accepted text has its nearest refused neighbour.

use std::fs;
use std::path::PathBuf;

use hanzo_attestation::Digest256;
use hanzo_init::cmdline::measured_plan;
use hanzo_init::{InitPlan, NetworkPlan, NodeConfig, Profile, Role};

const PLAN: &str = r#"version = 1
profile = "core"
engine = false
listen = "0.0.0.0:8443"
kbs = "10.0.2.2:8080"
modules = ["failover", "net_failover", "virtio_net"]

[network]
interface = "eth0"
address = "10.0.2.15"
prefix = 24
gateway = "10.0.2.2"
"#;

#[test]
fn a_plan_is_read_and_written_back_to_the_same_bytes() {
    let plan = InitPlan::parse(PLAN.as_bytes()).unwrap();
    assert_eq!(plan.profile, Profile::Core);
    assert_eq!(plan.to_text().unwrap(), PLAN);
    let sealed = PLAN.replacen("kbs =", "sealed = \"0.0.0.0:8480\"\nkbs =", 1);
    let plan = InitPlan::parse(sealed.as_bytes()).unwrap();
    assert_eq!(plan.sealed, Some("0.0.0.0:8480".parse().unwrap()));
    assert_eq!(plan.to_text().unwrap(), sealed);
    let vsock = PLAN.replacen("kbs =", "vsock_port = 8443\nkbs =", 1);
    let plan = InitPlan::parse(vsock.as_bytes()).unwrap();
    assert_eq!((plan.vsock_port, plan.to_text().unwrap()), (Some(8443), vsock));
}

#[test]
fn each_neighbour_of_a_plan_is_refused() {
    let cases = [
        ("version = 1", "version = 2", "init.plan.value"),
        ("\"core\"", "\"Core\"", "init.plan.malformed"),
        ("engine = false\n", "", "init.plan.malformed"),
        ("engine = false", "engine = false\nhost = 1", "init.plan.malformed"),
        ("0.0.0.0:8443", "0.0.0.0:0", "init.plan.value"),
        ("10.0.2.2:8080", "kbs.example:8080", "init.plan.malformed"),
        ("kbs =", "sealed = \"0.0.0.0:0\"\nkbs =", "init.plan.value"),
        ("kbs =", "sealed = \"10.0.0.1:8443\"\nkbs =", "init.plan.value"),
        ("kbs =", "sealed = \"vsock:8480\"\nkbs =", "init.plan.malformed"),
        ("kbs =", "vsock_port = 1023\nkbs =", "init.plan.value"),
        ("kbs =", "vsock_port = 4294967295\nkbs =", "init.plan.value"),
        ("kbs =", "vsock_port = -1\nkbs =", "init.plan.malformed"),
        ("kbs =", "egress = \"10.0.2.2:7000\"\nkbs =", "init.plan.value"),
        ("\"failover\", ", "\"../failover\", ", "init.plan.value"),
        ("\"failover\", ", "\"\", ", "init.plan.value"),
        ("\"failover\", ", "\"net_failover\", ", "init.plan.value"),
        ("\"eth0\"", "\"lo\"", "init.plan.value"),
        ("\"eth0\"", "\"eth0eth0eth0eth0\"", "init.plan.value"),
        ("prefix = 24", "prefix = 31", "init.plan.value"),
        ("\"10.0.2.15\"", "\"10.0.2.0\"", "init.plan.value"),
        ("\"10.0.2.15\"", "\"10.0.2.255\"", "init.plan.value"),
        ("\"10.0.2.15\"", "\"127.0.0.1\"", "init.plan.value"),
        ("gateway = \"10.0.2.2\"", "gateway = \"10.0.3.2\"", "init.plan.value"),
        ("gateway = \"10.0.2.2\"", "gateway = \"10.0.2.15\"", "init.plan.value"),
    ];
    for (from, to, code) in cases {
        let text = PLAN.replacen(from, to, 1);
        assert_ne!(text, PLAN, "{from} is in the plan");
        let error = InitPlan::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{to}: {error}");
    }
    let long = format!("{PLAN}#{}", "x".repeat(16 * 1024));
    assert_eq!(
        InitPlan::parse(long.as_bytes()).unwrap_err().code(),
        "init.plan.too_large"
    );
}

#[test]
fn a_leased_address_is_asked_for_and_never_defaulted_to() {
    let (head, _) = PLAN.split_once("[network]").unwrap();
    let leased = format!("{head}[network]\ninterface = \"eth0\"\ndhcp = true\n");
    let plan = InitPlan::parse(leased.as_bytes()).unwrap();
    assert!(matches!(plan.network, NetworkPlan::Dhcp(_)));
    assert_eq!(plan.to_text().unwrap(), leased);
    for (from, to, code) in [
        ("dhcp = true", "dhcp = false", "init.plan.value"),
        ("dhcp = true\n", "", "init.plan.malformed"),
        ("dhcp = true", "dhcp = true\ndns = true", "init.plan.malformed"),
        (
            "dhcp = true",
            "dhcp = true\naddress = \"10.0.2.15\"",
            "init.plan.malformed",
        ),
        ("\"eth0\"", "\"lo\"", "init.plan.value"),
    ] {
        let error = InitPlan::parse(leased.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{to}: {error}");
    }
}

/// What a host can add beside the measured command line is no part of any plan: the kernel's own parameters may look like
/// ours, and only whole words of ours count, each exactly once.
#[test]
fn nothing_else_on_the_command_line_configures() {
    let config = config();
    let digest = Digest256::of(config.as_bytes());
    let line = format!("console=ttyS0 hanzo.profile=core hanzo.config={digest}");
    let plain = code(&image(&line, &config, PLAN)).unwrap();
    for extra in [
        "ip=192.168.1.9::192.168.1.1:255.255.255.0::eth0:off",
        "systemd.set_credential=hanzo.config:x",
        "init=/bin/sh",
        "hanzo.listen=0.0.0.0:1",
        "hanzo.kbs=192.168.1.1:80",
        "xhanzo.config=0",
        "-- --kbs 192.168.1.1:80",
    ] {
        let plan = code(&image(&format!("{line} {extra}"), &config, PLAN)).unwrap();
        assert_eq!(plan, plain, "{extra}");
    }
    // The measured words themselves cannot be said again.
    for (extra, expected) in [
        (format!("hanzo.config={digest}"), "device.command_line"),
        ("hanzo.config=0".to_owned(), "device.command_line"),
        ("hanzo.profile=debug".to_owned(), "init.profile"),
    ] {
        assert_eq!(
            code(&image(&format!("{line} {extra}"), &config, PLAN)),
            Err(expected),
            "{extra}"
        );
    }
}

struct Image {
    _dir: tempfile::TempDir,
    cmdline: PathBuf,
    config: PathBuf,
    plan: PathBuf,
}

fn image(cmdline: &str, config: &str, plan: &str) -> Image {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    Image {
        cmdline: put("cmdline", cmdline),
        config: put("config.toml", config),
        plan: put("init.toml", plan),
        _dir: dir,
    }
}

fn code(image: &Image) -> Result<InitPlan, &'static str> {
    measured_plan(&image.cmdline, &image.config, &image.plan).map_err(|e| e.code())
}

#[test]
fn the_command_line_decides_which_files_count() {
    let config = config();
    let digest = Digest256::of(config.as_bytes());
    let line = format!("console=ttyS0 hanzo.profile=core hanzo.config={digest}\n");
    assert!(code(&image(&line, &config, PLAN)).is_ok());

    let changed = config.replace("operator = \"o\"", "operator = \"p\"");
    assert_ne!(changed, config);
    assert_eq!(code(&image(&line, &changed, PLAN)), Err("config.digest_mismatch"));
    let debug = PLAN.replace("core", "debug");
    assert_eq!(code(&image(&line, &config, &debug)), Err("init.profile"));
    // A way out needs another profile, and its broker an address of one of two kinds.
    let root = "[[egress]]\nname = \"kbs.example.org\"\nport = 443\nuse = \"kbs\"\nroots = [\"MAA=\"]\n";
    let reaching = format!("{config}{root}");
    let named = |profile: &str| {
        let digest = Digest256::of(reaching.as_bytes());
        format!("console=ttyS0 hanzo.profile={profile} hanzo.config={digest}\n")
    };
    assert_eq!(code(&image(&named("core"), &reaching, PLAN)), Err("init.egress"));
    let connected = PLAN.replace("core", "connected");
    assert!(code(&image(&named("connected"), &reaching, &connected)).is_ok());
    for (at, expected) in [
        ("10.0.2.2:7000", Ok(())),
        ("vsock:7000", Ok(())),
        ("10.0.2.2:0", Err("init.plan.value")),
        ("vsock:80", Err("init.plan.value")),
        ("broker.example:7000", Err("init.plan.value")),
    ] {
        let plan = connected.replacen("kbs =", &format!("egress = \"{at}\"\nkbs ="), 1);
        assert_eq!(
            code(&image(&named("connected"), &reaching, &plan)).map(drop),
            expected,
            "{at}"
        );
    }
    let twice = format!("{} hanzo.profile=core", line.trim_end());
    assert_eq!(code(&image(&twice, &config, PLAN)), Err("init.profile"));
    let none = line.replace("hanzo.config=", "config=");
    assert_eq!(code(&image(&none, &config, PLAN)), Err("device.command_line"));
    assert_eq!(code(&image(&line, &config, "version = 1")), Err("init.plan.malformed"));
    let absent = Image {
        config: "/nonexistent/config.toml".into(),
        ..image(&line, &config, PLAN)
    };
    assert_eq!(code(&absent), Err("init.file"));
    let endless = "x".repeat(17 * 1024);
    assert_eq!(code(&image(&endless, &config, PLAN)), Err("init.too_long"));
}

fn config() -> String {
    let (ml_dsa, ed25519) = ("00".repeat(1952), "00".repeat(32));
    let root = "11".repeat(32);
    format!(
        r#"version = 1
operator = "o"
image = "dev"
required_tier = 1
keyset_lifetime_s = 3600
auth = "none"
[kbs]
grant_lifetime_s = 60
[kbs.signer]
suite = "ml-dsa-65"
ml_dsa = "{ml_dsa}"
ed25519 = "{ed25519}"
[store]
id = "s"
key_id = "t/store/s"
[[models]]
name = "m"
weights_root = "{root}"
key_id = "t/model/m"
context_tokens = 512
[limits]
body_bytes_max = 65536
concurrent_requests = 2
request_timeout_s = 60
"#
    )
}

/// An image whose one program is a node of the chain.
const NODE_PLAN: &str = r#"version = 1
profile = "core"
role = "node"
engine = false
listen = "0.0.0.0:9650"
modules = []

[network]
interface = "eth0"
address = "10.0.2.15"
prefix = 24
gateway = "10.0.2.2"
"#;

fn node_config() -> String {
    let genesis = "22".repeat(32);
    format!(
        "version = 1\nrole = \"observer\"\nnetwork = 36964\ngenesis = \"{genesis}\"\nrpc = \"0.0.0.0:9650\"\n\
         rpc_hosts = [\"chain.example:9650\"]\n[[follow]]\naddress = \"10.0.2.2:9650\"\nhost = \"node.example\"\n"
    )
}

#[test]
fn a_node_has_nothing_that_is_an_agents() {
    let plan = InitPlan::parse(NODE_PLAN.as_bytes()).unwrap();
    assert_eq!((plan.role, plan.kbs), (Role::Node, None));
    assert_eq!(plan.to_text().unwrap(), NODE_PLAN);
    for (from, to, code) in [
        ("engine = false", "engine = true", "init.plan.value"),
        ("modules", "kbs = \"10.0.2.2:8080\"\nmodules", "init.plan.value"),
        ("modules", "sealed = \"0.0.0.0:8480\"\nmodules", "init.plan.value"),
        ("modules", "vsock_port = 8443\nmodules", "init.plan.value"),
        ("modules", "egress = \"10.0.2.2:7000\"\nmodules", "init.plan.value"),
        ("\"node\"", "\"validator\"", "init.plan.malformed"),
        ("\"node\"", "\"agent\"", "init.plan.value"),
        ("[network]", "[net]", "init.plan.malformed"),
    ] {
        let text = NODE_PLAN.replacen(from, to, 1);
        let error = InitPlan::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{to}: {error}");
    }
    // An agent is what an image runs that does not say it, and it has a broker.
    assert_eq!(InitPlan::parse(PLAN.as_bytes()).unwrap().role, Role::Agent);
    let alone = PLAN.replacen("kbs = \"10.0.2.2:8080\"\n", "", 1);
    assert_eq!(InitPlan::parse(alone.as_bytes()).unwrap_err().code(), "init.plan.value");
}

#[test]
fn a_nodes_configuration_is_measured_as_an_agents_is() {
    let config = node_config();
    let line = |config: &str| {
        let digest = Digest256::of(config.as_bytes());
        format!("console=ttyS0 hanzo.profile=core hanzo.config={digest}\n")
    };
    assert!(code(&image(&line(&config), &config, NODE_PLAN)).is_ok());
    let changed = config.replace("36964", "36963");
    assert_eq!(
        code(&image(&line(&config), &changed, NODE_PLAN)),
        Err("config.digest_mismatch")
    );
    // Each configuration under the other's plan.
    assert_eq!(code(&image(&line(&config), &config, PLAN)), Err("config.malformed"));
    let agents = self::config();
    assert_eq!(
        code(&image(&line(&agents), &agents, NODE_PLAN)),
        Err("node.config.malformed")
    );
    let elsewhere = NODE_PLAN.replace("9650", "9651");
    assert_eq!(code(&image(&line(&config), &config, &elsewhere)), Err("init.listen"));
}

#[test]
fn a_nodes_configuration_is_read_strictly() {
    let text = node_config();
    let config = NodeConfig::parse(text.as_bytes()).unwrap();
    assert_eq!(config.observer().unwrap()[0].host(), "node.example");
    let follow = "[[follow]]\naddress = \"10.0.2.2:9650\"\nhost = \"node.example\"\n";
    for (from, to, code) in [
        ("version = 1", "version = 2", "node.config.value"),
        ("version = 1", "version = 1\nwallet = \"w\"", "node.config.malformed"),
        ("\"observer\"", "\"validator\"", "node.config.member"),
        ("\"observer\"", "\"miner\"", "node.config.value"),
        ("network = 36964\n", "", "node.config.malformed"),
        ("\"2222", "\"22", "node.config.malformed"),
        ("rpc = \"0.0.0.0:9650\"", "rpc = \"node:9650\"", "node.config.malformed"),
        ("chain.example:9650", "chain.example\\r\\nx: y", "node.config.value"),
        ("node.example\"\n", "node example\"\n", "node.config.value"),
        ("10.0.2.2:9650", "10.0.2.2:0", "node.config.value"),
        ("10.0.2.2:9650", "node.example:9650", "node.config.malformed"),
        (follow, "", "node.config.value"),
        (follow, &follow.repeat(2), "node.config.value"),
        ("host =", "key = \"k\"\nhost =", "node.config.malformed"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is in the configuration");
        let error = NodeConfig::parse(changed.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{to}: {error}");
    }
    let many: String = (1..=17)
        .map(|port| format!("[[follow]]\naddress = \"10.0.2.2:{port}\"\n"))
        .collect();
    let error = NodeConfig::parse(text.replace(follow, &many).as_bytes()).unwrap_err();
    assert_eq!(error.code(), "node.config.value");
    let long = format!("{text}#{}", "x".repeat(64 * 1024));
    assert_eq!(
        NodeConfig::parse(long.as_bytes()).unwrap_err().code(),
        "node.config.too_large"
    );
}
