//! The command line of both programs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use tracing_subscriber::EnvFilter;

use crate::account::{GivenAccount, GivenError};
use crate::config::Config;
use crate::error::NodeError;
use crate::machine::MakeMachine;
use crate::{node, observer, vote};

const USAGE: u8 = 64;
const EXAMPLES: &str = "\
Examples:
  Start the validator of a folder that `hanzo chain init` made:
    hanzo-validator --dir net/0
  Look only whether its files are good:
    hanzo-validator --dir net/0 --check
  Follow the chain without a wallet and answer RPC (a node that does not vote; what a guest's image runs):
    hanzo-validator --dir observer --observe observer.toml --genesis net/0/genesis.bin
  Vote with an account whose key comes over descriptor 3, in a folder that may be empty (what a guest's image runs; KEY: 32 bytes):
    hanzo-validator --dir state --vote validator.toml --genesis genesis.bin --account-fd 3 3<KEY
  More words on standard error:
    HANZO_LOG=debug hanzo-validator --dir net/0

Files of the folder: validator.toml (configuration), wallet.bin, registrar.bin and passphrase (0600), genesis.bin (awaited if missing;
candidate.json is written meanwhile), ledger.db and ledger.key, journal/, ready.json (where it listens). The consensus key is made at
each start and written nowhere.

Exit codes: 0 stopped by SIGTERM or SIGINT; 2 a file or setting is wrong; 3 it ran and cannot go on; 64 wrong arguments.";

/// A validator of the AI chain.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Arguments {
    /// The validator's folder.
    #[arg(long)]
    dir: PathBuf,
    /// Check configuration, wallets and evidence, say so, and end.
    #[arg(long)]
    check: bool,
    /// Follow the nodes of this configuration and answer RPC, without wallet, links or votes.
    #[arg(long, value_name = "FILE", requires = "genesis")]
    observe: Option<PathBuf>,
    /// Vote by this configuration (role "validator"): measured text in an image, no file of its own in the folder.
    #[arg(long, value_name = "FILE", requires_all = ["genesis", "account_fd"], conflicts_with = "observe")]
    vote: Option<PathBuf>,
    /// The genesis of the chain that is followed.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Descriptor, 3 or above, that gives the 32 bytes of the account's key and ends. It is closed before anything else happens.
    #[arg(long, value_name = "N", requires = "vote")]
    account_fd: Option<i32>,
}

/// Runs a program called `name`, whose evidence `make` makes.
pub fn run(name: &'static str, make: MakeMachine) -> ExitCode {
    run_with(name, std::env::args_os(), make)
}

/// As [`run`], with other arguments than the process'; the first is the program's name.
pub fn run_with(name: &'static str, arguments: impl IntoIterator<Item = OsString>, make: MakeMachine) -> ExitCode {
    if let Err(error) = hanzo_device::process::harden_process() {
        eprintln!("{name}: {error}");
        return ExitCode::from(2);
    }
    let examples = EXAMPLES.replace("hanzo-validator ", &format!("{name} "));
    let command = Arguments::command().name(name).after_help(examples);
    let arguments = command
        .try_get_matches_from(arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    // Before a thread or a file of this process could have that number.
    let given = arguments.account_fd.map(GivenAccount::take);
    let filter =
        EnvFilter::try_from_env("HANZO_LOG").unwrap_or_else(|_| EnvFilter::new("info,commonware_consensus=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let done = match (arguments.observe, arguments.vote, arguments.genesis) {
        (Some(config), _, Some(genesis)) => {
            let dir = arguments.dir;
            observe(name, &observer::Files { config, genesis, dir }, arguments.check)
        }
        (None, Some(config), Some(genesis)) => {
            let dir = arguments.dir;
            let files = observer::Files { config, genesis, dir };
            let given = given.unwrap_or(Err(GivenError::Closed {
                number: -1,
                got: "no --account-fd".into(),
            }));
            let config = given
                .map_err(NodeError::from)
                .and_then(|account| vote::load(&files, account));
            let serving = Box::new(move |at: &str| {
                // What `hanzo-image run` waits for.
                eprintln!("{name}: serving RPC at {at}; it votes once the chain has its key");
            });
            config.and_then(|config| validate(config, make, serving, arguments.check))
        }
        _ => Config::load(&arguments.dir)
            .and_then(|config| validate(config, make, Box::new(|_: &str| {}), arguments.check)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {}: {error}", error.code());
            ExitCode::from(error.exit_code())
        }
    }
}

fn validate(config: Config, make: MakeMachine, serving: node::Serving, check: bool) -> Result<(), NodeError> {
    match check {
        true => node::check(&config, make).map(|account| println!("{account}: its files are good")),
        false => node::run(config, make, serving),
    }
}

fn observe(name: &str, files: &observer::Files, check: bool) -> Result<(), NodeError> {
    if check {
        let (_, genesis) = files.load()?;
        println!("{}: its files are good", genesis.network());
        return Ok(());
    }
    observer::run(files, |at| {
        // What `hanzo-image run` waits for.
        eprintln!("{name}: serving RPC at {at}; it follows others and does not vote");
    })
}
