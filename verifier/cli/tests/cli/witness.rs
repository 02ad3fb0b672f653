//! A small witness of logs over HTTP, as C2SP tlog-witness says, and what it is for.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hanzo_log::tree::verify_consistency;
use hanzo_log::{LogVerifier, SignedCheckpoint, WitnessKey};

use super::*;

/// It remembers the newest head of each log that it watches, and signs what extends it.
struct Watching {
    keys: Ed25519KeyPair,
    key: WitnessKey,
    log: Option<LogVerifier>,
    seen: Mutex<BTreeMap<String, (u64, Digest256)>>,
    /// Signs under this name although its own is another.
    lies: Option<String>,
}

struct Witness {
    url: String,
    key: String,
    watching: Arc<Watching>,
}

impl Witness {
    fn start(name: &str, seed: u8) -> Self {
        Self::of(name, seed, Some(log_key().verifier().unwrap()), None)
    }

    fn of(name: &str, seed: u8, log: Option<LogVerifier>, lies: Option<String>) -> Self {
        let keys = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let key = WitnessKey::new(name, keys.public_key().as_ref()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        let watching = Arc::new(Watching {
            key: key.clone(),
            keys,
            log,
            seen: Mutex::default(),
            lies,
        });
        let serving = watching.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serving.answer(stream);
            }
        });
        Self {
            url,
            key: key.to_text(),
            watching,
        }
    }

    fn saw(&self) -> u64 {
        self.watching.seen.lock().unwrap()["example/receipts"].0
    }
}

impl Watching {
    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "POST /w/add-checkpoint HTTP/1.1\r\n");
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let header = line.trim_end().to_ascii_lowercase();
            if let Some(n) = header.strip_prefix("content-length: ") {
                length = n.parse().unwrap();
            }
            if header.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = self.add_checkpoint(&String::from_utf8(body).unwrap());
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        let mut stream = reader.into_inner();
        stream
            .write_all(&[head.as_bytes(), answer.as_bytes()].concat())
            .unwrap();
    }

    fn add_checkpoint(&self, body: &str) -> (u16, String) {
        let Some((asked, note)) = body.split_once("\n\n") else {
            return (400, String::new());
        };
        let mut lines = asked.lines();
        let old: u64 = lines
            .next()
            .and_then(|l| l.strip_prefix("old "))
            .unwrap()
            .parse()
            .unwrap();
        let decode = |l: &str| base64::engine::general_purpose::STANDARD.decode(l).unwrap();
        let proof: Vec<Digest256> = lines.map(|l| Digest256(decode(l).try_into().unwrap())).collect();
        assert!(proof.len() <= 63);
        let Some(log) = &self.log else {
            return (404, String::new());
        };
        let note = SignedCheckpoint::parse(note.as_bytes()).unwrap();
        let Ok(head) = note.verify(log) else {
            return (403, String::new());
        };
        let mut seen = self.seen.lock().unwrap();
        let last = seen
            .entry(head.checkpoint().origin.to_string())
            .or_insert((0, hanzo_log::tree::root(&[])));
        if old > head.size() {
            return (400, String::new());
        }
        if old != last.0 {
            return (409, format!("{}\n", last.0));
        }
        if verify_consistency(last.0, &last.1, head.size(), &head.root(), &proof).is_err() {
            return (422, String::new());
        }
        *last = (head.size(), head.root());
        let time = UnixTime(1_800_000_000);
        let signature = self.keys.sign(&note.cosigned_bytes(time));
        let signed = note.with_cosignature(&self.key, time, signature.as_ref()).to_text();
        let mut line = signed.lines().last().unwrap().to_owned();
        if let Some(name) = &self.lies {
            line = line.replacen(self.key.name(), name, 1);
        }
        (200, line + "\n")
    }
}

impl Files {
    /// What an auditor runs: goes through the log, then brings its head to the witnesses.
    fn cosign(&self, folder: &str, witnesses: &[&Witness], save: &str) -> Ran {
        let named: String = witnesses
            .iter()
            .map(|w| format!(" --witness {} --cosign {}", w.key, w.url))
            .collect();
        self.run(&format!(
            "log --receipts {folder} --key bundle.json --save {save}{named}"
        ))
    }
}

#[test]
fn witnesses_cosign_a_log_as_it_grows_and_their_heads_count_for_receipts() {
    let files = Files::new();
    let leaves = files.leaves();
    files.mirror("log", &leaves[..2]);
    let (first, second) = (Witness::start("w1.example", 1), Witness::start("w2.example", 2));
    files.cosign("log", &[&first, &second], "seen").is(
        0,
        &["VERIFIED: 1 receipts", "2 of 2: w1.example at 2027-01-15", "w2.example"],
    );
    // It grows: the witness says where the proof has to begin.
    files.mirror("log", &leaves);
    files
        .cosign("log", &[&first, &second], "seen")
        .is(0, &["VERIFIED: 2 receipts", "2 of 2"]);
    // The same head again, out of the file; one signature a witness.
    files
        .run(&format!(
            "log --receipts log --key bundle.json --checkpoint seen --save seen --witness {} --cosign {}",
            first.key, first.url
        ))
        .is(0, &["1 of 1"]);
    assert_eq!((first.saw(), second.saw()), (3, 3));
    files.keep(&files.first_of(&leaves));
    files
        .run(&format!(
            "receipt {ID} --log log --checkpoint seen --witness {} --witness {}",
            first.key, second.key
        ))
        .is(0, &["leaf 1 of 3", "2 of 2: w1.example at 2027-01-15"]);
    let note = std::fs::read_to_string(files.dir.path().join("seen")).unwrap();
    assert_eq!(note.matches("\u{2014} w1.example ").count(), 1);

    // What does not go together is refused before anything is asked.
    for words in ["--save x", "--cosign http://127.0.0.1:1/"] {
        files
            .run(&format!("log --receipts log --key bundle.json {words}"))
            .is(1, &["required"]);
    }
    // A log that is not whole is brought to nobody.
    std::fs::remove_file(files.dir.path().join("log/tile/entries/000.p/3")).unwrap();
    let third = Witness::start("w3.example", 3);
    files.cosign("log", &[&third], "none").is(20, &["log.tile.missing"]);
    assert!(third.watching.seen.lock().unwrap().is_empty() && !files.dir.path().join("none").exists());
}

