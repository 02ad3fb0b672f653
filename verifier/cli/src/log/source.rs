//! Where a log of receipts lies: a folder that mirrors it, or a running `connect` in front of the guest.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_client::connect::{read_path, read_token};
use hanzo_log::NOTE_BYTES_MAX;
use hanzo_log::proof::{self, Subtree};
use hanzo_log::tile::{Kind, Tile, WIDTH, decode_entries, decode_hashes};
use hanzo_log::tree;
use zeroize::Zeroizing;

use super::tiles;
use crate::error::CliError;
use crate::{runtime, trust};

/// Longest tile: 256 leaves of 65,535 bytes with their lengths.
const TILE_BYTES_MAX: usize = 256 * (65_535 + 2);

/// A log of receipts to read from.
pub(crate) struct LogSource {
    name: String,
    place: LogPlace,
}

enum LogPlace {
    Folder(PathBuf),
    Endpoint {
        address: SocketAddr,
        token: Option<Zeroizing<String>>,
        runtime: tokio::runtime::Runtime,
    },
}

impl LogSource {
    /// A folder, or `http://ADDRESS:PORT`.
    pub(crate) fn open(text: &str, token_file: Option<&Path>) -> Result<Self, CliError> {
        let place = match text.strip_prefix("http://") {
            None if text.contains("://") => return Err(unusable(text)),
            None => LogPlace::Folder(text.into()),
            Some(rest) => {
                let rest = rest.trim_end_matches('/');
                let rest = rest.strip_suffix("/log").unwrap_or(rest);
                LogPlace::Endpoint {
                    address: rest.parse().map_err(|_| unusable(text))?,
                    token: token_file.map(read_token).transpose()?,
                    runtime: runtime()?,
                }
            }
        };
        Ok(Self {
            name: text.to_owned(),
            place,
        })
    }

    /// As the user named it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The head that the log shows.
    pub(crate) fn checkpoint(&self) -> Result<Vec<u8>, CliError> {
        match &self.place {
            LogPlace::Folder(folder) => trust::read(&folder.join("checkpoint")),
            LogPlace::Endpoint { .. } => self
                .fetch("checkpoint", NOTE_BYTES_MAX)?
                .ok_or_else(|| self.missing("checkpoint".into())),
        }
    }

    fn fetch(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, CliError> {
        match &self.place {
            LogPlace::Folder(_) => Ok(None),
            LogPlace::Endpoint {
                address,
                token,
                runtime,
            } => Ok(runtime.block_on(read_path(
                *address,
                &format!("/log/{path}"),
                token.as_ref().map(|token| token.as_str()),
                bytes_max,
            ))?),
        }
    }

    fn missing(&self, path: String) -> CliError {
        CliError::NoTile {
            log: self.name.clone(),
            path,
        }
    }

    fn one(&self, tile: &Tile) -> Result<Option<Vec<u8>>, CliError> {
        match &self.place {
            LogPlace::Folder(folder) => tiles::read(folder, tile),
            LogPlace::Endpoint { .. } => self.fetch(&tile.to_string(), TILE_BYTES_MAX),
        }
    }

    /// The tile, and how wide it is that lies there: a full one may have taken the place of a part of it.
    fn tile(&self, tile: &Tile) -> Result<(Vec<u8>, u16), CliError> {
        if let Some(bytes) = self.one(tile)? {
            return Ok((bytes, tile.width));
        }
        let full = Tile {
            width: WIDTH as u16,
            ..*tile
        };
        match self.one(&full)? {
            Some(bytes) => Ok((bytes, full.width)),
            None => Err(self.missing(tile.to_string())),
        }
    }

    /// The leaves of a bundle.
    pub(crate) fn entries(&self, bundle: &Tile) -> Result<Vec<Vec<u8>>, CliError> {
        let (bytes, width) = self.tile(bundle)?;
        let entries = decode_entries(&bytes, width).map_err(|source| self.broken(bundle, source))?;
        Ok(entries
            .into_iter()
            .take(usize::from(bundle.width))
            .map(<[u8]>::to_vec)
            .collect())
    }

    fn broken(&self, tile: &Tile, source: hanzo_log::LogError) -> CliError {
        CliError::LogFile {
            path: format!("{}: {tile}", self.name).into(),
            source,
        }
    }

    /// The path of leaf `index` in the tree of `size` leaves, out of tiles of hashes; nothing of it is checked yet.
    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Result<Option<Vec<Digest256>>, CliError> {
        proof::inclusion(index, size, &mut |at| self.subtree(at, size))
    }

    /// What proves that the tree of `size` leaves extends that of `old`, out of tiles of hashes; nothing of it is checked yet.
    pub(crate) fn consistency(&self, old: u64, size: u64) -> Result<Option<Vec<Digest256>>, CliError> {
        proof::consistency(old, size, &mut |at| self.subtree(at, size))
    }

    fn subtree(&self, at: Subtree, size: u64) -> Result<Digest256, CliError> {
        let within = at.height % 8;
        let first = at.index << within;
        // Sizes are below 2^53, so levels are at most 6.
        let level = (at.height / 8) as u8;
        let index = first / WIDTH;
        let there = (size >> (8 * u32::from(level)))
            .saturating_sub(index * WIDTH)
            .min(WIDTH);
        let tile = Tile {
            kind: Kind::Hashes { level },
            index,
            width: there as u16,
        };
        let (bytes, width) = self.tile(&tile)?;
        let hashes = decode_hashes(&bytes, width).map_err(|source| self.broken(&tile, source))?;
        let from = (first % WIDTH) as usize;
        let of = hashes.get(from..from + (1 << within));
        Ok(tree::root(of.ok_or_else(|| self.missing(tile.to_string()))?))
    }
}

fn unusable(text: &str) -> CliError {
    CliError::Usage {
        option: "--log, --receipts",
        expected: "a folder, or http://ADDRESS:PORT of a running `hanzo-verify connect`",
        got: text.to_owned(),
    }
}
