//! What the broker decides with and may change while it runs: admin keys, roots, collateral.
//!
//! Each decision takes one snapshot. A changed file of collateral is noticed by its metadata before the next decision; the
//! rest changes when the configuration is loaded again. What cannot be read leaves the old snapshot in force, and
//! `/health` says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hanzo_attestation::{Anchors, Collateral, KnownSignatures};

use crate::admin::Admins;
use crate::collateral_dir::{self, Certificates};
use crate::{KbsConfig, KbsError};

/// Longest file of collateral in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;

/// Signatures of lately seen processors and lists that are remembered; 32 bytes each.
const KNOWN_SIGNATURES: usize = 65_536;

/// Collateral that could not be read is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// One consistent state.
pub(crate) struct Live {
    pub(crate) admins: Arc<Admins>,
    pub(crate) anchors: Anchors,
    pub(crate) collateral: Collateral,
    /// AMD's certificates, for evidence that came without them.
    pub(crate) certificates: Certificates,
    /// Where the collateral is, and what it looked like when it was read.
    crl_files: Vec<PathBuf>,
    collateral_dir: Option<PathBuf>,
    seen: Vec<Stamp>,
}

/// Changes whenever the file does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl Live {
    /// Reads everything that the configuration names.
    pub(crate) fn load(config: &KbsConfig) -> Result<Self, KbsError> {
        let admins = Arc::new(Admins::of(&config.admin_keys, config.four_eyes)?);
        let mut anchors = Anchors::vendor();
        for path in &config.simulator_roots {
            anchors = anchors.with_simulator_ark(read_file("simulator root", path)?);
        }
        for path in &config.simulator_tdx_roots {
            anchors = anchors.with_simulator_tdx_root(read_file("simulator root", path)?);
        }
        for path in &config.simulator_gpu_roots {
            anchors = anchors.with_simulator_nvidia_root(read_file("simulator root", path)?);
        }
        for path in &config.simulator_rim_roots {
            anchors = anchors.with_simulator_rim_root(read_file("simulator root", path)?);
        }
        for path in &config.tpm_roots {
            anchors = anchors.with_tpm_root(read_file("TPM root", path)?);
        }
        for key in &config.tpm_keys {
            anchors = anchors.with_tpm_ak(*key);
        }
        let known = KnownSignatures::bounded(KNOWN_SIGNATURES);
        Self::of(
            admins,
            anchors,
            config.crl_files.clone(),
            config.collateral_dir.clone(),
            known,
        )
    }

    fn of(
        admins: Arc<Admins>,
        anchors: Anchors,
        crl_files: Vec<PathBuf>,
        collateral_dir: Option<PathBuf>,
        known: KnownSignatures,
    ) -> Result<Self, KbsError> {
        // Looked at before they are read: a file that changes in between is read once more, not missed.
        let seen = stamps(&crl_files, collateral_dir.as_deref());
        let (mut collateral, certificates) = match &collateral_dir {
            Some(dir) => collateral_dir::read(dir)?,
            None => Default::default(),
        };
        collateral.known = known;
        for path in &crl_files {
            collateral.crls.push(read_file("revocation list", path)?);
        }
        Ok(Self {
            admins,
            anchors,
            collateral,
            certificates,
            crl_files,
            collateral_dir,
            seen,
        })
    }

    #[cfg(test)]
    pub(crate) fn without_roots() -> Self {
        let admins = Admins::of(&[], false).unwrap();
        Self::of(
            Arc::new(admins),
            Anchors::vendor(),
            Vec::new(),
            None,
            KnownSignatures::default(),
        )
        .unwrap()
    }

    /// Whether its files look as they did when they were read.
    fn is_renewed(&self) -> bool {
        self.stamps() == self.seen
    }

    fn stamps(&self) -> Vec<Stamp> {
        stamps(&self.crl_files, self.collateral_dir.as_deref())
    }

    /// The same with the collateral of now; `None` if nothing changed.
    fn renewed(&self) -> Result<Option<Self>, KbsError> {
        if self.is_renewed() {
            return Ok(None);
        }
        let (admins, anchors) = (Arc::clone(&self.admins), self.anchors.clone());
        let known = self.collateral.known.clone();
        Self::of(
            admins,
            anchors,
            self.crl_files.clone(),
            self.collateral_dir.clone(),
            known,
        )
        .map(Some)
    }

    /// Unix seconds of the oldest file of collateral; `None` if there is none.
    pub(crate) fn oldest_collateral(&self) -> Option<i64> {
        self.seen.iter().map(|s| s.changed_s).min()
    }
}

