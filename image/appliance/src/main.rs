//! `hanzo`: the whole appliance on one machine.
//!
//! `hanzo up` re-executes itself once per role, so that key broker, guest, engine and host proxy are processes of their
//! own, and runs the verifying client itself. The processor is simulated, and everything says so. The commands of
//! `hanzo-verify` are here too, so that one program is enough.
#![forbid(unsafe_code)]

mod adapters;
mod bench;
mod broker;
mod callers;
mod computes;
mod error;
mod interrupt;
mod model;
mod models;
mod paths;
mod plan;
mod platform;
mod progress;
mod pull;
mod role;
mod runtime;
mod say;
mod start;
mod supervise;
mod up;
mod vm;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use hanzo_guest::engine::sandbox;
use hanzo_guest::probe;

use crate::bench::BenchArgs;
use crate::pull::ModelCommand;
use crate::role::RoleCommand;
use crate::up::UpArgs;

/// As in `hanzo-guest` and the engines, which this program is when it starts itself as them.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

#[derive(Parser)]
#[command(
    name = "hanzo",
    version,
    about = "The enclave appliance on one machine: attested, post-quantum, encrypted inference",
    after_help = "Examples:\n  hanzo up\n  hanzo up --ask \"What is the capital of France?\"\n  \
                  hanzo up --model ./my-model.gguf --listen 127.0.0.1:9000\n  \
                  hanzo up --models ./models --idle-s 300\n  \
                  hanzo up --model ./base.gguf --adapter support=./support-lora.gguf@acme\n  \
                  hanzo up --aci\n  \
                  hanzo up --server ./llama.cpp/llama-server --model ./my-model.gguf\n  \
                  hanzo model pull\n  hanzo model inspect ./my-model.gguf\n  \
                  hanzo up --vm --ask \"What is the capital of France?\"\n  hanzo gpu probe\n  \
                  hanzo receipt 00112233445566778899aabbccddeeff\n  \
                  hanzo chain init && hanzo chain run\n  hanzo chain --help\n  \
                  hanzo completions bash > /etc/bash_completion.d/hanzo\n\n\
                  Exit codes: 0 stopped or answered, 1 a part failed, 2 usage; a verdict that refuses: 10, 20, 30 or 40."
)]
struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything on loopback, on the simulated TEE or (--vm) in a measured machine, and serve an OpenAI endpoint
    Up(UpArgs),
    /// Measure the whole path against the same engine called in process
    Bench(BenchArgs),
    /// Fetch, inspect, seal and verify models; manifests of models
    #[command(subcommand)]
    Model(ModelCommand),
    /// GPUs of this machine
    #[command(subcommand)]
    Gpu(GpuCommand),
    /// Verify a running guest, or a bundle with the challenge that it answers
    Verify(hanzo_verify::VerifyArgs),
    /// Show everything that a verification looks at
    Explain(hanzo_verify::ExplainArgs),
    /// Print every field of any evidence, trusting none of it
    Inspect(hanzo_verify::InspectArgs),
    /// Write, check and compare appraisal policies
    Policy(hanzo_verify::PolicyArgs),
    /// Serve a local OpenAI endpoint whose prompts go to an attested guest only
    Connect(hanzo_verify::ConnectArgs),
    /// Check a receipt offline
    Receipt(hanzo_verify::ReceiptArgs),
    /// A chain of validators on this machine, and everything one asks a node or hands to it
    #[command(subcommand)]
    Chain(hanzo_chain_cli::ChainCommand),
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// One part of the appliance; started by `hanzo up`
    #[command(subcommand, hide = true)]
    Role(RoleCommand),
}

#[derive(Subcommand)]
enum GpuCommand {
    /// Show the GPUs as NVML and CUDA show them, the state of confidential computing, and copy a megabyte to each and back
    #[command(
        after_help = "Examples:\n  hanzo gpu probe\n  hanzo --json gpu probe\n\nExit codes: 0 NVML and CUDA show the same GPUs, \
                      1 they could not be asked, 2 usage, 40 they disagree or a GPU does not keep what is copied to it."
    )]
    Probe,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some(sandbox::SUBCOMMAND) => return sandbox::launch(words),
        Some(probe::SUBCOMMAND) => return probe::survey_here(words),
        _ => {}
    }
    let Cli { json, command } = Cli::parse();
    match command {
        Command::Up(args) => up::run(args, json),
        Command::Bench(args) => bench::run(args, json),
        Command::Model(command) => pull::run(command, json),
        Command::Gpu(GpuCommand::Probe) => probe::show(json),
        Command::Verify(args) => verify(json, hanzo_verify::Command::Verify(args)),
        Command::Explain(args) => verify(json, hanzo_verify::Command::Explain(args)),
        Command::Inspect(args) => verify(json, hanzo_verify::Command::Inspect(args)),
        Command::Policy(args) => verify(json, hanzo_verify::Command::Policy(args)),
        Command::Connect(args) => verify(json, hanzo_verify::Command::Connect(args)),
        Command::Receipt(args) => verify(json, hanzo_verify::Command::Receipt(args)),
        Command::Chain(command) => hanzo_chain_cli::run(command, json, platform::simulator),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hanzo", &mut script);
            say::out(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
        Command::Role(command) => role::run(command),
    }
}

fn verify(json: bool, command: hanzo_verify::Command) -> ExitCode {
    hanzo_verify::start_logging();
    hanzo_verify::run(&hanzo_verify::Cli { json, command })
}
