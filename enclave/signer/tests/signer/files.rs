//! The same with real files.

use std::fs;
use std::path::Path;

use hanzo_signer::{FileStorage, Role, Signer, SignerError};

use crate::doubles::{Counter, NETWORK, Released, key, notarize};

type OnFile = Signer<FileStorage, Counter>;

fn begin(path: &Path, counter: &Counter) -> Result<OnFile, SignerError> {
    let storage = FileStorage::create(path)?;
    Signer::create(Role::Consensus, NETWORK, key(1), storage, counter.clone())
}

fn reopen(path: &Path, counter: &Counter) -> Result<OnFile, SignerError> {
    let storage = FileStorage::open(path)?;
    Signer::open(Role::Consensus, NETWORK, key(1), storage, counter.clone())
}

fn code(result: Result<OnFile, SignerError>) -> &'static str {
    result.err().unwrap().code()
}

#[test]
fn deleting_truncating_rolling_back_and_copying_the_file_never_gives_a_second_signature() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("journal"), folder.path().join("kept"));
    let (counter, mut released) = (Counter::new(), Released::default());
    let mut signer = begin(&path, &counter).unwrap();
    released.take(&mut signer, &notarize(1, 1)).unwrap();
    fs::copy(&path, &kept).unwrap();
    released.take(&mut signer, &notarize(2, 1)).unwrap();
    // While it runs, nobody else opens its file; a copy opens, and then one of the two goes on.
    assert_eq!(code(reopen(&path, &counter)), "signer.journal.storage");
    drop(signer);

    // Rolled back.
    let newest = fs::read(&path).unwrap();
    fs::copy(&kept, &path).unwrap();
    assert_eq!(code(reopen(&path, &counter)), "signer.journal.older");
    // Truncated.
    fs::write(&path, &newest[..newest.len() - 1]).unwrap();
    assert_eq!(code(reopen(&path, &counter)), "signer.journal.older");
    // Deleted: neither opened nor begun again.
    fs::remove_file(&path).unwrap();
    assert_eq!(code(reopen(&path, &counter)), "signer.journal.storage");
    assert_eq!(code(begin(&path, &counter)), "signer.enrolled");
    // An empty file in its place.
    fs::write(&path, []).unwrap();
    assert_eq!(code(reopen(&path, &counter)), "signer.journal.older");
    // Copied: the copy signs, the first one finds the head moved.
    fs::write(&path, &newest).unwrap();
    fs::write(&kept, &newest).unwrap();
    let mut signer = reopen(&path, &counter).unwrap();
    let mut copy = reopen(&kept, &counter).unwrap();
    released.take(&mut copy, &notarize(3, 1)).unwrap();
    let refused = released.take(&mut signer, &notarize(3, 2)).unwrap_err();
    assert_eq!(refused.code(), "signer.freshness.moved");
    drop((signer, copy));
    assert_eq!(code(reopen(&path, &counter)), "signer.journal.diverged");
    let mut copy = reopen(&kept, &counter).unwrap();
    for view in 1..=3 {
        released.take(&mut copy, &notarize(view, 1)).unwrap();
        assert_eq!(copy.sign(&notarize(view, 2)).unwrap_err().code(), "signer.conflict");
    }
    assert_eq!(released.len(), 3);
}

#[test]
fn a_journal_is_made_once_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    drop(begin(&path, &Counter::new()).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(begin(&path, &Counter::new())), "signer.journal.storage");
}
