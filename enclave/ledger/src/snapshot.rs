//! A whole state in parts, each of which is held against the state's root before any of it is kept.
//!
//! # Layout
//! The state's tree is cut at one depth d, from 0 to [`DEPTH_MAX`]: part i holds the entries whose paths begin with the d bits of i. A
//! part: u32 count, then key and value of each entry, ascending by path. The [`Plan`] names of each part the root of its tree (as that
//! of a state with these entries alone, split from bit d on) and whether it has none, one or more entries. The state's root follows from
//! these by the tree's own rules, so that parts which lead to the roots of a plan that leads to a certified root are the whole state.
//!
//! A state has many plans: any depth is one, and a root does not tell which of two halves its only entry is in, nor always whether a part
//! has one entry or more (a plan of the first kind has no parts that lead to it). So a part is named by its plan's [`Plan::digest`]
//! and its number: whoever cut the state otherwise does not have it, and whoever hands out another one under that name is at fault.

use std::collections::BTreeMap;

use hanzo_attestation::Digest256;
use hanzo_attestation::merkle::{leaf_hash, node_hash};

use crate::codec::{Canonical, DecodeError, List, Reader};
use crate::entry::{Key, Value};
use crate::state::{State, digest_of};
use crate::tree::{EMPTY, Path, Tree};

/// Deepest cut.
pub const DEPTH_MAX: u8 = 12;
/// Most parts.
pub const PARTS_MAX: usize = 1 << DEPTH_MAX;
/// Longest part in bytes.
pub const PART_BYTES_MAX: usize = 2 << 20;
/// Bytes that a part is meant to have at most: where the state is cut.
pub const PART_BYTES: usize = 512 << 10;
/// Most bytes of a state that goes over the wire.
pub const STATE_BYTES_MAX: u64 = 4 << 30;

/// What a part must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartHead {
    /// Root of its tree; zeros of none.
    pub root: Digest256,
    /// Entries: 0, 1, or 2 for more.
    pub entries: u8,
}

impl Canonical for PartHead {
    fn write(&self, out: &mut Vec<u8>) {
        self.root.write(out);
        self.entries.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        let root = Digest256::read(from, "PartHead.root")?;
        let expected = match root == EMPTY {
            true => "0, for a root of zeros",
            false => "1 or 2 (more)",
        };
        match u8::read(from, "PartHead.entries")? {
            entries if (entries == 0) == (root == EMPTY) && entries <= 2 => Ok(Self { root, entries }),
            got => Err(DecodeError::Tag {
                what: "PartHead.entries",
                expected,
                got,
            }),
        }
    }
}

/// The parts of a state.
///
/// # Layout
/// Depth u8; parts (u16 count, 2^depth of them): root 32, entries u8 (0, 1, or 2 for more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    depth: u8,
    parts: List<PartHead, PARTS_MAX>,
}

impl Canonical for Plan {
    fn write(&self, out: &mut Vec<u8>) {
        self.depth.write(out);
        self.parts.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        let depth = u8::read(from, "Plan.depth")?;
        if depth > DEPTH_MAX {
            return Err(DecodeError::TooLong {
                what: "Plan.depth",
                max: usize::from(DEPTH_MAX),
                got: usize::from(depth),
            });
        }
        let parts: List<PartHead, PARTS_MAX> = Canonical::read(from, "Plan.parts")?;
        let (expected, got) = (1_usize << depth, parts.len());
        if got != expected {
            return Err(DecodeError::Truncated {
                what: "Plan.parts, of 2^depth",
                expected,
                got,
            });
        }
        Ok(Self { depth, parts })
    }
}

