//! A host that carries sealed messages (OHTTP): it changes, cuts, repeats, swaps and forges them.

use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageKem, MessageKey};
use hanzo_sealed::config::{KeyConfig, encode_list};
use hanzo_sealed::{chunked, ohttp};
use hanzo_tests_adversary::attack::{Attack, Host, Running, Saw, run_all};
use hanzo_tests_adversary::door::{ask_sealed, binary_chat, judge_whole, key_of, post_whole, sealed_whole};
use hanzo_tests_adversary::relay::{Answered, First, send};
use hanzo_tests_adversary::set::Set;
use hyper::Method;

use crate::results;

/// Bytes of a message before its ciphertext: header and `enc`.
const BEGINS: usize = 7 + 1120;

/// The sealed question, changed on its way.
fn question(set: &Set, host: Host, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Running<'_> {
    if host.attacks() {
        set.relay.on_request(move |mut asked| {
            if asked.method == Method::POST {
                asked.body = change(asked.body);
            }
            First::Send(asked)
        });
    }
    Box::pin(async move {
        let before = set.prompts();
        let saw = ask_sealed(&set.door.sealed(), "asked").await;
        set.relay.carry();
        assert!(!host.attacks() || set.prompts() == before, "an engine got a prompt");
        saw
    })
}

/// The sealed answer, changed on its way.
fn answer(set: &Set, host: Host, change: impl Fn(Answered) -> Answered + Send + Sync + 'static) -> Running<'_> {
    if host.attacks() {
        set.relay
            .on_answer(move |asked, answered| match asked.method == Method::POST {
                true => change(answered),
                false => answered,
            });
    }
    Box::pin(async move {
        let saw = ask_sealed(&set.door.sealed(), "one two three four").await;
        set.relay.carry();
        saw
    })
}

/// Its body alone.
fn body(set: &Set, host: Host, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Running<'_> {
    answer(set, host, move |mut a| {
        a.body = change(a.body);
        a
    })
}

fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    bytes
}

/// The parts of an answer: nonce first, then each with its length, the last with its zero.
fn parts(bytes: &[u8], nonce: usize) -> Vec<Vec<u8>> {
    let (head, mut rest) = bytes.split_at(nonce);
    let mut out = vec![head.to_vec()];
    while let Some(first) = rest.first() {
        let (len, used) = match first >> 6 {
            0 => (usize::from(*first), 1),
            1 => (usize::from(u16::from_be_bytes([first & 0x3f, rest[1]])), 2),
            _ => (
                u32::from_be_bytes([first & 0x3f, rest[1], rest[2], rest[3]]) as usize,
                4,
            ),
        };
        let end = if len == 0 { rest.len() } else { used + len };
        let (part, after) = rest.split_at(end);
        out.push(part.to_vec());
        rest = after;
    }
    out
}

/// The answer's parts, rearranged. The client takes the key's first AEAD, so its nonce is 16 bytes.
fn rearranged(set: &Set, host: Host, change: impl Fn(&mut Vec<Vec<u8>>) + Send + Sync + 'static) -> Running<'_> {
    body(set, host, move |bytes| {
        let mut parts = parts(&bytes, 16);
        assert!(parts.len() > 4, "it is streamed");
        change(&mut parts);
        parts.concat()
    })
}

/// One message of the host's making, or of a client's that it sends again. A twin is a good message.
fn message(set: &Set, host: Host, forge: fn(&KeyConfig) -> Vec<u8>) -> Running<'_> {
    Box::pin(async move {
        let keyset = match set.door.keyset().await {
            Ok(keyset) => keyset,
            Err(saw) => return saw,
        };
        let config = key_of(&keyset, "ohttp", MessageKem::Xwing);
        let (good, opener) = sealed_whole(&config, "forged");
        let before = set.prompts();
        let sealed = if host.attacks() { forge(&config) } else { good };
        let saw = judge_whole(post_whole(set.door.clear, sealed).await, opener);
        assert!(!host.attacks() || set.prompts() == before, "an engine got a prompt");
        saw
    })
}

fn changed(at: usize, to: u8) -> impl Fn(&KeyConfig) -> Vec<u8> {
    move |config| {
        let mut sealed = sealed_whole(config, "changed").0;
        sealed[at] = to;
        sealed
    }
}