/// The snapshot in force.
pub(crate) struct Lives {
    now: RwLock<Arc<Live>>,
    /// Why newer collateral is not in force.
    stuck: Mutex<Option<String>>,
    /// When changed collateral was read last, and what it looked like.
    tried: Mutex<Option<(Instant, Vec<Stamp>)>>,
}

impl Lives {
    pub(crate) fn new(live: Live) -> Self {
        Self {
            now: RwLock::new(Arc::new(live)),
            stuck: Mutex::new(None),
            tried: Mutex::new(None),
        }
    }

    /// The state for one decision, with the collateral as it is on the disk.
    pub(crate) fn now(&self) -> Arc<Live> {
        let live = self.in_force();
        if live.is_renewed() {
            return live;
        }
        // One reads, and the others take what it read.
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.in_force();
        let stamps = live.stamps();
        if self.stuck().is_some()
            && tried
                .as_ref()
                .is_some_and(|(at, what)| *what == stamps && at.elapsed() < RETRY)
        {
            return live;
        }
        let (said, newer) = match live.renewed() {
            Ok(None) => (None, None),
            Ok(Some(newer)) => (None, Some(Arc::new(newer))),
            Err(e) => (Some(e.to_string()), None),
        };
        *tried = Some((Instant::now(), stamps));
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if *stuck != said {
            if let Some(why) = &said {
                tracing::error!(target: "hanzo_kbs", %why, "collateral changed and cannot be read: the old one stays");
            }
            *stuck = said;
        }
        let Some(newer) = newer else { return live };
        let mut current = self.now.write().unwrap_or_else(PoisonError::into_inner);
        // A reload that came in between has read the files itself, and may have taken roots and admins away.
        if Arc::ptr_eq(&*current, &live) {
            *current = newer;
        }
        Arc::clone(&current)
    }

    /// Whether [`Lives::now`] would have nothing to read.
    pub(crate) fn is_settled(&self) -> bool {
        self.in_force().is_renewed()
    }

    fn in_force(&self) -> Arc<Live> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this is the state in force.
    pub(crate) fn is_current(&self, live: &Arc<Live>) -> bool {
        Arc::ptr_eq(&self.now.read().unwrap_or_else(PoisonError::into_inner), live)
    }

    /// Puts another state in force, whole.
    pub(crate) fn replace(&self, live: Live) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why newer collateral is not in force, if it is not.
    pub(crate) fn stuck(&self) -> Option<String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn stamps(crl_files: &[PathBuf], dir: Option<&Path>) -> Vec<Stamp> {
    let index = dir.map(|dir| dir.join(collateral_dir::INDEX));
    let files = crl_files.iter().map(PathBuf::as_path).chain(index.as_deref());
    files
        .map(|path| match fs::metadata(path) {
            Ok(meta) => Stamp {
                inode: meta.ino(),
                bytes: meta.size(),
                changed_s: meta.mtime(),
                changed_ns: meta.mtime_nsec(),
            },
            // Gone: differs from any file, so that reading it says why.
            Err(_) => Stamp {
                inode: 0,
                bytes: 0,
                changed_s: 0,
                changed_ns: -1,
            },
        })
        .collect()
}

/// Reads a file that the configuration names, bounded.
pub(crate) fn read_file(what: &'static str, path: &Path) -> Result<Vec<u8>, KbsError> {
    let fail = |detail: String| KbsError::File {
        what,
        path: path.to_owned(),
        detail,
    };
    let size = fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(fail(format!("{size} bytes, at most {FILE_BYTES_MAX} are accepted")));
    }
    fs::read(path).map_err(|e| fail(e.to_string()))
}
