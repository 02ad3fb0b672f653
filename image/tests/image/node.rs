//! Images whose one program is a node of the AI chain.

use std::fs;
use std::process::Command;

use hanzo_image::assemble::Node;
use hanzo_image::manifest::Measured;
use hanzo_image::{Manifest, Network, Parts, Profile, Recipe, Role, build, cpio, sbom};
use hanzo_init::InitPlan;

use crate::support::{Pantry, config, files_of, program, recipe};

const LOCK: &str = include_str!("../../../Cargo.lock");
const NODE_LOCK: &str = include_str!("../../../enclave/chain/validator/Cargo.lock");

fn observer() -> String {
    let genesis = "22".repeat(32);
    format!(
        "version = 1\nrole = \"observer\"\nnetwork = 36964\ngenesis = \"{genesis}\"\nrpc = \"0.0.0.0:9650\"\n\
         [[follow]]\naddress = \"10.0.9.9:9650\"\n"
    )
}

/// Of a validator: what an observer follows is what it has links with, and its key broker.
fn validator() -> String {
    let (zeros, ml_dsa) = ("22".repeat(32), "ab".repeat(1952));
    format!(
        "version = 1\nrole = \"validator\"\nnetwork = 36964\ngenesis = \"{zeros}\"\nrpc = \"0.0.0.0:9650\"\n\
         listen = \"0.0.0.0:9651\"\naddress = \"one.example:9651\"\nrequired_tier = 1\npolicy = \"minimum_tier = 1\"\n\
         [account]\nkey_id = \"hanzo/validator/one\"\nsubject = \"one\"\n[kbs]\naddress = \"10.0.8.8:8080\"\ngrant_lifetime_s = 60\n\
         [kbs.signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{ml_dsa}\"\ned25519 = \"{zeros}\"\n\
         [[peer]]\naccount = \"0x{zeros}\"\naddress = \"10.0.9.9:9701\"\n"
    )
}

fn network(gateway: bool) -> Network {
    Network {
        interface: "eth0".into(),
        address: "10.0.2.15".parse().unwrap(),
        prefix: 24,
        gateway: gateway.then(|| "10.0.2.2".parse().unwrap()),
    }
}

fn node(program: &[u8]) -> Option<Node> {
    Some(Node {
        program: program.to_vec(),
        genesis: b"genesis".to_vec(),
    })
}

fn node_recipe() -> Recipe {
    Recipe::node(Profile::Core, observer(), network(true)).unwrap()
}

#[test]
fn a_node_is_put_in_with_its_genesis_and_told_to_init() {
    let pantry = Pantry::new();
    let parts = Parts {
        node: node(&program()),
        ..pantry.parts(Profile::Core).unwrap()
    };
    let out = pantry.path("out");
    let manifest = build(&parts, &node_recipe(), &out, &|_| ()).unwrap();
    assert_eq!(manifest.recipe().unwrap(), node_recipe());
    assert_eq!(Manifest::read(&out).unwrap(), manifest);
    assert_eq!(manifest.inputs.node, Some(Measured::of(&program())));
    assert_eq!(manifest.inputs.genesis, Some(Measured::of(b"genesis")));
    let archive = zstd::bulk::decompress(&files_of(&out)["initrd.cpio.zst"], 1 << 24).unwrap();
    let entries = cpio::read("initrd", &archive).unwrap();
    let bytes = |path: &str| entries.iter().find(|e| e.path == path).unwrap().bytes;
    assert_eq!(bytes("usr/bin/hanzo-validator"), program());
    assert_eq!(bytes("etc/hanzo/genesis.bin"), b"genesis");
    assert_eq!(bytes("etc/hanzo/config.toml"), observer().as_bytes());
    let plan = InitPlan::parse(bytes("etc/hanzo/init.toml")).unwrap();
    assert_eq!((plan.role, plan.kbs, plan.engine), (Role::Node, None, false));
    assert_eq!(plan.listen, "0.0.0.0:9650".parse().unwrap());
    hanzo_image::verify::verify(&out, &parts, &|_| ()).unwrap();

    // Another program or genesis is another archive: PCR 9, and the launch digests, are of its bytes.
    let mut other = program();
    other.push(0);
    let changed = Parts {
        node: node(&other),
        ..parts.clone()
    };
    let error = hanzo_image::verify::verify(&out, &changed, &|_| ()).unwrap_err();
    assert_eq!(error.code(), "image.different");
    let mut begins_otherwise = parts;
    begins_otherwise.node.as_mut().unwrap().genesis = b"Genesis".to_vec();
    let error = hanzo_image::verify::verify(&out, &begins_otherwise, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("etc/hanzo/genesis.bin"), "{error}");
}