/// One log, two stories: each witness saw one of them, and neither signs the other.
#[test]
fn a_split_view_is_detected_with_two_witnesses_and_with_none_nothing_is_claimed() {
    let files = Files::new();
    let ours = files.leaves();
    let mut theirs = ours.clone();
    let mut other = files.second();
    other.receipt.completion_tokens -= 1;
    let signature = keys()
        .sign(Domain::Receipt, &other.receipt.canonical().unwrap())
        .unwrap();
    other.signature = SignaturePair {
        ed25519: signature.ed25519_hex(),
        ml_dsa: signature.ml_dsa_hex(),
    };
    theirs[2] = other.without_salts().to_bytes().unwrap();
    files.mirror("before", &ours[..2]);
    files.mirror("ours", &ours);
    files.mirror("theirs", &theirs);
    let (first, second) = (Witness::start("w1.example", 1), Witness::start("w2.example", 2));
    files.cosign("before", &[&first, &second], "both").is(0, &["2 of 2"]);
    files.cosign("ours", &[&first], "ours.seen").is(0, &["1 of 1"]);
    files.cosign("theirs", &[&second], "theirs.seen").is(0, &["1 of 1"]);
    // Whoever asks both, is told, whichever story it was told, and in whichever order.
    for (story, asked) in [
        ("ours", [&first, &second]),
        ("ours", [&second, &first]),
        ("theirs", [&first, &second]),
    ] {
        files.cosign(story, &asked, "asked").is(
            30,
            &[
                "log.witness.split",
                "a split view, and both heads are signed",
                "keep this head",
            ],
        );
    }
    // One signature out of two is not taken for two, nor does asking for one hide what the other said.
    for story in ["ours.seen", "theirs.seen"] {
        files
            .run(&format!(
                "log --receipts {} --key bundle.json --checkpoint {story} --witness {} --witness {}",
                story.strip_suffix(".seen").unwrap(),
                first.key,
                second.key
            ))
            .is(30, &["log.witnesses", "1 of 2"]);
    }
    let named = format!(
        "--witness {} --witness {} --cosign {} --cosign {}",
        first.key, second.key, first.url, second.url
    );
    files
        .run(&format!(
            "log --receipts ours --key bundle.json --quorum 1 --save asked {named}"
        ))
        .is(30, &["log.witness.split"]);
    // Without witnesses both stories pass, and the verdict says that this cannot be told.
    for story in ["ours", "theirs"] {
        files.run(&format!("log --receipts {story} --key bundle.json")).is(
            0,
            &["0: nothing is claimed about what others are shown; a split view cannot be told"],
        );
    }
    // A log that went back, under a witness that saw more of it.
    files.cosign("before", &[&first], "asked").is(
        30,
        &["log.witness.split", "it saw this log with 3 leaves, and here it has 2"],
    );
}

#[test]
fn witnesses_that_refuse_or_lie_are_told_apart() {
    let files = Files::new();
    files.mirror("log", &files.leaves());
    let honest = Witness::start("w1.example", 1);
    let elsewhere = Witness::of("w2.example", 2, None, None);
    let stranger = {
        let other = NoteSigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[9; 64]).unwrap();
        let key = LogKey::of(Origin::new("example/receipts").unwrap(), other.verifying_keys());
        Witness::of("w3.example", 3, Some(key.verifier().unwrap()), None)
    };
    let liar = Witness::of(
        "w4.example",
        4,
        Some(log_key().verifier().unwrap()),
        Some("w1.example".into()),
    );
    files
        .cosign("log", &[&elsewhere], "seen")
        .is(1, &["log.witness.refused", "does not watch this log"]);
    files
        .cosign("log", &[&stranger], "seen")
        .is(1, &["log.witness.refused", "does not know this log's key"]);
    files.cosign("log", &[&liar], "seen").is(
        1,
        &[
            "log.witness.refused",
            "none of the keys",
            "no signature under this name and key",
        ],
    );
    let nobody = Witness {
        url: "http://127.0.0.1:1".into(),
        key: elsewhere.key.clone(),
        watching: elsewhere.watching.clone(),
    };
    files
        .cosign("log", &[&nobody], "seen")
        .is(1, &["collateral.unreachable"]);
    // One of two is enough where one is asked for; the other's refusal is no split view.
    let named = format!(
        "--witness {} --witness {} --cosign {} --cosign {}",
        honest.key, elsewhere.key, elsewhere.url, honest.url
    );
    files
        .run(&format!(
            "log --receipts log --key bundle.json --quorum 1 --save seen {named}"
        ))
        .is(0, &["1 of 2: w1.example"]);
    files
        .run(&format!("log --receipts log --key bundle.json --save seen {named}"))
        .is(1, &["does not watch this log"]);
    assert!(files.dir.path().join("seen").exists(), "what came is kept");
}
