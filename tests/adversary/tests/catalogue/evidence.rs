//! A host that changes evidence on its way to a client, or answers with other evidence. It carries the bundle in clear, so
//! nothing but the bundle's own signatures is in its way.

use std::io::Write as _;
use std::sync::Arc;

use hanzo_attestation::bundle::{Bundle, CpuEvidence, SnpEvidence};
use hanzo_attestation::channel::{ATTESTATION_PATH, BUNDLE_MEDIA_TYPE};
use hanzo_attestation::freshness::{Window, window_path};
use hanzo_attestation::{Digest256, Nonce, UnixTime};
use hanzo_pqc::hpke::message::{MessageKem, MessageKey};
use hanzo_sealed::config::{KeyConfig, Protocol};
use hanzo_tests_adversary::appliance::Appliance;
use hanzo_tests_adversary::attack::{Attack, Host, Running, run_all};
use hanzo_tests_adversary::door::ask_sealed;
use hanzo_tests_adversary::impostor::fetch_bundle;
use hanzo_tests_adversary::relay::Answered;
use hanzo_tests_adversary::role::engine;
use hanzo_tests_adversary::set::Set;

use crate::results;

/// The bytes of the bundle, changed on their way.
fn bytes(set: &Set, host: Host, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Running<'_> {
    if host.attacks() {
        set.relay.on_answer(move |asked, mut answered| {
            if asked.path.starts_with(ATTESTATION_PATH) {
                answered.body = change(answered.body);
            }
            answered
        });
    }
    Box::pin(async move {
        let before = set.prompts();
        let saw = ask_sealed(&set.door.sealed(), "evidence").await;
        set.relay.carry();
        assert!(!host.attacks() || set.prompts() == before, "a prompt was sent");
        saw
    })
}

/// The bundle, changed and written as canonically as before.
fn bundle(set: &Set, host: Host, change: impl Fn(&mut Bundle) + Send + Sync + 'static) -> Running<'_> {
    bytes(set, host, move |genuine| {
        let mut bundle = Bundle::parse(&genuine).unwrap();
        change(&mut bundle);
        bundle.canonical().unwrap()
    })
}

/// Its SNP evidence.
fn snp(set: &Set, host: Host, change: impl Fn(&mut SnpEvidence) + Send + Sync + 'static) -> Running<'_> {
    bundle(set, host, move |bundle| match &mut bundle.cpu {
        CpuEvidence::Snp(snp) => change(snp),
        other => panic!("{}", other.kind()),
    })
}

/// One bit of the report.
fn report(set: &Set, host: Host, at: usize) -> Running<'_> {
    snp(set, host, move |snp| snp.report.0[at] ^= 1)
}

fn hosts_key() -> KeyConfig {
    let key = MessageKey::from_seed(MessageKem::Xwing, &[0x66; 32]).unwrap();
    KeyConfig::new(7, key.public_key().clone(), &[hanzo_pqc::gcm::Gcm::Aes256])
}

fn gzip(zeros: usize) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0; 1 << 16];
    for _ in 0..zeros >> 16 {
        writer.write_all(&block).unwrap();
    }
    writer.finish().unwrap()
}

const FLIPS: &str = "bit flips in evidence fields";
const KEYS: &str = "key substitution at each discovery step";
const FORM: &str = "bit flips at every layer; dstack: canonical compose hash (550)";
const WINDOW: &str = "a wrong Merkle path or window";
const SIGNATURE: &[&str] = &["snp.signature.invalid"];
const BOUND: &[&str] = &["binding.report_data"];
const PATH: &[&str] = &["freshness.path"];

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const REPORT: &[Attack<Set>] = attacks! {
    "a flipped bit in the measurement", "flips a bit of MEASUREMENT", FLIPS, SIGNATURE, |s, h| report(s, h, 0x90);
    "a flipped bit in the report data", "flips a bit of REPORT_DATA", FLIPS, SIGNATURE, |s, h| report(s, h, 0x50);
    "a flipped bit in the host data", "flips a bit of HOST_DATA", FLIPS, SIGNATURE, |s, h| report(s, h, 0xc0);
    "a flipped bit in the guest policy", "flips a bit of POLICY", FLIPS, &["snp.signature.invalid", "snp.report.reserved"], |s, h| report(s, h, 0x08);
    "a flipped bit in the chip's name", "flips a bit of CHIP_ID", FLIPS, &["snp.signature.invalid", "snp.chip_id.mismatch"], |s, h| report(s, h, 0x1a0);
    "a flipped bit in the signature", "flips a bit of r", FLIPS, SIGNATURE, |s, h| report(s, h, 0x2a0);
    "a report of another version", "writes another version into the report", FLIPS, &["snp.report.version", "snp.signature.invalid"], |s, h| report(s, h, 0);
    "a report that is a byte short", "leaves the report's last byte out", "truncation", &["snp.report.length"],
        |s, h| snp(s, h, |e| { e.report.0.pop(); });
    "a report with a byte behind it", "adds a byte to the report", "splicing", &["snp.report.length"],
        |s, h| snp(s, h, |e| e.report.0.push(0));
    "a flipped bit in the chip's certificate", "flips the last bit of the VCEK's signature", FLIPS,
        &["snp.chain.vek", "snp.cert.malformed"], |s, h| snp(s, h, |e| *e.vek.0.last_mut().unwrap() ^= 1);
    "the chip's certificate in the place of its issuer's", "staples the VCEK where the ASK belongs", KEYS,
        &["snp.chain.ask", "snp.cert.malformed", "snp.chain.vek"], |s, h| snp(s, h, |e| e.ask = Some(e.vek.clone()));
    "a flipped bit in the revocation list", "flips the last bit of the list's signature", FLIPS, &["snp.crl.signature"],
        |s, h| snp(s, h, |e| *e.crl.as_mut().unwrap().0.last_mut().unwrap() ^= 1);
    "the revocation list taken out", "leaves the list out", "stale evidence", &["revocation.missing"],
        |s, h| snp(s, h, |e| e.crl = None);
};

