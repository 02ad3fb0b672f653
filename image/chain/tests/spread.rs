//! One genesis in all folders of a network, whatever stops whoever gives it to them.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/chain.rs"]
mod chain;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use chain::candidate;
use clap::Parser;
use hanzo_chain_cli::{ChainCommand, ChainError, Output, perform};
use hanzo_ledger::{Genesis, Network};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    chain: ChainCommand,
}

struct Net(tempfile::TempDir);

impl Net {
    /// Four validators that wait.
    fn new() -> Self {
        let net = Self(tempfile::tempdir().unwrap());
        net.hanzo(&["init", &net.path("")]).unwrap();
        net.candidates();
        net
    }

    fn candidates(&self) {
        (0..4).for_each(|n| candidate(&self.at(&n.to_string()), n));
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join("net").join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().trim_end_matches('/').to_owned()
    }

    fn hanzo(&self, words: &[&str]) -> Result<Output, ChainError> {
        let cli = Cli::try_parse_from(std::iter::once("hanzo").chain(words.iter().copied())).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(perform(cli.chain, true, || Ok(chain::simulator())))
    }

    fn genesis(&self) -> Result<Output, ChainError> {
        self.hanzo(&["genesis", &self.path("")])
    }

    /// What has a genesis: the validators' folders, and at last the network's own.
    fn geneses(&self) -> [Option<Vec<u8>>; 5] {
        ["0", "1", "2", "3", "."].map(|folder| fs::read(self.at(folder).join("genesis.bin")).ok())
    }

    /// Takes the genesis out of these folders, as if they had never got it.
    fn never_given(&self, folders: &[&str]) {
        for folder in folders {
            fs::remove_file(self.at(folder).join("genesis.bin")).unwrap();
        }
    }

    /// Runs the network with a program that offers the candidate of before, waits for a genesis and ends with code 7.
    fn run(&self) -> ChainError {
        let program = self.at("program");
        let script = "#!/bin/sh\n\
            [ -f \"$2/genesis.bin\" ] || { cp \"$2/offered.json\" \"$2/candidate.new\" && mv \"$2/candidate.new\" \"$2/candidate.json\"; }\n\
            until [ -f \"$2/genesis.bin\" ]; do sleep 0.05; done\n\
            exit 7\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        self.hanzo(&["run", &self.path(""), "--validator-program", &self.path("program")])
            .unwrap_err()
    }
}

#[test]
fn a_genesis_that_some_folders_have_is_the_one_that_all_get() {
    let net = Net::new();
    net.genesis().unwrap();
    let [first, ..] = net.geneses();
    assert!(first.is_some() && net.geneses().iter().all(|one| *one == first));
    // It never came to the last two, nor to the network's own folder: the same is made again, whatever time it is.
    net.never_given(&["2", "3", "."]);
    net.genesis().unwrap();
    assert!(net.geneses().iter().all(|one| *one == first));

    // Two that differ: nothing is done, and each is named with its folders.
    net.never_given(&["3", "."]);
    let other = Net::new();
    other.genesis().unwrap();
    fs::copy(other.at("genesis.bin"), net.at("2/genesis.bin")).unwrap();
    let before = net.geneses();
    for refused in [net.genesis().unwrap_err(), net.run()] {
        assert_eq!((refused.code(), refused.exit()), ("chain.genesis.differs", 10));
        let text = refused.to_string();
        for name in ["0/genesis.bin", "1/genesis.bin", "2/genesis.bin"] {
            assert!(text.contains(name), "{text}");
        }
        assert!(!text.contains("3/genesis.bin"), "{text}");
        assert_eq!(net.geneses(), before);
    }
    // One that is none.
    fs::write(net.at("2/genesis.bin"), b"{}").unwrap();
    let refused = net.genesis().unwrap_err();
    assert_eq!((refused.code(), refused.exit()), ("chain.file", 10));
    assert!(refused.to_string().contains("2/genesis.bin"), "{refused}");
}

#[test]
fn a_genesis_of_other_candidates_or_rules_is_not_given_to_these() {
    let net = Net::new();
    net.genesis().unwrap();
    net.never_given(&["1", "2", "3", "."]);
    let before = net.geneses();
    let refused = |what: &[&str]| {
        let refused = net.genesis().unwrap_err();
        assert_eq!((refused.code(), refused.exit()), ("chain.genesis.other", 10));
        let text = refused.to_string();
        let (_, others) = text.split_once("is not of ").unwrap();
        for name in ["0/candidate.json", "2/candidate.json", "3/candidate.json", "chain.toml"] {
            assert_eq!(others.contains(name), what.contains(&name), "{text}");
        }
        assert_eq!(net.geneses(), before);
    };
    // Two validators were started again, each with another key.
    candidate(&net.at("2"), 3);
    candidate(&net.at("3"), 2);
    refused(&["2/candidate.json", "3/candidate.json"]);
    net.candidates();
    let rules = fs::read_to_string(net.at("chain.toml")).unwrap();
    fs::write(
        net.at("chain.toml"),
        rules.replace("stake = \"1000000\"", "stake = \"1000001\""),
    )
    .unwrap();
    refused(&["chain.toml"]);
    fs::write(net.at("chain.toml"), rules).unwrap();
    net.genesis().unwrap();
    assert!(net.geneses().iter().all(|one| *one == before[0]));
}

