//! The root split among several operators: any `threshold` of `total` shares give it back, fewer tell nothing.
//!
//! # Layout
//! Shamir's scheme over GF(256) (crate vsss-rs), byte by byte. The broker keeps a set file without any secret
//! `{"commitment","format":"hanzo.root-shares.v1","set","threshold","total"}`; each operator keeps a share file
//! ([`share`]).

mod share;

use std::collections::BTreeSet;
use std::path::PathBuf;

use hanzo_pqc::random;
use hanzo_vault::Root;
use serde::{Deserialize, Serialize};
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use self::share::{ShareFile, YBytes};
use crate::config::Share;
use crate::document::{Document, bytes, committed};
use crate::passphrase::Cost;
use crate::{RootError, RootProvider, Surroundings};

/// Most operators.
const TOTAL_MAX: usize = 32;

pub(crate) struct Shamir {
    pub(crate) path: PathBuf,
    pub(crate) threshold: u8,
    pub(crate) shares: Vec<Share>,
    pub(crate) cost: Cost,
    pub(crate) surroundings: Surroundings,
}

/// What all shares of one splitting have in common.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    commitment: String,
    format: String,
    set: String,
    threshold: u8,
    total: u8,
}

impl Document for Set {
    const WHAT: &'static str = "set file of the root's shares";
    const FORMAT: &'static str = "hanzo.root-shares.v1";

    fn format(&self) -> &str {
        &self.format
    }
}

impl Shamir {
    fn check(&self) -> Result<(), RootError> {
        let total = self.shares.len();
        for (field, holds, expected, got) in [
            ("shares", (2..=TOTAL_MAX).contains(&total), "2 to 32", total),
            (
                "threshold",
                (2..=total).contains(&self.threshold.into()),
                "2 to the number of shares",
                self.threshold.into(),
            ),
        ] {
            if !holds {
                return Err(RootError::Range {
                    what: "shamir".into(),
                    field,
                    expected,
                    got: got as u64,
                });
            }
        }
        Ok(())
    }
}

impl RootProvider for Shamir {
    fn kind(&self) -> &'static str {
        "shamir"
    }

    /// Reads the shares that are there; those of operators who did not come are left out.
    fn load(&self) -> Result<Root, RootError> {
        self.check()?;
        let set = Set::read(&self.path)?;
        let _: [u8; 16] = bytes(&self.path, "set", &set.set)?;
        let mut indices = BTreeSet::new();
        let mut points = Zeroizing::new(Vec::new());
        for place in &self.shares {
            let file = match ShareFile::read(&place.path) {
                Err(RootError::Missing { .. }) => continue,
                read => read?,
            };
            file.verify(&place.path)?;
            if (&file.set, file.threshold, file.total) != (&set.set, set.threshold, set.total) {
                return Err(RootError::ShareSet {
                    path: place.path.clone(),
                });
            }
            if !indices.insert(file.index) {
                return Err(RootError::DuplicateShare {
                    path: place.path.clone(),
                    index: file.index,
                });
            }
            let y = file.open(place, &self.surroundings)?;
            let mut point = Vec::with_capacity(1 + Root::LEN);
            point.push(file.index);
            point.extend_from_slice(y.as_slice());
            points.push(point);
        }
        let need = usize::from(set.threshold);
        if points.len() < need {
            return Err(RootError::TooFewShares {
                have: points.len(),
                need,
            });
        }
        // Every share that is there counts: an altered one beyond the threshold is noticed too.
        let opened = Zeroizing::new(
            Gf256::combine_bytes(points.as_slice()).map_err(|_| RootError::Commitment {
                what: self.path.display().to_string(),
            })?,
        );
        committed(&self.path, &opened, &set.commitment)
    }

    /// The set file. Shares are there while operators are.
    fn reachable(&self) -> Result<(), RootError> {
        Set::read(&self.path).map(drop)
    }

    fn keep(&self, root: &Root) -> Result<(), RootError> {
        self.check()?;
        let files = self.shares.iter().map(|s| &s.path).chain([&self.path]);
        if let Some(path) = files.into_iter().find(|path| path.exists()) {
            return Err(RootError::Exists { path: path.clone() });
        }
        let mut id = [0; 16];
        random::fill(&mut id)?;
        let total = self.shares.len();
        let set = Set {
            commitment: hex::encode(root.commitment()?),
            format: Set::FORMAT.into(),
            set: hex::encode(id),
            threshold: self.threshold,
            total: total as u8,
        };
        let mut generator = Generator { failed: false };
        let split = Gf256::split_bytes(self.threshold.into(), total, root.expose(), &mut generator);
        let points = Zeroizing::new(split.map_err(|_| hanzo_pqc::PqcError::Backend { what: "secret sharing" })?);
        if generator.failed {
            return Err(hanzo_pqc::PqcError::Backend {
                what: "random generator",
            }
            .into());
        }
        let some = points.get(..self.threshold.into()).unwrap_or_default();
        let opened = Gf256::combine_bytes(some).map(Zeroizing::new);
        committed(
            &self.path,
            opened.as_deref().map_or(&[], Vec::as_slice),
            &set.commitment,
        )?;
        for (place, point) in self.shares.iter().zip(points.iter()) {
            let (index, y) = point
                .split_first()
                .ok_or(hanzo_pqc::PqcError::Backend { what: "secret sharing" })?;
            let y: YBytes = y
                .try_into()
                .map(Zeroizing::new)
                .map_err(|_| hanzo_pqc::PqcError::Backend { what: "secret sharing" })?;
            ShareFile::make(&set, *index, &y, place, self.cost, &self.surroundings)?.write_new(&place.path)?;
        }
        set.write_new(&self.path)
    }
}

/// AWS-LC's generator, for a library that takes one which cannot fail: a failure is remembered and undoes the split.
struct Generator {
    failed: bool,
}

impl rand_core::TryRng for Generator {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        if random::fill(out).is_err() {
            self.failed = true;
            // Not zeros: the library may draw again until it likes what it gets.
            out.fill(1);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Generator {}
