//! Compaction: the same guard out of a shorter file, whatever crashes in between and whatever the host puts back.

use std::fs;
use std::path::Path;

use hanzo_signer::{Claim, FileStorage, Floor, Role, SignRequest, Signer, SignerError, Subject};

use crate::doubles::{Counter, Disk, Fault, Line, NETWORK, Released, TestSigner, create, key, notarize, open, vote};

/// Everything that would be a second signature after [`voted`].
fn attack(signer: &mut TestSigner, released: &mut Released) {
    for view in 1..=4 {
        for request in [
            notarize(view, 2),
            SignRequest::finalize(NETWORK, vote(view, 2)),
            SignRequest::nullify(NETWORK, 0, view),
        ] {
            assert!(released.take(signer, &request).is_err(), "view {view}");
        }
    }
    // What stands above the floor is replayed byte for byte.
    released.take(signer, &notarize(4, 1)).unwrap();
    released
        .take(signer, &SignRequest::finalize(NETWORK, vote(4, 1)))
        .unwrap();
}

/// Four views voted for, two of them settled.
fn voted(disk: &Disk, counter: &Counter, released: &mut Released) -> TestSigner {
    let mut signer = create(1, disk, counter).unwrap();
    for view in 1..=4 {
        for request in [notarize(view, 1), SignRequest::finalize(NETWORK, vote(view, 1))] {
            released.take(&mut signer, &request).unwrap();
        }
    }
    signer.raise(Floor::Votes { epoch: 0, view: 2 }).unwrap();
    signer
}

#[test]
fn a_compacted_journal_is_shorter_and_remembers_the_same() {
    let (disk, counter, mut released) = (Disk::new(), Counter::new(), Released::default());
    let mut signer = voted(&disk, &counter, &mut released);
    let (before, export, head) = (disk.copy().len(), signer.export().unwrap(), signer.head());
    signer.compact().unwrap();
    assert!(
        disk.copy().len() * 2 < before + 1000,
        "{} of {before} bytes",
        disk.copy().len()
    );
    assert_eq!(signer.journal_bytes(), disk.copy().len() as u64);
    assert!(signer.head().count > head.count, "numbers count on");
    assert_eq!(signer.export().unwrap(), export);
    attack(&mut signer, &mut released);
    drop(signer);

    // Opened from the short file: the same history, the same refusals, and it goes on, again and again.
    for view in 5..=7 {
        let mut signer = open(1, &disk, &counter).unwrap();
        assert_eq!(signer.sign(&notarize(2, 1)).unwrap_err().code(), "signer.below_floor");
        attack(&mut signer, &mut released);
        if view == 5 {
            assert_eq!(signer.export().unwrap(), export);
        }
        released.take(&mut signer, &notarize(view, 1)).unwrap();
        signer.compact().unwrap();
        assert_eq!(signer.sign(&notarize(view, 2)).unwrap_err().code(), "signer.conflict");
    }
    let mut signer = open(1, &disk, &counter).unwrap();
    attack(&mut signer, &mut released);
    for view in 5..=7 {
        released.take(&mut signer, &notarize(view, 1)).unwrap();
    }
}

