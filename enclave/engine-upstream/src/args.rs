//! The command line, for this crate's own binary and for others that embed it.

use std::process::ExitCode;

use hanzo_engine_process::{EngineOptions, log_to_stderr};
use tracing_subscriber::filter::LevelFilter;

use crate::dialect::Dialect;
use crate::server::{become_server, run};

const EXAMPLES: &str = "Example:
  hanzo-engine-upstream serve --model-dir model --socket /run/e/engine.sock --context-tokens 4096 --speaks llama-server \\
    --upstream-arg=/opt/llama-server --upstream-arg=--model --upstream-arg={model_dir}/model.gguf \\
    --upstream-arg=--host --upstream-arg={socket} --upstream-arg=--ctx-size --upstream-arg={context_tokens}

The server listens on the Unix socket {socket}. It cannot start processes or call anybody.";

/// `hanzo-engine-upstream`: an OpenAI-compatible server as an engine.
#[derive(Debug, clap::Parser)]
#[command(name = "hanzo-engine-upstream", version, about, after_help = EXAMPLES)]
pub struct EngineArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: EngineCommand,
}

/// What the engine binary does.
#[derive(Debug, clap::Subcommand)]
pub enum EngineCommand {
    /// Start the server, confine the process, answer on a Unix socket until SIGTERM or the server's end.
    #[command(after_help = EXAMPLES)]
    Serve {
        /// The engine's own.
        #[command(flatten)]
        engine: EngineOptions,
        /// Which server it is.
        #[arg(long, value_enum)]
        speaks: Dialect,
        /// Program and arguments of the server, one each; {model_dir}, {socket} and {context_tokens} are replaced.
        #[arg(
            long = "upstream-arg",
            value_name = "WORD",
            required = true,
            allow_hyphen_values = true
        )]
        upstream: Vec<String>,
    },
    /// Become the server. Of use to `serve` alone.
    #[command(hide = true)]
    Start {
        /// Program and arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

const LOGGED: [(&str, LevelFilter); 1] = [("hanzo_engine_process", LevelFilter::INFO)];

/// Runs a parsed command line, which must be this process's own. Call it before the process has a second thread.
pub fn main_with_args(args: EngineArgs) -> ExitCode {
    match args.command {
        EngineCommand::Start { command } => become_server(&command),
        EngineCommand::Serve {
            engine,
            speaks,
            upstream,
        } => {
            log_to_stderr(&LOGGED);
            // A program of many roles has words before `serve`.
            let before = std::env::args().skip(1).take_while(|word| word != "serve");
            let start: Vec<String> = before.chain(["start".to_owned()]).collect();
            match run(&engine, speaks, &start, &upstream) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{}: {error}", error.code());
                    ExitCode::FAILURE
                }
            }
        }
    }
}
