//! Files that are read and written, and what goes wrong.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hanzo_signer::SignerError;
use hanzo_signer::wallet::WalletError;
use zeroize::Zeroizing;

/// Longest file of words, passphrases, keys and signatures in bytes.
pub const SMALL_BYTES_MAX: usize = 64 * 1024;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A file.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Too long.
    #[error("{path}: longer than {limit} bytes: is this the right file?", path = path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// Most bytes.
        limit: usize,
    },
    /// The terminal.
    #[error("no passphrase: {0}; name a file with --passphrase-file where there is no terminal")]
    Terminal(io::Error),
    /// Two different ones.
    #[error("the two passphrases differ; nothing was written")]
    Differ,
    /// Not what another command printed.
    #[error("{path}: expected {expected}", path = path.display())]
    Text {
        /// Which.
        path: PathBuf,
        /// What is accepted.
        expected: &'static str,
    },
    /// A wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// A history.
    #[error("{path}: {source}", path = path.display())]
    History {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: SignerError,
    },
}

impl CliError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "wallet.io",
            Self::TooLong { .. } => "wallet.too_long",
            Self::Terminal(_) => "wallet.terminal",
            Self::Differ => "wallet.differ",
            Self::Text { .. } => "wallet.text",
            Self::Wallet(e) => e.code(),
            Self::History { source, .. } => source.code(),
        }
    }

    /// Exit code of the program.
    pub fn exit(&self) -> u8 {
        match self {
            Self::File { .. } | Self::Terminal(_) | Self::Differ => 1,
            Self::TooLong { .. } | Self::Text { .. } => 10,
            Self::Wallet(WalletError::File { .. } | WalletError::Phrase { .. }) => 10,
            Self::Wallet(WalletError::Passphrase { .. }) => 40,
            Self::Wallet(_) => 20,
            Self::History {
                source: SignerError::Interchange(_),
                ..
            } => 10,
            Self::History { .. } => 40,
        }
    }
}

/// A whole file of at most `limit` bytes.
pub fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |source| CliError::File {
        path: path.into(),
        source,
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let mut file = File::open(path).map_err(failed)?.take(limit as u64 + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() > limit {
        true => Err(CliError::TooLong {
            path: path.into(),
            limit,
        }),
        false => Ok(bytes),
    }
}

/// A small file of text.
pub fn text(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let bytes = read(path, SMALL_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| CliError::Text {
        path: path.into(),
        expected: "text in UTF-8",
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Writes a file of mode 0600 that is not there yet, and syncs it; an unfinished one is taken away.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::File {
        path: path.into(),
        source,
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|source| {
        let _ = std::fs::remove_file(path);
        failed(source)
    })
}

/// The passphrase: the first line of `file`, or asked for.
pub fn passphrase(file: Option<&Path>) -> Result<Zeroizing<String>, CliError> {
    match file {
        Some(path) => {
            let all = text(path)?;
            Ok(Zeroizing::new(all.lines().next().unwrap_or_default().to_owned()))
        }
        None => ask("Passphrase: "),
    }
}

/// The same, twice on the terminal.
pub fn new_passphrase(file: Option<&Path>) -> Result<Zeroizing<String>, CliError> {
    let first = passphrase(file)?;
    if file.is_none() && *ask("The same again: ")? != *first {
        return Err(CliError::Differ);
    }
    Ok(first)
}

/// One line from the terminal, not shown.
pub fn ask(prompt: &str) -> Result<Zeroizing<String>, CliError> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(CliError::Terminal)
}
