//! `hanzo-wallet`: a miner's key in an encrypted file, and a look into signing histories.
#![forbid(unsafe_code)]

mod files;
mod history;
mod wallet;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use hanzo_signer::SecurityLevel;

use crate::files::CliError;

#[derive(Parser)]
#[command(
    name = "hanzo-wallet",
    version,
    about = "A miner's key in an encrypted file, and a look into signing histories",
    after_help = "Examples:\n  hanzo-wallet new miner.wallet\n  hanzo-wallet show miner.wallet\n  \
                  hanzo-wallet sign miner.wallet message.txt > message.sig\n  \
                  hanzo-wallet show miner.wallet --public-key > miner.pub\n  \
                  hanzo-wallet verify miner.pub message.txt message.sig\n  \
                  hanzo-wallet words miner.wallet\n  hanzo-wallet restore again.wallet --words-file words.txt\n  \
                  hanzo-wallet history slashing-protection.json\n\n\
                  The passphrase is asked for on the terminal, or is the first line of --passphrase-file.\n\
                  Exit codes: 0 done, 1 usage or I/O, 10 malformed, 20 does not open or verify, 40 refused."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which parameter set of FIPS 204.
#[derive(Clone, Copy, ValueEnum)]
enum Level {
    /// ML-DSA-44, category 2
    #[value(name = "44")]
    MlDsa44,
    /// ML-DSA-65, category 3: what the chain takes
    #[value(name = "65")]
    MlDsa65,
    /// ML-DSA-87, category 5
    #[value(name = "87")]
    MlDsa87,
}

impl From<Level> for SecurityLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::MlDsa44 => Self::MlDsa44,
            Level::MlDsa65 => Self::MlDsa65,
            Level::MlDsa87 => Self::MlDsa87,
        }
    }
}

#[derive(clap::Args)]
struct Passphrase {
    /// A file whose first line is the passphrase; asked for on the terminal without it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Draw a key and write its encrypted file
    New {
        /// The file; it must not exist
        wallet: PathBuf,
        /// Parameter set of ML-DSA
        #[arg(long, value_enum, default_value = "65")]
        level: Level,
        /// Encrypt with AES-256-GCM instead of XChaCha20-Poly1305 (FIPS profile)
        #[arg(long)]
        fips: bool,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Open a file and print its address
    Show {
        /// The file
        wallet: PathBuf,
        /// Print the public key alone: its parameter set and hex
        #[arg(long)]
        public_key: bool,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Sign a message; the signature in hex goes to standard output
    Sign {
        /// The wallet's file
        wallet: PathBuf,
        /// The message's file
        message: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Verify a message's signature with a public key
    Verify {
        /// What `show --public-key` printed
        public_key: PathBuf,
        /// The message's file
        message: PathBuf,
        /// What `sign` printed
        signature: PathBuf,
    },
    /// Print the 24 words of a key. Whoever reads them has the key
    Words {
        /// The file
        wallet: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Write the encrypted file of 24 words
    Restore {
        /// The file; it must not exist
        wallet: PathBuf,
        /// A file with the words; asked for on the terminal without it
        #[arg(long, value_name = "FILE")]
        words_file: Option<PathBuf>,
        /// Parameter set of ML-DSA, which is not in the words
        #[arg(long, value_enum, default_value = "65")]
        level: Level,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Check a slashing-protection file (EIP-3076), or print the smallest that protects as well
    History {
        /// The file
        file: PathBuf,
        /// Print the minimal file, which takes a file that conflicts with itself too
        #[arg(long)]
        minimal: bool,
    },
}

fn run(command: Command) -> Result<String, CliError> {
    match command {
        Command::New {
            wallet,
            level,
            fips,
            passphrase,
        } => wallet::new(&wallet, level.into(), fips, &passphrase),
        Command::Show {
            wallet,
            public_key,
            passphrase,
        } => wallet::show(&wallet, public_key, &passphrase),
        Command::Sign {
            wallet,
            message,
            passphrase,
        } => wallet::sign(&wallet, &message, &passphrase),
        Command::Verify {
            public_key,
            message,
            signature,
        } => wallet::verify(&public_key, &message, &signature),
        Command::Words { wallet, passphrase } => wallet::words(&wallet, &passphrase),
        Command::Restore {
            wallet,
            words_file,
            level,
            passphrase,
        } => wallet::restore(&wallet, words_file.as_deref(), level.into(), &passphrase),
        Command::History { file, minimal } => history::check(&file, minimal),
    }
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match run(command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hanzo-wallet: {error} [{}]", error.code());
            ExitCode::from(error.exit())
        }
    }
}
