//! A host that works on TCP payloads and TLS records, and one that leads connections elsewhere.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_tests_adversary::appliance::Appliance;
use hanzo_tests_adversary::attack::{Attack, Field as _, Host, Running, Saw, run_all};
use hanzo_tests_adversary::canary::{ANSWER, PROMPT};
use hanzo_tests_adversary::door::{ask_attested, ask_streamed};
use hanzo_tests_adversary::impostor::{Impostor, Serves, fetch_bundle, own_certificate};
use hanzo_tests_adversary::role::engine;
use hanzo_tests_adversary::set::Set;
use hanzo_tests_adversary::tap::{Act, Unit, Way, records};
use hanzo_tests_adversary::wire::{Attack as OnWire, HostileProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::results;

/// On record `index` of a fresh connection.
fn early(
    set: &Set,
    host: Host,
    way: Way,
    index: usize,
    act: impl Fn(Vec<u8>) -> Act + Send + Sync + 'static,
) -> Running<'_> {
    if host.attacks() {
        set.tls
            .script(Unit::Records, move |piece| match (piece.way, piece.index) {
                (w, i) if w == way && i == index => act(piece.bytes),
                _ => Act::Pass(piece.bytes),
            });
    }
    Box::pin(async move {
        let saw = ask_attested(&set.door.attested(), "early").await;
        set.tls.carry();
        saw
    })
}

/// On the records that pass one way after the guest was attested and the connection proven.
fn late(set: &Set, host: Host, way: Way, act: impl Fn(usize, Vec<u8>) -> Act + Send + Sync + 'static) -> Running<'_> {
    let (arm, count) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    if host.attacks() {
        let armed = arm.clone();
        set.tls.script(Unit::Records, move |piece| {
            if piece.way == way && armed.load(Ordering::SeqCst) {
                act(count.fetch_add(1, Ordering::SeqCst), piece.bytes)
            } else {
                Act::Pass(piece.bytes)
            }
        });
    }
    Box::pin(async move {
        let client = set
            .door
            .attested_with(set.door.tls, |c| c.limits.answer_gap = Duration::from_millis(800));
        if let Err(error) = client.verdict().await {
            return error.into();
        }
        arm.store(true, Ordering::SeqCst);
        let saw = ask_streamed(&client, "one two three four").await;
        set.tls.carry();
        saw
    })
}

fn flipped(mut bytes: Vec<u8>, at: usize) -> Act {
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    Act::Pass(bytes)
}

/// A whole connection as it was, recorded anew: what the client sent, what the guest sent.
async fn recorded(set: &Set) -> (Vec<u8>, Vec<u8>) {
    set.tls.carry();
    let _ = ask_streamed(&set.door.attested(), "to be replayed").await;
    let seen = set.tls.seen().pop().unwrap();
    (seen.to_guest, seen.to_client)
}

/// Plays recorded bytes to the guest. Had it taken them, an engine would have got a prompt.
async fn play_to_guest(set: &Set, bytes: &[u8]) -> Saw {
    let before = set.prompts();
    let mut guest = TcpStream::connect(set.guest_at[0]).await.unwrap();
    let _ = guest.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(1), guest.read_to_end(&mut answer)).await;
    match set.prompts() - before {
        0 => Saw::refused(
            "not taken",
            format!("{} records came back, none to a request", records(&answer).len()),
        ),
        _ => Saw::Whole("the guest took it".into()),
    }
}

const HANDSHAKE: &[&str] = &["tls.handshake"];
const EXCHANGE: &[&str] = &["channel.exchange"];
const FLIPS: &str = "bit flips at every layer";