/// A message whose inside the host wrote: it knows the public key as everybody does.
fn inside(set: &Set, host: Host, change: fn(&mut Vec<u8>)) -> Running<'_> {
    Box::pin(async move {
        let keyset = match set.door.keyset().await {
            Ok(keyset) => keyset,
            Err(saw) => return saw,
        };
        let mut message = binary_chat("inside");
        if host.attacks() {
            change(&mut message);
        }
        let config = key_of(&keyset, "ohttp", MessageKem::Xwing);
        let (sealed, opener) = ohttp::seal_request(&config, Gcm::Aes256, &message).unwrap();
        let before = set.prompts();
        let saw = judge_whole(post_whole(set.door.clear, sealed).await, opener);
        assert!(!host.attacks() || set.prompts() == before, "an engine got a prompt");
        saw
    })
}

/// Replaces text by text of the same length.
fn replaced(message: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let at = message
        .windows(from.len())
        .position(|w| w == from.as_bytes())
        .expect("it is there");
    message[at..at + to.len()].copy_from_slice(to.as_bytes());
}

/// Somebody else's key under this key's identifier.
fn other_key(config: &KeyConfig, kem: MessageKem) -> KeyConfig {
    let key = MessageKey::from_seed(kem, &[0x66; 32]).unwrap();
    KeyConfig::new(config.key_id(), key.public_key().clone(), &[Gcm::Aes256])
}

/// A message, its answer, and what opens it. Once more if the keyset was followed by the next meanwhile.
async fn posted(set: &Set) -> Result<(Vec<u8>, std::io::Result<Answered>, ohttp::ResponseOpener), Saw> {
    let mut tries = 0;
    loop {
        let keyset = set.door.keyset().await?;
        let (sealed, opener) = sealed_whole(&key_of(&keyset, "ohttp", MessageKem::Xwing), "again");
        let first = post_whole(set.door.clear, sealed.clone()).await;
        tries += 1;
        if tries == 3 || first.as_ref().is_ok_and(|answered| answered.status == 200) {
            return Ok((sealed, first, opener));
        }
    }
}

/// The same message again, after something happened.
fn again<'a>(set: &'a Set, host: Host, between: impl Future<Output = ()> + Send + 'a) -> Running<'a> {
    Box::pin(async move {
        let before = set.prompts();
        let (sealed, first, opener) = match posted(set).await {
            Ok(posted) => posted,
            Err(saw) => return saw,
        };
        if host == Host::Honest {
            return judge_whole(first, opener);
        }
        assert_eq!(first.unwrap().status, 200);
        between.await;
        let saw = judge_whole(post_whole(set.door.clear, sealed).await, opener);
        assert_eq!(set.prompts(), before + 1, "it counted once");
        saw
    })
}

