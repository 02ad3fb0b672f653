//! What a validator with simulated evidence leaves behind when it is told to stop, so that a network for development goes on when all of
//! its validators were stopped: its consensus key and the votes that it cast.
//!
//! It gives no protection from whoever has the folder, as simulated evidence gives none. A key under real evidence is never written: there
//! the next boot has another one. The file is taken away when it is read, so no two processes go on with one key, and a validator that was
//! killed leaves none.
//!
//! # Layout
//! `stopped.key`, mode 0600, three parts with a line feed between them: the incarnation, the seed (64 hex digits), the votes (EIP-3076).

use std::sync::{Arc, Mutex, PoisonError};

use hanzo_attestation::Digest256;
use hanzo_chain::VoteSigner;
use hanzo_ledger::{Address, Network, State, key_digest};
use hanzo_signer::interchange::Interchange;
use zeroize::Zeroizing;

use crate::boot::{ConsensusKey, Seed};
use crate::config::{Config, EvidenceKind};
use crate::error::NodeError;
use crate::files;

/// The file.
pub const KEPT_FILE: &str = "stopped.key";
/// Longest file in bytes: the votes of two epochs are far below.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// The key that votes now, for when this process is told to stop.
#[derive(Default)]
pub struct Leaving(Mutex<Option<Voting>>);

struct Voting {
    incarnation: u64,
    seed: Seed,
    signer: Arc<dyn VoteSigner>,
}

/// Whether keys are kept at all.
pub fn keeps(config: &Config) -> bool {
    config.evidence == EvidenceKind::Simulated
}

impl Leaving {
    /// From now on this key votes.
    pub fn with(&self, key: &ConsensusKey) {
        let voting = key.seed.clone().map(|seed| Voting {
            incarnation: key.incarnation,
            seed,
            signer: Arc::clone(&key.signer),
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = voting;
    }

    /// Ends the voting, and writes what it was done with.
    ///
    /// # Errors
    /// [`NodeError::File`].
    pub fn leave(&self, config: &Config) -> Result<(), NodeError> {
        let voting = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(voting) = voting.filter(|_| keeps(config)) else {
            return Ok(());
        };
        let Some(votes) = voting.signer.close() else {
            return Ok(());
        };
        let seed = Zeroizing::new(Digest256(*voting.seed).to_string());
        let text = Zeroizing::new(format!("{}\n{}\n{}", voting.incarnation, *seed, votes.to_json()));
        files::write(&config.file(KEPT_FILE), text.as_bytes())
    }
}

/// The key that an earlier process left, if the chain still has it as this validator's; the file is gone then.
///
/// # Errors
/// [`NodeError`] for a file that cannot be read or taken away. One that is of no use is said in the log, and another key drawn.
pub fn take(
    config: &Config,
    state: &State,
    network: &Network,
    me: &Address,
) -> Result<Option<ConsensusKey>, NodeError> {
    let path = config.file(KEPT_FILE);
    let bytes = match keeps(config) {
        true => files::read_if_there(&path, KEPT_BYTES_MAX)?.map(Zeroizing::new),
        false => None,
    };
    let Some(bytes) = bytes else { return Ok(None) };
    // On the disk before the key votes: a file that a power loss brings back would forget what is voted from now on.
    files::remove(&path)?;
    let Some((incarnation, seed, votes)) = read(&bytes) else {
        tracing::warn!(
            "{}: it is no key of a stopped validator; drawing another one",
            path.display()
        );
        return Ok(None);
    };
    let key = ConsensusKey::again(network, me, seed, incarnation, &votes)?;
    let held = state.validator(me);
    let is_live = held.is_some_and(|held| held.incarnation == incarnation && held.key == key_digest(&key.public));
    Ok(Some(key).filter(|_| is_live))
}

fn read(bytes: &[u8]) -> Option<(u64, Seed, Interchange)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (incarnation, rest) = text.split_once('\n')?;
    let (seed, votes) = rest.split_once('\n')?;
    let seed = Digest256::from_hex(seed)?;
    let votes = Interchange::parse(votes.as_bytes()).ok()?;
    Some((incarnation.parse().ok()?, Zeroizing::new(seed.0), votes))
}
