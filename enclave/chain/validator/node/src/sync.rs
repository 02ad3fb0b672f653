//! Final blocks for those who are behind: asked of peers, believed for their certificate alone.
//!
//! # Layout
//! On channel [`CHANNEL`]: `0 || height u64` asks for final blocks from that height on. The answer is `1`, a finality certificate, the
//! headers from the asked height to the certified block's parent (u16 count), and as many of the whole blocks from that height on as
//! fit (u16 count, each u32 length and bytes; the certified block is the last).

use std::sync::Arc;

use hanzo_chain_types::{FinalityCertificate, HEADERS_MAX, committee_of, verify_finality};
use hanzo_ledger::{BLOCK_BYTES_MAX, Block, Bounded, Canonical, DecodeError, Header, List, Reader, tx_root};
use hanzo_mining::{MiningError, MiningLedger};

/// The channel.
pub const CHANNEL: u64 = 0;
/// Longest answer in bytes: one longest block fits.
pub const ANSWER_BYTES_MAX: usize = BLOCK_BYTES_MAX + (1 << 20);
/// Blocks of an answer.
const BLOCKS_MAX: usize = 256;
/// Bytes of blocks in an answer, unless one alone is longer.
const BLOCKS_BYTES: usize = 4 << 20;

/// A message of this channel.
pub enum Message {
    /// Asks for blocks from this height on.
    Ask(u64),
    /// Blocks.
    Answer(Box<Answer>),
}

impl Message {
    /// Whether these bytes begin as a question does.
    pub fn is_question(bytes: &[u8]) -> bool {
        bytes.first() == Some(&0)
    }
}

/// Final blocks, and what shows that they are final.
pub struct Answer {
    certificate: FinalityCertificate,
    headers: List<Header, HEADERS_MAX>,
    blocks: List<Bounded<BLOCK_BYTES_MAX>, BLOCKS_MAX>,
}