pub const KEYSET: &[Attack<Set>] = attacks! {
    "a message key of the host's own", "writes its own OHTTP key into the keyset", KEYS, BOUND,
        |s, h| bundle(s, h, |b| b.keyset.ohttp_keys = vec![hosts_key().to_keyset(Protocol::Ohttp)]);
    "a TLS key of the host's own", "writes its own TLS key into the keyset", KEYS, BOUND,
        |s, h| bundle(s, h, |b| b.keyset.tls_spki_sha256 = Digest256([6; 32]));
    "a channel key of the host's own", "writes another channel key into the keyset", KEYS, BOUND,
        |s, h| bundle(s, h, |b| b.keyset.channel_key.public_key = "66".repeat(1216));
    "a receipt key of the host's own", "writes another receipt key into the keyset", KEYS, BOUND,
        |s, h| bundle(s, h, |b| b.keyset.receipt_keys.ed25519 = "66".repeat(32));
    "message keys cut down to the classical one", "leaves the classical OHTTP key alone in the keyset", "downgrade of the suite", BOUND,
        |s, h| bundle(s, h, |b| b.keyset.ohttp_keys.retain(|k| k.kem == "x25519"));
    "a longer life", "lets the keyset end an hour later", "stale evidence", &["binding.report_data", "keyset.lifetime"],
        |s, h| bundle(s, h, |b| b.keyset.not_after += 3600);
    "a higher tier", "writes a higher tier into the keyset", "bit flips in evidence fields", BOUND, |s, h| bundle(s, h, |b| b.keyset.tier = 4);
    "a simulated guest that says it is real", "writes into the keyset that nothing is simulated", "dstack: mock roots", BOUND,
        |s, h| bundle(s, h, |b| b.keyset.simulated = false);
    "capabilities that are not the guest's", "takes one out of the list", FLIPS, &["bundle.capability_digest"],
        |s, h| bundle(s, h, |b| drop(b.capabilities.pop()));
    "an admission policy that is not the guest's", "changes the policy's text", FLIPS, &["bundle.policy_digest"],
        |s, h| bundle(s, h, |b| b.policy.push(' '));
    "a configuration that is not the guest's", "asks for tier 0 in the configuration's text", FLIPS, &["bundle.config_digest"],
        |s, h| bundle(s, h, |b| b.config = b.config.replace("required_tier = 2", "required_tier = 0"));
    "another guest's keyset under this guest's evidence", "puts a neighbour's keyset and configuration in", KEYS, BOUND, |s, h| Box::pin(async move {
        let other = Appliance::start(engine()).await;
        let theirs = Bundle::parse(&fetch_bundle(other.guest_at, None).await.unwrap()).unwrap();
        bundle(s, h, move |b| {
            (b.keyset, b.config) = (theirs.keyset.clone(), theirs.config.clone());
            (b.capabilities, b.policy) = (theirs.capabilities.clone(), theirs.policy.clone());
        }).await
    });
};

