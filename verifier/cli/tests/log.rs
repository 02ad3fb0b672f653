//! `hanzo-verify log` as an auditor runs it: the binary, over exports that somebody tampered with.

use std::path::{Path, PathBuf};
use std::process::Command;

use hanzo_attestation::{Digest384, UnixTime, jcs};
use hanzo_log::audit::{entry_record, head_record, link};
use hanzo_log::tile::TileWriter;
use hanzo_log::{
    Checkpoint, DatedCheckpoint, Frontier, LogKey, LogVerifier, Origin, SignedCheckpoint, SignedDatedCheckpoint, tree,
};
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::NoteSigningKeys;
use serde_json::Value;

const ENTRIES: u64 = 300;

/// A broker's log and its keys.
struct Log {
    dir: tempfile::TempDir,
    keys: NoteSigningKeys,
    log: LogVerifier,
}

fn line(seq: u64, code: &str) -> String {
    format!("{{\"action\":\"grant\",\"code\":\"{code}\",\"key_id\":\"hanzo/dek/m\",\"seq\":{seq}}}")
}

fn lines(count: u64) -> Vec<String> {
    (1..=count).map(|seq| line(seq, "ok")).collect()
}

impl Log {
    fn new() -> Self {
        let keys = NoteSigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[3; 64]).unwrap();
        let log = LogVerifier::new(Origin::new("hanzo.example/log").unwrap(), keys.verifying_keys().clone());
        let made = Self {
            dir: tempfile::tempdir().unwrap(),
            keys,
            log,
        };
        let key = LogKey::of(made.log.origin().clone(), made.keys.verifying_keys());
        std::fs::write(made.path("key.json"), jcs::to_vec("key", &key).unwrap()).unwrap();
        made.export("good", &lines(ENTRIES), &[100, ENTRIES]);
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn note(&self, frontier: &Frontier) -> String {
        let checkpoint = Checkpoint {
            origin: self.log.origin().clone(),
            size: frontier.size(),
            root: frontier.root(),
        };
        let signature = self.keys.sign_note(&checkpoint.text()).unwrap();
        let signed = SignedCheckpoint::assemble(checkpoint, &self.log, &signature).unwrap();
        signed.to_text()
    }

    /// An export as a broker writes it, signed at the given sizes.
    fn export(&self, name: &str, lines: &[String], heads: &[u64]) {
        let folder = self.path(name);
        let (mut frontier, mut chain, mut records) = (Frontier::default(), Digest384([0; 48]), String::new());
        let (mut writer, mut tiles, mut newest) = (TileWriter::default(), Vec::new(), String::new());
        for line in lines {
            chain = link(&chain, line.as_bytes());
            let completed = frontier.push(tree::leaf_hash(&[line.as_bytes()])).unwrap();
            tiles.extend(writer.push(line.as_bytes(), &completed).unwrap());
            records += &entry_record(line, &chain);
            records.push('\n');
            if heads.contains(&frontier.size()) {
                newest = self.note(&frontier);
                records += &head_record(&newest);
                records.push('\n');
            }
        }
        tiles.extend(writer.finish());
        for (tile, bytes) in tiles {
            put(&folder.join(tile.to_string()), &bytes);
        }
        put(&folder.join("log.jsonl"), records.as_bytes());
        put(&folder.join("checkpoint"), newest.as_bytes());
    }

    /// A copy of the good export's lines with one change, as a file of its own.
    fn changed(&self, name: &str, change: impl FnOnce(&mut Vec<String>)) {
        let text = std::fs::read_to_string(self.path("good/log.jsonl")).unwrap();
        let mut records: Vec<_> = text.lines().map(str::to_owned).collect();
        change(&mut records);
        put(&self.path(name), (records.join("\n") + "\n").as_bytes());
    }

