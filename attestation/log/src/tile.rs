//! Tiles: a log as files that never change (C2SP tlog-tiles).
//!
//! # Layout
//! `tile/<L>/<N>[.p/<W>]`: up to 256 hashes of 32 bytes; at level 0 of leaves, above of full tiles below.
//! `tile/entries/<N>[.p/<W>]`: up to 256 entries, each after its length (u16, big endian). `<N>` is written in groups of three
//! digits, all but the last after an `x`; `.p/<W>` only where fewer than 256 are there.

use std::fmt;

use hanzo_attestation::Digest256;

use crate::{Completed, LogError, SIZE_MAX};

/// Hashes or entries of a full tile.
pub const WIDTH: u64 = 256;
/// Highest level that a log of [`SIZE_MAX`] entries has.
pub const LEVEL_MAX: u8 = 6;

/// Which kind of tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Hashes of one level.
    Hashes {
        /// 0 for leaves, 1 for full tiles of leaves, and so on.
        level: u8,
    },
    /// The entries themselves.
    Entries,
}

/// Which tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// Of what.
    pub kind: Kind,
    /// Which of its level, from 0.
    pub index: u64,
    /// How many hashes or entries are in it: 1 to 256.
    pub width: u16,
}

impl Tile {
    /// Reads a path; the one spelling there is.
    ///
    /// # Errors
    /// [`LogError::TilePath`].
    pub fn parse(path: &str) -> Result<Self, LogError> {
        let refuse = |what| LogError::TilePath { what };
        let rest = path
            .strip_prefix("tile/")
            .ok_or(refuse("expected tile/<L>/<N>[.p/<W>]"))?;
        let (kind, rest) = rest.split_once('/').ok_or(refuse("expected tile/<L>/<N>[.p/<W>]"))?;
        let kind = match kind {
            "entries" => Kind::Entries,
            _ => Kind::Hashes {
                level: (0..=LEVEL_MAX)
                    .find(|level| level.to_string() == kind)
                    .ok_or(refuse("level: expected entries or 0 to 6"))?,
            },
        };
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, WIDTH as u16),
            Some((index, width)) => (
                index,
                (1..WIDTH as u16)
                    .find(|w| w.to_string() == width)
                    .ok_or(refuse("width: expected 1 to 255"))?,
            ),
        };
        let mut number = 0_u64;
        if index.len() > 7 * 5 {
            return Err(refuse("index: too long"));
        }
        for part in index.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(refuse("index: expected groups of three digits"));
            }
            let group: u64 = digits
                .parse()
                .map_err(|_| refuse("index: expected groups of three digits"))?;
            number = number
                .checked_mul(1000)
                .and_then(|n| n.checked_add(group))
                .filter(|n| *n <= SIZE_MAX)
                .ok_or(refuse("index: too large"))?;
        }
        let tile = Self {
            kind,
            index: number,
            width,
        };
        match tile.to_string() == path {
            true => Ok(tile),
            false => Err(refuse("index: leading zeroes or a missing x")),
        }
    }

    /// Height of the subtrees whose roots the tile holds.
    pub fn height(&self) -> u32 {
        match self.kind {
            Kind::Entries => 0,
            Kind::Hashes { level } => 8 * u32::from(level),
        }
    }

    /// Number of the first hash or entry, within its level.
    pub fn start(&self) -> u64 {
        self.index.saturating_mul(WIDTH)
    }

    /// Whether a log of `size` entries has this tile.
    pub fn exists_in(&self, size: u64) -> bool {
        let there = size >> self.height();
        self.start().saturating_add(u64::from(self.width)) <= there
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Entries => f.write_str("tile/entries/")?,
            Kind::Hashes { level } => write!(f, "tile/{level}/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for (n, group) in groups.iter().enumerate().rev() {
            match n {
                0 => write!(f, "{group:03}")?,
                _ => write!(f, "x{group:03}/")?,
            }
        }
        match u64::from(self.width) {
            WIDTH => Ok(()),
            width => write!(f, ".p/{width}"),
        }
    }
}

/// The tiles of one level that a log of `size` entries consists of.
pub fn of_level(kind: Kind, size: u64) -> impl Iterator<Item = Tile> {
    let height = Tile {
        kind,
        index: 0,
        width: 1,
    }
    .height();
    let there = size >> height;
    (0..there.div_ceil(WIDTH)).map(move |index| Tile {
        kind,
        index,
        width: (there - index * WIDTH).min(WIDTH) as u16,
    })
}