pub const DOCUMENT: &[Attack<Set>] = attacks! {
    "a bundle of version 2", "writes another version", "downgrade", &["bundle.malformed", "bundle.unsupported"], |s, h| bundle(s, h, |b| b.version = 2);
    "a bundle with a member twice", "adds a second version", FORM, &["bundle.malformed"], |s, h| bytes(s, h, |b| {
        String::from_utf8(b).unwrap().replacen('{', "{\"version\":1,", 1).into()
    });
    "a bundle with a member that nobody knows", "adds a member", FORM, &["bundle.malformed"], |s, h| bytes(s, h, |b| {
        String::from_utf8(b).unwrap().replacen("\"version\":1}", "\"version\":1,\"x\":1}", 1).into()
    });
    "a bundle in another spelling", "adds a space", FORM, &["bundle.not_canonical"], |s, h| bytes(s, h, |b| [b, b" ".to_vec()].concat());
    "a bundle with more behind it", "adds a second document", "splicing", &["bundle.malformed", "bundle.not_canonical"],
        |s, h| bytes(s, h, |b| [b.clone(), b].concat());
    "a bundle that breaks off", "cuts the bundle in half and ends the answer properly", "truncation", &["bundle.malformed"],
        |s, h| bytes(s, h, |b| b[..b.len() / 2].to_vec());
    "a bundle of three megabytes", "sends spaces", "oversized frames; dstack: unbounded allocation (567)", &["attestation.answer", "bundle.too_large"],
        |s, h| bytes(s, h, |_| vec![b' '; 3 << 20]);
    "a compressed bundle of a hundred megabytes", "sends 100 KiB of gzip that says it is gzip", "compression bombs; dstack: gzip bomb (566)",
        &["bundle.malformed"], |s, h| {
            if h.attacks() {
                s.relay.on_answer(|asked, answered| match asked.path.starts_with(ATTESTATION_PATH) {
                    true => {
                        let mut bomb = Answered::own(200, BUNDLE_MEDIA_TYPE, gzip(100 << 20));
                        bomb.headers.insert("content-encoding", "gzip".parse().unwrap());
                        bomb
                    }
                    false => answered,
                });
            }
            Box::pin(async move {
                let saw = ask_sealed(&s.door.sealed(), "bomb").await;
                s.relay.carry();
                saw
            })
        };
};

pub const FRESHNESS: &[Attack<Set>] = attacks! {
    "evidence for an earlier challenge", "answers with what it recorded", "stale evidence; cached-answer poisoning", &["freshness.foreign_challenge"],
        |s, h| Box::pin(async move {
            let old = fetch_bundle(s.guest_at[0], Some(&"ab".repeat(32))).await.unwrap();
            bytes(s, h, move |_| old.clone()).await
        });
    "evidence for no challenge", "answers with the standing bundle", "stale evidence", &["freshness.none"], |s, h| Box::pin(async move {
        let standing = fetch_bundle(s.guest_at[0], None).await.unwrap();
        bytes(s, h, move |_| standing.clone()).await
    });
    "evidence of the boot before", "starts the guest again and answers with the bundle of the boot before", "replay across boots",
        &["freshness.foreign_challenge"], |s, h| Box::pin(async move {
            let old = fetch_bundle(s.guest_at[0], Some(&"cd".repeat(32))).await.unwrap();
            s.boot().await;
            bytes(s, h, move |_| old.clone()).await
        });
    "another nonce", "changes the nonce beside the evidence", WINDOW, &["freshness.path", "binding.report_data"], |s, h| bundle(s, h, |b| b.nonce.0[0] ^= 1);
    "a longer path", "adds a hash to the path", WINDOW, PATH, |s, h| bundle(s, h, |b| b.freshness.as_mut().unwrap().path.push(Digest256([0; 32])));
    "another place in the window", "changes the index", WINDOW, PATH, |s, h| bundle(s, h, |b| b.freshness.as_mut().unwrap().index += 1);
    "a larger window", "changes the size", WINDOW, PATH, |s, h| bundle(s, h, |b| b.freshness.as_mut().unwrap().size += 1);
    "the path taken out", "leaves the path out", WINDOW, &["freshness.none"], |s, h| bundle(s, h, |b| b.freshness = None);
    "a window of the host's own", "puts the challenge into a window that the guest never signed", WINDOW, BOUND, |s, h| bundle(s, h, |b| {
        let challenge = b.freshness.as_ref().unwrap().challenge;
        let window = Window::new(vec![challenge, Nonce([1; 32])]).unwrap();
        (b.freshness, b.nonce) = (window.path(0), window.nonce());
    });
    "a node in the place of a leaf", "calls the signed root a sibling", WINDOW, PATH, |s, h| bundle(s, h, |b| {
        let challenge = b.freshness.as_ref().unwrap().challenge;
        let mut forged = window_path(&[challenge, challenge], 0).unwrap();
        forged.path = vec![Digest256(b.nonce.0)];
        b.freshness = Some(forged);
    });
    "a client whose clock is a year ahead", "lies to the client about the time", "clock lies; dstack: no secure time (745)",
        &["keyset.expired", "snp.cert.expired", "snp.crl.stale"], |s, h| clock(s, h, 365 * 86_400);
    "a client whose clock is a year behind", "lies to the client about the time", "clock lies; dstack: no secure time (745)",
        &["snp.crl.stale", "keyset.lifetime"], |s, h| clock(s, h, -365 * 86_400);
};

fn clock(set: &Set, host: Host, ahead_s: i64) -> Running<'_> {
    let ahead_s = if host.attacks() { ahead_s } else { 0 };
    Box::pin(async move {
        let real = hanzo_client::system_clock();
        let lying = Arc::new(move || UnixTime(real().0.saturating_add_signed(ahead_s)));
        ask_sealed(&set.door.sealed_with(|c| c.clock = lying), "clock").await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_changes_evidence_or_answers_with_other_evidence_is_found_out() {
    let set = Set::start().await;
    let classes = [
        ("report", REPORT),
        ("keyset", KEYSET),
        ("document", DOCUMENT),
        ("freshness", FRESHNESS),
    ];
    run_all(&set, &classes, results()).await;
}