#[test]
fn every_kind_of_place_survives_a_compaction() {
    let (disk, counter) = (Disk::new(), Counter::new());
    let mut signer = Signer::create(Role::Bridge, NETWORK, key(3), disk.clone(), counter.clone()).unwrap();
    let claim = |recipient: u8, claim_epoch| SignRequest {
        network: NETWORK,
        subject: Subject::TeleportClaim(Claim {
            chain_id: 1,
            contract: [1; 20],
            teleport_id: [2; 32],
            token: [3; 20],
            recipient: [recipient; 20],
            amount: 5,
            height: 6,
            block: [7; 32],
            validator_set: [8; 32],
            claim_epoch,
        }),
    };
    let signature = signer.sign(&claim(4, 1)).unwrap();
    signer.compact().unwrap();
    drop(signer);
    let mut signer = Signer::open(Role::Bridge, NETWORK, key(3), disk, counter).unwrap();
    assert_eq!(signer.sign(&claim(4, 1)).unwrap(), signature);
    assert_eq!(signer.sign(&claim(9, 1)).unwrap_err().code(), "signer.conflict");
    // The terms hold in every claim epoch.
    assert_eq!(signer.sign(&claim(9, 2)).unwrap_err().code(), "signer.terms");
    signer.sign(&claim(4, 2)).unwrap();

    let (disk, counter) = (Disk::new(), Counter::new());
    let mut wallet = Signer::create(Role::Wallet, NETWORK, key(4), disk.clone(), counter.clone()).unwrap();
    let on = |subject| SignRequest {
        network: NETWORK,
        subject,
    };
    let transaction = |nonce, body| {
        on(Subject::Transaction {
            nonce,
            body: [body; 32],
        })
    };
    let rotation = |incarnation, key| {
        on(Subject::RotateKey {
            validator: [1; 32],
            incarnation,
            key: [key; 32],
            evidence: [3; 32],
        })
    };
    wallet.sign(&transaction(7, 1)).unwrap();
    wallet.sign(&rotation(3, 1)).unwrap();
    wallet.raise(Floor::Transactions(5)).unwrap();
    wallet.compact().unwrap();
    drop(wallet);
    let mut wallet = Signer::open(Role::Wallet, NETWORK, key(4), disk, counter).unwrap();
    for (refused, code) in [
        (transaction(7, 2), "signer.conflict"),
        (transaction(5, 2), "signer.below_floor"),
        (rotation(3, 2), "signer.conflict"),
        (rotation(2, 2), "signer.incarnation"),
    ] {
        assert_eq!(wallet.sign(&refused).unwrap_err().code(), code);
    }
    wallet.sign(&transaction(6, 1)).unwrap();
    wallet.sign(&rotation(4, 1)).unwrap();
}

#[test]
fn a_crash_at_any_point_of_a_compaction_leaves_the_same_guard() {
    let staged = [0, 1, 40, 200, 4000, usize::MAX].map(|bytes| (Fault::Stage { bytes }, Line::Good));
    let others = [
        (Fault::None, Line::Down),
        (Fault::None, Line::ReplyLost),
        (Fault::BeforeAdopt, Line::Good),
        (Fault::AfterAdopt, Line::Good),
    ];
    for (fault, line) in staged.into_iter().chain(others) {
        let (disk, counter, mut released) = (Disk::new(), Counter::new(), Released::default());
        let mut signer = voted(&disk, &counter, &mut released);
        let export = signer.export().unwrap();
        *disk.fault.lock().unwrap() = fault;
        *counter.line.lock().unwrap() = line;
        signer.compact().unwrap_err();
        assert_eq!(signer.sign(&notarize(9, 1)).unwrap_err().code(), "signer.halted");
        drop(signer);
        *disk.fault.lock().unwrap() = Fault::None;
        *counter.line.lock().unwrap() = Line::Good;
        for _ in 0..2 {
            let mut signer = open(1, &disk, &counter).unwrap();
            assert_eq!(signer.export().unwrap(), export);
            attack(&mut signer, &mut released);
        }
        let mut signer = open(1, &disk, &counter).unwrap();
        released.take(&mut signer, &notarize(5, 1)).unwrap();
        signer.compact().unwrap();
        drop(signer);
        let mut signer = open(1, &disk, &counter).unwrap();
        attack(&mut signer, &mut released);
        assert_eq!(signer.sign(&notarize(5, 2)).unwrap_err().code(), "signer.conflict");
    }
}

/// A disk that holds nothing but `bytes`.
fn opened(bytes: &[u8], counter: &Counter) -> Result<TestSigner, SignerError> {
    open(1, &Disk::of(bytes.to_vec()), counter)
}