/// Why a plan or a part is not a state's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// The bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The parts are not those of the state.
    #[error("snapshot: plan: expected the root {expected}, its parts lead to {got}")]
    Root {
        /// Of the certified header.
        expected: Digest256,
        /// Of the plan.
        got: Digest256,
    },
    /// No such part.
    #[error("snapshot: part {part}: expected one of {parts}")]
    Unknown {
        /// Which.
        part: u16,
        /// How many there are.
        parts: usize,
    },
    /// An entry of another part, or not above the one before it.
    #[error("snapshot: part {part}: entry {at} does not stand there")]
    Place {
        /// Which part.
        part: u16,
        /// From 0.
        at: usize,
    },
    /// Other entries.
    #[error("snapshot: part {part}: expected the root {expected}, got {got}: its entries are not the state's")]
    Part {
        /// Which.
        part: u16,
        /// As the plan says.
        expected: Digest256,
        /// Of its entries.
        got: Digest256,
    },
}

impl PartError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(e) => e.code(),
            Self::Root { .. } => "ledger.snapshot.root",
            Self::Unknown { .. } => "ledger.snapshot.unknown",
            Self::Place { .. } => "ledger.snapshot.place",
            Self::Part { .. } => "ledger.snapshot.part",
        }
    }
}

/// The part that a path belongs to, of 2^depth.
fn part_of(path: &Path, depth: u8) -> usize {
    let [high, low, ..] = path.0;
    usize::from(u16::from_be_bytes([high, low])) >> (16_u8.saturating_sub(depth))
}

fn root_of(leaves: &[(Path, Digest256)], depth: u8) -> Digest256 {
    Tree::of(leaves, usize::from(depth)).root()
}

impl Plan {
    /// The parts, in order.
    pub fn parts(&self) -> &[PartHead] {
        &self.parts
    }

    /// What names this plan: SHA-256 over 0x00, a domain string and the canonical bytes.
    pub fn digest(&self) -> Digest256 {
        leaf_hash(&[b"hanzo/state-plan/v1", &self.to_bytes()])
    }

    /// Whether these may be the parts of the state with this root.
    ///
    /// # Establishes
    /// Entries that lead to the roots of all parts are exactly those of the state.
    ///
    /// # Does not establish
    /// That there are such entries: an only entry may stand in the neighbour of its part.
    ///
    /// # Errors
    /// [`PartError::Root`].
    pub fn verify(&self, root: &Digest256) -> Result<(), PartError> {
        let mut level: Vec<(Digest256, u8)> = self.parts.iter().map(|p| (p.root, p.entries)).collect();
        while level.len() > 1 {
            let pairs = level.chunks_exact(2);
            level = pairs.map(|pair| joined(pair.first(), pair.last())).collect();
        }
        match level.first() {
            Some((got, _)) if got == root => Ok(()),
            got => Err(PartError::Root {
                expected: *root,
                got: got.map_or(EMPTY, |(got, _)| *got),
            }),
        }
    }

    /// The entries of a part, after all of them were held against its root.
    ///
    /// # Errors
    /// [`PartError`]; nothing of it is returned then.
    pub fn read(&self, part: u16, bytes: &[u8]) -> Result<Vec<(Key, Value)>, PartError> {
        let parts = self.parts.len();
        let head = self.parts.get(usize::from(part));
        let head = head.ok_or(PartError::Unknown { part, parts })?;
        let Entries(entries) = Entries::from_bytes("part", bytes, PART_BYTES_MAX)?;
        let mut leaves: Vec<(Path, Digest256)> = Vec::new();
        for (at, (key, value)) in entries.iter().enumerate() {
            let path = key.path();
            let above = leaves.last().is_none_or(|(before, _)| *before < path);
            if !above || part_of(&path, self.depth) != usize::from(part) {
                return Err(PartError::Place { part, at });
            }
            leaves.push((path, digest_of(value)));
        }
        let (expected, got) = (head.root, root_of(&leaves, self.depth));
        match got == expected {
            true => Ok(entries),
            false => Err(PartError::Part { part, expected, got }),
        }
    }
}

/// Two halves of a tree, with how many entries each has: one entry alone stands as high as it can.
fn joined(left: Option<&(Digest256, u8)>, right: Option<&(Digest256, u8)>) -> (Digest256, u8) {
    let none = (EMPTY, 0);
    let ((left, zeros), (right, ones)) = (left.unwrap_or(&none), right.unwrap_or(&none));
    let all = zeros.saturating_add(*ones).min(2);
    match (zeros, ones) {
        (0, 0) => none,
        (1, 0) => (*left, all),
        (0, 1) => (*right, all),
        _ => (node_hash(left, right), all),
    }
}