#[test]
fn where_one_folder_takes_no_genesis_none_gets_it() {
    let net = Net::new();
    let staged = net.at(&format!("3/genesis.bin.{}.new", std::process::id()));
    fs::create_dir(&staged).unwrap();
    let refused = net.genesis().unwrap_err();
    assert_eq!((refused.code(), refused.exit()), ("chain.io", 1));
    assert!(refused.to_string().contains("3/genesis.bin"), "{refused}");
    assert_eq!(net.geneses(), [const { None }; 5]);
    assert_eq!(
        fs::read_dir(net.at("0")).unwrap().count(),
        fs::read_dir(net.at("1")).unwrap().count()
    );
    // Something else is in its place.
    fs::remove_dir(&staged).unwrap();
    fs::create_dir(net.at("2/genesis.bin")).unwrap();
    assert_eq!(net.genesis().unwrap_err().code(), "chain.io");
    assert_eq!(net.geneses(), [const { None }; 5]);
    fs::remove_dir(net.at("2/genesis.bin")).unwrap();
    net.genesis().unwrap();
    assert!(net.geneses().iter().all(Option::is_some));
}

#[test]
fn a_run_goes_on_after_it_ended_while_it_gave_the_genesis_out() {
    let net = Net::new();
    for n in 0..4 {
        let folder = net.at(&n.to_string());
        fs::copy(folder.join("candidate.json"), folder.join("offered.json")).unwrap();
    }
    net.genesis().unwrap();
    let [given, ..] = net.geneses();
    net.never_given(&["2", "3", "."]);
    let ended = |error: ChainError| {
        assert_eq!(error.code(), "chain.validator", "{error}");
        assert!(error.to_string().contains("ended with code 7"), "{error}");
    };

    // Enough of its keys are there: all get it, and none waits for another.
    for n in 0..3 {
        fs::write(net.at(&format!("{n}/stopped.key")), b"a key").unwrap();
    }
    ended(net.run());
    assert!(net.geneses().iter().all(|one| *one == given));
    // Not with an account that it does not know.
    net.never_given(&["3", "."]);
    let other = Net::new();
    fs::copy(other.at("1/candidate.json"), net.at("3/candidate.json")).unwrap();
    let refused = net.run();
    assert_eq!(refused.code(), "chain.genesis.other");
    assert!(refused.to_string().contains("not of ") && refused.to_string().contains("3/candidate.json"));
    candidate(&net.at("3"), 3);

    // Its keys are gone. Nothing is touched while a process of it runs.
    for n in 0..2 {
        fs::remove_file(net.at(&format!("{n}/stopped.key"))).unwrap();
    }
    fs::write(net.at("0/ledger.db"), b"blocks").unwrap();
    fs::create_dir(net.at("1/journal")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ready = format!("{{\"rpc\":\"{}\"}}", listener.local_addr().unwrap());
    fs::write(net.at("1/ready.json"), ready).unwrap();
    let refused = net.run();
    assert_eq!(refused.code(), "chain.validator");
    assert!(refused.to_string().contains("still runs"), "{refused}");
    assert!(net.at("0/ledger.db").is_file() && net.geneses()[0] == given);
    drop(listener);

    // Then what there is of it is put aside, and the network begins with another one.
    ended(net.run());
    let [again, ..] = net.geneses();
    assert!(again.is_some() && again != given);
    assert!(net.geneses().iter().all(|one| *one == again));
    let network: Network = Genesis::parse(given.as_ref().unwrap()).unwrap().network();
    let aside = |n: usize, name: &str| {
        let digest: String = network.genesis.to_string().chars().take(16).collect();
        net.at(&format!("{n}/genesis-{digest}/{name}"))
    };
    assert_eq!(fs::read(aside(0, "genesis.bin")).ok(), given);
    assert_eq!(fs::read(aside(0, "ledger.db")).unwrap(), b"blocks");
    assert!(aside(1, "journal").is_dir() && aside(2, "stopped.key").is_file());
    assert!(!aside(0, "wallet.bin").exists() && net.at("0/wallet.bin").is_file());

    // A network whose own folder has its genesis is never put aside.
    let refused = net.run();
    assert_eq!(refused.code(), "chain.keys_gone");
    assert!(net.geneses().iter().all(|one| *one == again));
}
