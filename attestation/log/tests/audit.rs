//! Audit logs: what was removed, altered, reordered, cut off, rewritten or forked is named.

use hanzo_attestation::Digest384;
use hanzo_log::audit::{AuditError, AuditVerifier, Audited, entry_record, head_record, link};
use hanzo_log::{AuthenticCheckpoint, Checkpoint, Frontier, LogVerifier, Origin, SignedCheckpoint, tree};
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::NoteSigningKeys;

struct Broker {
    keys: NoteSigningKeys,
    log: LogVerifier,
}

impl Broker {
    fn new(seed: u8) -> Self {
        let keys = NoteSigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[seed; 64]).unwrap();
        let log = LogVerifier::new(Origin::new("hanzo.example/log").unwrap(), keys.verifying_keys().clone());
        Self { keys, log }
    }

    fn note(&self, size: u64, root: hanzo_attestation::Digest256) -> String {
        let checkpoint = Checkpoint {
            origin: self.log.origin().clone(),
            size,
            root,
        };
        let signature = self.keys.sign_note(&checkpoint.text()).unwrap();
        SignedCheckpoint::assemble(checkpoint, &self.log, &signature)
            .unwrap()
            .to_text()
    }

    /// An export of these lines, with heads after the given counts.
    fn export(&self, lines: &[String], heads: &[u64]) -> Vec<String> {
        let (mut frontier, mut chain, mut out) = (Frontier::default(), Digest384([0; 48]), Vec::new());
        for line in lines {
            chain = link(&chain, line.as_bytes());
            frontier.push(tree::leaf_hash(&[line.as_bytes()])).unwrap();
            out.push(entry_record(line, &chain));
            if heads.contains(&frontier.size()) {
                out.push(head_record(&self.note(frontier.size(), frontier.root())));
            }
        }
        out
    }

    fn verify(&self, records: &[String], since: Option<&AuthenticCheckpoint>) -> Result<Audited, AuditError> {
        let mut verifier = AuditVerifier::new(&self.log, since.cloned());
        for record in records {
            verifier.record(record.as_bytes())?;
        }
        verifier.finish()
    }
}

fn lines(count: u64) -> Vec<String> {
    (1..=count)
        .map(|seq| format!("{{\"code\":\"ok\",\"seq\":{seq}}}"))
        .collect()
}

fn head(records: &[String], broker: &Broker) -> AuthenticCheckpoint {
    broker.verify(records, None).unwrap().head
}

#[test]
fn a_whole_log_is_accepted_and_each_wrong_twin_names_its_entry() {
    let broker = Broker::new(1);
    let good = broker.export(&lines(9), &[4, 9]);
    let audited = broker.verify(&good, None).unwrap();
    assert_eq!((audited.head.size(), audited.heads), (9, 2));
    // Record 6 is entry 6: the head after entry 4 stands before it.
    let wrong = |change: &dyn Fn(&mut Vec<String>)| {
        let mut records = good.clone();
        change(&mut records);
        let e = broker.verify(&records, None).unwrap_err();
        (e.code(), e.entry(), e.exit_code())
    };
    assert_eq!(wrong(&|r| drop(r.remove(6))), ("log.entry.missing", Some(6), 20));
    assert_eq!(wrong(&|r| r.swap(6, 7)), ("log.entry.missing", Some(6), 20));
    assert_eq!(
        wrong(&|r| r.insert(6, r[2].clone())),
        ("log.entry.misplaced", Some(3), 20)
    );
    let altered = |r: &mut Vec<String>| r[6] = r[6].replace("ok", "no");
    assert_eq!(wrong(&altered), ("log.entry.altered", Some(6), 20));
    let hash = |r: &mut Vec<String>| r[6] = r[6].replacen(&r[6][9..12].to_owned(), "012", 1);
    assert_eq!(wrong(&hash), ("log.entry.altered", Some(6), 20));
    assert_eq!(wrong(&|r| r[6].push(' ')), ("log.entry.malformed", Some(6), 10));
    assert_eq!(
        wrong(&|r| r[6] = r[6].replace("\"seq\"", "\"sec\"")),
        ("log.entry.malformed", Some(6), 10)
    );
    assert_eq!(wrong(&|r| drop(r.remove(9))), ("log.truncated", Some(9), 20));
    assert_eq!(wrong(&|r| drop(r.pop())), ("log.unsigned", Some(5), 20));
    assert_eq!(
        wrong(&|r| r.retain(|l| l.starts_with("{\"hash"))),
        ("log.head.none", None, 20)
    );
    assert_eq!(wrong(&|r| r.swap(4, 5)), ("log.head.misplaced", None, 20));
    let flipped = |r: &mut Vec<String>| {
        let end = r[10].len() - 60;
        let other = if r[10].as_bytes()[end] == b'A' { "B" } else { "A" };
        r[10].replace_range(end..=end, other);
    };
    assert_eq!(wrong(&flipped), ("log.signature.invalid", None, 20));
}

#[test]
fn whoever_writes_all_hashes_anew_is_caught_by_the_signed_heads() {
    let broker = Broker::new(1);
    let good = broker.export(&lines(9), &[4, 9]);
    let mut other = lines(9);
    other[6] = other[6].replace("ok", "no");
    let forged = broker.export(&other, &[]);
    // The forger has no key: the broker's heads stay as they were.
    let mut records = forged;
    records.insert(4, good[4].clone());
    records.push(good[10].clone());
    let e = broker.verify(&records, None).unwrap_err();
    assert_eq!(e, AuditError::Root { good: 4, size: 9 });
    assert!(
        e.to_string()
            .starts_with("entries 5 to 9 are not those that the broker signed"),
        "{e}"
    );
    let strangers = Broker::new(2).export(&other, &[9]);
    assert_eq!(
        broker.verify(&strangers, None).unwrap_err().code(),
        "log.signature.missing"
    );
}

#[test]
fn an_earlier_head_must_be_extended() {
    let broker = Broker::new(1);
    let now = broker.export(&lines(9), &[9]);
    let earlier = head(&broker.export(&lines(5), &[5]), &broker);
    assert_eq!(
        broker.verify(&now, Some(&earlier)).unwrap().since,
        Some(earlier.clone())
    );
    let same = head(&now, &broker);
    broker.verify(&now, Some(&same)).unwrap();

    // The broker itself rewrites history: everything is signed, and the earlier head tells.
    let mut other = lines(9);
    other[2] = other[2].replace("ok", "no");
    let rewritten = broker.export(&other, &[2, 9]);
    let e = broker.verify(&rewritten, Some(&earlier)).unwrap_err();
    assert_eq!((e.code(), e.exit_code()), ("log.rewritten", 30));
    assert_eq!(e, AuditError::Diverged { since: 5, good: 2 });

    let shorter = broker.export(&lines(4), &[4]);
    let e = broker.verify(&shorter, Some(&earlier)).unwrap_err();
    assert_eq!((e.code(), e.exit_code()), ("log.rolled_back", 30));

    let fork = broker.export(&other, &[9]);
    let e = broker.verify(&fork, Some(&same)).unwrap_err();
    assert_eq!((e.code(), e.exit_code()), ("log.forked", 30));
    assert_eq!(
        broker.verify(&fork[..9], Some(&same)).unwrap_err().code(),
        "log.rewritten"
    );
}
