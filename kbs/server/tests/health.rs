//! `/health`: each part in turn is broken, and mended again.

#[path = "support/bearer.rs"]
mod bearer;
#[path = "support/harness.rs"]
mod harness;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hanzo_kbs::{CocoRole, FenceConfig, StoreMode};
use harness::{Broker, http, policy};
use serde_json::{Value, json};

fn broker() -> Broker {
    let broker = Broker::start(StoreMode::Simulated, true, |c| {
        c.coco.admins = vec![bearer::admin("auditor", 1, CocoRole::Auditor)];
        c.fences = vec![FenceConfig::File {
            path: c.store.with_file_name("elsewhere").join("kbs.head"),
        }];
        fs::create_dir(c.store.with_file_name("elsewhere")).unwrap();
    });
    broker.put("hanzo/dek/m", 1, &policy()).unwrap();
    broker
}

/// What an admin sees; a look counts for two seconds.
fn look(broker: &Broker, token: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(broker.address).unwrap();
    write!(
        stream,
        "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn auditor() -> String {
    bearer::token("auditor", 1, "auditor", harness::now().0)
}

fn later() {
    std::thread::sleep(Duration::from_millis(2100));
}

#[test]
fn strangers_are_told_whether_it_works_and_admins_what_does_not() {
    let broker = broker();
    let coarse = http(broker.address, "GET", "/health", "", b"");
    assert_eq!((coarse.status, coarse.json()), (200, json!({ "status": "ok" })));
    let (status, full) = look(&broker, &auditor());
    let part = |kind: &str| json!({ "code": null, "kind": kind, "status": "ok" });
    assert_eq!((status, &full["status"]), (200, &json!("ok")));
    assert_eq!(
        (&full["store"], &full["fence"], &full["root"]),
        (&part("file"), &part("2"), &part("key-file"))
    );
    assert_eq!(full["four_eyes"], false);
    assert_eq!(full["collateral"]["oldest_age_s"], Value::Null);
    assert!(!full.to_string().contains('/'), "no path: {full}");
    // A token that is nobody's is a stranger's.
    let stranger = bearer::token("auditor", 2, "auditor", harness::now().0);
    assert_eq!(look(&broker, &stranger), (200, json!({ "status": "ok" })));
}

#[test]
fn a_part_that_is_gone_is_named_and_what_still_decides_says_so() {
    let broker = broker();
    // The next start would fail; decisions do not.
    let root = broker.made.config_path.with_file_name("kbs.key");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o640)).unwrap();
    let (status, full) = look(&broker, &auditor());
    assert_eq!((status, &full["status"]), (200, &json!("degraded")));
    assert_eq!(
        full["root"],
        json!({ "code": "root.mode", "kind": "key-file", "status": "degraded" })
    );
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
    // A fence whose medium is gone: nothing can be decided.
    let elsewhere = broker.config.store.with_file_name("elsewhere");
    let aside = elsewhere.with_extension("aside");
    fs::rename(&elsewhere, &aside).unwrap();
    later();
    let (status, full) = look(&broker, &auditor());
    assert_eq!((status, &full["status"]), (503, &json!("failed")));
    assert_eq!(
        full["fence"],
        json!({ "code": "store.io", "kind": "2", "status": "failed" })
    );
    assert_eq!(full["root"]["status"], "ok");
    assert!(broker.put("hanzo/dek/n", 1, &policy()).is_err());
    let coarse = http(broker.address, "GET", "/health", "", b"");
    assert_eq!((coarse.status, coarse.json()), (503, json!({ "status": "failed" })));
    fs::rename(&aside, &elsewhere).unwrap();
    // A fence that is ahead: another store's decisions.
    let file = elsewhere.join("kbs.head");
    let newest = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("hanzo-kbs-head v1 900 {}\n", "ab".repeat(48))).unwrap();
    later();
    let (status, full) = look(&broker, &auditor());
    assert_eq!(status, 503);
    assert_eq!(full["fence"]["code"], "store.rolled_back");
    fs::write(&file, newest).unwrap();
    later();
    assert_eq!(look(&broker, &auditor()).1["status"], "ok");
}