struct Entries(Vec<(Key, Value)>);

impl Canonical for Entries {
    fn write(&self, out: &mut Vec<u8>) {
        (self.0.len() as u32).write(out);
        for (key, value) in &self.0 {
            key.write(out);
            value.write(out);
        }
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        let count = u32::read(from, "part.count")?;
        // No capacity before the entries: each takes bytes that must be there.
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push((Key::read(from, "part.key")?, Value::read(from, "part.value")?));
        }
        Ok(Self(entries))
    }
}

/// A state that is handed out in parts.
pub struct Cut {
    state: State,
    plan: Plan,
    digest: Digest256,
    /// Every key by path, and where each part begins.
    order: Vec<(Path, Key)>,
    starts: Vec<usize>,
}

impl State {
    /// Cuts the state into parts of at most `part_bytes` each, if no deeper cut than [`DEPTH_MAX`] is needed for that; `None` if it is
    /// longer than a state may be.
    pub fn cut(self, part_bytes: usize) -> Option<Cut> {
        let mut sizes = vec![4_usize; PARTS_MAX];
        let mut order = Vec::with_capacity(self.entries.len());
        for (key, value) in &self.entries {
            let path = key.path();
            order.push((path, *key));
            let size = sizes.get_mut(part_of(&path, DEPTH_MAX))?;
            *size = size.saturating_add(key.to_bytes().len().saturating_add(value.to_bytes().len()));
        }
        order.sort_unstable();
        let longest = |depth: u8| {
            let parts = sizes.chunks(PARTS_MAX >> depth);
            parts.map(|part| part.iter().sum::<usize>()).max().unwrap_or(0)
        };
        let depth = (0..DEPTH_MAX)
            .find(|depth| longest(*depth) <= part_bytes)
            .unwrap_or(DEPTH_MAX);
        let (mut heads, mut starts, mut total) = (Vec::new(), Vec::new(), 0_u64);
        for part in 0..1_usize << depth {
            let start = order.partition_point(|(path, _)| part_of(path, depth) < part);
            let end = order.partition_point(|(path, _)| part_of(path, depth) <= part);
            let bytes = part_bytes_of(&self.entries, order.get(start..end)?);
            let mut leaves = Vec::new();
            for (path, key) in order.get(start..end)? {
                leaves.push((*path, digest_of(self.entries.get(key)?)));
            }
            total = total.saturating_add(bytes.len() as u64);
            if bytes.len() > PART_BYTES_MAX || total > STATE_BYTES_MAX {
                return None;
            }
            starts.push(start);
            heads.push(PartHead {
                root: root_of(&leaves, depth),
                entries: u8::try_from(leaves.len().min(2)).ok()?,
            });
        }
        let parts = List::new(heads)?;
        let plan = Plan { depth, parts };
        Some(Cut {
            state: self,
            digest: plan.digest(),
            plan,
            order,
            starts,
        })
    }
}

fn part_bytes_of(entries: &BTreeMap<Key, Value>, order: &[(Path, Key)]) -> Vec<u8> {
    let mut out = Vec::new();
    (order.len() as u32).write(&mut out);
    for (_, key) in order {
        if let Some(value) = entries.get(key) {
            key.write(&mut out);
            value.write(&mut out);
        }
    }
    out
}

impl Cut {
    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its parts.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What names its parts ([`Plan::digest`]).
    pub fn digest(&self) -> Digest256 {
        self.digest
    }

    /// Bytes of a part; `None` if there is none of this number.
    pub fn part(&self, part: u16) -> Option<Vec<u8>> {
        let part = usize::from(part);
        let start = *self.starts.get(part)?;
        let end = self.starts.get(part.saturating_add(1)).copied();
        let order = self.order.get(start..end.unwrap_or(self.order.len()))?;
        Some(part_bytes_of(&self.state.entries, order))
    }
}