impl Canonical for Message {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ask(height) => {
                out.push(0);
                height.write(out);
            }
            Self::Answer(answer) => {
                out.push(1);
                answer.certificate.write(out);
                answer.headers.write(out);
                answer.blocks.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, what)? {
            0 => Ok(Self::Ask(Canonical::read(from, "sync.height")?)),
            1 => Ok(Self::Answer(Box::new(Answer {
                certificate: Canonical::read(from, "sync.certificate")?,
                headers: Canonical::read(from, "sync.headers")?,
                blocks: Canonical::read(from, "sync.blocks")?,
            }))),
            got => Err(DecodeError::Tag {
                what: "sync",
                expected: "0 or 1",
                got,
            }),
        }
    }
}

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// It is of no use now; nobody's fault.
    #[error("sync: {0}")]
    Useless(&'static str),
    /// It says what is not so: the peer's fault.
    #[error("sync: {0}")]
    Wrong(String),
    /// This node's own: another block of that height is final here, a final block does not apply, or the disk.
    #[error(transparent)]
    Store(#[from] MiningError),
}

impl SyncError {
    /// Why this node must stop, if it must: a certificate that verified says that its chain or its state is not the others'.
    pub fn fatal(&self) -> Option<&MiningError> {
        match self {
            Self::Store(error @ (MiningError::Fork { .. } | MiningError::Block(_))) => Some(error),
            _ => None,
        }
    }
}

/// Of what this store has no room for, nobody's fault: the rest is this node's own.
fn own(error: MiningError) -> SyncError {
    match error {
        MiningError::Gap { .. } => SyncError::Useless("it begins after the next block"),
        MiningError::Pruned { .. } => {
            SyncError::Useless("it is of blocks before the state that this store went on from")
        }
        error => SyncError::Store(error),
    }
}

/// What can be shown from `height` on; none if nothing newer is certified here.
///
/// # Errors
/// [`MiningError`].
pub fn answer(ledger: &MiningLedger, height: u64) -> Result<Option<Message>, MiningError> {
    if height == 0 {
        return Ok(None);
    }
    // The asker's state names the committees of its own epoch and of the next.
    let known = ledger.read(|state| state.genesis().params.epoch_of(height.saturating_sub(1)));
    let fits = |c: &FinalityCertificate| c.header.height >= height && c.epoch <= known.saturating_add(1);
    let mut found = ledger.certificate_from(height)?.filter(fits);
    for epoch in [known.saturating_add(1), known] {
        if found.is_none() {
            let handover = ledger.handover(epoch)?;
            found = handover.map(|handover| handover.certificate).filter(fits);
        }
    }
    let Some(certificate) = found else { return Ok(None) };
    let last = certificate.header.height;
    let (mut headers, mut blocks, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    for at in height..=last {
        let Some(block) = ledger.block(at)? else {
            return Ok(None);
        };
        if at < last {
            headers.push(block.header);
        }
        let whole = block.to_bytes();
        bytes = bytes.saturating_add(whole.len());
        let first = blocks.is_empty();
        // All up to here, or none of those after.
        let follows = u64::try_from(blocks.len()).ok().and_then(|n| height.checked_add(n)) == Some(at);
        if follows && blocks.len() < BLOCKS_MAX && (first || bytes <= BLOCKS_BYTES) {
            blocks.extend(Bounded::new(whole));
        }
    }
    let (Some(headers), Some(blocks)) = (List::new(headers), List::new(blocks)) else {
        return Ok(None);
    };
    Ok(Some(Message::Answer(Box::new(Answer {
        certificate,
        headers,
        blocks,
    }))))
}

/// Puts the blocks of an answer into the ledger, after the certificate, by the committee that this ledger's own state names, showed
/// that they are final. Returns how many were new.
///
/// # Errors
/// [`SyncError`]; blocks before a refused one stay, they are final.
pub fn take(ledger: &Arc<MiningLedger>, answer: &Answer) -> Result<usize, SyncError> {
    let wrong = |why: &dyn std::fmt::Display| SyncError::Wrong(why.to_string());
    let (network, set) = ledger.read(|state| (*state.network(), committee_of(state, answer.certificate.epoch)));
    let set = set.map_err(|e| wrong(&e))?.ok_or(SyncError::Useless(
        "its certificate is of an epoch whose committee is not known here",
    ))?;
    let certified = verify_finality(&network, &set, &answer.certificate).map_err(|e| wrong(&e))?;
    // From the certified block back: each header is the parent of the next, so all of them are final.
    let headers = answer.headers.iter().chain([certified.header()]);
    let links = answer.headers.iter().zip(headers.clone().skip(1));
    if links.clone().any(|(parent, child)| parent.id() != child.parent) {
        return Err(SyncError::Wrong(
            "its headers do not lead to the certified block".into(),
        ));
    }
    let mut new = 0_usize;
    for (header, bytes) in headers.zip(answer.blocks.iter()) {
        let block = Block::parse(bytes).map_err(|e| wrong(&e))?;
        if block.header != *header {
            return Err(SyncError::Wrong("a block is not the one that its header names".into()));
        }
        // The header is final and names every byte of the body: from here on, nothing is the peer's fault.
        let (expected, got) = (header.tx_root, tx_root(block.txs.iter()));
        if got != expected {
            return Err(SyncError::Wrong(format!(
                "block {}: tx_root: expected {expected}, as its final header says, got {got}",
                header.height
            )));
        }
        let committed = match ledger.submit(block) {
            // It was held against the state after it: the engine was faster.
            Err(MiningError::Block(_)) if ledger.read(|state| state.head().height) >= header.height => {
                ledger.submit(Block::parse(bytes).map_err(|e| wrong(&e))?)
            }
            committed => committed,
        };
        new = new.saturating_add(usize::from(!committed.map_err(own)?.again));
    }
    let reached = ledger.read(|state| state.head().height) >= answer.certificate.header.height;
    if reached {
        ledger.certify(&answer.certificate).map_err(own)?;
    }
    Ok(new)
}
