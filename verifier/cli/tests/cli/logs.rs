//! A guest's log of receipts, witnesses of its heads, and what a customer's receipts add up to.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hanzo_log::tile::{TileWriter, encode_entry};
use hanzo_log::tree::leaf_hash;
use hanzo_log::{Checkpoint, Frontier, SignedCheckpoint, WitnessKey};

use super::*;

const SECOND: &str = "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";

impl Files {
    /// The receipt after that of [`Files::receipt`].
    pub fn second(&self) -> DisclosedReceipt {
        let first = self.receipt();
        let mut receipt = first.receipt.clone();
        receipt.id = ReceiptId::from_hex(SECOND).unwrap();
        receipt.seq = 1;
        receipt.prev = first.receipt.digest().unwrap();
        receipt.prompt_tokens = 30;
        receipt.completion_tokens = 20;
        let signature = keys().sign(Domain::Receipt, &receipt.canonical().unwrap()).unwrap();
        let signature = SignaturePair {
            ed25519: signature.ed25519_hex(),
            ml_dsa: signature.ml_dsa_hex(),
        };
        SignedReceipt { receipt, signature }.disclose(first.salts)
    }

    pub fn leaves(&self) -> Vec<Vec<u8>> {
        let empty = LogHead {
            root: hanzo_log::tree::root(&[]),
            size: 0,
        };
        let keyset = KeysetLeaf::new(self.keyset.clone(), empty, Fence::None).unwrap();
        let receipts = [self.receipt(), self.second()];
        let receipts = receipts.iter().map(|r| r.without_salts().to_bytes().unwrap());
        std::iter::once(keyset.to_bytes().unwrap()).chain(receipts).collect()
    }

    /// Mirrors a log of these leaves into a folder; its head.
    pub fn mirror(&self, folder: &str, leaves: &[Vec<u8>]) -> SignedCheckpoint {
        let (mut frontier, mut writer, mut tiles) = (Frontier::default(), TileWriter::default(), Vec::new());
        for leaf in leaves {
            let completed = frontier.push(leaf_hash(&[leaf])).unwrap();
            tiles.extend(writer.push(leaf, &completed).unwrap());
        }
        tiles.extend(writer.finish());
        for (tile, bytes) in tiles {
            self.put(&format!("{folder}/{tile}"), &bytes);
        }
        let head = head(&frontier);
        self.put(&format!("{folder}/checkpoint"), head.to_text().as_bytes());
        head
    }

    /// The receipt that is leaf 1: a signature made anew would be another.
    pub fn first_of(&self, leaves: &[Vec<u8>]) -> DisclosedReceipt {
        let signed = SignedReceipt::from_bytes(&leaves[1]).unwrap();
        signed.disclose(self.receipt().salts)
    }

    /// The receipt as a guest gives it once a head covers it: leaf 1 of `leaves`.
    fn with_proof(&self, leaves: &[Vec<u8>], head: &SignedCheckpoint) -> DisclosedReceipt {
        let hashes: Vec<_> = leaves.iter().map(|l| leaf_hash(&[l])).collect();
        self.first_of(leaves).with_proof(Some(LogProof {
            checkpoint: head.to_text(),
            index: 1,
            path: hanzo_log::tree::inclusion_path(&hashes, 1).unwrap(),
        }))
    }
}

fn head(frontier: &Frontier) -> SignedCheckpoint {
    let checkpoint = Checkpoint {
        origin: log_key().origin,
        size: frontier.size(),
        root: frontier.root(),
    };
    let signature = log_keys().sign_note(&checkpoint.text()).unwrap();
    SignedCheckpoint::assemble(checkpoint, &log_key().verifier().unwrap(), &signature).unwrap()
}

/// A witness's key, and the head with its signature.
fn cosigned(name: &str, seed: u8, head: SignedCheckpoint) -> (String, SignedCheckpoint) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let key = WitnessKey::new(name, pair.public_key().as_ref()).unwrap();
    let time = UnixTime(1_800_000_000);
    let signature = pair.sign(&head.cosigned_bytes(time));
    (key.to_text(), head.with_cosignature(&key, time, signature.as_ref()))
}

