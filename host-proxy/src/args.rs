//! The command line, shared by `hanzo-proxy` and the appliance's proxy role.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::warn;

use crate::address::Address;
use crate::config::Config;
use crate::error::ProxyError;
use crate::metrics::MetricsAddress;
use crate::pipe::{PIPES_PER_WORKER_MAX, SPARE_MAX};
use crate::serve::{ProxyOptions, serve_config};

/// Options of the proxy: a file, or one listener and one guest.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    /// Everything from this TOML file; read again on SIGHUP
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "guest", "connections_max", "idle_s", "connect_s", "drain_s", "metrics"])]
    pub config: Option<PathBuf>,
    /// Where clients come in: IP:PORT or vsock:CID:PORT
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDRESS")]
    pub listen: Address,
    /// Where the guest is: IP:PORT or vsock:CID:PORT
    #[arg(long, value_name = "ADDRESS", required_unless_present = "config")]
    pub guest: Option<Address>,
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

impl ProxyArgs {
    /// What to do, checked.
    ///
    /// # Errors
    /// As [`Config::load`] and [`ProxyOptions::config`].
    pub fn load(&self) -> Result<Config, ProxyError> {
        if let Some(path) = &self.config {
            return Config::load(path);
        }
        let guest = self.guest.ok_or(ProxyError::Option {
            field: "guest",
            expected: "an address, or --config FILE",
            got: "nothing".to_owned(),
        })?;
        ProxyOptions {
            listen: self.listen,
            guest,
            connections_max: self.connections_max,
            idle: Duration::from_secs(self.idle_s),
            connect: Duration::from_secs(self.connect_s),
            drain: Duration::from_secs(self.drain_s),
            metrics: self.metrics.clone(),
        }
        .config()
    }
}

/// Runs until SIGTERM or SIGINT, then drains. A second signal ends it at once.
pub async fn run(args: ProxyArgs, config: Config) -> ExitCode {
    raise_descriptor_limit(config.limits.connections_max, config.workers);
    let (guests, found) = (listed(&config), discovered(&config));
    let one = config.pools.values().next().and_then(|p| p.guests.first()).copied();
    let ready = |bound: &[Address]| {
        for at in bound {
            match one {
                Some(guest) if guests == 1 && found == 0 => println!("hanzo-proxy: carrying {at} to {guest}"),
                _ if found == 0 => println!("hanzo-proxy: carrying {at} to {guests} guests"),
                _ => println!("hanzo-proxy: carrying {at} to {guests} guests and {found} pools of discovered ones"),
            }
        }
    };
    match serve_config(config, reloads(args.config), stop_signal(), ready).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Checks a file and says what it would do.
pub fn check(path: &Path) -> ExitCode {
    match Config::load(path) {
        Ok(config) => {
            println!(
                "{}: {} listening addresses, {} pools, {} guests, {} workers",
                path.display(),
                config.listeners.len(),
                config.pools.len(),
                listed(&config),
                config.workers
            );
            if discovered(&config) > 0 {
                println!("{} pools have discovered guests", discovered(&config));
            }
            ExitCode::SUCCESS
        }
        Err(error) => report(&error),
    }
}

fn listed(config: &Config) -> usize {
    config.pools.values().map(|p| p.guests.len()).sum()
}

fn discovered(config: &Config) -> usize {
    config.pools.values().filter(|p| p.discover.is_some()).count()
}

/// Tells the caller's terminal.
pub fn report(error: &ProxyError) -> ExitCode {
    eprintln!("hanzo-proxy: {error} [{}]", error.code());
    ExitCode::FAILURE
}

/// Two descriptors a connection, those of the workers' pipes, and some for the rest; the system's own limit stays.
fn raise_descriptor_limit(connections_max: usize, workers: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = 2 * connections_max as u64 + (workers * 2 * (PIPES_PER_WORKER_MAX + SPARE_MAX)) as u64 + 1024;
    let reachable = limit.maximum.map_or(wanted, |max| wanted.min(max));
    if limit.current.is_some_and(|current| current < reachable) {
        limit.current = Some(reachable);
        // Without more descriptors there is still a proxy, for fewer connections.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    if reachable < wanted {
        warn!(
            descriptors = reachable,
            wanted, "too few file descriptors for connections_max; raise LimitNOFILE"
        );
    }
}

/// The file again at every SIGHUP, if it can be accepted.
fn reloads(path: Option<PathBuf>) -> mpsc::Receiver<Config> {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return;
        };
        while hangup.recv().await.is_some() {
            let Some(path) = &path else {
                warn!("SIGHUP: there is no configuration file to read");
                continue;
            };
            match Config::load(path) {
                Ok(config) => {
                    if send.send(config).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    warn!(%error, code = error.code(), "configuration refused; the one before stays in force")
                }
            }
        }
    });
    receive
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
