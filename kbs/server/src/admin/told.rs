//! What the audit chain tells of proposals, image versions and tenants' documents, compared with the tables.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_attestation::Digest384;
use hanzo_store::{StoreError, Tx};

use crate::audit::Line;
use crate::tenant::{self, Document, SET_RELEASE};

/// Collects while the chain is replayed.
#[derive(Default)]
pub(crate) struct Told {
    floors: BTreeMap<String, u64>,
    proposed: BTreeSet<String>,
    approved: BTreeSet<String>,
    /// By name: the digest of each version, from the first.
    documents: BTreeMap<(String, u64), Option<Digest384>>,
}

const IMAGE: &str = "image ";

/// What a grant's line says of its image.
pub(crate) fn about_image(version: u64) -> String {
    format!("{IMAGE}{version}")
}

impl Told {
    pub(crate) fn see(&mut self, line: &Line) {
        if [
            Document::ResourcePolicy.action(),
            Document::ReferenceValues.action(),
            SET_RELEASE,
        ]
        .contains(&line.action.as_str())
        {
            self.documents
                .insert((line.key_id.clone(), line.key_version), line.policy);
        }
        let Some(about) = &line.about else {
            return;
        };
        match line.action.as_str() {
            "grant" => {
                if let Some(version) = about.strip_prefix(IMAGE).and_then(|v| v.parse().ok()) {
                    let floor = self.floors.entry(line.key_id.clone()).or_insert(version);
                    *floor = version.max(*floor);
                }
            }
            "propose" => drop(self.proposed.insert(about.clone())),
            "approve" => drop(self.approved.insert(about.clone())),
            _ => {}
        }
    }

    /// What does not match, if something does not.
    pub(crate) fn differs(&self, tx: &Tx<'_>) -> Result<Option<String>, StoreError> {
        let mut floors = BTreeMap::new();
        for row in tx.query("SELECT key_id, newest FROM image_floors", &[])? {
            floors.insert(row.text(0)?.to_owned(), row.unsigned(1)?);
        }
        if floors != self.floors {
            return Ok(Some("image versions are not those that the decisions tell of".into()));
        }
        let (mut proposed, mut approved) = (BTreeSet::new(), BTreeSet::new());
        for row in tx.query("SELECT id, approved FROM proposals", &[])? {
            let id = hex::encode(row.blob(0)?);
            if row.integer(1)? != 0 {
                approved.insert(id.clone());
            }
            proposed.insert(id);
        }
        if proposed != self.proposed || approved != self.approved {
            return Ok(Some("proposals are not those that the decisions tell of".into()));
        }
        let stored = tenant::all(tx)?.into_iter();
        let stored: BTreeMap<_, _> = stored
            .map(|(name, version, digest)| ((name, version), Some(digest)))
            .collect();
        if stored != self.documents {
            return Ok(Some(
                "tenants' documents are not those that the decisions tell of".into(),
            ));
        }
        Ok(None)
    }
}
