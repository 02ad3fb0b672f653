//! `hanzo-egress`: connects guests to names that the operator lists.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hanzo_egress::EgressError;
use hanzo_egress::config::Config;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    name = "hanzo-egress",
    version,
    about = "Connects guests to names that this file lists, and carries bytes that it cannot read",
    after_help = "Example:\n  hanzo-egress check /etc/hanzo-egress.toml && hanzo-egress run /etc/hanzo-egress.toml\n\n\
                  Exit codes: 0 stopped and drained, 1 could not start, 2 usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve guests until SIGTERM, then drain
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
            println!("{}: {} names", config.display(), c.allowed.len());
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
            eprintln!("hanzo-egress: {error} [{}]", error.code());
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), EgressError> {
    let failed = |source| EgressError::Start { source };
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    hanzo_egress::serve(config, stop, |bound| {
        for at in bound {
            println!("hanzo-egress: listening on {at}");
        }
    })
    .await
}
