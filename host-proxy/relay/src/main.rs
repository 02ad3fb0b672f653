//! `hanzo-relay`: an Oblivious HTTP relay in front of one gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hanzo_relay::RelayError;
use hanzo_relay::config::Config;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    name = "hanzo-relay",
    version,
    about = "Carries sealed messages to one gateway and says nothing about who sent them",
    after_help = "Example:\n  hanzo-relay check /etc/hanzo-relay.toml && hanzo-relay run /etc/hanzo-relay.toml\n\n\
                  Exit codes: 0 stopped and drained, 1 could not start, 2 usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Relay until SIGTERM, then drain
    Run {
        /// The configuration
        config: PathBuf,
    },
    /// Check a configuration
    Check {
        /// The configuration
        config: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Check { config } => Config::load(&config).map(|c| {
            println!("{}: {} listening addresses", config.display(), c.listeners.len());
        }),
        Command::Run { config } => {
            tracing_subscriber::fmt()
                .with_writer(std::io::stderr)
                .with_target(false)
                .init();
            match Config::load(&config) {
                Ok(config) => run(config).await,
                Err(error) => Err(error),
            }
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hanzo-relay: {error} [{}]", error.code());
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), RelayError> {
    let failed = |source| RelayError::Start { source };
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    hanzo_relay::serve(config, stop, |bound| {
        for at in bound {
            println!("hanzo-relay: listening on {at}");
        }
    })
    .await
}