/// Every tile that a log of `size` entries consists of: levels of hashes, lowest first, then entries.
pub fn all(size: u64) -> impl Iterator<Item = Tile> {
    (0..=LEVEL_MAX)
        .map(|level| Kind::Hashes { level })
        .chain([Kind::Entries])
        .flat_map(move |kind| of_level(kind, size))
}

/// Cuts a log into tiles as it grows.
#[derive(Debug, Clone, Default)]
pub struct TileWriter {
    /// Bytes of the tile that grows, for each level of hashes.
    levels: Vec<Vec<u8>>,
    bundle: Vec<u8>,
    size: u64,
}

impl TileWriter {
    /// Takes an entry and what [`crate::Frontier::push`] said of it; gives the tiles that are full now.
    ///
    /// # Errors
    /// [`LogError::EntryTooLong`].
    pub fn push(&mut self, entry: &[u8], completed: &[Completed]) -> Result<Vec<(Tile, Vec<u8>)>, LogError> {
        encode_entry(&mut self.bundle, entry)?;
        self.size += 1;
        for subtree in completed.iter().filter(|c| c.height.is_multiple_of(8)) {
            let level = (subtree.height / 8) as usize;
            while self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            if let Some(bytes) = self.levels.get_mut(level) {
                bytes.extend_from_slice(&subtree.hash.0);
            }
        }
        let mut full = self.take(false);
        if self.size.is_multiple_of(WIDTH) {
            full.push((self.tile(Kind::Entries, WIDTH), std::mem::take(&mut self.bundle)));
        }
        Ok(full)
    }

    /// Ends the log here: the tiles that are not full.
    pub fn finish(mut self) -> Vec<(Tile, Vec<u8>)> {
        let mut partial = self.take(true);
        if !self.bundle.is_empty() {
            partial.push((self.tile(Kind::Entries, self.size % WIDTH), self.bundle));
        }
        partial
    }

    fn take(&mut self, partial: bool) -> Vec<(Tile, Vec<u8>)> {
        let mut tiles = Vec::new();
        for (level, bytes) in (0_u8..).zip(std::mem::take(&mut self.levels)) {
            let width = (bytes.len() / Digest256::LEN) as u64;
            match width == WIDTH || (partial && width > 0) {
                true => {
                    tiles.push((self.tile(Kind::Hashes { level }, width), bytes));
                    self.levels.push(Vec::new());
                }
                false => self.levels.push(bytes),
            }
        }
        tiles
    }

    /// The tile of this kind that holds the newest of `width` hashes or entries.
    fn tile(&self, kind: Kind, width: u64) -> Tile {
        let tile = Tile {
            kind,
            index: 0,
            width: width as u16,
        };
        let there = self.size >> tile.height();
        Tile {
            index: there.saturating_sub(1) / WIDTH,
            ..tile
        }
    }
}

/// Reads a tile of hashes that must be `width` wide.
///
/// # Errors
/// [`LogError::Tile`].
pub fn decode_hashes(bytes: &[u8], width: u16) -> Result<Vec<Digest256>, LogError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(width) {
        return Err(LogError::Tile {
            what: "not 32 bytes for every hash that its path names",
        });
    }
    Ok(hashes.iter().copied().map(Digest256).collect())
}

/// Appends one entry to a bundle.
///
/// # Errors
/// [`LogError::EntryTooLong`].
pub fn encode_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), LogError> {
    let length = u16::try_from(entry.len()).map_err(|_| LogError::EntryTooLong { got: entry.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Reads a bundle that must hold `width` entries.
///
/// # Errors
/// [`LogError::Tile`].
pub fn decode_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, LogError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) =
            after
                .split_at_checked(usize::from(u16::from_be_bytes(*length)))
                .ok_or(LogError::Tile {
                    what: "an entry is cut off",
                })?;
        entries.push(entry);
        rest = after;
        if entries.len() > usize::from(width) {
            break;
        }
    }
    if !rest.is_empty() || entries.len() != usize::from(width) {
        return Err(LogError::Tile {
            what: "not as many entries as its path names",
        });
    }
    Ok(entries)
}
