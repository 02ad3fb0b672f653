//! The engine process: bind, confine, load, answer.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::api::{self, Api};
use crate::chat::Engine;
use crate::cpu;
use crate::error::ServeError;
use crate::isolation;
use crate::options::EngineOptions;

/// Exit status after a panic anywhere in the process (EX_SOFTWARE).
pub const EXIT_PANIC: i32 = 70;

/// Events of `targets` alone go to stderr: a library's may quote templates and prompts.
pub fn log_to_stderr(targets: &[(&'static str, LevelFilter)]) {
    let ours = targets.iter().fold(Targets::new(), |targets, (target, level)| {
        targets.with_target(*target, *level)
    });
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let _ = tracing_subscriber::registry().with(ours).with(layer).try_init();
}

/// Serves what `load` loads until SIGTERM or SIGINT. Call it first thing in `main`: it confines the whole process, for good.
///
/// The order: the socket is bound, the process is confined, then threads start, the model loads and requests are
/// answered. `/health` says `loading` meanwhile.
///
/// A panic anywhere ends the process with status [`EXIT_PANIC`] and one line naming the place in the source, never the
/// panic's message: that may quote a prompt.
///
/// # Errors
/// [`ServeError`], or what `load` failed with; the process should exit with a non-zero status then.
pub fn run<E, X, F>(options: &EngineOptions, load: impl FnOnce() -> F + Send + 'static) -> Result<(), X>
where
    E: Engine,
    X: From<ServeError> + Send + 'static,
    F: Future<Output = Result<E, X>> + Send + 'static,
{
    let listener = begin(options)?;
    let readable = std::iter::once(&options.model_dir).chain(&options.beside);
    isolation::enforce(&readable.map(PathBuf::as_path).collect::<Vec<_>>()).map_err(ServeError::from)?;
    compute(options, listener, load)
}

/// As [`run`], for an engine that calls a server of its own: `start` starts it once the socket is bound, before the process is
/// confined; `load` gets what `start` gave. The process reads no file of the model, and may call servers over Unix sockets.
///
/// # Errors
/// As [`run`], or what `start` failed with.
pub fn run_beside<T, E, X, F>(
    options: &EngineOptions,
    start: impl FnOnce() -> Result<T, X>,
    load: impl FnOnce(T) -> F + Send + 'static,
) -> Result<(), X>
where
    T: Send + 'static,
    E: Engine,
    X: From<ServeError> + Send + 'static,
    F: Future<Output = Result<E, X>> + Send + 'static,
{
    let listener = begin(options)?;
    let started = start()?;
    isolation::enforce_calling(&[]).map_err(ServeError::from)?;
    compute(options, listener, move || load(started))
}

fn begin(options: &EngineOptions) -> Result<UnixListener, ServeError> {
    let missing = cpu::lacking();
    if !missing.is_empty() {
        return Err(ServeError::Cpu { missing });
    }
    bind(&options.socket)
}

fn compute<E, X, F>(
    options: &EngineOptions,
    listener: UnixListener,
    load: impl FnOnce() -> F + Send + 'static,
) -> Result<(), X>
where
    E: Engine,
    X: From<ServeError> + Send + 'static,
    F: Future<Output = Result<E, X>> + Send + 'static,
{
    exit_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| ServeError::Runtime(error.to_string()))?;
    let done = runtime.block_on(serve(options.body_bytes_max, listener, load));
    // The library's threads have no other end.
    runtime.shutdown_background();
    done
}

async fn serve<E, X, F>(
    body_bytes_max: usize,
    listener: UnixListener,
    load: impl FnOnce() -> F + Send + 'static,
) -> Result<(), X>
where
    E: Engine,
    X: From<ServeError> + Send + 'static,
    F: Future<Output = Result<E, X>> + Send + 'static,
{
    let runtime = |error: std::io::Error| ServeError::Runtime(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(runtime)?;
    listener.set_nonblocking(true).map_err(runtime)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(runtime)?;
    let engine = Arc::new(OnceLock::new());
    let router = api::router(Api {
        engine: Arc::clone(&engine),
        body_bytes_max,
    });
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let load = tokio::spawn(async move {
        let loaded = load().await?;
        tracing::info!(context_tokens = loaded.context_tokens(), "model loaded");
        let _ = engine.set(loaded);
        Ok::<(), X>(())
    });
    let until_loaded = async {
        match load.await {
            Ok(Ok(())) => std::future::pending().await,
            Ok(Err(error)) => Err(error),
            Err(error) => Err(ServeError::Runtime(error.to_string()).into()),
        }
    };
    tokio::select! {
        result = until_loaded => result,
        ended = server => Err(ServeError::Runtime(format!("the server ended: {ended:?}")).into()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Binds the socket with mode 0600 from its first moment. A socket nobody listens on any more is replaced.
fn bind(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |what| {
        move |source| ServeError::Socket {
            path: path.into(),
            what,
            source,
        }
    };
    if path.exists() {
        if UnixStream::connect(path).is_ok() {
            let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
            return Err(failed("another engine answers there")(source));
        }
        let is_socket = std::fs::symlink_metadata(path)
            .is_ok_and(|metadata| std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()));
        if !is_socket {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(failed(
                "not a socket, so it is left alone; remove it or choose another path",
            )(source));
        }
        std::fs::remove_file(path).map_err(failed("removing the old socket"))?;
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path).map_err(failed("binding"));
    rustix::process::umask(before);
    listener
}

fn exit_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(
            || "an unknown place".to_owned(),
            |at| format!("{}:{}", at.file(), at.line()),
        );
        eprintln!("engine.panic: the engine failed at {place} and ends now; requests in flight are lost");
        std::process::exit(EXIT_PANIC);
    }));
}