pub const ATTACKS: &[Attack<Set>] = &[
    Attack {
        name: "a flipped bit in the ServerHello",
        host: "flips one bit of the key exchange",
        after: FLIPS,
        expect: HANDSHAKE,
        run: |s, h| early(s, h, Way::Down, 0, |b| flipped(b, 200)),
    },
    Attack {
        name: "a flipped bit in the sealed part of the handshake",
        host: "flips one bit of the certificate's record",
        after: FLIPS,
        expect: HANDSHAKE,
        run: |s, h| early(s, h, Way::Down, 2, |b| flipped(b, 20)),
    },
    Attack {
        name: "a flipped bit in the ClientHello",
        host: "flips one bit of the client's random",
        after: FLIPS,
        expect: HANDSHAKE,
        run: |s, h| early(s, h, Way::Up, 0, |b| flipped(b, 20)),
    },
    Attack {
        name: "a flipped bit in the request for evidence",
        host: "flips one bit of the first request's record",
        after: FLIPS,
        expect: &["attestation.answer"],
        run: |s, h| early(s, h, Way::Up, 3, |b| flipped(b, 30)),
    },
    Attack {
        name: "a flipped bit in a request's record",
        host: "flips one bit of the question's record",
        after: FLIPS,
        expect: EXCHANGE,
        run: |s, h| late(s, h, Way::Up, |n, b| if n == 0 { flipped(b, 40) } else { Act::Pass(b) }),
    },
    Attack {
        name: "a flipped bit in an answer's record",
        host: "flips one bit in the middle of the answer",
        after: FLIPS,
        expect: EXCHANGE,
        run: |s, h| {
            late(
                s,
                h,
                Way::Down,
                |n, b| if n == 1 { flipped(b, 40) } else { Act::Pass(b) },
            )
        },
    },
    Attack {
        name: "a flipped bit in an answer's tag",
        host: "flips the last bit of the answer's first record",
        after: FLIPS,
        expect: EXCHANGE,
        run: |s, h| {
            late(s, h, Way::Down, |n, b| {
                if n == 0 { flipped(b, usize::MAX) } else { Act::Pass(b) }
            })
        },
    },
    Attack {
        name: "a record of no known type",
        host: "calls application data something that TLS does not have",
        after: FLIPS,
        expect: EXCHANGE,
        run: |s, h| {
            late(s, h, Way::Down, |n, b| {
                Act::Pass(if n == 1 {
                    [vec![99], b[1..].to_vec()].concat()
                } else {
                    b
                })
            })
        },
    },
    Attack {
        name: "a record of another length",
        host: "changes the length in a record's head",
        after: FLIPS,
        expect: EXCHANGE,
        run: |s, h| {
            late(
                s,
                h,
                Way::Down,
                |n, b| if n == 1 { flipped(b, 4) } else { Act::Pass(b) },
            )
        },
    },
    Attack {
        name: "an answer cut between two records",
        host: "closes both connections properly in the middle of an answer",
        after: "truncation",
        expect: EXCHANGE,
        run: |s, h| {
            late(s, h, Way::Down, |n, b| {
                if n == 2 { Act::Close(Vec::new()) } else { Act::Pass(b) }
            })
        },
    },
    Attack {
        name: "an answer cut inside a record",
        host: "closes after half a record",
        after: "truncation",
        expect: EXCHANGE,
        run: |s, h| {
            late(s, h, Way::Down, |n, b| {
                if n == 2 {
                    Act::Close(b[..b.len() / 2].to_vec())
                } else {
                    Act::Pass(b)
                }
            })
        },
    },
    Attack {
        name: "a record left out",
        host: "leaves one record of the answer out",
        after: "splicing",
        expect: EXCHANGE,
        run: |s, h| late(s, h, Way::Down, |n, b| Act::Pass(if n == 1 { Vec::new() } else { b })),
    },
    Attack {
        name: "a record twice",
        host: "sends one record of the answer twice",
        after: "replay",
        expect: EXCHANGE,
        run: |s, h| {
            late(s, h, Way::Down, |n, b| {
                Act::Pass(if n == 1 { [b.clone(), b].concat() } else { b })
            })
        },
    },
    Attack {
        name: "two records in the other order",
        host: "swaps two records of the answer",
        after: "reordering",
        expect: EXCHANGE,
        run: |s, h| {
            let held = Mutex::new(Vec::new());
            late(s, h, Way::Down, move |n, b| match n {
                1 => {
                    *held.lock().unwrap() = b;
                    Act::Pass(Vec::new())
                }
                2 => Act::Pass([b, std::mem::take(&mut *held.lock().unwrap())].concat()),
                _ => Act::Pass(b),
            })
        },
    },
    Attack {
        name: "answers of two clients swapped",
        host: "puts a record of another client's answer in the place of this one's",
        after: "response swapping between two clients",
        expect: EXCHANGE,
        run: |s, h| {
            Box::pin(async move {
                let theirs = records(&recorded(s).await.1).pop().unwrap();
                late(s, h, Way::Down, move |n, b| {
                    Act::Pass(if n == 1 { theirs.clone() } else { b })
                })
                .await
            })
        },
    },
    Attack {
        name: "a request reflected",
        host: "sends the client's own records back to it",
        after: "reflection",
        expect: EXCHANGE,
        run: |s, h| late(s, h, Way::Up, |_, b| Act::Back(b)),
    },
    Attack {
        name: "a reset in the middle of an answer",
        host: "resets both connections",
        after: "RST storms",
        expect: EXCHANGE,
        run: |s, h| late(s, h, Way::Down, |n, b| if n == 2 { Act::Reset } else { Act::Pass(b) }),
    },
    Attack {
        name: "an answer that never goes on",
        host: "swallows the answer from its second record on",
        after: "slowloris",
        expect: &["channel.stalled"],
        run: |s, h| late(s, h, Way::Down, |n, b| Act::Pass(if n > 0 { Vec::new() } else { b })),
    },
    Attack {
        name: "a handshake that never ends",
        host: "swallows whatever the guest says",
        after: "slowloris",
        // Whose patience ends first, the client's or the guest's.
        expect: &["endpoint.timeout", "tls.handshake"],
        run: |s, h| {
            if h.attacks() {
                s.tls.script(Unit::Bytes, |piece| {
                    Act::Pass(if piece.way == Way::Down {
                        Vec::new()
                    } else {
                        piece.bytes
                    })
                });
            }
            Box::pin(async move {
                let saw = ask_attested(&s.door.attested(), "unheard").await;
                s.tls.carry();
                saw
            })
        },
    },
    Attack {
        name: "a record longer than TLS allows",
        host: "announces 65,535 bytes",
        after: "oversized frames",
        expect: HANDSHAKE,
        run: |s, h| {
            early(s, h, Way::Down, 0, |_| {
                Act::Pass([vec![22, 3, 3, 255, 255], vec![2; 65_535]].concat())
            })
        },
    },
    Attack {
        name: "endless handshake records",
        host: "sends a megabyte of empty handshake messages",
        after: "endless frames",
        expect: HANDSHAKE,
        run: |s, h| {
            early(s, h, Way::Down, 0, |_| {
                Act::Pass([22, 3, 3, 0, 4, 0, 0, 0, 0].repeat(116_000))
            })
        },
    },
    Attack {
        name: "a recorded connection played to a client",
        host: "answers with what the guest sent on an earlier connection",
        after: "replay across connections",
        expect: HANDSHAKE,
        run: |s, h| {
            Box::pin(async move {
                let what = match h {
                    Host::Hostile => OnWire::Replay(recorded(s).await.1),
                    Host::Honest => OnWire::None,
                };
                let proxy = HostileProxy::start(s.proxy_at.tls, what).await.unwrap();
                ask_attested(&s.door.attested_at(proxy.at), "played").await
            })
        },
    },
    Attack {
        name: "a recorded connection played to the guest",
        host: "sends the guest what a client sent earlier",
        after: "replay across connections",
        expect: &["not taken"],
        run: |s, h| {
            Box::pin(async move {
                match h {
                    Host::Honest => ask_attested(&s.door.attested(), "played").await,
                    Host::Hostile => play_to_guest(s, &recorded(s).await.0).await,
                }
            })
        },
    },
    Attack {
        name: "a recorded connection played to the next boot",
        host: "starts the guest again and sends it what a client sent to the boot before",
        after: "replay across boots",
        expect: &["not taken"],
        run: |s, h| {
            Box::pin(async move {
                let bytes = recorded(s).await.0;
                s.boot().await;
                match h {
                    Host::Honest => ask_attested(&s.door.attested(), "booted").await,
                    Host::Hostile => play_to_guest(s, &bytes).await,
                }
            })
        },
    },
    Attack {
        name: "an impostor that relays evidence",
        host: "ends TLS with a key of its own and passes challenge and evidence on",
        after: "CVE-2026-33697; relay",
        expect: &["channel.spki_mismatch"],
        run: |s, h| {
            Box::pin(async move {
                let impostor = Impostor::start(s.guest_at[0], Serves::GuestsAnswers).await.unwrap();
                let at = if h.attacks() { impostor.at } else { s.door.tls };
                ask_attested(&s.door.attested_at(at), "relayed").await
            })
        },
    },
    Attack {
        name: "an impostor in a certificate with the guest's evidence",
        host: "ends TLS with a key of its own under a certificate that carries the guest's bundle",
        after: "relay; RA-TLS is no proof by itself",
        expect: &["channel.spki_mismatch"],
        run: |s, h| {
            Box::pin(async move {
                let evidence = fetch_bundle(s.guest_at[0], None).await.unwrap();
                let certificate = own_certificate(Some(&evidence)).unwrap();
                let impostor = Impostor::start_wearing(s.guest_at[0], Serves::GuestsAnswers, certificate);
                let impostor = impostor.await.unwrap();
                let at = if h.attacks() { impostor.at } else { s.door.tls };
                ask_attested(&s.door.attested_at(at), "worn").await
            })
        },
    },
    Attack {
        name: "a connection led to another genuine guest",
        host: "leads a client's next connections to a guest of another operator",
        after: "CVE-2026-33697; diversion to another genuine guest",
        expect: &["config.not_reference", "snp.measurement", "policy.refused"],
        run: |s, h| {
            Box::pin(async move {
                let other = Appliance::start(engine()).await;
                let client = s.door.attested();
                client.verdict().await.unwrap();
                if h.attacks() {
                    s.tls.lead_to(other.guest_at);
                    s.tls.cut_all();
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                let saw = ask_attested(&client, "diverted").await;
                s.tls.lead_to(s.proxy_at.tls);
                assert_eq!(other.prompts(), 0);
                saw
            })
        },
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_host_on_the_wire_only_stops_what_it_touches() {
    let set = Set::start().await;
    run_all(&set, &[("wire", ATTACKS)], results()).await;
}

/// TLS 1.3 does not authenticate the outer type of a record (RFC 8446 section 5.2), and rustls does not hold a peer to it: the
/// answer comes through as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_s_outer_type_is_nobody_s_word() {
    let set = Set::start().await;
    let other = |n, b: Vec<u8>| if n == 1 { flipped(b, 0) } else { Act::Pass(b) };
    let saw = late(&set, Host::Hostile, Way::Down, other).await;
    println!(
        "attack: a record called a handshake message: the client saw [{}] {}",
        saw.code(),
        saw.text()
    );
    assert!(matches!(&saw, Saw::Whole(answer) if set.is_right(answer)), "{saw:?}");
}

/// What the search for readable words is worth: it finds them wherever they are put.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_readable_on_the_host_is_found() {
    let set = Set::start().await;
    assert_eq!(ask_streamed(&set.door.attested(), "unread").await.code(), "answered");
    assert_eq!(set.leaks(), Vec::<String>::new());
    let hidden = hex::encode(PROMPT);
    for (at, way) in [(set.tls.at, "attested way"), (set.clear.at, "clear way")] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let _ = stream.write_all(format!("x{hidden}").as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let leaks = set.leaks();
        assert!(leaks.contains(&format!("prompt in hex: {way}")), "{leaks:?}");
    }
    std::fs::write(set.dir.path().join("some.log"), ANSWER).unwrap();
    let leaks = set.leaks();
    assert!(
        leaks
            .iter()
            .any(|l| l.starts_with("answer in the clear: ") && l.ends_with("some.log")),
        "{leaks:?}"
    );
}