#[test]
fn the_bill_lists_the_nodes_crates_by_its_own_lock_file() {
    let pantry = Pantry::new();
    let parts = Parts {
        node: node(&program()),
        ..pantry.parts(Profile::Core).unwrap()
    };
    let manifest = build(&parts, &node_recipe(), &pantry.path("out"), &|_| ()).unwrap();
    let refused = |node: Option<&str>| sbom::of_image(&manifest, LOCK, node).unwrap_err().code();
    assert_eq!((refused(None), refused(Some(""))), ("image.lock", "image.lock"));
    let bill = sbom::of_image(&manifest, LOCK, Some(NODE_LOCK)).unwrap();
    let text = String::from_utf8(bill.bytes).unwrap();
    assert!(text.contains("pkg:cargo/commonware-consensus@") && text.contains("program/hanzo-validator"));
    let agent = build(
        &pantry.parts(Profile::Core).unwrap(),
        &recipe(Profile::Core),
        &pantry.path("agent"),
        &|_| (),
    );
    let error = sbom::of_image(&agent.unwrap(), LOCK, Some(NODE_LOCK)).unwrap_err();
    assert_eq!(error.code(), "image.lock");
}

#[test]
fn a_node_without_configuration_genesis_or_network_is_refused() {
    let node_of = |profile, text: &str, network| Recipe::node(profile, text.to_owned(), network);
    let code = |made: Result<Recipe, hanzo_image::ImageError>| made.unwrap_err().code();
    assert_eq!(
        code(node_of(Profile::Core, &config(), network(true))),
        "node.config.malformed"
    );
    let unknown = format!("validator = true\n{}", observer());
    assert_eq!(
        code(node_of(Profile::Core, &unknown, network(true))),
        "node.config.malformed"
    );
    assert_eq!(
        code(node_of(Profile::Connected, &observer(), network(true))),
        "image.inputs"
    );
    // Nowhere to go: without a gateway only the image's own network, and never IPv6.
    assert_eq!(
        code(node_of(Profile::Core, &observer(), network(false))),
        "image.inputs"
    );
    let near = observer().replace("10.0.9.9", "10.0.2.9");
    assert!(node_of(Profile::Core, &near, network(false)).is_ok());
    let six = observer().replace("10.0.9.9:", "[fd00::1]:");
    assert_eq!(code(node_of(Profile::Core, &six, network(true))), "image.inputs");
    // A port of 0 is none that a host could forward to.
    let pantry = Pantry::new();
    let plain = pantry.parts(Profile::Core).unwrap();
    let with = |node: Option<Node>| Parts { node, ..plain.clone() };
    let free = node_of(
        Profile::Core,
        &observer().replace("0.0.0.0:9650", "0.0.0.0:0"),
        network(true),
    );
    let place = |name: &str| pantry.path(name);
    let refused = |parts: &Parts, recipe: &Recipe| build(parts, recipe, &place("out"), &|_| ()).unwrap_err().code();
    assert_eq!(refused(&with(node(&program())), &free.unwrap()), "init.plan.value");
    // Program and configuration are of one role.
    assert_eq!(refused(&with(None), &node_recipe()), "image.inputs");
    assert_eq!(refused(&with(node(&program())), &recipe(Profile::Core)), "image.inputs");
    let both = Parts {
        engine: Some(program()),
        ..with(node(&program()))
    };
    assert_eq!(refused(&both, &node_recipe()), "image.inputs");
    assert!(!place("out").exists());
}