    #[track_caller]
    fn run(&self, words: &str, code: i32, says: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
            .arg("log")
            .args(words.split(' '))
            .args(["--key", "key.json"])
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let all = format!(
            "{}{}",
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap()
        );
        assert_eq!(output.status.code(), Some(code), "{all}");
        for word in says {
            assert!(all.contains(word), "{word} in {all}");
        }
        all
    }
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Entry 150 stands at index 150: a head stands after entry 100.
const AT: usize = 150;

#[test]
fn an_auditor_finds_a_removed_an_altered_and_a_reordered_entry() {
    let log = Log::new();
    log.run(
        "good",
        0,
        &["VERIFIED: 300 entries", "hanzo.example/log", "signed heads 2"],
    );
    log.run("good/log.jsonl", 0, &["VERIFIED: 300 entries"]);

    log.changed("removed", |r| drop(r.remove(AT)));
    log.run(
        "removed",
        20,
        &[
            "log.entry.missing",
            "entry 150 is missing: entry 151 stands in its place",
            "->",
        ],
    );
    log.changed("altered", |r| r[AT] = r[AT].replace("\"ok\"", "\"no\""));
    log.run("altered", 20, &["log.entry.altered", "entry 150 was altered"]);
    log.changed("reordered", |r| r.swap(AT, AT + 7));
    log.run(
        "reordered",
        20,
        &[
            "log.entry.misplaced",
            "entry 150 is out of order: it stands at place 157",
        ],
    );
    log.changed("repeated", |r| r.insert(AT, r[5].clone()));
    log.run(
        "repeated",
        20,
        &["log.entry.misplaced", "entry 6 is out of order: it stands at place 150"],
    );
    log.changed("garbled", |r| r[AT] = r[AT].replace("\"seq\":150", "\"seq\":15O"));
    log.run("garbled", 10, &["log.entry.malformed", "entry 150 is unreadable"]);
    log.changed("ended", |r| r.truncate(AT));
    log.run("ended", 20, &["log.unsigned", "entries 101 to 149 are not signed"]);
    log.changed("tail", |r| drop(r.drain(AT..301)));
    log.run("tail", 20, &["log.truncated", "entries 150 to 300 are missing"]);
    let text = std::fs::read(log.path("good/log.jsonl")).unwrap();
    put(&log.path("cut"), &text[..text.len() - 9]);
    log.run("cut", 10, &["log.entry.malformed", "cut off"]);
}

#[test]
fn whoever_writes_every_hash_anew_lacks_the_keys() {
    let log = Log::new();
    let mut other = lines(ENTRIES);
    other[149] = line(150, "no");
    log.export("other", &other, &[100, ENTRIES]);
    // Lines, links and tiles agree; the head is the broker's own.
    std::fs::copy(log.path("good/checkpoint"), log.path("other/checkpoint")).unwrap();
    let heads: Vec<String> = std::fs::read_to_string(log.path("good/log.jsonl"))
        .unwrap()
        .lines()
        .filter(|l| l.starts_with("{\"checkpoint"))
        .map(str::to_owned)
        .collect();
    let text = std::fs::read_to_string(log.path("other/log.jsonl")).unwrap();
    let mut heads = heads.iter();
    let records: Vec<_> = text
        .lines()
        .map(|l| match l.starts_with("{\"checkpoint") {
            true => heads.next().unwrap().as_str(),
            false => l,
        })
        .collect();
    put(&log.path("other/log.jsonl"), (records.join("\n") + "\n").as_bytes());
    log.run(
        "other",
        20,
        &["log.root", "entries 101 to 300 are not those that the broker signed"],
    );

    let stranger = log.path("key.json");
    let mut key: Value = serde_json::from_slice(&std::fs::read(&stranger).unwrap()).unwrap();
    let keys = NoteSigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[4; 64]).unwrap();
    key["ml_dsa"] = hex::encode(keys.verifying_keys().ml_dsa()).into();
    put(&stranger, &jcs::to_vec("key", &key).unwrap());
    log.run("good", 20, &["log.signature.missing", "ML-DSA"]);
    put(&stranger, b"{}");
    log.run("good", 10, &["log.key", "identity.json"]);
}

#[test]
fn tiles_and_lines_must_agree_and_tiles_alone_are_read_too() {
    let log = Log::new();
    let change = |name: &str, at: usize| {
        let path = log.path("good").join(name);
        let before = std::fs::read(&path).unwrap();
        let mut bytes = before.clone();
        bytes[at] ^= 1;
        put(&path, &bytes);
        before
    };
    let before = change("tile/0/000", 149 * 32 + 5);
    log.run("good", 20, &["log.tile.altered", "tile/0/000 was altered", "entry 150"]);
    put(&log.path("good/tile/0/000"), &before);
    let before = change("tile/1/000.p/1", 0);
    log.run("good", 20, &["log.tile.altered", "tile/1/000.p/1", "entry 1 "]);
    put(&log.path("good/tile/1/000.p/1"), &before);

    std::fs::remove_file(log.path("good/log.jsonl")).unwrap();
    log.run("good", 0, &["VERIFIED: 300 entries"]);
    // Within the third line's text: "ok" becomes "nk".
    let bundle = std::fs::read(log.path("good/tile/entries/000")).unwrap();
    let at = bundle
        .windows(4)
        .enumerate()
        .filter(|(_, w)| w == b"\"ok\"")
        .nth(2)
        .unwrap()
        .0;
    let before = change("tile/entries/000", at + 1);
    log.run("good", 20, &["log.tile.altered", "tile/0/000", "entry 3 "]);
    put(&log.path("good/tile/entries/000"), &before);
    std::fs::remove_file(log.path("good/tile/entries/001.p/44")).unwrap();
    log.run("good", 20, &["log.tile.missing", "tile/entries/001.p/44", "entry 257"]);
}