const FLIPS: &str = "bit flips in sealed messages";
const CHUNKS: &str = "bit flips in chunks";
const ONCE: &str = "the same sealed request twice";
const KEY: &[&str] = &["sealed.key"];
const OPEN: &[&str] = &["sealed.open"];
const CUT: &[&str] = &["sealed.truncated"];

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const REQUESTS: &[Attack<Set>] = attacks! {
    "a flipped bit in the key identifier", "flips it", FLIPS, KEY, |s, h| question(s, h, |b| flipped(b, 0));
    "a flipped bit in the suite", "flips a bit of the AEAD's number", FLIPS, KEY, |s, h| question(s, h, |b| flipped(b, 6));
    "a flipped bit in the encapsulated key", "flips a bit of its ML-KEM half", FLIPS, KEY, |s, h| question(s, h, |b| flipped(b, 100));
    "a flipped bit in the classical half of the encapsulated key", "flips a bit of its X25519 half", FLIPS, KEY, |s, h| question(s, h, |b| flipped(b, BEGINS - 1));
    "a flipped bit in the question's only part", "flips a bit of the ciphertext", CHUNKS, KEY, |s, h| question(s, h, |b| flipped(b, BEGINS + 9));
    "a flipped bit in the question's tag", "flips the last bit", CHUNKS, KEY, |s, h| question(s, h, |b| flipped(b, usize::MAX));
    "a question without its last byte", "leaves it out", "truncation", KEY, |s, h| question(s, h, |mut b| { b.pop(); b });
    "a question that ends after its key", "cuts the ciphertext off", "truncation", KEY, |s, h| question(s, h, |b| b[..BEGINS].to_vec());
    "a question of an endless part", "announces a part of 2^62 bytes", "oversized frames; dstack: unbounded allocation (567)", KEY,
        |s, h| question(s, h, |b| [&b[..BEGINS], &[0xff; 8]].concat());
    "a question called whole", "calls a message in parts a whole one", "downgrade, missing headers", KEY, |s, h| {
        if h.attacks() {
            s.relay.on_request(|mut asked| {
                if asked.method == Method::POST {
                    asked.headers.insert("content-type", ohttp::REQUEST_MEDIA_TYPE.parse().unwrap());
                }
                First::Send(asked)
            });
        }
        Box::pin(async move {
            let saw = ask_sealed(&s.door.sealed(), "whole").await;
            s.relay.carry();
            saw
        })
    };
    "a question without its media type", "takes the header out", "downgrade, missing headers", &["sealed.answer"], |s, h| {
        if h.attacks() {
            s.relay.on_request(|mut asked| {
                asked.headers.remove("content-type");
                First::Send(asked)
            });
        }
        Box::pin(async move {
            let saw = ask_sealed(&s.door.sealed(), "untyped").await;
            s.relay.carry();
            saw
        })
    };
    "a message to another key of this identifier", "seals to a key of its own under the guest's identifier", "key id collision; dstack: key collision (549)", KEY,
        |s, h| message(s, h, |c| sealed_whole(&other_key(c, MessageKem::Xwing), "collision").0);
    "a message to a classical key of this identifier", "seals with X25519 under the X-Wing key's identifier", "downgrade of the suite", KEY,
        |s, h| message(s, h, |c| sealed_whole(&other_key(c, MessageKem::X25519), "classical").0);
    "a message of another AEAD", "writes ChaCha20-Poly1305 into the header", "downgrade of the suite", KEY, |s, h| message(s, h, |c| changed(6, 3)(c));
    "a message of another KDF", "writes HKDF-SHA512 into the header", "downgrade of the suite", KEY, |s, h| message(s, h, |c| changed(4, 3)(c));
    "a message of another KEM", "writes P-256 into the header", "downgrade of the suite", KEY, |s, h| message(s, h, |c| changed(2, 0x10)(c));
    "binary HTTP of no known framing", "writes another framing indicator", "bit flips in bhttp", &["sealed.bhttp"], |s, h| inside(s, h, |m| m[0] = 7);
    "an answer for a request", "calls the request an answer", "reflection", &["sealed.bhttp"], |s, h| inside(s, h, |m| m[0] = 1);
    "binary HTTP with a length too many", "changes the length of the method", "bit flips in bhttp", &["sealed.bhttp", "sealed.truncated", "sealed.too_long"], |s, h| inside(s, h, |m| m[1] ^= 1);
    "binary HTTP that breaks off", "leaves the last bytes out", "truncation", &["sealed.truncated", "sealed.bhttp", "body_incomplete"], |s, h| inside(s, h, |m| m.truncate(m.len() - 9));
    "binary HTTP with more behind it", "adds a byte that is no padding", "splicing", &["sealed.trailing", "sealed.bhttp"], |s, h| inside(s, h, |m| m.push(1));
    "a field name in another case inside", "writes a name as HTTP/1.1 would allow it", "header smuggling", &["sealed.bhttp"], |s, h| inside(s, h, |m| {
        replaced(m, "hanzo-owner", "Hanzo-Owner");
    });
    "another scheme inside", "asks over another protocol", "downgrade", &["sealed.bhttp"], |s, h| inside(s, h, |m| replaced(m, "https", "gophr"));
    "another path inside", "asks for the guest's own routes", "header smuggling", &["not_found", "method_not_allowed"], |s, h| inside(s, h, |m| {
        replaced(m, "/v1/chat/completions", "/.well-known/hanzo/x");
    });
    "an empty message", "sends nothing", "truncation", KEY, |s, h| message(s, h, |_| Vec::new());
    "a hundred kilobytes of noise", "sends bytes that are nothing", "oversized frames", KEY, |s, h| message(s, h, |_| vec![0x5a; 100_000]);
};