#[test]
fn a_validators_image_is_a_nodes_whose_broker_and_peers_are_within_reach() {
    let pantry = Pantry::new();
    let parts = Parts {
        node: node(&program()),
        ..pantry.parts(Profile::Core).unwrap()
    };
    let recipe = Recipe::node(Profile::Core, validator(), network(true)).unwrap();
    assert_eq!(recipe.links(), Some("0.0.0.0:9651".parse().unwrap()));
    assert_eq!(node_recipe().links(), None);
    let out = pantry.path("out");
    let manifest = build(&parts, &recipe, &out, &|_| ()).unwrap();
    assert_eq!(manifest.recipe().unwrap(), recipe);
    hanzo_image::verify::verify(&out, &parts, &|_| ()).unwrap();
    let bill = sbom::of_image(&manifest, LOCK, Some(NODE_LOCK)).unwrap();
    assert!(
        String::from_utf8(bill.bytes)
            .unwrap()
            .contains("program/hanzo-validator")
    );

    let refused = |text: &str, gateway| {
        let error = Recipe::node(Profile::Core, text.to_owned(), network(gateway)).unwrap_err();
        (error.code(), error.to_string())
    };
    let near = validator().replace("10.0.9.9", "10.0.2.9");
    let (code, said) = refused(&near, false);
    assert!(
        code == "image.inputs" && said.contains("kbs.address") && said.contains("10.0.8.8"),
        "{said}"
    );
    let all_near = near.replace("10.0.8.8", "10.0.2.8");
    assert!(Recipe::node(Profile::Core, all_near.clone(), network(false)).is_ok());
    let (code, said) = refused(&all_near.replace("10.0.2.9", "10.0.9.9"), false);
    assert!(
        code == "image.inputs" && said.contains("peer.address") && said.contains("10.0.9.9"),
        "{said}"
    );
    for port in ["0", "9650"] {
        let (code, said) = refused(&validator().replace("0.0.0.0:9651", &format!("0.0.0.0:{port}")), true);
        assert!(code == "image.inputs" && said.contains("listen"), "{said}");
    }
}

/// As a person asks for it.
#[test]
fn the_tool_says_what_a_node_needs() {
    let pantry = Pantry::new();
    for name in ["hanzo-guest", "hanzo-validator"] {
        pantry.program(name, &program());
    }
    for (name, text) in [("config.toml", config()), ("observer.toml", observer())] {
        fs::write(pantry.path(name), text).unwrap();
    }
    fs::write(pantry.path("genesis.bin"), b"genesis").unwrap();
    fs::write(pantry.path("long.bin"), vec![0; (1 << 20) + 1]).unwrap();
    fs::write(pantry.path("inputs.toml"), toml::to_string(&pantry.inputs).unwrap()).unwrap();
    let build = |out: &str, more: &str| {
        let words = format!("--quiet --json build {out} --guest hanzo-guest --packages . --inputs inputs.toml {more}");
        let done = Command::new(env!("CARGO_BIN_EXE_hanzo-image"))
            .args(words.split_whitespace())
            .current_dir(pantry.dir.path())
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        said["error"]["code"].as_str().map(str::to_owned)
    };
    let node = "--validator hanzo-validator --genesis genesis.bin";
    assert_eq!(build("good", &format!("--config observer.toml {node}")), None);
    for (more, code) in [
        ("--config observer.toml", "config.malformed"),
        ("--config observer.toml --validator hanzo-validator", "image.inputs"),
        ("--config config.toml --genesis genesis.bin", "image.inputs"),
        (
            "--config config.toml --validator hanzo-validator --genesis genesis.bin",
            "node.config.malformed",
        ),
        (
            "--config observer.toml --validator hanzo-validator --genesis long.bin",
            "image.too_large",
        ),
        (
            "--config observer.toml --validator observer.toml --genesis genesis.bin",
            "image.malformed",
        ),
        (
            "--config observer.toml --validator hanzo-validator --genesis genesis.bin --kbs 10.0.2.2:8080",
            "image.inputs",
        ),
        (
            "--config observer.toml --validator hanzo-validator --genesis genesis.bin --sealed 0.0.0.0:8480",
            "init.plan.value",
        ),
        (
            "--config observer.toml --validator hanzo-validator --genesis genesis.bin --engine hanzo-guest",
            "image.inputs",
        ),
    ] {
        assert_eq!(build("bad", more).as_deref(), Some(code), "{more}");
        assert!(!pantry.path("bad").exists());
    }
}