#[test]
fn what_stood_before_a_compaction_is_never_taken_again() {
    let (disk, counter, mut released) = (Disk::new(), Counter::new(), Released::default());
    let mut signer = voted(&disk, &counter, &mut released);
    let old = disk.copy();
    signer.compact().unwrap();
    let compacted = disk.copy();
    released.take(&mut signer, &notarize(5, 1)).unwrap();
    let newest = disk.copy();
    signer.compact().unwrap();
    let second = disk.copy();
    drop(signer);
    for older in [&old, &compacted, &newest] {
        let refused = opened(older, &counter).err().unwrap();
        assert_eq!(refused.code(), "signer.journal.older");
    }
    // Cut anywhere, changed anywhere.
    for len in (0..second.len()).step_by(97).chain([second.len() - 1]) {
        let refused = opened(&second[..len], &counter).err().unwrap();
        assert_eq!(refused.code(), "signer.journal.older", "cut to {len} bytes");
    }
    for at in (0..second.len()).step_by(97).chain(0..60) {
        let mut changed = second.clone();
        changed[at] ^= 1;
        let refused = opened(&changed, &counter).err().unwrap();
        let codes = [
            "signer.journal.corrupt",
            "signer.journal.older",
            "signer.journal.unfenced",
        ];
        assert!(codes.contains(&refused.code()), "byte {at}: {}", refused.code());
    }
    // Deleted: not begun again.
    assert_eq!(
        create(1, &Disk::new(), &counter).err().unwrap().code(),
        "signer.enrolled"
    );
    let mut signer = opened(&second, &counter).unwrap();
    attack(&mut signer, &mut released);
    assert_eq!(signer.sign(&notarize(5, 2)).unwrap_err().code(), "signer.conflict");
}

#[test]
fn a_checkpoint_that_the_newest_head_does_not_count_is_nobodys() {
    // Of the same key and network, with no votes, beginning where the honest journal stands: what a host would make up, since
    // anybody can compute chain hashes.
    let (disk, counter, mut released) = (Disk::new(), Counter::new(), Released::default());
    let signer = voted(&disk, &counter, &mut released);
    let at = signer.head();
    drop(signer);
    let elsewhere = Counter::new();
    let empty = Disk::new();
    let mut forger = create(1, &empty, &elsewhere).unwrap();
    forger.compact().unwrap();
    let mut forged = empty.copy();
    // Length 4, tag 1, then the head before.
    forged[5..13].copy_from_slice(&at.count.to_be_bytes());
    forged[13..45].copy_from_slice(&at.hash);
    let body = u32::from_be_bytes(forged[..4].try_into().unwrap()) as usize;
    let hash = rehashed(&at.hash, &forged[..4 + body]);
    forged.truncate(4 + body);
    forged.extend(hash);
    let refused = opened(&forged, &counter).err().unwrap();
    assert_eq!(refused.code(), "signer.journal.unfenced");
    // Beginning below, so that the newest head would be within it.
    forged[5..13].copy_from_slice(&(at.count - 1).to_be_bytes());
    let hash = rehashed(&at.hash, &forged[..4 + body]);
    forged.truncate(4 + body);
    forged.extend(hash);
    let refused = opened(&forged, &counter).err().unwrap();
    assert_eq!(refused.code(), "signer.journal.diverged");
    // Staged beside an older journal it is no better.
    let both = Disk::of(Vec::new());
    *both.staged.lock().unwrap() = Some(forged);
    assert_eq!(open(1, &both, &counter).err().unwrap().code(), "signer.journal.older");
    // The honest one opens, and another key's is not taken for it.
    let mut signer = open(1, &disk, &counter).unwrap();
    signer.compact().unwrap();
    drop(signer);
    assert_eq!(open(2, &disk, &counter).err().unwrap().code(), "signer.journal.other");
    open(1, &disk, &counter).unwrap();
}

/// The chain hash of a record, as the specification has it.
fn rehashed(before: &[u8; 32], framed: &[u8]) -> Vec<u8> {
    use hanzo_attestation::Digest256;
    let domain = Digest256::of(b"hanzo/signer-journal/v1").0;
    Digest256::of(&[&domain[..], before, framed].concat()).0.to_vec()
}

