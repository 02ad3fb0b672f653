//! What stops this engine. What stops one request is [`crate::Breach`].

use std::path::PathBuf;

use hanzo_engine_process::ServeError;

/// Why the engine process does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No server was named.
    #[error("no server is named: pass its program and arguments, each as --upstream-arg=…")]
    NoCommand,
    /// A mark in the arguments that means nothing.
    #[error(
        "--upstream-arg number {index}: unknown mark in braces; expected {{model_dir}}, {{socket}} or {{context_tokens}}"
    )]
    Mark {
        /// Which argument, from 0.
        index: usize,
    },
    /// The context's size is needed to bound prompts.
    #[error("--context-tokens is missing: give the tokens that the server was told to hold for each answer")]
    NoContext,
    /// The path does not fit into a socket's address.
    #[error("{}: {got} bytes; a Unix socket's path holds at most 107; choose a shorter directory", path.display())]
    SocketPath {
        /// The server's socket.
        path: PathBuf,
        /// Its length.
        got: usize,
    },
    /// The server could not be started.
    #[error("starting the server: {0}")]
    Start(std::io::Error),
    /// The server ended.
    #[error("the server behind this engine ended ({status}); requests in flight are lost")]
    Died {
        /// How.
        status: String,
    },
    /// The process could not be confined, or cannot serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl UpstreamError {
    /// A stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCommand => "engine.upstream_command",
            Self::Mark { .. } => "engine.upstream_mark",
            Self::NoContext => "engine.upstream_context",
            Self::SocketPath { .. } => "engine.upstream_socket",
            Self::Start(_) => "engine.upstream_start",
            Self::Died { .. } => "engine.upstream_died",
            Self::Serve(error) => error.code(),
        }
    }
}
