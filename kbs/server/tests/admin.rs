//! Key owners' requests, each beside the ones that are refused.

#[path = "support/harness.rs"]
mod harness;

use hanzo_attestation::name::KeyId;
use hanzo_kbs::StoreMode;
use hanzo_kbs::admin::{self, ADMIN_PATH};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Dek, SignatureSuite};
use harness::{Broker, DEK, block_on, http, policy};
use std::io::{Read, Write};
use std::net::TcpListener;

const KEY: &str = "hanzo/dek/m";

fn put_by(broker: &Broker, to: &Broker, admin: &SigningKeys) -> Result<(), String> {
    let dek = Dek::from_slice(&DEK).unwrap();
    let key = KeyId::new(KEY).unwrap();
    block_on(admin::put_key(
        to.address,
        &broker.made.identity,
        admin,
        &key,
        1,
        &dek,
        &policy(),
    ))
    .map(drop)
    .map_err(|e| e.code().to_owned())
}

#[test]
fn only_pinned_admins_put_keys_and_only_into_the_broker_they_name() {
    let (broker, other) = (Broker::simulated(), Broker::simulated());
    let stranger = SigningKeys::generate(SignatureSuite::MlDsa65Ed25519).unwrap();
    assert_eq!(put_by(&broker, &broker, &stranger), Err("kbs.admin.not_pinned".into()));
    assert_eq!(
        put_by(&broker, &broker, &other.admin()),
        Err("kbs.admin.not_pinned".into())
    );
    assert_eq!(
        put_by(&other, &broker, &broker.admin()),
        Err("kbs.admin.elsewhere".into())
    );
    assert_eq!(put_by(&broker, &broker, &broker.admin()), Ok(()));
    // A broker without admin keys takes nothing from anybody.
    let closed = Broker::start(StoreMode::Production, false, |c| c.admin_keys.clear());
    assert_eq!(
        put_by(&closed, &closed, &closed.admin()),
        Err("kbs.admin.not_pinned".into())
    );
}

#[test]
fn versions_go_up_by_one() {
    let broker = Broker::simulated();
    let put = |version| broker.put(KEY, version, &policy()).map_err(|e| e.code().to_owned());
    assert_eq!(put(0), Err("kbs.admin.version".into()));
    assert_eq!(put(2), Err("kbs.admin.version".into()));
    assert_eq!(put(1), Ok(()));
    assert_eq!(put(1), Err("kbs.admin.version".into()), "a key is never replaced");
    assert_eq!(put(2), Ok(()));
    assert_eq!(
        broker.set_policy(KEY, 1, &policy()).unwrap_err().code(),
        "kbs.admin.version"
    );
    assert_eq!(
        broker.set_policy("a/b/none", 1, &policy()).unwrap_err().code(),
        "kbs.admin.version"
    );
    let mut wide = policy();
    wide.grant_lifetime_s = 301;
    assert_eq!(broker.set_policy(KEY, 2, &wide).unwrap_err().code(), "key_policy.value");
}

/// Takes one admin request off the wire, as a man in the middle would.
fn captured(broker: &Broker, version: u64) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thief = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            let n = stream.read(&mut chunk).unwrap();
            bytes.extend_from_slice(&chunk[..n]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length: ")
                        .map(str::to_owned)
                });
                if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                    stream
                        .write_all(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n")
                        .unwrap();
                    return body.as_bytes().to_vec();
                }
            }
        }
    });
    let dek = Dek::from_slice(&DEK).unwrap();
    let key = KeyId::new(KEY).unwrap();
    let (signer, policy) = (broker.admin(), policy());
    let sent = admin::put_key(address, &broker.made.identity, &signer, &key, version, &dek, &policy);
    block_on(sent).unwrap_err();
    thief.join().unwrap()
}

#[test]
fn a_captured_request_counts_once_unchanged_and_holds_no_key() {
    let broker = Broker::simulated();
    let body = captured(&broker, 1);
    let text = String::from_utf8(body.clone()).unwrap();
    assert!(!text.contains(&hex::encode(DEK)));
    let send = |body: &[u8]| http(broker.address, "POST", ADMIN_PATH, "", body);
    for (from, to, code) in [
        ("\"key_version\":1", "\"key_version\":2", "kbs.admin.signature"),
        ("\"max_uses\":10", "\"max_uses\":11", "kbs.admin.signature"),
        ("\"do\":\"put-key\"", "\"do\": \"put-key\"", "kbs.admin.malformed"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        assert_eq!(send(changed.as_bytes()).error().1, code);
    }
    assert_eq!(send(&body).status, 200);
    assert_eq!(send(&body).error(), (409, "kbs.admin.replayed".into()));
    broker.put(KEY, 2, &policy()).unwrap();
}
