//! The genesis in the folders of a network: one for all of them, and the folder's own last, as it says that all have it.
//!
//! Whoever dies in between leaves it in some folders. It is gone on with then, as validators may have begun with it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hanzo_chain_types::Candidate;
use hanzo_ledger::{Address, Genesis};

use crate::node::GENESIS_BYTES_MAX;
use crate::{ChainError, files};

pub(crate) const FILE: &str = "genesis.bin";
/// What a validator has of a chain beside its genesis, and of the process that was there before it; and every `ledger.*`.
const OF_A_CHAIN: [&str; 7] = [
    "candidate.json",
    "incarnation",
    "journal",
    "key.json",
    "ready.json",
    "reports.bin",
    "stopped.key",
];

/// A genesis that lies in folders of a network.
pub(crate) struct Found {
    pub(crate) genesis: Genesis,
    pub(crate) bytes: Vec<u8>,
    /// Its files.
    pub(crate) at: Vec<PathBuf>,
}

/// The one genesis that there is in the folder or in a validator's, if there is one.
///
/// # Errors
/// [`ChainError::Geneses`] if there are several; a file that cannot be read or is none.
pub(crate) fn found(dir: &Path) -> Result<Option<Found>, ChainError> {
    let mut all: BTreeMap<Vec<u8>, Vec<PathBuf>> = BTreeMap::new();
    for folder in std::iter::once(dir.to_path_buf()).chain(files::validators(dir)) {
        let path = folder.join(FILE);
        if fs::symlink_metadata(&path).is_ok() {
            let bytes = files::read(&path, GENESIS_BYTES_MAX)?.to_vec();
            all.entry(bytes).or_default().push(path);
        }
    }
    let mut each = Vec::new();
    for (bytes, at) in all {
        let genesis = Genesis::parse(&bytes).map_err(|e| ChainError::File {
            path: at.first().cloned().unwrap_or_default(),
            expected: "a genesis",
            got: e.to_string(),
        })?;
        each.push(Found { genesis, bytes, at });
    }
    match each.len() {
        0 | 1 => Ok(each.pop()),
        _ => Err(ChainError::Geneses {
            each: each.iter().map(|found| (found.name(), found.at.clone())).collect(),
        }),
    }
}

impl Found {
    /// The first digits of its digest.
    pub(crate) fn name(&self) -> String {
        self.genesis.digest().to_string().chars().take(16).collect()
    }

    fn has(&self, candidate: &Candidate) -> bool {
        let mut validators = self.genesis.validators.iter();
        let registrars = &self.genesis.registrars;
        validators.any(|v| v.owner == candidate.keys.validator && v.key == candidate.keys.consensus)
            && registrars.iter().any(|key| *key == candidate.registrar)
    }

    /// The refusal to go on with it for `candidates`, which make another one with these rules.
    pub(crate) fn is_of_others(&self, dir: &Path, candidates: &[(PathBuf, Candidate)]) -> ChainError {
        let others = candidates.iter().filter(|(_, candidate)| !self.has(candidate));
        let mut others: Vec<_> = others.map(|(path, _)| path.clone()).collect();
        if others.is_empty() {
            others.push(dir.join("chain.toml"));
        }
        ChainError::OtherGenesis {
            name: self.name(),
            at: self.at.clone(),
            others,
        }
    }

    /// Refuses to go on with it where an account waits that is no validator of it.
    pub(crate) fn is_of_accounts(&self, accounts: &[(PathBuf, Address)]) -> Result<(), ChainError> {
        let is_one = |account: &Address| self.genesis.validators.iter().any(|v| v.owner == *account);
        let others = accounts.iter().filter(|(_, account)| !is_one(account));
        let others: Vec<_> = others.map(|(path, _)| path.clone()).collect();
        match others.is_empty() {
            true => Ok(()),
            false => Err(ChainError::OtherGenesis {
                name: self.name(),
                at: self.at.clone(),
                others,
            }),
        }
    }
}

/// Writes a genesis where there is none yet. First beside every place: where one cannot be written, none is there afterwards.
pub(crate) fn spread(dir: &Path, bytes: &[u8]) -> Result<(), ChainError> {
    let folders = files::validators(dir);
    let places = folders.iter().map(PathBuf::as_path).chain([dir]);
    let mut staged = Vec::new();
    for path in places.map(|folder| folder.join(FILE)) {
        if fs::symlink_metadata(&path).is_err() {
            staged.push(files::Staged::write(&path, bytes)?);
        }
    }
    staged.into_iter().try_for_each(files::Staged::place)
}

/// Puts a genesis that not every folder got, and whose keys are gone, and all that validators have of it, into a folder beside it:
/// nothing is lost, and the network begins anew.
///
/// # Errors
/// [`ChainError::Validator`] while a process of it runs.
pub(crate) fn set_aside(dir: &Path, found: &Found) -> Result<(), ChainError> {
    let folders = files::validators(dir);
    for (which, folder) in folders.iter().enumerate() {
        let at = files::ready(folder);
        let socket: Option<SocketAddr> = at.as_ref().and_then(|at| at.parse().ok());
        if let (Some(at), Some(socket)) = (at, socket)
            && TcpStream::connect_timeout(&socket, Duration::from_secs(1)).is_ok()
        {
            return Err(ChainError::Validator {
                which,
                what: format!(
                    "a process of it still runs and answers at {at}: stop all of them with SIGTERM and try again, or give them all the genesis with `hanzo chain genesis`"
                ),
                log: folder.join("validator.log"),
            });
        }
    }
    let aside = format!("genesis-{}", found.name());
    for folder in &folders {
        let to = folder.join(&aside);
        files::private_dir(&to)?;
        let failed = |path: &Path| ChainError::io("cannot put aside", path.to_path_buf());
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let name = entry.map_err(failed(folder))?.file_name();
            let text = name.to_string_lossy();
            if OF_A_CHAIN.contains(&&*text) || text.starts_with("ledger.") {
                names.push(name);
            }
        }
        // Last: while it is there, this is done again.
        if folder.join(FILE).is_file() {
            names.push(FILE.into());
        }
        for name in names {
            let path = folder.join(&name);
            fs::rename(&path, to.join(&name)).map_err(failed(&path))?;
        }
    }
    eprintln!(
        "hanzo chain: genesis {} was given to {} of {} validators when the process that gave it ended, and the keys of too many are gone; \
         what there is of it is in {}/*/{aside} now, and the network begins anew",
        found.name(),
        found.at.len(),
        folders.len(),
        dir.display()
    );
    Ok(())
}
