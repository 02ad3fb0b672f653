//! Cargo's lock file: packages, checksums, and who needs whom.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_attestation::Digest256;
use serde::Deserialize;

use crate::error::ImageError;

/// A package of the lock file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// Of the archive on crates.io; none for this workspace's own.
    pub(super) checksum: Option<Digest256>,
    needs: Vec<String>,
}

/// The lock file.
pub(super) struct Lock {
    /// By name, then version.
    crates: BTreeMap<String, BTreeMap<String, Crate>>,
}

#[derive(Deserialize)]
struct File {
    version: u32,
    package: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<Digest256>,
    #[serde(default)]
    dependencies: Vec<String>,
}

fn wrong(what: impl Into<String>) -> ImageError {
    ImageError::Lock { what: what.into() }
}

impl Lock {
    pub(super) fn parse(text: &str) -> Result<Self, ImageError> {
        let file: File = toml::from_str(text).map_err(|e| wrong(e.message()))?;
        if file.version != 4 {
            return Err(wrong(format!("version {}", file.version)));
        }
        let mut crates: BTreeMap<String, BTreeMap<String, Crate>> = BTreeMap::new();
        for entry in file.package {
            // What comes from elsewhere is named by its bytes, or it is nobody's.
            if entry.source.is_some() && entry.checksum.is_none() {
                return Err(wrong(format!("{} {} has no checksum", entry.name, entry.version)));
            }
            let versions = crates.entry(entry.name.clone()).or_default();
            let known = Crate {
                name: entry.name.clone(),
                version: entry.version.clone(),
                checksum: entry.checksum,
                needs: entry.dependencies,
            };
            if versions.insert(entry.version.clone(), known).is_some() {
                return Err(wrong(format!("{} {} stands there twice", entry.name, entry.version)));
            }
        }
        Ok(Self { crates })
    }

    /// The only package of this name.
    pub(super) fn root(&self, name: &str) -> Option<&Crate> {
        let versions = self.crates.get(name)?;
        versions.values().next().filter(|_| versions.len() == 1)
    }

    /// `name`, or `name version` where there are several.
    fn find(&self, need: &str) -> Option<&Crate> {
        let mut words = need.split(' ');
        let name = words.next()?;
        match words.next() {
            Some(version) => self.crates.get(name)?.get(version),
            None => self.root(name),
        }
    }

    pub(super) fn dependencies(&self, of: &Crate) -> Vec<&Crate> {
        of.needs.iter().filter_map(|need| self.find(need)).collect()
    }

    /// The roots and all that they need, directly or not.
    pub(super) fn reachable(&self, roots: &[&str]) -> Result<BTreeSet<&Crate>, ImageError> {
        let mut seen = BTreeSet::new();
        let mut open = Vec::new();
        for name in roots {
            open.push(self.root(name).ok_or_else(|| wrong(format!("there is no {name}")))?);
        }
        while let Some(next) = open.pop() {
            if !seen.insert(next) {
                continue;
            }
            for need in &next.needs {
                let found = self.find(need);
                open.push(found.ok_or_else(|| wrong(format!("{} needs {need}, which is not there", next.name)))?);
            }
        }
        Ok(seen)
    }
}