#[test]
fn a_log_of_receipts_is_gone_through_whole_and_what_is_wrong_is_named() {
    let files = Files::new();
    let leaves = files.leaves();
    files.mirror("log", &leaves);
    let key = serde_json::to_vec(&log_key()).unwrap();
    files.put("key.json", &key);
    for key in ["bundle.json", "key.json"] {
        files.run(&format!("log --receipts log --key {key}")).is(
            0,
            &[
                "VERIFIED: 2 receipts",
                "SIMULATED",
                "example/receipts",
                "a split view cannot be told",
            ],
        );
    }
    files
        .run("log --receipts ftp://x --key bundle.json")
        .is(1, &["--receipts"]);
    files.run("log --receipts log --key policy.toml").is(10, &["log.key"]);
    files
        .run("log log --key bundle.json --checkpoint log/checkpoint")
        .is(1, &["--receipts"]);

    // An earlier head is extended; another history under the same key is not.
    files.mirror("before", &leaves[..2]);
    files
        .run("log --receipts log --key bundle.json --since before/checkpoint")
        .is(0, &["contains all 2 leaves"]);
    let mut other = leaves.clone();
    other.pop();
    files.mirror("short", &other);
    files
        .run("log --receipts short --key bundle.json --since log")
        .is(30, &["log.rolled_back"]);
    other[1] = files.second().without_salts().to_bytes().unwrap();
    files.mirror("other", &other);
    files
        .run("log --receipts other --key bundle.json")
        .is(30, &["receipt.chain", "leaf 1", "seq: expected 0, got 1"]);
    files
        .run("log --receipts log --key bundle.json --since other/checkpoint")
        .is(30, &["log.rewritten"]);
    let mut fork = Frontier::default();
    (0..3).for_each(|n| drop(fork.push(Digest256([n; 32])).unwrap()));
    files.put("fork", head(&fork).to_text().as_bytes());
    files
        .run("log --receipts log --key bundle.json --since fork")
        .is(30, &["log.forked", "keep both"]);
    files
        .run("log --receipts log --key bundle.json --checkpoint fork")
        .is(20, &["log.root"]);

    // A changed byte, a changed head, a tile that is gone.
    let text = String::from_utf8(leaves[2].clone()).unwrap();
    let mut bundle = Vec::new();
    for leaf in [
        &leaves[0],
        &leaves[1],
        &text
            .replacen("\"prompt_tokens\":30", "\"prompt_tokens\":31", 1)
            .into_bytes(),
    ] {
        encode_entry(&mut bundle, leaf).unwrap();
    }
    let tile = files.put("log/tile/entries/000.p/3", &bundle);
    files
        .run("log --receipts log --key bundle.json")
        .is(20, &["receipt.signature.both", "leaf 2"]);
    std::fs::remove_file(tile).unwrap();
    files
        .run("log --receipts log --key bundle.json")
        .is(20, &["log.tile.missing", "tile/entries/000.p/3"]);
    let note = std::fs::read_to_string(files.dir.path().join("log/checkpoint")).unwrap();
    files.put("log/checkpoint", note.replacen("\n3\n", "\n4\n", 1).as_bytes());
    files
        .run("log --receipts log --key bundle.json")
        .is(20, &["log.signature.invalid"]);
}

#[test]
fn a_receipt_is_shown_to_be_in_the_log_and_its_twins_are_not() {
    let files = Files::new();
    let leaves = files.leaves();
    let head = files.mirror("log", &leaves);
    files.keep(&files.first_of(&leaves));
    files
        .run(&format!("receipt {ID}"))
        .is(0, &["VERIFIED", "not shown to be in one"]);
    files
        .run(&format!("receipt {ID} --log log"))
        .is(0, &["leaf 1 of 3 in example/receipts"]);
    files
        .run(&format!("receipt {ID} --checkpoint log/checkpoint"))
        .is(1, &["--log"]);
    let stapled = files.with_proof(&leaves, &head);
    files.keep(&stapled);
    files
        .run(&format!("receipt {ID}"))
        .is(0, &["leaf 1 of 3", "a split view cannot be told"]);

    // Changed after it was signed: the log, which holds the genuine one, says where, by its id or by its number.
    for renamed in [false, true] {
        let mut altered = files.second();
        altered.receipt.completion_tokens += 1;
        if renamed {
            altered.receipt.id = ReceiptId([9; 16]);
        }
        files.put("altered.json", &altered.to_bytes().unwrap());
        files
            .run(&format!("receipt altered.json --log log --bundle bundle.json {TRUST}"))
            .is(20, &["(leaf 2 of log)", "completion_tokens: signed 20, here 21"]);
    }

    let mut wrong = stapled.clone();
    wrong.log.as_mut().unwrap().index = 2;
    files.keep(&wrong);
    files.run(&format!("receipt {ID}")).is(30, &["log.inclusion"]);
    let mut unsigned = stapled.clone();
    let note = &mut unsigned.log.as_mut().unwrap().checkpoint;
    *note = note.replacen("\n3\n", "\n4\n", 1);
    files.keep(&unsigned);
    files.run(&format!("receipt {ID}")).is(20, &["log.signature.invalid"]);
    // A log without it.
    files.keep(&files.first_of(&leaves));
    files.mirror("before", &leaves[..1]);
    files
        .run(&format!("receipt {ID} --log before"))
        .is(30, &["log.receipt.missing", "1 leaves"]);
}

