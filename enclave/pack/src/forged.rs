//! What a hostile holder of the DEK can seal: authentic tables and chunks that break the format. And the worked example.

use std::fs;

use hanzo_attestation::Digest256;
use hanzo_pqc::Dek;

use crate::open::{open, open_from};
use crate::seal::{seal_forged, seal_with_salt};
use crate::source::{Medium, Source};
use crate::table::{FileName, PackedFile, Table, chunk_leaf};

fn dek() -> Dek {
    Dek::from_slice(&[1; 32]).unwrap()
}

fn table(data: &[u8]) -> Table {
    Table {
        files: vec![PackedFile {
            name: FileName::new("a").unwrap(),
            size: data.len() as u64,
        }],
        leaves: vec![chunk_leaf(data)],
    }
}

fn refused(table: &[u8], data: &[&[u8]], root: Digest256) -> &'static str {
    let dir = tempfile::tempdir().unwrap();
    let pack = dir.path().join("forged.pack");
    seal_forged(&pack, &dek(), [3; 32], table, data);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let error = open(&pack, &dek(), &root, &out, &|_| ()).unwrap_err();
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "{error}");
    error.code()
}

#[test]
fn chunks_that_are_not_under_the_root_are_refused_even_if_authentic() {
    let good = table(b"hello");
    assert_eq!(
        refused(&good.encode(), &[b"hellO"], good.weights_root()),
        "pack.chunk.leaf"
    );
    assert_eq!(
        refused(&good.encode(), &[b"hell"], good.weights_root()),
        "pack.truncated"
    );
    assert_eq!(
        refused(&good.encode(), &[b"hello!"], good.weights_root()),
        "pack.trailing"
    );
    assert_eq!(
        refused(&good.encode(), &[b"hello", b""], good.weights_root()),
        "pack.table.malformed"
    );
}

#[test]
fn authentic_tables_with_paths_or_extra_bytes_are_refused() {
    let good = table(b"hello");
    let root = good.weights_root();
    for name in [&b"../../etc/passwd"[..], b"/etc", b".ssh", b"a/b"] {
        let mut bytes = 1_u32.to_be_bytes().to_vec();
        bytes.push(name.len() as u8);
        bytes.extend(name);
        bytes.extend(5_u64.to_be_bytes());
        bytes.extend(good.leaves[0].as_bytes());
        assert_eq!(refused(&bytes, &[b"hello"], root), "pack.table.malformed");
    }
    let longer = [&good.encode()[..], &[0]].concat();
    assert_eq!(refused(&longer, &[b"hello"], root), "pack.table.malformed");
}

#[test]
fn a_disk_ends_with_the_sector_that_its_pack_ends_in() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("disk");
    let good = table(b"hello");
    seal_forged(&place, &dek(), [3; 32], &good.encode(), &[b"hello"]);
    let pack = fs::read(&place).unwrap();
    assert_ne!(pack.len() % 512, 0);
    let try_open = |medium, bytes: &[u8]| {
        fs::write(&place, bytes).unwrap();
        let file = fs::File::open(&place).unwrap();
        let out = tempfile::tempdir().unwrap();
        let source = Source::of(&place, file, bytes.len() as u64, medium)?;
        open_from(source, &dek(), &good.weights_root(), out.path(), &|_| ()).map(|opened| opened.files.len())
    };
    let code = |medium, bytes: &[u8]| try_open(medium, bytes).unwrap_err().code();
    let mut disk = pack.clone();
    disk.resize(pack.len().next_multiple_of(512), 0);
    assert_eq!(try_open(Medium::Disk, &disk).unwrap(), 1);
    assert_eq!(code(Medium::File, &disk), "pack.trailing");
    assert_eq!(code(Medium::Disk, &[&disk[..], &[0; 512]].concat()), "pack.trailing");
    *disk.last_mut().unwrap() = 1;
    assert_eq!(code(Medium::Disk, &disk), "pack.trailing");
    // A disk of whole sectors that lost one.
    assert_eq!(code(Medium::Disk, &pack[..pack.len() - 1]), "pack.truncated");
    assert_eq!(code(Medium::Disk, &[]), "pack.header");
}

#[test]
fn the_worked_example_of_the_specification_is_what_the_code_writes() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("model.gguf"), b"weights").unwrap();
    fs::write(model.join("tokenizer.json"), b"{}").unwrap();
    let pack = dir.path().join("example.pack");
    let sealed = seal_with_salt(&model, &dek(), &pack, [2; 32], &|_| ()).unwrap();
    let bytes = fs::read(&pack).unwrap();
    let spec = include_str!("../SPEC.md");
    for value in [
        hex::encode(&bytes[..64]),
        sealed.weights_root.to_string(),
        bytes.len().to_string(),
        Digest256::of(&bytes).to_string(),
    ] {
        assert!(spec.contains(&value), "{value}");
    }
}
