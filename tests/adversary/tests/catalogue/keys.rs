//! A host between guest and key broker: it changes, cuts, redirects and replays their messages. Who sees the outcome here is the
//! guest: it serves, or ends with a code.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_kbs_protocol::{AttestBody, WrapKey, WrappedDek, wrap_info};
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey};
use hanzo_tests_adversary::appliance::{MODEL_KEY, STORE_KEY};
use hanzo_tests_adversary::attack::{Attack, Host, Running, Saw, run_all};
use hanzo_tests_adversary::broker::Broker;
use hanzo_tests_adversary::door::ask_sealed;
use hanzo_tests_adversary::doorman::{Change, Meddling};
use hanzo_tests_adversary::set::Set;
use hanzo_tests_adversary::site::{MODEL_DEK, STORE_DEK};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::results;

/// A guest boots while the host does this. The twin boots too.
fn boot(set: &Set, host: Host, meddling: Meddling) -> Running<'_> {
    Box::pin(async move {
        set.doorman
            .meddle(if host.attacks() { meddling } else { Meddling::default() });
        let saw = set.try_boot().await;
        set.doorman.meddle(Meddling::default());
        saw
    })
}

fn changing(change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Option<Change> {
    Some(Arc::new(change))
}

fn json(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Option<Change> {
    changing(move |bytes| {
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        change(&mut value);
        value.to_string().into_bytes()
    })
}

fn challenge(set: &Set, host: Host, change: Option<Change>) -> Running<'_> {
    boot(
        set,
        host,
        Meddling {
            challenge: change,
            ..Meddling::default()
        },
    )
}

fn attest(set: &Set, host: Host, change: Option<Change>) -> Running<'_> {
    boot(
        set,
        host,
        Meddling {
            attest: change,
            ..Meddling::default()
        },
    )
}

fn key(set: &Set, host: Host, change: Option<Change>) -> Running<'_> {
    boot(
        set,
        host,
        Meddling {
            key: change,
            ..Meddling::default()
        },
    )
}

fn wrapped(change: impl Fn(&mut WrappedDek) + Send + Sync + 'static) -> Option<Change> {
    changing(move |bytes| {
        let mut wrapped = WrappedDek::parse(&bytes).unwrap();
        change(&mut wrapped);
        wrapped.canonical().unwrap()
    })
}

/// Flips a hex digit.
fn flip(text: &mut String, at: usize) {
    let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    text.replace_range(at..=at, digit);
}

/// Answers every connection with these bytes, and then closes or says nothing more.
async fn server(bytes: Vec<u8>, closes: bool) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&bytes).await;
                if !closes {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            });
        }
    });
    at
}

