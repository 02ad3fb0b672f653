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
                  hanzo-proxy completions bash > /etc/bash_completion.d/hanzo-proxy\n\n\
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
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    match cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "hanzo-proxy", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Run(args) => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(hanzo_proxy::run(args)),
            Err(error) => {
                eprintln!("hanzo-proxy: cannot start the runtime: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
