//! The public vectors, which are not part of this repository. Without them the tests say so and check nothing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;

pub struct Row {
    pub expect: String,
    pub values: BTreeMap<String, String>,
    sha256: String,
}

/// Every file of the manifest whose path starts with a prefix.
pub struct Vectors {
    folder: PathBuf,
    pub rows: BTreeMap<String, Row>,
}

impl Vectors {
    /// `None` if the vectors are not there.
    pub fn load(prefix: &str) -> Option<Self> {
        // A worktree lies one level deeper than a clone.
        let folder = ["/../../shared/vectors", "/../../../shared/vectors"]
            .map(|up| PathBuf::from(format!("{}{up}", env!("CARGO_MANIFEST_DIR"))))
            .into_iter()
            .find(|f| f.join("MANIFEST.tsv").is_file());
        let Some(folder) = folder else {
            let _ = writeln!(
                std::io::stderr(),
                "VECTORS MISSING (shared/vectors beside the repository): real evidence under {prefix} was NOT checked"
            );
            return None;
        };
        let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
        let rows = manifest.lines().filter(|line| line.starts_with(prefix)).map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let values = columns[5].split("; ").filter_map(|pair| pair.split_once('='));
            let row = Row {
                expect: columns[3].to_owned(),
                values: values.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                sha256: columns[8].to_owned(),
            };
            (columns[0].to_owned(), row)
        });
        Some(Self {
            rows: rows.collect(),
            folder,
        })
    }

    /// The file's bytes, which must be those of the manifest.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let bytes = std::fs::read(Path::new(&self.folder).join(path)).unwrap();
        assert_eq!(
            Digest256::of(&bytes).to_string(),
            self.rows[path].sha256,
            "{path}: another file than listed"
        );
        bytes
    }
}