const FLIPS: &str = "bit flips in KBS messages";
const REFUSED: &[&str] = &["kbs.refused"];
const PINNED: &[&str] = &["kbs.not_pinned"];

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const ATTACKS: &[Attack<Set>] = attacks! {
    "a challenge of the host's own", "puts another nonce in the broker's challenge", FLIPS, REFUSED, |s, h| challenge(s, h, json(|v| {
        v["nonce"] = hanzo_kbs_protocol::encode_nonce(&hanzo_attestation::Nonce([1; 32])).into();
    }));
    "a challenge that breaks off", "cuts the challenge in half", "truncation", &["kbs.body.malformed", "kbs.malformed"],
        |s, h| challenge(s, h, changing(|b| b[..b.len() / 2].to_vec()));
    "a flipped bit in the evidence for the broker", "flips a character of the evidence", FLIPS, REFUSED, |s, h| attest(s, h, changing(|b| {
        let text = String::from_utf8(b).unwrap();
        let at = text.find("\\\"report\\\":\\\"").or(text.find("\"report\":\"")).expect("a report") + 400;
        let digit = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{digit}{}", &text[..at], &text[at + 1..]).into()
    }));
    "a wrapping key of the host's own", "puts its own key where the guest's stands", "key substitution at each discovery step", REFUSED, |s, h| {
        let own = PrivateKey::generate(KemSuite::Xwing).unwrap();
        let object = WrapKey::new(own.public_key().clone()).to_value();
        attest(s, h, json(move |v| v["runtime-data"]["tee-pubkey"] = object.clone()))
    };
    "a flipped bit in a wrapped key", "flips a bit of the ciphertext", FLIPS, &["grant.wrap", "kbs.not_pinned"], |s, h| key(s, h, wrapped(|w| flip(&mut w.ciphertext, 3)));
    "a flipped bit in a wrapped key's encapsulation", "flips a bit of it", FLIPS, &["grant.wrap", "kbs.not_pinned"], |s, h| key(s, h, wrapped(|w| flip(&mut w.enc, 3)));
    "a flipped bit in the post-quantum half of a grant's signature", "flips a bit of it", FLIPS, PINNED, |s, h| key(s, h, wrapped(|w| flip(&mut w.signature.ml_dsa, 3)));
    "a flipped bit in the classical half of a grant's signature", "flips a bit of it", FLIPS, PINNED, |s, h| key(s, h, wrapped(|w| flip(&mut w.signature.ed25519, 3)));
    "a grant that says more", "writes another expiry into the grant", FLIPS, PINNED, |s, h| key(s, h, wrapped(|w| w.grant.not_after += 1));
    "a key answer with more behind it", "adds a space", "splicing", &["grant.malformed"], |s, h| key(s, h, changing(|b| [b, b" ".to_vec()].concat()));
    "a key answer that breaks off", "cuts it in half and ends HTTP properly", "truncation", &["grant.malformed"], |s, h| key(s, h, changing(|b| b[..b.len() / 2].to_vec()));
    "an endless key answer", "answers with a megabyte", "oversized frames", &["kbs.malformed"], |s, h| key(s, h, changing(|_| vec![b' '; 1 << 20]));
    "another key", "asks the broker for the store's key when the guest asks for the model's", "key substitution at each discovery step",
        &["kbs.refused", "grant.key_id"], |s, h| boot(s, h, Meddling { redirect: Some((MODEL_KEY, STORE_KEY)), ..Meddling::default() });
    "grants of the boot before", "answers with the keys of an earlier boot", "replay across boots", &["grant.nonce"], |s, h| Box::pin(async move {
        s.doorman.meddle(Meddling::default());
        assert_eq!(s.try_boot().await.code(), "answered");
        let replay = s.doorman.passed();
        boot(s, h, Meddling { replay, ..Meddling::default() }).await
    });
    "a key that the host sealed under a genuine grant", "seals a key that it knows to the guest, under the broker's grant", "key substitution at each discovery step",
        PINNED, |s, h| {
            let attested = Arc::new(Mutex::new(Vec::new()));
            let seen = attested.clone();
            boot(s, h, Meddling {
                attest: changing(move |body| {
                    *seen.lock().unwrap() = body.clone();
                    body
                }),
                key: wrapped(move |wrapped| {
                    let body = AttestBody::parse(&attested.lock().unwrap()).unwrap();
                    let public = body.wrap_key.hpke().unwrap();
                    let (info, aad) = (wrap_info(public.suite(), &wrapped.grant), wrapped.grant.digest().unwrap());
                    let sealed = hpke::seal(public, &info, aad.as_bytes(), &[0x66; 32]).unwrap();
                    (wrapped.enc, wrapped.ciphertext) = (hex::encode(sealed.enc), hex::encode(sealed.ciphertext));
                }),
                ..Meddling::default()
            })
        };
    "a broker of the host's own", "leads the guest to a broker that nobody pinned", "diversion", &["kbs.not_pinned", "kbs.refused"], |s, h| {
        let own = Broker::start(&s.dir.path().join(format!("own-{h:?}")));
        other(s, h, own.at, Some(own))
    };
    "a broker that never answers", "takes the connection and says nothing", "slowloris", &["kbs.timeout"], |s, h| led(s, h, Vec::new(), false);
    "a broker that never ends", "answers with headers without end", "endless frames", &["kbs.malformed", "kbs.timeout"],
        |s, h| led(s, h, [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(100_000)].concat(), false);
    "a broker cut before its answer", "closes once the guest has asked", "cutting any process", &["kbs.malformed", "kbs.unreachable"], |s, h| led(s, h, Vec::new(), true);
    "a broker cut in its answer", "closes in the middle of the answer", "cutting any process", &["kbs.malformed"],
        |s, h| led(s, h, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"nonce\":".to_vec(), true);
    "a broker killed before its challenge", "kills the broker when the guest asks for a challenge", "cutting any process", REFUSED, |s, h| killed(s, h, "/auth");
    "a broker killed before the verdict", "kills the broker when the guest shows its evidence", "cutting any process", REFUSED, |s, h| killed(s, h, "/attest");
    "a broker killed before the key", "kills the broker when the guest asks for its key", "cutting any process", REFUSED, |s, h| killed(s, h, "/resource/");
    "keys in command lines and environments", "reads those of every process", "dstack: keys on command lines (556)", &["nothing there"], arguments;
    "keys in files that others can read", "looks at the modes of stores, key files and opened models", "dstack: world-readable keys (606)", &["nothing there"], modes;
};

