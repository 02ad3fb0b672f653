//! `hanzo-discover`: tells a host proxy which guests stand behind a Kubernetes service.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hanzo_discover::DiscoverArgs;

#[derive(Parser)]
#[command(
    name = "hanzo-discover",
    version,
    about = "Tells hanzo-proxy which guests there are",
    after_help = "Example, in the pod of the proxy:\n  \
                  hanzo-discover kubernetes --service guest --socket /run/hanzo/guests.sock\n\n\
                  The proxy's pool then says: discover = { socket = \"/run/hanzo/guests.sock\" }\n\
                  Exit codes: 0 stopped by a signal, 1 could not start, 2 usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The ready endpoints of a service
    Kubernetes(DiscoverArgs),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Command::Kubernetes(args) = Cli::parse().command;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    match hanzo_discover::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hanzo-discover: {error} [{}]", error.code());
            ExitCode::FAILURE
        }
    }
}