#[test]
fn an_earlier_head_shows_a_log_that_went_back_was_rewritten_or_forked() {
    let log = Log::new();
    let earlier = lines(200);
    log.export("october", &earlier, &[200]);
    for since in ["october", "october/checkpoint", "october/log.jsonl"] {
        log.run(&format!("good --since {since}"), 0, &["contains all 200 entries"]);
    }
    log.export("shorter", &lines(120), &[120]);
    log.run(
        "shorter --since october",
        30,
        &["log.rolled_back", "it had 200 entries, and has 120"],
    );

    // The broker's operator changes history and signs it.
    let mut other = lines(ENTRIES);
    other[149] = line(150, "no");
    log.export("rewritten", &other, &[100, ENTRIES]);
    log.run("rewritten", 0, &["none given"]);
    log.run(
        "rewritten --since october",
        30,
        &[
            "log.rewritten",
            "the first entry that is another than in the earlier export is 150",
        ],
    );
    log.run(
        "rewritten --since october/checkpoint",
        30,
        &["log.rewritten", "after entry 100"],
    );
    log.run("rewritten --since good", 30, &["log.forked", "keep both"]);
    put(&log.path("noise"), b"no checkpoint\n");
    log.run("good --since noise", 10, &["log.note.malformed"]);
    log.run("good --since nothing", 1, &["nothing"]);
}

/// Two heads and the tiles of hashes between them prove that one extends the other; no entry is read.
#[test]
fn hashes_alone_show_that_a_head_extends_an_earlier_one() {
    let log = Log::new();
    log.export("october", &lines(200), &[200]);
    let of_good = |name: &str| {
        for part in ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"] {
            let bytes = std::fs::read(log.path("good").join(part)).unwrap();
            put(&log.path(name).join(part), &bytes);
        }
    };
    let flip = |name: &str, part: &str| {
        let path = log.path(name).join(part);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[5] ^= 1;
        put(&path, &bytes);
    };
    let command = |name: &str| format!("{name} --hashes --since october/checkpoint");
    of_good("hashes");
    let said = ["CONSISTENT: hashes of 300 entries", "not read", "all 200 entries"];
    log.run(&command("hashes"), 0, &said);
    // It has to be asked for: entries that are gone are no smaller check.
    log.run("hashes --since october/checkpoint", 20, &["log.tile.missing"]);
    log.run("hashes --hashes", 1, &["--since"]);

    flip("hashes", "tile/0/001.p/44");
    log.run(&command("hashes"), 20, &["log.root"]);
    of_good("above");
    flip("above", "tile/1/000.p/1");
    log.run(&command("above"), 20, &["log.tile.altered", "tile/1/000.p/1"]);
    of_good("gone");
    std::fs::remove_file(log.path("gone/tile/0/000")).unwrap();
    log.run(&command("gone"), 20, &["log.tile.missing", "tile/0/000"]);

    let mut other = lines(ENTRIES);
    other[149] = line(150, "no");
    log.export("rewritten", &other, &[100, ENTRIES]);
    log.run(&command("rewritten"), 30, &["log.rewritten"]);
    log.run("rewritten --hashes --since good/checkpoint", 30, &["log.forked"]);
    log.export("shorter", &lines(120), &[120]);
    log.run(&command("shorter"), 30, &["log.rolled_back"]);
}

