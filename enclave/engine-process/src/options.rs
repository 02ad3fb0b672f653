//! What an engine process is told.

use std::path::PathBuf;

/// Bodies come from the guest, which takes 64 MiB of a client at most (`limits.body_bytes_max`) and writes them anew: half as large again,
/// and a megabyte, has room for every form that it writes.
const BODY_BYTES_MAX: usize = 97 << 20;

/// Options of one engine process.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineOptions {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    pub model_dir: PathBuf,
    /// The Unix socket to listen on; created with mode 0600.
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Compute threads; all cores when absent.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Upper bound of prompt and answer together, in tokens; the model's own when absent or larger.
    #[arg(long, value_name = "N")]
    pub context_tokens: Option<usize>,
    /// Answers computed at the same time; the engine's own default when absent.
    #[arg(long, value_name = "N")]
    pub streams: Option<usize>,
    /// Requests that may wait for their turn; more are refused as busy.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub queue: usize,
    /// Largest request body, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = BODY_BYTES_MAX)]
    pub body_bytes_max: usize,
    /// What else the process may read; an engine's own options say it.
    #[arg(skip)]
    pub beside: Vec<PathBuf>,
}

impl EngineOptions {
    /// Options with every default.
    pub fn new(model_dir: impl Into<PathBuf>, socket: impl Into<PathBuf>) -> Self {
        Self {
            model_dir: model_dir.into(),
            socket: socket.into(),
            threads: None,
            context_tokens: None,
            streams: None,
            queue: 64,
            body_bytes_max: BODY_BYTES_MAX,
            beside: Vec::new(),
        }
    }
}
