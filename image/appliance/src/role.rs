//! The roles that this executable takes on when it re-executes itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use hanzo_attestation::{Digest256, Digest384};
use hanzo_engine::EngineArgs;
use hanzo_guest::engine::sandbox::{EngineSandbox, Isolation, SUBCOMMAND};
use hanzo_guest::{DeviceTrust, GuestOptions, ListenAddress, OperatingLimits, PlaintextStorage};
use hanzo_kbs::{KbsConfig, StoreMode};
use hanzo_proxy::{MetricsAddress, ProxyOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::platform::{self, SimulatedAttester};
use crate::supervise::{READY, THIS_EXECUTABLE};

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// The key broker
    Kbs {
        /// Its configuration
        #[arg(long)]
        config: PathBuf,
        /// Its store is for real evidence alone
        #[arg(long)]
        production: bool,
    },
    /// The machine of `hanzo up --vm`
    Vm(crate::vm::VmRole),
    /// The guest, on the simulated processor
    Guest(GuestRole),
    /// The inference engine mistral.rs
    Engine(EngineArgs),
    /// The inference engine llama.cpp
    Llama(hanzo_engine_llama::EngineArgs),
    /// The inference engine that is a client of a server
    Upstream(hanzo_engine_upstream::EngineArgs),
    /// The host proxy
    Proxy {
        /// Where clients come in
        #[arg(long)]
        listen: hanzo_proxy::Address,
        /// Where the guest is
        #[arg(long)]
        guest: hanzo_proxy::Address,
        /// Where metrics are served
        #[arg(long)]
        metrics: Option<MetricsAddress>,
    },
}

/// What a hypervisor would hand to a guest: what it boots, what is on its command line, where its doors are.
#[derive(Debug, Args)]
pub(crate) struct GuestRole {
    /// The simulated processor
    #[arg(long)]
    simulator: PathBuf,
    /// Measured at launch: SHA-384 of the image
    #[arg(long, value_parser = |t: &str| Digest384::from_hex(t).ok_or("96 lower-case hex digits"))]
    image_digest: Digest384,
    /// Measured at launch: SHA-256 of the configuration
    #[arg(long, value_parser = |t: &str| Digest256::from_hex(t).ok_or("64 lower-case hex digits"))]
    config_digest: Digest256,
    /// The configuration
    #[arg(long)]
    config: PathBuf,
    /// Where to serve
    #[arg(long)]
    listen: ListenAddress,
    /// Where the key broker is
    #[arg(long)]
    kbs: String,
    /// Sealed models
    #[arg(long)]
    packs: PathBuf,
    /// The encrypted store
    #[arg(long)]
    store: PathBuf,
    /// Where opened models and sockets go
    #[arg(long)]
    runtime_dir: PathBuf,
}

/// Takes on a role until SIGTERM.
pub(crate) fn run(command: RoleCommand) -> ExitCode {
    if let Err(error) = die_with_parent() {
        eprintln!("cannot tie this process to its parent: {error}");
        return ExitCode::FAILURE;
    }
    match command {
        // The engine confines itself before it has a second thread.
        RoleCommand::Engine(args) => hanzo_engine::main_with_args(args),
        RoleCommand::Llama(args) => hanzo_engine_llama::main_with_args(args),
        RoleCommand::Upstream(args) => hanzo_engine_upstream::main_with_args(args),
        RoleCommand::Kbs { config, production } => on_runtime(kbs(config, production)),
        RoleCommand::Vm(role) => on_runtime(crate::vm::run_role(role, asked_to_stop(), say_ready)),
        RoleCommand::Guest(role) => on_runtime(guest(role)),
        RoleCommand::Proxy { listen, guest, metrics } => on_runtime(proxy(listen, guest, metrics)),
    }
}

fn die_with_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    Ok(())
}

fn on_runtime(role: impl Future<Output = Result<(), String>>) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start the runtime: {e}"))
        .and_then(|runtime| runtime.block_on(role));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn say_ready(at: impl std::fmt::Display) {
    println!("{READY} {at}");
    // The parent reads lines; without it nobody waits.
    let _ = std::io::stdout().flush();
}

async fn asked_to_stop() {
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    term.recv().await;
}

async fn kbs(config: PathBuf, production: bool) -> Result<(), String> {
    let coded = |e: hanzo_kbs::KbsError| format!("{e} [{}]", e.code());
    let config = KbsConfig::load(&config).map_err(coded)?;
    let mode = match production {
        true => StoreMode::Production,
        false => StoreMode::Simulated,
    };
    hanzo_kbs::serve(config, mode, asked_to_stop(), |at| say_ready(at))
        .await
        .map_err(coded)
}

async fn proxy(
    listen: hanzo_proxy::Address,
    guest: hanzo_proxy::Address,
    metrics: Option<MetricsAddress>,
) -> Result<(), String> {
    let options = ProxyOptions {
        listen,
        guest,
        metrics,
        drain: std::time::Duration::from_secs(2),
        ..ProxyOptions::default()
    };
    hanzo_proxy::serve(options, asked_to_stop(), |at| say_ready(at))
        .await
        .map_err(|e| format!("{e} [{}]", e.code()))
}

async fn guest(role: GuestRole) -> Result<(), String> {
    let processor = platform::load(&role.simulator)
        .map_err(|e| e.to_string())?
        .ok_or_else(|| {
            format!(
                "{}: no simulated processor there; run `hanzo up`",
                role.simulator.display()
            )
        })?;
    let attester = SimulatedAttester::launch(&processor, role.image_digest, role.config_digest);
    drop(processor);
    let options = GuestOptions {
        listen: role.listen,
        vsock: None,
        sealed: None,
        kbs_addr: role.kbs,
        egress: None,
        config_path: role.config,
        packs: role.packs,
        store_path: role.store,
        runtime_dir: role.runtime_dir,
        plaintext: PlaintextStorage::AnyFileSystem,
        engine_command: [THIS_EXECUTABLE, "role", "engine", "serve"].map(str::to_owned).to_vec(),
        llama_command: Some([THIS_EXECUTABLE, "role", "llama", "serve"].map(str::to_owned).to_vec()),
        upstream_command: Some(
            [THIS_EXECUTABLE, "role", "upstream", "serve"]
                .map(str::to_owned)
                .to_vec(),
        ),
        // The processor is simulated: no privilege is required of whoever tries this out.
        sandbox: EngineSandbox {
            launcher: [THIS_EXECUTABLE, SUBCOMMAND].map(str::to_owned).to_vec(),
            isolation: Isolation::AsFarAsPossible,
        },
        devices: DeviceTrust::default(),
        limits: OperatingLimits {
            // Short: whoever ends the appliance hard and starts it again should not wait.
            lease_s: 15,
            ..OperatingLimits::default()
        },
    };
    hanzo_guest::hide_panic_messages();
    hanzo_guest::run(options, Box::new(attester), asked_to_stop(), |ready| {
        say_ready(ready.address)
    })
    .await
    .map_err(|e| format!("{e} [{}]", e.code()))
}
