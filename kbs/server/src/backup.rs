//! Copies of a running broker's store, and putting one back.
//!
//! # Layout
//! `FILE` is the store, encrypted under its key. `FILE.manifest.json` (JCS): `bytes` and `sha384` of the file, `seq` and `hash`
//! of its newest decision, `time`, `format`, and `proof`: SHA-384 of the manifest without it, sealed under the store's key.
//! Who does not have the key can neither read the copy nor change what the manifest says of it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA384};
use hanzo_attestation::{Digest384, jcs};
use hanzo_pqc::Dek;
use hanzo_store::{ColumnSealer, Restoring, StoreError, StoreMode, back_up, read_copy};
use hanzo_vault::RootPurpose;
use serde::{Deserialize, Serialize};

use crate::broker::{Broker, now};
use crate::{KbsConfig, KbsError, audit};

const FORMAT: &str = "hanzo-kbs-backup-v1";
const MANIFEST_BYTES_MAX: usize = 4096;

/// A backup that was made or put back.
#[derive(Debug)]
pub struct BackupReport {
    /// Its manifest.
    pub manifest: PathBuf,
    /// Its newest decision.
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    bytes: u64,
    format: String,
    /// Of the newest decision; null if there is none.
    hash: Option<Digest384>,
    /// Hex; empty while it is computed.
    proof: String,
    seq: u64,
    sha384: Digest384,
    time: u64,
}

/// Copies the store to `to`, while a broker uses it or not. The copy's pages, chain and tables have been verified when this
/// returns.
///
/// # Errors
/// [`KbsError`]; there is no file at `to` then, unless there was one before.
pub fn backup(config: &KbsConfig, mode: StoreMode, to: &Path) -> Result<BackupReport, KbsError> {
    let fail = |detail: &str| KbsError::Backup {
        path: to.to_owned(),
        detail: detail.to_owned(),
    };
    if config.postgres_url().is_some() {
        return Err(fail(
            "the store is a PostgreSQL database: use pg_dump (its secret columns stay sealed); the chain is checked when a broker opens what you restored",
        ));
    }
    let manifest_path = manifest_of(to);
    if to.exists() || manifest_path.exists() {
        return Err(fail("it exists already: nothing was replaced; give another name"));
    }
    let key = store_key(config)?;
    back_up(&config.store, &key, to)?;
    let made = describe(&key, mode, to).and_then(|manifest| {
        let bytes = jcs::to_vec("backup manifest", &manifest)?;
        write_whole(&manifest_path, &bytes)?;
        Ok(manifest.seq)
    });
    let seq = made.inspect_err(|_| {
        // A copy that nothing vouches for is none.
        let _ = fs::remove_file(to);
        let _ = fs::remove_file(&manifest_path);
    })?;
    Ok(BackupReport {
        manifest: manifest_path,
        seq,
    })
}

fn describe(key: &Dek, mode: StoreMode, path: &Path) -> Result<Manifest, KbsError> {
    let simulated = mode == StoreMode::Simulated;
    let head = read_copy(path, key, |tx| {
        if tx.query_one("SELECT simulated FROM hanzo_store", &[])?.flag(0)? != simulated {
            let path = path.to_owned();
            return Err(KbsError::Store(match simulated {
                true => StoreError::NotSimulated { path },
                false => StoreError::Simulated { path },
            }));
        }
        audit::replay(tx, &[])?;
        Ok(audit::head(tx)?)
    })?;
    let (bytes, sha384) = digest(path)?;
    let mut manifest = Manifest {
        bytes,
        format: FORMAT.into(),
        hash: head.map(|h| h.hash),
        proof: String::new(),
        seq: head.map_or(0, |h| h.seq),
        sha384,
        time: now().0,
    };
    let digest = Digest384::of(&jcs::to_vec("backup manifest", &manifest)?);
    let sealed = ColumnSealer::new(key)?.seal("backup", "manifest", b"", 1, digest.as_bytes())?;
    manifest.proof = hex::encode(sealed);
    Ok(manifest)
}

