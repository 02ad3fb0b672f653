//! The command line.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::api::{self, ApiServer};
use crate::error::DiscoverError;
use crate::follow::{Service, follow};
use crate::publish::publish;
use crate::slices::Port;

/// What `hanzo-discover kubernetes` is told. The defaults are those of a pod.
#[derive(Debug, Clone, Args)]
pub struct DiscoverArgs {
    /// The service whose ready endpoints are guests
    #[arg(long, value_name = "NAME")]
    pub service: String,
    /// Where the proxy asks
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// The service's namespace; without it, the pod's own
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The guests' port, by number or by its name in the service; without it, the only one there is
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// The API server's HOST
    #[arg(long, value_name = "HOST", env = "KUBERNETES_SERVICE_HOST")]
    pub api_host: String,
    /// The API server's port
    #[arg(long, value_name = "PORT", env = "KUBERNETES_SERVICE_PORT", default_value_t = 443)]
    pub api_port: u16,
    /// Directory of `ca.crt`, `token` and `namespace`
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount"
    )]
    pub account: PathBuf,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`DiscoverError`] if it cannot start; trouble with the API server is logged and tried again.
pub async fn run(args: DiscoverArgs) -> Result<(), DiscoverError> {
    let namespace = match args.namespace {
        Some(namespace) => namespace,
        None => api::read(&args.account.join("namespace")).await?.trim().to_owned(),
    };
    let port = match args.port {
        None => Port::Only,
        Some(text) => match text.parse() {
            Ok(number) => Port::Number(number),
            Err(_) => Port::Named(text),
        },
    };
    let service = Service::new(&namespace, &args.service, port)?;
    let host = &args.api_host;
    let server = ApiServer {
        at: match host.contains(':') {
            true => format!("[{host}]:{}", args.api_port),
            false => format!("{host}:{}", args.api_port),
        },
        name: args.api_host.clone(),
        ca_file: args.account.join("ca.crt"),
        token_file: args.account.join("token"),
    };
    let (known, watched) = watch::channel(None);
    let failed = |source| DiscoverError::Listen {
        path: "signals".to_owned(),
        source,
    };
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        () = follow(&server, &service, &known) => Ok(()),
        ended = publish(&args.socket, watched) => match ended? {},
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
    }
}
