//! The command line, for this crate's own binary and for others that embed it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use hanzo_engine_process::{EngineOptions, Message, Role, Sampling, log_to_stderr, measure};
use tracing_subscriber::filter::LevelFilter;

use crate::adapter::Lora;
use crate::engine::Llama;

/// `hanzo-engine-llama`: llama.cpp in a process of its own.
#[derive(Debug, clap::Parser)]
#[command(name = "hanzo-engine-llama", version, about)]
pub struct EngineArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: EngineCommand,
}

/// What `serve` is told.
#[derive(Debug, clap::Args)]
pub struct ServeOptions {
    /// As every engine.
    #[command(flatten)]
    pub engine: EngineOptions,
    /// A LoRA adapter in GGUF that every answer of this process is computed with.
    #[arg(long, value_name = "FILE")]
    pub adapter: Option<PathBuf>,
    /// What its product is multiplied by, in millionths.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, requires = "adapter")]
    pub adapter_scale_micros: u32,
}

impl ServeOptions {
    /// The adapter, if there is one.
    pub fn lora(&self) -> Option<Lora> {
        let file = self.adapter.clone()?;
        Some(Lora {
            file,
            scale_micros: self.adapter_scale_micros,
        })
    }
}

/// What the engine binary does.
#[derive(Debug, clap::Subcommand)]
pub enum EngineCommand {
    /// Confine the process, load a model, answer on a Unix socket until SIGTERM.
    Serve(Box<ServeOptions>),
    /// Load a model in this process and print time to first token and tokens a second. Not confined.
    Measure {
        /// The model directory.
        model_dir: PathBuf,
        /// What to ask.
        #[arg(long, default_value = "What is the capital of France?")]
        ask: String,
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

/// What may go to stderr: our own lines, and the library's errors until the model is loaded. After that it is silent.
const LOGGED: [(&str, LevelFilter); 3] = [
    ("hanzo_engine_llama", LevelFilter::INFO),
    ("hanzo_engine_process", LevelFilter::INFO),
    ("llama-cpp-2", LevelFilter::ERROR),
];

/// Runs a parsed command line. For `serve`, call it before the process has a second thread.
pub fn main_with_args(args: EngineArgs) -> ExitCode {
    log_to_stderr(&LOGGED);
    let result = match args.command {
        EngineCommand::Serve(options) => crate::run(*options).map_err(|error| (error.code(), error.to_string())),
        EngineCommand::Measure {
            model_dir,
            ask,
            max_tokens,
            runs,
            threads,
        } => {
            let options = EngineOptions {
                threads,
                ..EngineOptions::new(model_dir, "")
            };
            take_times(&options, ask, max_tokens, runs)
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

fn take_times(
    options: &EngineOptions,
    ask: String,
    max_tokens: usize,
    runs: usize,
) -> Result<(), (&'static str, String)> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| ("engine.runtime", error.to_string()))?;
    let start = Instant::now();
    let messages = [Message::new(Role::User, ask)];
    runtime.block_on(async {
        let engine = Llama::load(options)
            .await
            .map_err(|error| (error.code(), error.to_string()))?;
        println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
        for run in 1..=runs {
            let sampling = Sampling {
                max_tokens,
                ..Sampling::default()
            };
            let answer = measure(&engine, &messages, sampling, &mut |_| {})
                .await
                .map_err(|error| (error.code(), error.to_string()))?;
            if run == 1 {
                println!("{}", answer.text);
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