#[test]
fn two_witnesses_tell_a_split_view_and_none_claim_nothing() {
    let files = Files::new();
    let leaves = files.leaves();
    let head = files.mirror("log", &leaves);
    files.keep(&files.with_proof(&leaves, &head));
    let (first, by_first) = cosigned("w1.example", 1, head.clone());
    let (second, by_both) = cosigned("w2.example", 2, by_first.clone());
    files.put("one", by_first.to_text().as_bytes());
    files.put("both", by_both.to_text().as_bytes());
    let asked = format!("--witness {first} --witness {second}");
    for command in [
        format!("receipt {ID}"),
        "log --receipts log --key bundle.json".to_owned(),
    ] {
        files
            .run(&format!("{command} --checkpoint both {asked}"))
            .is(0, &["2 of 2: w1.example at 2027-01-15", "w2.example"]);
        // The other view has the other witness: nobody has a head with both.
        files.run(&format!("{command} --checkpoint one {asked}")).is(
            30,
            &[
                "log.witnesses",
                "1 of 2",
                "without w2.example",
                "whether others are shown",
            ],
        );
        files
            .run(&format!("{command} --checkpoint one {asked} --quorum 1"))
            .is(0, &["1 of 2: w1.example"]);
        files
            .run(&format!("{command} {asked}"))
            .is(30, &["log.witnesses", "without w1.example, w2.example"]);
        files
            .run(&format!("{command} --checkpoint one"))
            .is(0, &["0: nothing is claimed about what others are shown"]);
        files
            .run(&format!("{command} --witness w1.example+00000000+AAAA"))
            .is(1, &["--witness"]);
    }
    // One witness under two names is one.
    let (alias, _) = cosigned("w3.example", 1, head.clone());
    for twice in [&first, &alias] {
        files
            .run(&format!(
                "receipt {ID} --checkpoint one --witness {first} --witness {twice}"
            ))
            .is(1, &["--witness", "each witness once"]);
    }
    let forged = by_first.to_text().replacen(" w1.example ", " w2.example ", 1);
    assert_ne!(forged, by_first.to_text());
    files.put("forged", forged.as_bytes());
    files
        .run(&format!("receipt {ID} --checkpoint forged {asked}"))
        .is(30, &["log.witnesses", "0 of 2"]);
}

#[test]
fn a_log_is_read_through_a_running_connect_as_well() {
    let files = Files::new();
    let leaves = files.leaves();
    files.mirror("log", &leaves);
    files.keep(&files.first_of(&leaves));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let root = files.dir.path().to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            let n = stream.read(&mut request).unwrap();
            let text = String::from_utf8_lossy(&request[..n]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let (status, body) = match std::fs::read(root.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        }
    });
    files
        .run(&format!("log --receipts http://{address} --key bundle.json"))
        .is(0, &["VERIFIED: 2 receipts"]);
    files
        .run(&format!("receipt {ID} --log http://{address}/log/"))
        .is(0, &["leaf 1 of 3"]);
    std::fs::remove_file(files.dir.path().join("log/checkpoint")).unwrap();
    files
        .run(&format!("receipt {ID} --log http://{address}"))
        .is(20, &["log.tile.missing", "checkpoint"]);
    files
        .run(&format!("receipt {ID} --log http://127.0.0.1:1"))
        .is(1, &["status.unreachable"]);
}

#[test]
fn usage_adds_up_signed_counts_and_names_what_it_does_not_count() {
    let files = Files::new();
    files.keep(&files.receipt());
    files.keep(&files.second());
    let ran = files.run("usage --json");
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    let sum = &shown["usage"][0];
    assert_eq!(sum["model"], "smollm2");
    assert_eq!(sum["sum"]["receipts"], 2);
    assert_eq!(
        (&sum["sum"]["prompt_tokens"], &sum["sum"]["completion_tokens"]),
        (&33.into(), &22.into())
    );
    files.run("usage --by day").is(
        0,
        &["VERIFIED: 2 receipts: 33 prompt and 22 completion tokens", "SIMULATED"],
    );

    let mut dearer = files.second();
    dearer.receipt.completion_tokens += 1;
    files.keep(&dearer);
    files.run("usage").is(
        30,
        &["VERIFIED: 1 receipts: 3 prompt and 2", SECOND, "receipt.signature.both"],
    );
    // Two receipts of one number, both signed: the guest forked its log.
    let mut fork = files.second();
    fork.receipt.id = ReceiptId([0x0d; 16]);
    let signature = keys()
        .sign(Domain::Receipt, &fork.receipt.canonical().unwrap())
        .unwrap();
    fork.signature = SignaturePair {
        ed25519: signature.ed25519_hex(),
        ml_dsa: signature.ml_dsa_hex(),
    };
    files.keep(&files.second());
    files.keep(&fork);
    files.run("usage").is(
        30,
        &[
            "VERIFIED: 2 receipts: 33 prompt and 22",
            "receipt.forked",
            "seq: 1 of keyset",
            SECOND,
        ],
    );
    std::fs::remove_file(
        files
            .dir
            .path()
            .join(format!(".local/state/hanzo/receipts/{}.json", "0d".repeat(16))),
    )
    .unwrap();
    // Kept under another's name: it would count twice.
    let receipts = files.dir.path().join(".local/state/hanzo/receipts");
    std::fs::copy(
        receipts.join(format!("{ID}.json")),
        receipts.join(format!("{SECOND}.json")),
    )
    .unwrap();
    files
        .run("usage")
        .is(30, &["VERIFIED: 1 receipts", "receipt.malformed"]);
}