/// Puts a backup in the place of the store, which no broker is using. What was there stays beside it.
///
/// A backup that does not contain the decision that a fence remembers is older than the store was: it is refused, unless
/// `accept_lost_decisions`; then the audit chain goes on with a line (`accept-head`) that says what was lost.
///
/// # Errors
/// [`KbsError::Backup`] for a file that its manifest does not describe, [`KbsError::RolledBack`]; the store is as it was.
pub fn restore(
    config: &KbsConfig,
    mode: StoreMode,
    from: &Path,
    accept_lost_decisions: bool,
) -> Result<BackupReport, KbsError> {
    if config.postgres_url().is_some() {
        return Err(KbsError::Backup {
            path: from.to_owned(),
            detail: "the store is a PostgreSQL database: restore it with pg_restore or psql, then start the broker: it checks the chain, and `accept-head` overrides".into(),
        });
    }
    let key = store_key(config)?;
    let manifest = read_manifest(&key, from)?;
    let restoring = Restoring::begin(&config.store)?;
    let candidate = restoring.fill(from)?;
    // Of the copy: nobody else can change that one any more.
    if digest(candidate)? != (manifest.bytes, manifest.sha384) {
        return Err(KbsError::Backup {
            path: from.to_owned(),
            detail: "not the file that its manifest describes: take another backup".into(),
        });
    }
    // As a broker opens its store, so that nothing is put back that it would refuse.
    let there = KbsConfig {
        store: candidate.to_owned(),
        ..config.clone()
    };
    let broker = match Broker::open(&there, mode) {
        Err(KbsError::RolledBack { .. } | KbsError::File { .. }) if accept_lost_decisions => {
            let broker = Broker::open_without_head(&there, mode)?;
            broker.accept()?;
            broker
        }
        opened => opened?,
    };
    let head = broker.db.read(audit::head)?;
    drop(broker);
    restoring.finish(&key, now().0)?;
    Ok(BackupReport {
        manifest: manifest_of(from),
        seq: head.map_or(0, |h| h.seq),
    })
}

fn read_manifest(key: &Dek, of: &Path) -> Result<Manifest, KbsError> {
    let path = manifest_of(of);
    let fail = |detail: String| KbsError::Backup {
        path: path.clone(),
        detail,
    };
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MANIFEST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|e| fail(format!("{e}: a backup is restored with the manifest beside it")))?;
    let manifest: Manifest = jcs::from_slice("backup manifest", &bytes, MANIFEST_BYTES_MAX)?;
    if manifest.format != FORMAT {
        return Err(fail(format!("format: expected {FORMAT}, got {}", manifest.format)));
    }
    let mut unproved = manifest.clone();
    let proof = hex::decode(std::mem::take(&mut unproved.proof)).map_err(|e| fail(format!("proof: {e}")))?;
    let digest = Digest384::of(&jcs::to_vec("backup manifest", &unproved)?);
    let opened = ColumnSealer::new(key)?.open("backup", "manifest", b"", 1, &proof);
    if !opened.is_ok_and(|told| told.as_slice() == digest.as_bytes()) {
        return Err(fail(
            "its proof does not fit: it was changed, or the backup was made under another store key".into(),
        ));
    }
    Ok(manifest)
}

fn store_key(config: &KbsConfig) -> Result<Dek, KbsError> {
    let root = config.root.provider(&hanzo_root::Surroundings::of_process()).load()?;
    Ok(root.derive(RootPurpose::Store)?)
}

fn manifest_of(path: &Path) -> PathBuf {
    path.with_added_extension("manifest.json")
}

fn digest(path: &Path) -> Result<(u64, Digest384), StoreError> {
    let read = |e| StoreError::io("read backup", path, e);
    let mut file = File::open(path).map_err(read)?;
    let mut context = Context::new(&SHA384);
    let mut piece = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let n = file.read(&mut piece).map_err(read)?;
        let part = piece.get(..n).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        context.update(part);
        bytes += n as u64;
    }
    let mut sha384 = [0; 48];
    sha384.copy_from_slice(context.finish().as_ref());
    Ok((bytes, Digest384(sha384)))
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|e| StoreError::io("write", path, e))
}
