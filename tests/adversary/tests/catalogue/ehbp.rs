//! A host that carries requests whose bodies alone are sealed (EHBP): paths and headers are in its hands.

use hanzo_sealed::ehbp;
use hanzo_tests_adversary::attack::{Attack, Host, Running, run_all};
use hanzo_tests_adversary::door::{judge_ehbp, sealed_ehbp};
use hanzo_tests_adversary::relay::{Answered, Asked, send};
use hanzo_tests_adversary::set::Set;

use crate::results;

/// A request, changed on its way.
fn request(set: &Set, host: Host, change: fn(&mut Asked)) -> Running<'_> {
    Box::pin(async move {
        let keyset = match set.door.keyset().await {
            Ok(keyset) => keyset,
            Err(saw) => return saw,
        };
        let (mut asked, pending) = sealed_ehbp(&keyset, "bodies");
        let before = set.prompts();
        if host.attacks() {
            change(&mut asked);
        }
        let saw = judge_ehbp(send(set.door.clear, &asked).await, pending);
        assert!(!host.attacks() || set.prompts() == before, "an engine got a prompt");
        saw
    })
}

/// An answer, changed on its way.
fn answer(set: &Set, host: Host, change: fn(&mut Answered)) -> Running<'_> {
    Box::pin(async move {
        let keyset = match set.door.keyset().await {
            Ok(keyset) => keyset,
            Err(saw) => return saw,
        };
        let (asked, pending) = sealed_ehbp(&keyset, "bodies");
        let mut answered = send(set.door.clear, &asked).await.unwrap();
        if host.attacks() {
            change(&mut answered);
        }
        judge_ehbp(Ok(answered), pending)
    })
}

/// Where each chunk of a body begins.
fn chunks(body: &[u8]) -> Vec<usize> {
    let (mut at, mut all) = (0, Vec::new());
    while let Some(head) = body.get(at..at + 4) {
        all.push(at);
        at += 4 + u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    }
    all
}

fn set_enc(asked: &mut Asked, value: &str) {
    asked
        .headers
        .insert(ehbp::ENCAPSULATED_KEY_HEADER, value.parse().unwrap());
}

fn enc(asked: &Asked) -> String {
    asked.headers[ehbp::ENCAPSULATED_KEY_HEADER]
        .to_str()
        .unwrap()
        .to_owned()
}

const FLIPS: &str = "bit flips in EHBP";
const KEY: &[&str] = &["sealed.key"];
const OPEN: &[&str] = &["sealed.open"];

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const ATTACKS: &[Attack<Set>] = attacks! {
    "a flipped bit in the body's encapsulated key", "changes a digit of the header", FLIPS, KEY, |s, h| request(s, h, |a| {
        let digit = if enc(a).starts_with('0') { "1" } else { "0" };
        let other = format!("{digit}{}", &enc(a)[1..]);
        set_enc(a, &other);
    });
    "a flipped bit in a sealed body", "flips a bit of the first chunk", FLIPS, KEY, |s, h| request(s, h, |a| a.body[20] ^= 1);
    "a sealed body of an endless chunk", "announces a chunk of four gigabytes", "oversized frames", KEY, |s, h| request(s, h, |a| a.body[..4].fill(255));
    "a sealed body that breaks off", "leaves the last byte out and ends HTTP properly", "truncation", &["sealed.incomplete"], |s, h| request(s, h, |a| { a.body.pop(); });
    "a sealed body without its key", "takes the header out", "downgrade, missing headers", &["sealed.required"], |s, h| request(s, h, |a| {
        a.headers.remove(ehbp::ENCAPSULATED_KEY_HEADER);
    });
    "a sealed body with two keys", "sends the header twice", "header smuggling", &["sealed.header"], |s, h| request(s, h, |a| {
        let value = a.headers[ehbp::ENCAPSULATED_KEY_HEADER].clone();
        a.headers.append(ehbp::ENCAPSULATED_KEY_HEADER, value);
    });
    "a sealed body in another's name", "adds a header that names the owner of receipts", "header smuggling", &["sealed.owner_in_clear"], |s, h| request(s, h, |a| {
        a.headers.insert("hanzo-owner", "66".repeat(32).parse().unwrap());
    });
    "a sealed body to another path", "changes the path, which is in clear", "header smuggling", &["not_found", "method_not_allowed", "invalid_value"],
        |s, h| request(s, h, |a| a.path = "/v1/embeddings".into());
    "a key of small order", "sends zeros for the encapsulated key", "key substitution", KEY, |s, h| request(s, h, |a| set_enc(a, &"00".repeat(32)));
    "the same sealed body twice", "sends it again", "the same sealed request twice", KEY, |s, h| Box::pin(async move {
        let keyset = s.door.keyset().await.unwrap();
        let (asked, pending) = sealed_ehbp(&keyset, "again");
        let (before, first) = (s.prompts(), send(s.door.clear, &asked).await);
        if h == Host::Honest {
            return judge_ehbp(first, pending);
        }
        assert_eq!(first.unwrap().status, 200);
        let saw = judge_ehbp(send(s.door.clear, &asked).await, pending);
        assert_eq!(s.prompts(), before + 1);
        saw
    });
    "a flipped bit in the answer's header", "changes the answer's nonce", FLIPS, OPEN, |s, h| answer(s, h, |a| {
        a.headers.insert(ehbp::RESPONSE_NONCE_HEADER, "66".repeat(32).parse().unwrap());
    });
    "a flipped bit in a sealed answer", "flips a bit of a chunk", FLIPS, OPEN, |s, h| answer(s, h, |a| a.body[20] ^= 1);
    "a sealed answer without its header", "takes the answer's nonce out", "downgrade, missing headers", &["sealed.answer"], |s, h| answer(s, h, |a| {
        a.headers.remove(ehbp::RESPONSE_NONCE_HEADER);
    });
    "a sealed answer cut inside a chunk", "leaves the last byte out and ends HTTP properly", "truncation", &["sealed.truncated"], |s, h| answer(s, h, |a| { a.body.pop(); });
    "a sealed answer cut between two chunks", "leaves the last chunk out and ends HTTP properly", "truncation", &["incomplete"], |s, h| answer(s, h, |a| {
        let last = *chunks(&a.body).last().unwrap();
        a.body.truncate(last);
    });
    "chunks in the other order", "swaps the first two chunks", "reordering", OPEN, |s, h| answer(s, h, |a| {
        let at = chunks(&a.body);
        a.body = [&a.body[at[1]..at[2]], &a.body[..at[1]], &a.body[at[2]..]].concat();
    });
    "a chunk twice", "sends the first chunk twice", "replay", OPEN, |s, h| answer(s, h, |a| {
        let second = chunks(&a.body)[1];
        a.body = [&a.body[..second], &a.body].concat();
    });
    "another client's sealed body for an answer", "swaps the answers of two clients", "response swapping between two clients", OPEN, |s, h| Box::pin(async move {
        let keyset = s.door.keyset().await.unwrap();
        let ((mine, pending), (theirs, _)) = (sealed_ehbp(&keyset, "mine"), sealed_ehbp(&keyset, "theirs"));
        let (mine, theirs) = (send(s.door.clear, &mine).await, send(s.door.clear, &theirs).await);
        judge_ehbp(if h.attacks() { theirs } else { mine }, pending)
    });
};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_carries_sealed_bodies_can_only_stop_them() {
    let set = Set::start().await;
    run_all(&set, &[("ehbp", ATTACKS)], results()).await;
}