/// A release log's heads say when they were signed. Its tree is checked by the same command, its entries are no broker's.
#[test]
fn heads_that_say_when_they_were_signed_are_read_where_hashes_alone_are_checked() {
    let log = Log::new();
    let dated = |name: &str, count: u64, time: u64| {
        log.export(name, &lines(count), &[count]);
        std::fs::remove_file(log.path(name).join("log.jsonl")).unwrap();
        let leaves: Vec<_> = lines(count)
            .iter()
            .map(|line| tree::leaf_hash(&[line.as_bytes()]))
            .collect();
        let head = DatedCheckpoint {
            checkpoint: Checkpoint {
                origin: log.log.origin().clone(),
                size: count,
                root: tree::root(&leaves),
            },
            time: UnixTime(time),
        };
        let signature = log.keys.sign_note(&head.text()).unwrap();
        let signed = SignedDatedCheckpoint::assemble(head, &log.log, &signature).unwrap();
        put(&log.path(name).join("checkpoint"), signed.to_text().as_bytes());
    };
    dated("then", 200, 1_700_000_000);
    dated("now", ENTRIES, 1_700_086_400);
    let said = [
        "CONSISTENT: hashes of 300 entries",
        "all 200 entries",
        "1700086400 (Unix seconds)",
    ];
    log.run("now --hashes --since then/checkpoint", 0, &said);
    log.run("then --hashes --since now/checkpoint", 30, &["log.rolled_back"]);
    // A plain head of the same tree is as good; another time under the same signatures is not.
    log.export("plain", &lines(200), &[200]);
    log.run("now --hashes --since plain/checkpoint", 0, &["all 200 entries"]);
    let text = std::fs::read_to_string(log.path("now/checkpoint")).unwrap();
    let later = text.replace("time 1700086400", "time 1800086400");
    put(&log.path("now/checkpoint"), later.as_bytes());
    log.run("now --hashes --since then/checkpoint", 20, &["log.signature.invalid"]);
    // As a broker's audit log it is none.
    dated("audit", 200, 1_700_000_000);
    log.run("audit", 10, &["log.checkpoint.malformed"]);
    log.run("good --since then/checkpoint", 10, &["log.checkpoint.malformed"]);
}

/// A real broker: init, decisions, export; its identity.json is the key.
#[test]
fn what_a_broker_exports_is_verified_with_its_identity() {
    let log = Log::new();
    let made = hanzo_kbs::init(&hanzo_kbs::InitOptions {
        dir: log.path("kbs"),
        listen: "127.0.0.1:0".parse().unwrap(),
        mode: hanzo_kbs::StoreMode::Production,
        simulator_roots: Vec::new(),
    })
    .unwrap();
    let config = hanzo_kbs::KbsConfig::load(&made.config_path).unwrap();
    let export = |name: &str| {
        hanzo_kbs::export_audit(&config, hanzo_kbs::StoreMode::Production, &log.path(name), |_, _| {}).unwrap()
    };
    std::fs::copy(&made.identity_path, log.path("key.json")).unwrap();
    export("empty");
    log.run("empty", 0, &["VERIFIED: 0 entries", "hanzo-kbs/"]);
    // Each of these is a decision of an operator, on the record.
    for _ in 0..3 {
        hanzo_kbs::accept_head(&config, hanzo_kbs::StoreMode::Production).unwrap();
    }
    export("first");
    hanzo_kbs::accept_head(&config, hanzo_kbs::StoreMode::Production).unwrap();
    assert_eq!(export("second").entries, 4);
    log.run(
        "second --since first",
        0,
        &["VERIFIED: 4 entries", "signed heads 2", "all 3 entries"],
    );
    let text = std::fs::read_to_string(log.path("second/log.jsonl")).unwrap();
    assert!(text.contains("\"action\":\"accept-head\""));
    put(
        &log.path("altered"),
        text.replacen("store: 1", "store: 9", 1).as_bytes(),
    );
    log.run("altered", 20, &["log.entry.altered", "entry 2 was altered"]);
    let removed: Vec<_> = text.lines().filter(|l| !l.contains("\"seq\":2,")).collect();
    put(&log.path("removed"), (removed.join("\n") + "\n").as_bytes());
    log.run("removed", 20, &["log.entry.missing", "entry 2 is missing"]);
}

#[test]
fn json_says_the_same_and_help_has_examples() {
    let log = Log::new();
    let good: Value = serde_json::from_str(&log.run("good --json", 0, &[])).unwrap();
    assert_eq!(
        (good["accepted"].as_bool(), good["log"]["size"].as_u64()),
        (Some(true), Some(ENTRIES))
    );
    log.changed("removed", |r| drop(r.remove(AT)));
    let bad: Value = serde_json::from_str(&log.run("removed --json", 20, &[])).unwrap();
    assert_eq!(bad["error"]["code"], "log.entry.missing");
    assert_eq!(
        (bad["exit_code"].as_u64(), bad["error"]["entry"].as_u64()),
        (Some(20), Some(150))
    );
    log.run("--help", 0, &["Examples", "--since", "Exit codes"]);
    log.run("nothing", 1, &["cli.io"]);
}