#[test]
fn a_raised_floor_bounds_the_journal_by_itself() {
    let (disk, counter) = (Disk::new(), Counter::new());
    let mut signer = create(1, &disk, &counter).unwrap();
    // 2,420 bytes a signature: some 4 MiB of it, and every tenth view settles what came before.
    let mut longest = 0;
    for view in 1..=2_400_u64 {
        signer.sign(&notarize(view, 1)).unwrap();
        if view % 10 == 0 {
            signer
                .raise(Floor::Votes {
                    epoch: 0,
                    view: view - 5,
                })
                .unwrap();
        }
        longest = longest.max(disk.copy().len());
    }
    assert!(longest < (5 << 20), "{longest} bytes");
    assert!(disk.copy().len() < (4 << 20), "{} bytes", disk.copy().len());
    drop(signer);
    let mut signer = open(1, &disk, &counter).unwrap();
    assert_eq!(
        signer.sign(&notarize(2_395, 2)).unwrap_err().code(),
        "signer.below_floor"
    );
    assert_eq!(signer.sign(&notarize(2_396, 2)).unwrap_err().code(), "signer.conflict");
}

type OnFile = Signer<FileStorage, Counter>;

fn reopen(path: &Path, counter: &Counter) -> Result<OnFile, SignerError> {
    let storage = FileStorage::open(path)?;
    Signer::open(Role::Consensus, NETWORK, key(1), storage, counter.clone())
}

#[test]
fn files_are_replaced_at_once_and_the_old_one_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let staged = folder.path().join("journal.compact");
    let (counter, mut released) = (Counter::new(), Released::default());
    let storage = FileStorage::create(&path).unwrap();
    let mut signer = Signer::create(Role::Consensus, NETWORK, key(1), storage, counter.clone()).unwrap();
    for view in 1..=3 {
        released.take(&mut signer, &notarize(view, 1)).unwrap();
    }
    signer.raise(Floor::Votes { epoch: 0, view: 2 }).unwrap();
    let old = fs::read(&path).unwrap();

    // The source took the new head, its answer was lost: the old file is there, the new one waits beside it.
    *counter.line.lock().unwrap() = Line::ReplyLost;
    assert_eq!(signer.compact().unwrap_err().code(), "signer.freshness.unreachable");
    drop(signer);
    *counter.line.lock().unwrap() = Line::Good;
    assert_eq!(fs::read(&path).unwrap(), old);
    let waiting = fs::read(&staged).unwrap();
    // Without it there is no way on; with it the signer opens.
    fs::remove_file(&staged).unwrap();
    assert_eq!(reopen(&path, &counter).err().unwrap().code(), "signer.journal.older");
    fs::write(&staged, &waiting[..waiting.len() - 1]).unwrap();
    assert_eq!(reopen(&path, &counter).err().unwrap().code(), "signer.journal.older");
    fs::write(&staged, &waiting).unwrap();
    let mut signer = reopen(&path, &counter).unwrap();
    assert!(!staged.exists());
    assert_eq!(fs::read(&path).unwrap(), waiting);
    assert_eq!(signer.sign(&notarize(3, 2)).unwrap_err().code(), "signer.conflict");
    assert_eq!(reopen(&path, &counter).err().unwrap().code(), "signer.journal.storage");

    // A compaction without trouble: mode 0600, still locked, the old file is refused.
    released.take(&mut signer, &notarize(4, 1)).unwrap();
    let newest = fs::read(&path).unwrap();
    signer.compact().unwrap();
    assert!(!staged.exists());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(reopen(&path, &counter).err().unwrap().code(), "signer.journal.storage");
    released.take(&mut signer, &notarize(5, 1)).unwrap();
    drop(signer);
    let kept = fs::read(&path).unwrap();
    for rolled_back in [&old, &newest, &waiting] {
        fs::write(&path, rolled_back).unwrap();
        assert_eq!(reopen(&path, &counter).err().unwrap().code(), "signer.journal.older");
    }
    fs::write(&path, &kept).unwrap();
    let mut signer = reopen(&path, &counter).unwrap();
    for view in 3..=5 {
        released.take(&mut signer, &notarize(view, 1)).unwrap();
        assert_eq!(signer.sign(&notarize(view, 2)).unwrap_err().code(), "signer.conflict");
    }
}
