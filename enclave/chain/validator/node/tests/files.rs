//! Files of a validator's folder: what is taken away is gone on the disk, or it is an error.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use hanzo_chain_node::NodeError;
use hanzo_chain_node::files::remove;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Alone in its program: the limit is the whole process's.
#[test]
fn a_file_counts_as_taken_away_once_its_folder_is_on_the_disk_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stopped.key");
    let what = |outcome: Result<(), NodeError>| match outcome.unwrap_err() {
        NodeError::File { path: at, what, .. } => {
            assert_eq!(at, path);
            what
        }
        other => panic!("{other}"),
    };
    std::fs::write(&path, b"a key").unwrap();
    remove(&path).unwrap();
    assert!(!path.exists());
    assert_eq!(what(remove(&path)), "take away");

    // The folder cannot be opened: the file is gone, and whether it stays so nobody knows.
    std::fs::write(&path, b"a key").unwrap();
    let all = getrlimit(Resource::Nofile);
    let mut none = all;
    none.current = Some(0);
    setrlimit(Resource::Nofile, none).unwrap();
    let outcome = remove(&path);
    setrlimit(Resource::Nofile, all).unwrap();
    assert_eq!(what(outcome), "open its folder");
    assert!(!path.exists());
}
