//! What the launcher is told. All of it comes from the guest; none of it is secret.

use std::path::PathBuf;

#[derive(clap::Parser)]
pub(super) struct Arguments {
    /// Read-only.
    #[arg(long)]
    pub(super) model_dir: PathBuf,
    /// An adapter's directory, read-only like the model's.
    #[arg(long)]
    pub(super) adapter_dir: Option<PathBuf>,
    /// The engine binds it; its directory is the engine's.
    #[arg(long)]
    pub(super) socket: PathBuf,
    /// Bound on private memory.
    #[arg(long)]
    pub(super) memory_bytes: u64,
    /// User of the engine.
    #[arg(long, requires = "root")]
    pub(super) uid: Option<u32>,
    /// Group of the engine, which its model's files are readable by; the user's number if left out.
    #[arg(long, requires = "uid")]
    pub(super) gid: Option<u32>,
    /// An empty directory on which the engine's root is put together.
    #[arg(long, requires = "uid")]
    pub(super) root: Option<PathBuf>,
    /// The program of a server that the engine starts.
    #[arg(long)]
    pub(super) server: Option<PathBuf>,
    /// What the server reads and runs besides.
    #[arg(long = "server-file", requires = "server")]
    pub(super) server_files: Vec<PathBuf>,
    /// Fail rather than leave a step out.
    #[arg(long)]
    pub(super) whole: bool,
    /// The engine and its arguments.
    #[arg(last = true, required = true)]
    engine: Vec<String>,
}

impl Arguments {
    pub(super) fn program(&self) -> PathBuf {
        self.engine.first().map(PathBuf::from).unwrap_or_default()
    }

    pub(super) fn engine_arguments(&self) -> &[String] {
        self.engine.get(1..).unwrap_or_default()
    }
}
