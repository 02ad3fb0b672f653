//! The command line, shared by `hanzo-proxy` and the appliance's proxy role.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::address::Address;
use crate::error::ProxyError;
use crate::metrics::MetricsAddress;
use crate::serve::{ProxyOptions, serve};

/// Options of the proxy.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    /// Where clients come in: IP:PORT or vsock:CID:PORT
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDRESS")]
    pub listen: Address,
    /// Where the guest is: IP:PORT or vsock:CID:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub guest: Address,
    /// Connections open at a time; one more is closed at once
    #[arg(long, default_value_t = 4096, value_name = "N")]
    pub connections_max: usize,
    /// Close a connection on which nothing moved for this many seconds; longer than the guest's longest answer
    #[arg(long, default_value_t = 3660, value_name = "SECONDS")]
    pub idle_s: u64,
    /// Give the guest this many seconds to accept
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub connect_s: u64,
    /// After SIGTERM let open connections go on for at most this many seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub drain_s: u64,
    /// Serve Prometheus metrics: a loopback IP:PORT or unix:/path
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<MetricsAddress>,
}

/// Runs until SIGTERM or SIGINT, then drains. A second signal ends it at once.
pub async fn run(args: ProxyArgs) -> ExitCode {
    let options = ProxyOptions {
        listen: args.listen,
        guest: args.guest,
        connections_max: args.connections_max,
        idle: Duration::from_secs(args.idle_s),
        connect: Duration::from_secs(args.connect_s),
        drain: Duration::from_secs(args.drain_s),
        metrics: args.metrics,
    };
    let guest = options.guest;
    let ready = |at: Address| println!("hanzo-proxy: carrying {at} to {guest}");
    match serve(options, stop_signal(), ready).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &ProxyError) -> ExitCode {
    eprintln!("hanzo-proxy: {error} [{}]", error.code());
    ExitCode::FAILURE
}

async fn stop_signal() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        eprintln!("hanzo-proxy: second signal, closing now");
        std::process::exit(130);
    });
}