pub const ANSWERS: &[Attack<Set>] = attacks! {
    "a flipped bit in the answer's nonce", "flips a bit of it", FLIPS, OPEN, |s, h| body(s, h, |b| flipped(b, 3));
    "a flipped bit in the answer's first part", "flips a bit of the ciphertext", CHUNKS, OPEN, |s, h| body(s, h, |b| flipped(b, 30));
    "a flipped bit in a part's length", "flips a bit of it", CHUNKS, &["sealed.open", "sealed.truncated", "sealed.too_long"],
        |s, h| rearranged(s, h, |p| p[2][1] ^= 1);
    "a flipped bit in the answer's last part", "flips the last bit", CHUNKS, OPEN, |s, h| body(s, h, |b| flipped(b, usize::MAX));
    "an answer without its last part", "leaves it out and ends HTTP properly", "truncation", CUT, |s, h| rearranged(s, h, |p| drop(p.pop()));
    "an answer of half its parts", "cuts between two parts and ends HTTP properly", "truncation", CUT, |s, h| rearranged(s, h, |p| p.truncate(p.len() / 2));
    "an answer cut inside a part", "leaves the last bytes out", "truncation", &["sealed.truncated", "sealed.open"], |s, h| body(s, h, |b| b[..b.len() - 5].to_vec());
    "an empty answer", "answers 200 with nothing", "truncation", CUT, |s, h| body(s, h, |_| Vec::new());
    "a part called the last", "calls a part in the middle the last", "truncation", &["sealed.open", "sealed.too_long"], |s, h| rearranged(s, h, |p| {
        p.truncate(3);
        let sealed = p[2].split_off(2);
        p[2] = [vec![0], sealed].concat();
    });
    "a part left out", "leaves a part in the middle out", "splicing", OPEN, |s, h| rearranged(s, h, |p| drop(p.remove(2)));
    "a part twice", "sends a part twice", "replay", OPEN, |s, h| rearranged(s, h, |p| p.insert(2, p[2].clone()));
    "two parts in the other order", "swaps two parts", "reordering", OPEN, |s, h| rearranged(s, h, |p| p.swap(2, 3));
    "parts of the client's own question for an answer", "sends the sealed question back", "reflection", &["sealed.open", "sealed.too_long", "sealed.truncated"], |s, h| {
        if h.attacks() {
            s.relay.on_request(|asked| match asked.method == Method::POST {
                true => First::Answer(Answered::own(200, chunked::RESPONSE_MEDIA_TYPE, asked.body)),
                false => First::Send(asked),
            });
        }
        Box::pin(async move {
            let saw = ask_sealed(&s.door.sealed(), "mirror").await;
            s.relay.carry();
            saw
        })
    };
    "another client's answer", "swaps the answers of two clients", "response swapping between two clients", OPEN, |s, h| Box::pin(async move {
        assert_eq!(ask_sealed(&s.door.sealed(), "theirs").await.code(), "answered");
        let theirs = s.relay.last_message().1;
        answer(s, h, move |_| theirs.clone()).await
    });
    "the answer to an earlier question", "answers a client with what it got before", "cached-answer poisoning", OPEN, |s, h| Box::pin(async move {
        let client = s.door.sealed();
        assert_eq!(ask_sealed(&client, "earlier").await.code(), "answered");
        let earlier = s.relay.last_message().1;
        if h.attacks() {
            s.relay.on_answer(move |asked, a| if asked.method == Method::POST { earlier.clone() } else { a });
        }
        let saw = ask_sealed(&client, "earlier").await;
        s.relay.carry();
        saw
    });
    "an endless part", "announces a part of 2^62 bytes", "oversized frames", &["sealed.too_long"], |s, h| rearranged(s, h, |p| p[2] = vec![0xff; 8]);
    "an endless last part", "lets the last part go on for a megabyte", "endless frames", &["sealed.too_long"],
        |s, h| rearranged(s, h, |p| p.last_mut().unwrap().extend(vec![0; 1 << 20]));
    "an answer that says it is compressed", "answers with gzip of 100 MiB and says so", "compression bombs", &["sealed.open", "sealed.too_long"],
        |s, h| answer(s, h, |mut a| {
            a.headers.insert("content-encoding", "gzip".parse().unwrap());
            a.body = [vec![0x1f, 0x8b, 8, 0], vec![0; 100_000]].concat();
            a
        });
    "an answer in clear", "answers in the guest's place", "downgrade, missing headers", &["sealed.answer"],
        |s, h| answer(s, h, |_| Answered::own(200, "application/json", r#"{"choices":[{"message":{"content":"yes"}}]}"#));
    "an answer without its media type", "takes the header out", "downgrade, missing headers", &["sealed.answer"],
        |s, h| answer(s, h, |mut a| { a.headers.remove("content-type"); a });
    "an answer of another status", "calls a good answer an error", "header smuggling", &["sealed.answer"], |s, h| answer(s, h, |mut a| { a.status = 500; a });
    "a key error", "says that the key is unknown", "a key error answered with the attacker's key", KEY,
        |s, h| answer(s, h, |_| Answered::own(400, "application/problem+json", format!(r#"{{"type":"{}"}}"#, ohttp::KEY_PROBLEM)));
    "a key error with the host's own key", "says that the key is unknown, and serves a key of its own in the error and in the key list",
        "a key error answered with the attacker's key", KEY, |s, h| {
            if h.attacks() {
                let key = MessageKey::from_seed(MessageKem::Xwing, &[0x66; 32]).unwrap();
                let list = encode_list(&[KeyConfig::new(1, key.public_key().clone(), &[Gcm::Aes128])]);
                s.relay.on_request(move |asked| {
                    let error = format!(r#"{{"type":"{}","keys":"{}"}}"#, ohttp::KEY_PROBLEM, hex::encode(&list));
                    match (asked.path == ohttp::GATEWAY_PATH, asked.method == Method::POST) {
                        (true, true) => First::Answer(Answered::own(400, "application/problem+json", error)),
                        (true, false) => First::Answer(Answered::own(200, "application/ohttp-keys", list.clone())),
                        _ => First::Send(asked),
                    }
                });
            }
            Box::pin(async move {
                let saw = ask_sealed(&s.door.sealed(), "keyless").await;
                s.relay.carry();
                saw
            })
        };
};

pub const TWICE: &[Attack<Set>] = attacks! {
    "the same message twice", "sends it again", ONCE, KEY, |s, h| again(s, h, async {});
    "the same message twice at a time", "sends it twice in parallel", ONCE, KEY, |s, h| Box::pin(async move {
        let keyset = s.door.keyset().await.unwrap();
        let (sealed, opener) = sealed_whole(&key_of(&keyset, "ohttp", MessageKem::Xwing), "parallel");
        let before = s.prompts();
        if h == Host::Honest {
            return judge_whole(post_whole(s.door.clear, sealed).await, opener);
        }
        let (a, b) = tokio::join!(post_whole(s.door.clear, sealed.clone()), post_whole(s.door.clear, sealed));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!([a.status, b.status].iter().filter(|s| **s == 200).count(), 1, "one is answered");
        assert_eq!(s.prompts(), before + 1);
        judge_whole(Ok(if a.status == 200 { b } else { a }), opener)
    });
    "the same message after a restart", "kills the guest, boots it from the same disk and sends the message again", ONCE, KEY,
        |s, h| again(s, h, async { drop(s.boot().await) });
    "a message for guest A delivered to guest B", "boots a clone and hands it the message that was sealed for the first guest",
        "a request sealed for guest A delivered to B", KEY, |s, h| Box::pin(async move {
            let keyset = s.door.keyset().await.unwrap();
            let (sealed, opener) = sealed_whole(&key_of(&keyset, "ohttp", MessageKem::Xwing), "for A");
            if h == Host::Honest {
                return judge_whole(post_whole(s.door.clear, sealed).await, opener);
            }
            let (clone, addresses, theirs) = s.clone_guest().await;
            assert_ne!(theirs.digest().unwrap(), keyset.digest().unwrap());
            let before = s.prompts();
            let saw = judge_whole(post_whole(addresses[1], sealed).await, opener);
            assert_eq!(s.prompts(), before);
            drop(clone);
            saw
        });
};

pub const CLEAR: &[Attack<Set>] = attacks! {
    "a question in clear", "asks the clear listener without sealing", "downgrade", &["sealed.required"], |s, h| smuggled(s, h, "content-type: application/json\r\n", "");
    "a second request behind the first", "hides a request behind one with two ways to tell its length", "header smuggling",
        &["sealed.required", "status 400"], |s, h| smuggled(s, h, "transfer-encoding: chunked\r\n", "0\r\n\r\nPOST /v1/chat/completions HTTP/1.1\r\nhost: guest\r\ncontent-length: 0\r\n\r\n");
    "a header over two lines", "folds a header", "header smuggling", &["sealed.required", "status 400"], |s, h| smuggled(s, h, "x-a: b\r\n ehbp-encapsulated-key: 00\r\n", "");
    "a thousand headers", "sends more headers than anybody reads", "oversized frames", &["status 431", "status 400"], |s, h| smuggled(s, h, Box::leak("x: y\r\n".repeat(1_000).into_boxed_str()), "");
};

/// A request in clear with these headers, and these bytes for a body. The twin is sealed.
fn smuggled<'a>(set: &'a Set, host: Host, headers: &'static str, body: &'static str) -> Running<'a> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    Box::pin(async move {
        if host == Host::Honest {
            return ask_sealed(&set.door.sealed(), "sealed").await;
        }
        let before = set.prompts();
        let mut stream = tokio::net::TcpStream::connect(set.clear.at).await.unwrap();
        let text = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: guest\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(std::time::Duration::from_millis(400), stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(set.prompts(), before, "an engine got a prompt");
        let status = answer.split(' ').nth(1).unwrap_or("none").to_owned();
        match answer.contains("sealed.required") {
            true => Saw::refused(
                "sealed.required",
                format!("{} answers", answer.matches("HTTP/1.1 ").count()),
            ),
            false if status == "200" => Saw::Whole(answer),
            false => Saw::refused(format!("status {status}"), answer.lines().next().unwrap_or_default()),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_carries_sealed_messages_can_only_stop_them() {
    let set = Set::start().await;
    let classes = [
        ("requests", REQUESTS),
        ("answers", ANSWERS),
        ("twice", TWICE),
        ("clear", CLEAR),
    ];
    run_all(&set, &classes, results()).await;
}

pub const ROTATED: &[Attack<Set>] = attacks! {
    "the same message after a rotation", "waits for the next keyset and sends the message again", ONCE, KEY, |s, h| again(s, h, async {
        let first = s.door.keyset().await.unwrap().digest().unwrap();
        for _ in 0..400 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let now = s.door.keyset().await.map(|k| k.digest().unwrap());
            if now.is_ok_and(|now| now != first) {
                return;
            }
        }
        panic!("no next keyset");
    });
    "a message held back and then sent twice", "holds a message back until its keyset is followed by the next, and sends it twice", ONCE, KEY, |s, h| Box::pin(async move {
        if h == Host::Honest {
            return again(s, h, async {}).await;
        }
        let keyset = s.door.keyset().await.unwrap();
        let (sealed, opener) = sealed_whole(&key_of(&keyset, "ohttp", MessageKem::Xwing), "held back");
        let before = s.prompts();
        for _ in 0..400 {
            if s.door.keyset().await.is_ok_and(|k| k.ohttp_keys != keyset.ohttp_keys) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let first = post_whole(s.door.clear, sealed.clone()).await.unwrap();
        assert_eq!(first.status, 200, "the keyset before still opens it");
        let saw = judge_whole(post_whole(s.door.clear, sealed).await, opener);
        assert_eq!(s.prompts(), before + 1, "it counted once");
        saw
    });
};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_counts_once_across_keysets() {
    // Of 3600 s: each keyset is followed by the next after three seconds.
    let set = Set::start_with(Some(3597)).await;
    run_all(&set, &[("rotated", ROTATED)], results()).await;
}

/// Headers that a relay adds around a message are the relay's.
#[tokio::test(flavor = "multi_thread")]
async fn headers_around_a_message_change_nothing_inside() {
    let set = Set::start().await;
    set.relay.on_request(|mut asked| {
        for (name, value) in [
            ("hanzo-owner", "66"),
            ("authorization", "Bearer x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("expect", "200-ok"),
        ] {
            asked.headers.insert(name, value.parse().unwrap());
        }
        First::Send(asked)
    });
    let _ = send(
        set.door.clear,
        &hanzo_tests_adversary::door::asked("/nowhere", &[], Vec::new()),
    )
    .await;
    assert_eq!(ask_sealed(&set.door.sealed(), "headed").await.code(), "answered");
}
