//! `hanzo-guest`: the guest agent of a confidential machine.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hanzo_attestation::Anchors;
use hanzo_device::{Endorsements, Surroundings, detect};
use hanzo_guest::engine::sandbox::{EngineSandbox, SUBCOMMAND, launch, launch_node};
use hanzo_guest::{DeviceTrust, GuestOptions, ListenAddress, OperatingLimits, PlaintextStorage, probe, run};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Prompts pass through buffers of TLS, HTTP and JSON; none is handed back to the system or to another caller as it was.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

const EXAMPLES: &str = "\
Examples:
  hanzo-guest --listen 0.0.0.0:8443 --kbs 10.0.2.2:8080 --config /etc/hanzo/config.toml \\
      --packs /var/lib/hanzo/packs --store /var/lib/hanzo/guest.db --runtime-dir /run/hanzo \\
      --llama-engine /usr/bin/hanzo-engine-llama -- /usr/bin/hanzo-engine serve
  cat /proc/cmdline        # must say hanzo.config=<SHA-256 of the configuration file>
  hanzo-guest gpu-probe    # the GPUs of this machine as NVML and CUDA show them

As /init of an image (process 1) it is the image's init instead, takes no arguments, and starts itself as above.

Exit codes: 0 stopped by SIGTERM or SIGINT; 75 the keyset's life is over, start again; 1 anything else, with one reason
and its code on stderr; 2 usage.";

/// Boot from the measured configuration and serve attested inference. Runs inside a SEV-SNP or TDX guest, or with a vTPM for tier 1.
#[derive(Parser)]
#[command(name = "hanzo-guest", version, after_help = EXAMPLES)]
struct Arguments {
    /// Address to serve on: IP:PORT or vsock:PORT
    #[arg(long, default_value = "0.0.0.0:8443")]
    listen: ListenAddress,
    /// A second address, beside TCP: vsock:PORT
    #[arg(long)]
    vsock: Option<ListenAddress>,
    /// host:port of the key broker; who it is, the configuration decides. Not used where the configuration names it
    #[arg(long)]
    kbs: String,
    /// The host's egress broker (hanzo-egress), for names that the configuration lists: IP:PORT, or vsock:PORT at the host
    #[arg(long)]
    egress: Option<ListenAddress>,
    /// Take sealed messages (OHTTP, EHBP) here without TLS, for relays: IP:PORT or vsock:PORT
    #[arg(long)]
    sealed: Option<ListenAddress>,
    /// The configuration text whose SHA-256 stands on the kernel command line
    #[arg(long)]
    config: PathBuf,
    /// Directory with one NAME.pack per model of the configuration
    #[arg(long)]
    packs: PathBuf,
    /// The guest's encrypted store
    #[arg(long)]
    store: PathBuf,
    /// Directory on a tmpfs for decrypted models and sockets
    #[arg(long, default_value = "/run/hanzo")]
    runtime_dir: PathBuf,
    /// Directory with certificates and reference values that the host lays beside the guest (vek.der, crl.der,
    /// tdx-collateral.json, ak/, rims/, ocsp/): they travel with the evidence and are believed by nobody unchecked
    #[arg(long)]
    endorsements: Option<PathBuf>,
    /// The llama.cpp engine, started as PROGRAM serve: it takes GGUF models unless the configuration names another engine
    #[arg(long, value_name = "PROGRAM")]
    llama_engine: Option<PathBuf>,
    /// The engine that is a client of a server of one's own, started as PROGRAM serve: it takes models with engine = "upstream"
    #[arg(long, value_name = "PROGRAM")]
    upstream_engine: Option<PathBuf>,
    /// The engine and its arguments, after --
    #[arg(last = true, required = true)]
    engine: Vec<String>,
}

fn main() -> ExitCode {
    if hanzo_init::is_init() {
        return hanzo_init::become_init();
    }
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some(SUBCOMMAND) => return launch(words),
        Some(hanzo_init::NODE_SANDBOX) => return launch_node(words),
        Some(probe::SUBCOMMAND) => return probe::survey_here(words),
        Some(probe::COMMAND) => return probe::command(words),
        _ => {}
    }
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::new("info"))
        .json()
        .init();
    hanzo_guest::hide_panic_messages();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hanzo-guest: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(guest(arguments))
}

async fn guest(arguments: Arguments) -> ExitCode {
    let endorsements = match &arguments.endorsements {
        Some(dir) => Endorsements::load(dir),
        None => Ok(Endorsements::default()),
    };
    let found = endorsements.and_then(|endorsements| {
        let devices = endorsements.devices.clone();
        Ok((detect(Surroundings::host(endorsements))?, devices))
    });
    let (attester, device_collateral) = match found {
        Ok(found) => found,
        Err(error) => {
            eprintln!("hanzo-guest: {error} [{}]", error.code());
            return ExitCode::FAILURE;
        }
    };
    let options = GuestOptions {
        listen: arguments.listen,
        vsock: arguments.vsock,
        sealed: arguments.sealed,
        kbs_addr: arguments.kbs,
        egress: arguments.egress,
        config_path: arguments.config,
        packs: arguments.packs,
        store_path: arguments.store,
        runtime_dir: arguments.runtime_dir,
        plaintext: PlaintextStorage::MemoryOnly,
        engine_command: arguments.engine,
        llama_command: arguments
            .llama_engine
            .map(|program| vec![program.display().to_string(), "serve".into()]),
        upstream_command: arguments
            .upstream_engine
            .map(|program| vec![program.display().to_string(), "serve".into()]),
        sandbox: EngineSandbox::own_program(),
        devices: DeviceTrust {
            anchors: Anchors::vendor(),
            collateral: device_collateral,
            survey: probe::own_program(),
        },
        limits: OperatingLimits::default(),
    };
    match run(options, attester, asked_to_stop(), |_| ()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hanzo-guest: {error} [{}]", error.code());
            ExitCode::from(error.exit_code())
        }
    }
}

async fn asked_to_stop() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
}
