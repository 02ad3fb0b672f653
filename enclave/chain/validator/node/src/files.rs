//! Files of a validator's folder: read within bounds, written whole or not at all, secrets for their owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use hanzo_signer::MiningWallet;
use hanzo_signer::wallet::FILE_BYTES_MAX;
use zeroize::Zeroizing;

use crate::error::NodeError;

/// Of the account and link of a validator that waits: what a genesis is made of.
pub const CANDIDATE_FILE: &str = "candidate.json";
/// What the chain starts from, canonical bytes.
pub const GENESIS_FILE: &str = "genesis.bin";
/// The ledger, encrypted.
pub const LEDGER_FILE: &str = "ledger.db";
/// Its key, mode 0600.
pub const LEDGER_KEY_FILE: &str = "ledger.key";
/// The engine's files.
pub const JOURNAL_DIR: &str = "journal";
/// Where the running process listens: `{"link":"127.0.0.1:1","rpc":"127.0.0.1:2"}`.
pub const READY_FILE: &str = "ready.json";
/// The greatest incarnation that this folder's validator booted with.
pub const INCARNATION_FILE: &str = "incarnation";

/// The consensus key of this boot with its evidence, for registrars: written unless the chain's genesis names the key.
pub const KEY_FILE: &str = "key.json";
/// Conflicting votes that the chain has no report of yet.
pub const REPORTS_FILE: &str = "reports.bin";

fn failed<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> NodeError + 'a {
    move |source| NodeError::File {
        path: path.to_owned(),
        what,
        source,
    }
}

/// Reads a file of at most `max` bytes.
///
/// # Errors
/// [`NodeError::File`]; [`NodeError::Value`] for a longer one.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, NodeError> {
    let file = fs::File::open(path).map_err(failed(path, "open"))?;
    let mut bytes = Vec::new();
    let limit = max.saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed(path, "read"))?;
    match u64::try_from(bytes.len()).unwrap_or(u64::MAX) <= max {
        true => Ok(bytes),
        false => Err(NodeError::Value {
            path: path.to_owned(),
            field: "length",
            expected: format!("at most {max} bytes"),
            got: "more".into(),
        }),
    }
}

/// Reads a file if there is one.
///
/// # Errors
/// As [`read`], but for a file that is missing.
pub fn read_if_there(path: &Path, max: u64) -> Result<Option<Vec<u8>>, NodeError> {
    match read(path, max) {
        Err(NodeError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Writes a file: whole, on the disk, in place of the one before.
///
/// # Errors
/// [`NodeError::File`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), NodeError> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed(&beside, "create"))?;
    file.write_all(bytes).map_err(failed(&beside, "write"))?;
    file.sync_all().map_err(failed(&beside, "sync"))?;
    fs::rename(&beside, path).map_err(failed(path, "rename"))?;
    sync_folder(path)
}

/// Takes a file away: gone on the disk when this returns.
///
/// # Errors
/// [`NodeError::File`]: then it may come back.
pub fn remove(path: &Path) -> Result<(), NodeError> {
    fs::remove_file(path).map_err(failed(path, "take away"))?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> Result<(), NodeError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let folder = fs::File::open(folder).map_err(failed(path, "open its folder"))?;
    folder.sync_all().map_err(failed(path, "sync its folder"))
}

/// Reads a passphrase: one line, in a file that nobody else may read.
///
/// # Errors
/// [`NodeError::File`], [`NodeError::Value`].
pub fn passphrase(path: &Path) -> Result<Zeroizing<String>, NodeError> {
    let mode = fs::metadata(path)
        .map_err(failed(path, "look at"))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(NodeError::Value {
            path: path.to_owned(),
            field: "mode",
            expected: "0600: chmod 600 it".into(),
            got: format!("{mode:04o}"),
        });
    }
    let bytes = Zeroizing::new(read(path, 2048)?);
    let text = std::str::from_utf8(&bytes).map(|text| text.trim_end_matches('\n'));
    let text = text.map_err(|e| NodeError::Value {
        path: path.to_owned(),
        field: "text",
        expected: "UTF-8".into(),
        got: e.to_string(),
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Opens a wallet file.
///
/// # Errors
/// [`NodeError::File`], [`NodeError::Part`] for a wrong passphrase or a damaged file.
pub fn wallet(path: &Path, passphrase: &str) -> Result<MiningWallet, NodeError> {
    let max = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let bytes = Zeroizing::new(read(path, max)?);
    MiningWallet::import_from_bytes(&bytes, passphrase)
        .map_err(|e| NodeError::part("wallet", e.code(), format!("{}: {e}", path.display())))
}