/// The broker is killed before it gets a request whose path holds the word; afterwards it is started again.
fn killed<'a>(set: &'a Set, host: Host, word: &'static str) -> Running<'a> {
    Box::pin(async move {
        let broker = set.broker.lock().unwrap().as_ref().expect("a broker").id();
        let kill = move || {
            let done = std::process::Command::new("kill")
                .args(["-9", &broker.to_string()])
                .status();
            assert!(done.is_ok(), "it can be killed");
        };
        let before: Option<(&'static str, Arc<dyn Fn() + Send + Sync>)> = Some((word, Arc::new(kill)));
        let saw = boot(
            set,
            host,
            Meddling {
                before,
                ..Meddling::default()
            },
        )
        .await;
        if host.attacks() {
            set.start_broker().await;
        }
        saw
    })
}

/// Data keys in the command lines and environments of the set's processes.
fn arguments(set: &Set, host: Host) -> Running<'_> {
    Box::pin(async move {
        if host == Host::Honest {
            return ask_sealed(&set.door.sealed(), "unread").await;
        }
        let dir = set.dir.path().to_string_lossy().into_owned();
        let (mut read, mut found) = (0, Vec::new());
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let of = |file: &str| std::fs::read(process.path().join(file)).unwrap_or_default();
            let (command, environment) = (of("cmdline"), of("environ"));
            if !String::from_utf8_lossy(&command).contains(&dir) {
                continue;
            }
            read += 1;
            for key in [STORE_DEK, MODEL_DEK] {
                for form in [key.to_vec(), hex::encode(key).into_bytes()] {
                    if [&command, &environment]
                        .iter()
                        .any(|t| t.windows(form.len()).any(|w| w == form))
                    {
                        found.push(process.path());
                    }
                }
            }
        }
        assert!(read >= 4, "broker, proxy, guest, engine: {read}");
        match found.is_empty() {
            true => Saw::refused("nothing there", format!("{read} processes")),
            false => Saw::Whole(format!("{found:?}")),
        }
    })
}

/// Stores, key files and opened models that other users of the machine can read.
fn modes(set: &Set, host: Host) -> Running<'_> {
    use std::os::unix::fs::PermissionsExt as _;
    Box::pin(async move {
        if host == Host::Honest {
            return ask_sealed(&set.door.sealed(), "unread").await;
        }
        let (mut read, mut found) = (0, Vec::new());
        for dir in [set.dir.path().to_owned(), set.dir.path().join("kbs")] {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_secret =
                    [".db", ".key", ".db-wal"].iter().any(|end| name.ends_with(end)) || name.starts_with("run-");
                if is_secret && name != "clone.db" {
                    read += 1;
                    if entry.metadata().unwrap().permissions().mode() & 0o077 != 0 {
                        found.push(entry.path());
                    }
                }
            }
        }
        assert!(read >= 4, "stores, keys, models: {read}");
        match found.is_empty() {
            true => Saw::refused("nothing there", format!("{read} files and directories")),
            false => Saw::Whole(format!("{found:?}")),
        }
    })
}

/// The guest asks somebody else.
fn other(set: &Set, host: Host, at: std::net::SocketAddr, keep: Option<Broker>) -> Running<'_> {
    Box::pin(async move {
        let broker = set.broker_at;
        if host.attacks() {
            set.doorman.lead_to(at);
        }
        let saw = set.try_boot().await;
        set.doorman.lead_to(broker);
        drop(keep);
        saw
    })
}

/// The guest talks to a server of the host's own, without anything between.
fn led(set: &Set, host: Host, bytes: Vec<u8>, closes: bool) -> Running<'_> {
    Box::pin(async move {
        match host {
            Host::Honest => set.try_boot().await,
            Host::Hostile => {
                let at = server(bytes, closes).await;
                set.try_boot_from(at).await
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_between_guest_and_broker_gets_no_key_and_no_guest() {
    let set = Set::start().await;
    run_all(&set, &[("keys", ATTACKS)], results()).await;
}
