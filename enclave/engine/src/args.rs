//! The command line, for this crate's own binary and for others that embed it.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanzo_engine_process::{EngineOptions, Message, Role, Sampling, Token};
use tracing_subscriber::filter::LevelFilter;

use crate::convert::{self, Encoding, Progress, TokenizerSource};
use crate::model::Engine;

/// `hanzo-engine`: an inference engine in a process of its own.
#[derive(Debug, clap::Parser)]
#[command(name = "hanzo-engine", version, about)]
pub struct EngineArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: EngineCommand,
}

/// What the engine binary does.
#[derive(Debug, clap::Subcommand)]
pub enum EngineCommand {
    /// Confine the process, load a model, answer on a Unix socket until SIGTERM.
    Serve(EngineOptions),
    /// Turn a GGUF file or a safetensors directory into a model directory.
    Prepare {
        /// GGUF file or safetensors directory.
        source: PathBuf,
        /// The model directory to make; must not exist.
        out_dir: PathBuf,
        /// What matrices without a fast kernel become.
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
    },
    /// Load a model in this process and print time to first token and tokens a second. Not confined.
    Measure {
        /// The model directory.
        model_dir: PathBuf,
        /// What to ask.
        #[arg(long, default_value = "What is the capital of France?")]
        ask: String,
        /// A system message; the model's own when absent.
        #[arg(long)]
        system: Option<String>,
        /// Tokens to generate.
        #[arg(long, default_value_t = 64)]
        max_tokens: usize,
        /// Times to ask.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Compute threads; all cores when absent.
        #[arg(long)]
        threads: Option<usize>,
    },
}

/// Runs a parsed command line. For `serve`, call it before the process has a second thread.
pub fn main_with_args(args: EngineArgs) -> ExitCode {
    let result = match args.command {
        EngineCommand::Serve(options) => {
            hanzo_engine_process::log_to_stderr(&OURS);
            crate::run(options).map_err(|error| (error.code(), error.to_string()))
        }
        EngineCommand::Prepare {
            source,
            out_dir,
            encoding,
        } => prepare(&source, &out_dir, encoding).map_err(|error| (error.code(), error.to_string())),
        EngineCommand::Measure {
            model_dir,
            ask,
            system,
            max_tokens,
            runs,
            threads,
        } => {
            let mut messages = Vec::new();
            messages.extend(system.map(|content| Message::new(Role::System, content)));
            messages.push(Message::new(Role::User, ask));
            let options = EngineOptions {
                threads,
                ..EngineOptions::new(model_dir, "")
            };
            measure(&options, &messages, max_tokens, runs)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            eprintln!("{code}: {text}");
            ExitCode::FAILURE
        }
    }
}

/// This crate's own events and the protocol's.
const OURS: [(&str, LevelFilter); 2] = [
    ("hanzo_engine", LevelFilter::INFO),
    ("hanzo_engine_process", LevelFilter::INFO),
];

fn prepare(source: &Path, out_dir: &Path, encoding: Encoding) -> Result<(), convert::ConvertError> {
    let show = std::io::stderr().is_terminal();
    let prepared = convert::prepare_with(source, out_dir, encoding, &mut |Progress { step, done, total }| {
        if show {
            eprint!("\r{step}: {}%", done * 100 / total.max(1));
        }
    })?;
    if show {
        eprintln!();
    }
    let tokenizer = match prepared.tokenizer {
        TokenizerSource::Gguf => "written from the GGUF",
        TokenizerSource::Supplied => "the one supplied",
        TokenizerSource::Absent => "none: llama.cpp reads the one in the GGUF",
    };
    println!(
        "{}: {} tensors, {} of them requantised to {}; tokenizer: {tokenizer}",
        out_dir.display(),
        prepared.tensors,
        prepared.requantised,
        encoding.name()
    );
    Ok(())
}

fn measure(
    options: &EngineOptions,
    messages: &[Message],
    max_tokens: usize,
    runs: usize,
) -> Result<(), (&'static str, String)> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| ("engine.runtime", error.to_string()))?;
    let start = std::time::Instant::now();
    runtime.block_on(async {
        let engine = Engine::load(options)
            .await
            .map_err(|error| (error.code(), error.to_string()))?;
        println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
        for run in 1..=runs {
            let sampling = Sampling {
                max_tokens,
                ..Sampling::default()
            };
            let mut show = |token: &Token| {
                if run == 1 {
                    print!("{}", token.text);
                    let _ = std::io::stdout().flush();
                }
            };
            let answer = engine.measure(messages, sampling, &mut show).await;
            let answer = answer.map_err(|error| (error.code(), error.to_string()))?;
            if run == 1 {
                println!();
            }
            println!(
                "run {run}: {} prompt tokens, first token after {:.3} s, {} tokens, {:.1} tokens/s",
                answer.prompt_tokens,
                answer.time_to_first_token.as_secs_f64(),
                answer.ids.len(),
                answer.tokens_per_second()
            );
        }
        Ok(())
    })
}
