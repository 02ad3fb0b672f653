//! The public NVIDIA vectors. They are not part of this repository; without them the tests say so and check nothing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::bundle::{Base64, DeviceEvidence};
use hanzo_attestation::{Digest256, UnixTime};
use serde_json::Value;

/// 2026-07-01T00:00:00Z: the clock of the manifest.
pub const CLOCK: UnixTime = UnixTime(1_782_864_000);

pub struct Row {
    pub expect: String,
    pub clock: String,
    pub values: BTreeMap<String, String>,
    pub sha256: String,
}

pub struct Vectors {
    folder: PathBuf,
    pub rows: BTreeMap<String, Row>,
}

impl Vectors {
    pub fn load() -> Option<Self> {
        // A worktree lies one level deeper than a clone.
        let folder = ["/../../shared/vectors", "/../../../shared/vectors"]
            .map(|relative| Path::new(&format!("{}{relative}", env!("CARGO_MANIFEST_DIR"))).to_owned())
            .into_iter()
            .find(|f| f.join("MANIFEST.tsv").is_file());
        let Some(folder) = folder else {
            let _ = writeln!(
                std::io::stderr(),
                "VECTORS MISSING (shared/vectors beside the repository): real NVIDIA evidence was NOT checked"
            );
            return None;
        };
        let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
        let rows = manifest.lines().filter_map(|line| {
            let columns: Vec<_> = line.strip_prefix("nvidia/")?.split('\t').collect();
            let values = columns[5].split("; ").filter_map(|pair| pair.split_once('='));
            let row = Row {
                expect: columns[3].to_owned(),
                clock: columns[4].to_owned(),
                values: values.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                sha256: columns[8].to_owned(),
            };
            Some((columns[0].to_owned(), row))
        });
        Some(Self {
            rows: rows.collect(),
            folder,
        })
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let bytes = std::fs::read(self.folder.join("nvidia").join(name)).unwrap();
        assert_eq!(Digest256::of(&bytes).to_string(), self.rows[name].sha256, "{name}");
        bytes
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// A report of the set with the chain that the manifest names.
    pub fn evidence(&self, name: &str) -> DeviceEvidence {
        let arch = match name.rsplit('/').next().unwrap().split('_').next().unwrap() {
            "switch" => "ls10",
            word => word,
        };
        DeviceEvidence {
            arch: arch.into(),
            certificates: Base64(self.read(&self.rows[name].values["chain"])),
            kind: "nvidia".into(),
            report: Base64(self.read(name)),
        }
    }

    /// The devices of a serialised list, with the nonce that each entry states.
    pub fn list(&self, name: &str) -> Vec<(DeviceEvidence, String)> {
        let decode = |entry: &Value, member: &str| STANDARD.decode(entry[member].as_str().unwrap()).unwrap();
        let list = self.json(name);
        let entries = list.as_array().unwrap().iter().map(|entry| {
            let evidence = DeviceEvidence {
                arch: entry["arch"].as_str().unwrap().to_ascii_lowercase(),
                certificates: Base64(decode(entry, "certificate")),
                kind: "nvidia".into(),
                report: Base64(decode(entry, "evidence")),
            };
            (evidence, entry["nonce"].as_str().unwrap().to_owned())
        });
        entries.collect()
    }
}
