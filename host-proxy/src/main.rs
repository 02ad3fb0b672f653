//! `hanzo-proxy`: carries opaque bytes between clients and a confidential guest.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use hanzo_proxy::ProxyArgs;

#[derive(Parser)]
#[command(
    name = "hanzo-proxy",
    version,
    about = "Carries opaque bytes between clients and a confidential guest; it cannot read them",
    after_help = "Examples:\n  hanzo-proxy run --listen 0.0.0.0:443 --guest vsock:3:8443\n  \
                  hanzo-proxy run --guest 127.0.0.1:9443 --metrics unix:/run/hanzo-proxy.sock\n  \
                  hanzo-proxy check /etc/hanzo-proxy.toml && hanzo-proxy run --config /etc/hanzo-proxy.toml\n  \
                  hanzo-proxy completions bash > /etc/bash_completion.d/hanzo-proxy\n\n\
                  Signals: SIGHUP reads the file again, SIGTERM drains.\n\
                  Exit codes: 0 stopped and drained, 1 could not start, 2 usage, 130 second signal."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Carry bytes until SIGTERM
    Run(ProxyArgs),
    /// Check a configuration file
    Check {
        /// The file
        config: std::path::PathBuf,
    },
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "hanzo-proxy", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Check { config } => hanzo_proxy::check(&config),
        Command::Run(args) => {
            let config = match args.load() {
                Ok(config) => config,
                Err(error) => return hanzo_proxy::report(&error),
            };
            let log = tracing_subscriber::fmt()
                .with_writer(std::io::stderr)
                .with_target(false);
            match config.log.json {
                true => log.json().flatten_event(true).init(),
                false => log.init(),
            }
            // Connections have threads of their own; this one reads signals and serves metrics.
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(hanzo_proxy::run(args, config)),
                Err(error) => {
                    eprintln!("hanzo-proxy: cannot start the runtime: {error}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}
