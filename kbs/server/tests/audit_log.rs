//! The audit log over HTTP: what an independent client rebuilds from it, and who may read which part.

#[path = "support/bearer.rs"]
mod bearer;
#[path = "support/harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_kbs::{CocoRole, StoreMode, admin};
use hanzo_log::audit::AuditVerifier;
use hanzo_log::{LogKey, LogVerifier, SignedCheckpoint};
use harness::{Broker, Guest, block_on, policy};

const KEY: &str = "hanzo/dek/m";
const LOG: &str = "/hanzo/v1/log/";

fn broker() -> Broker {
    let broker = Broker::start(StoreMode::Simulated, true, |c| {
        c.coco.admins = vec![
            bearer::admin("auditor", 1, CocoRole::Auditor),
            bearer::admin("operator", 2, CocoRole::Operator),
        ];
    });
    broker.put(KEY, 1, &policy()).unwrap();
    broker
}

fn auditor() -> String {
    bearer::token("auditor", 1, "auditor", harness::now().0)
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn code(&self) -> (u16, String) {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        (self.status, json["code"].as_str().unwrap().to_owned())
    }
}

/// HTTP by hand.
fn request(at: SocketAddr, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut stream = TcpStream::connect(at).unwrap();
    let bearer = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{bearer}Content-Type: application/octet-stream\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let headers = head.lines().skip(1).map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_lowercase(), value.to_owned())
    });
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers.collect(),
        body: bytes[end + 4..].to_vec(),
    }
}

fn get(at: SocketAddr, path: &str) -> Answer {
    request(at, "GET", &format!("{LOG}{path}"), Some(&auditor()))
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &parts.concat());
    digest.as_ref().try_into().unwrap()
}

/// RFC 6962, as its section 2.1 has it.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1], &root(left), &root(right)])
        }
    }
}

/// Size and root that a checkpoint claims.
fn claimed(note: &str) -> (usize, [u8; 32]) {
    let mut lines = note.lines().skip(1);
    let size = lines.next().unwrap().parse().unwrap();
    let root = STANDARD.decode(lines.next().unwrap()).unwrap();
    (size, root.try_into().unwrap())
}

/// The parts of a level, as tlog-tiles names them.
fn parts(there: usize) -> Vec<(String, usize)> {
    let full = (0..there / 256).map(|n| (format!("{n:03}"), 256));
    let rest = match there % 256 {
        0 => None,
        width => Some((format!("{:03}.p/{width}", there / 256), width)),
    };
    full.chain(rest).collect()
}

fn entries(at: SocketAddr, size: usize) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for (part, width) in parts(size) {
        let answer = get(at, &format!("tile/entries/{part}"));
        assert_eq!(answer.status, 200);
        let (before, mut rest) = (entries.len(), answer.body.as_slice());
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (entry, after) = after.split_at(u16::from_be_bytes(*length).into());
            entries.push(entry.to_vec());
            rest = after;
        }
        assert_eq!(entries.len() - before, width);
    }
    entries
}

fn hashes(at: SocketAddr, level: u8, there: usize) -> Vec<[u8; 32]> {
    let of_part = |(part, width): (String, usize)| {
        let answer = get(at, &format!("tile/{level}/{part}"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.len(), width * 32);
        assert_eq!(answer.headers["cache-control"], "private, max-age=31536000, immutable");
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        answer.body.as_chunks::<32>().0.to_vec()
    };
    parts(there).into_iter().flat_map(of_part).collect()
}

fn checkpoint(broker: &Broker, log: &LogVerifier) -> String {
    let answer = request(broker.address, "GET", &format!("{LOG}checkpoint"), None);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers["cache-control"], "no-cache");
    SignedCheckpoint::parse(&answer.body).unwrap().verify(log).unwrap();
    String::from_utf8(answer.body).unwrap()
}

/// What an auditor who got these entries and this head is told.
fn judge(log: &LogVerifier, entries: &[Vec<u8>], note: &str) -> Result<u64, &'static str> {
    let mut verifier = AuditVerifier::new(log, None);
    for entry in entries {
        verifier.entry(entry, None).map_err(|e| e.code())?;
    }
    verifier.head(note.as_bytes()).map_err(|e| e.code())?;
    verifier
        .finish()
        .map(|audited| audited.head.size())
        .map_err(|e| e.code())
}

#[test]
fn an_independent_client_rebuilds_the_signed_root_from_tiles_and_entries() {
    let broker = broker();
    let at = broker.address;
    let log = LogKey::from_document(&broker.made.identity.canonical().unwrap()).unwrap();
    let log = log.verifier().unwrap();
    let early = checkpoint(&broker, &log);
    for _ in 0..270 {
        block_on(admin::list_keys(at, &broker.made.identity, &broker.admin())).unwrap();
    }
    let guest = Guest::new().attested(at);
    assert_eq!(guest.ask(at, KEY).status, 200);
    // The head that is shown may be a second old.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let note = checkpoint(&broker, &log);
    let (size, signed) = claimed(&note);
    assert!(size > 270, "{size}");

    let leaves = hashes(at, 0, size);
    let entries = entries(at, size);
    let of_entries: Vec<_> = entries.iter().map(|e| sha256(&[&[0], e])).collect();
    assert_eq!(leaves, of_entries);
    assert_eq!(root(&leaves), signed);
    assert_eq!(hashes(at, 1, size / 256), [root(&leaves[..256])]);
    assert_eq!(judge(&log, &entries, &note), Ok(size as u64));
    // The head of before is that of the first entries: nothing was written anew.
    let (before, was) = claimed(&early);
    assert!(before < size);
    assert_eq!(root(&leaves[..before]), was);

    // An entry that a host takes out, changes or moves.
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        judge(&log, &entries, &note)
    };
    let altered = |entries: &mut Vec<Vec<u8>>| {
        let text = String::from_utf8(entries[size - 1].clone()).unwrap();
        entries[size - 1] = text.replace("\"grant\"", "\"greed\"").into_bytes();
    };
    assert_eq!(changed(&|_| {}), Ok(size as u64));
    assert_eq!(changed(&|e| drop(e.remove(100))), Err("log.entry.missing"));
    assert_eq!(changed(&|e| drop(e.pop())), Err("log.truncated"));
    assert_eq!(changed(&|e| e.swap(100, 101)), Err("log.entry.missing"));
    assert_eq!(changed(&|e| e[101] = e[100].clone()), Err("log.entry.misplaced"));
    assert_eq!(changed(&altered), Err("log.root"));
}

#[test]
fn the_head_is_for_anybody_and_tiles_for_auditors_alone() {
    let broker = broker();
    let at = broker.address;
    let read = |path: &str, token: Option<&str>| request(at, "GET", &format!("{LOG}{path}"), token);
    let operator = bearer::token("operator", 2, "operator", harness::now().0);
    let auditor = auditor();
    assert_eq!(read("checkpoint", None).status, 200);
    for path in ["tile/0/000.p/1", "tile/entries/000.p/1"] {
        assert_eq!(read(path, None).code(), (401, "kbs.bearer.missing".into()));
        assert_eq!(read(path, Some(&operator)).code(), (403, "kbs.bearer.denied".into()));
        // The role is the pinned one, whatever the token says.
        let claims = bearer::token("operator", 2, "auditor", harness::now().0);
        assert_eq!(read(path, Some(&claims)).code(), (401, "kbs.bearer.role".into()));
        assert_eq!(read(path, Some(&auditor)).status, 200);
    }
    // An auditor reads and changes nothing.
    let resource = "/kbs/v0/resource/hanzo/dek/other";
    for method in ["POST", "DELETE"] {
        let refused = request(at, method, resource, Some(&auditor));
        assert_eq!(refused.code(), (403, "kbs.bearer.denied".into()), "{method}");
    }
    // One spelling of each tile, and none that the log has not.
    for path in [
        "tile/0/0",
        "tile/00/000.p/1",
        "tile/0/000.p/256",
        "tile/7/000",
        "tile/x",
    ] {
        assert_eq!(
            read(path, Some(&auditor)).code(),
            (404, "log.tile.path".into()),
            "{path}"
        );
    }
    for path in [
        "tile/0/000",
        "tile/0/001.p/1",
        "tile/1/000.p/1",
        "tile/entries/000.p/255",
    ] {
        assert_eq!(
            read(path, Some(&auditor)).code(),
            (404, "log.tile.missing".into()),
            "{path}"
        );
    }
    let post = request(at, "POST", &format!("{LOG}checkpoint"), None);
    assert_eq!(post.code(), (405, "kbs.method".into()));
}

/// Strangers who ask for heads, a thousand times, leave nothing in the store.
#[test]
fn showing_heads_writes_nothing() {
    let mut broker = broker();
    let file = broker.config.store.with_extension("db-wal");
    let before = std::fs::metadata(&file).map_or(0, |m| m.len());
    let heads: std::collections::BTreeSet<_> = (0..50)
        .map(|_| request(broker.address, "GET", &format!("{LOG}checkpoint"), None).body)
        .collect();
    assert_eq!(heads.len(), 1, "one signature in a second");
    assert_eq!(std::fs::metadata(&file).map_or(0, |m| m.len()), before);
    let lines = broker.audit();
    assert_eq!(lines.len(), 1, "{lines:?}");
}

/// An auditor's command on a running broker writes what the operator's does on one that does not run.
#[test]
fn an_export_out_of_a_running_broker_is_the_export_of_a_stopped_one() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    let mut real = policy();
    real.allow_simulated = false;
    broker.put(KEY, 1, &real).unwrap();
    for _ in 0..260 {
        block_on(admin::list_keys(broker.address, &broker.made.identity, &broker.admin())).unwrap();
    }
    let dir = broker.dir.path().to_owned();
    let folder = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (near, far) = (folder("near"), folder("far"));
    let at = broker.address.to_string();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hanzo-kbs"));
        command
            .args(["audit", "export", "--json"])
            .args(arguments)
            .output()
            .unwrap()
    };
    let identity = text(&broker.made.identity_path);
    let remote = ["--broker", &at, "--identity", &identity];
    let key = text(&broker.made.admin_key_path);
    let done = run(&[&remote[..], &["--admin-key", &key, "--to", &far]].concat());
    assert!(done.status.success(), "{done:?}");
    let done: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let entries = done["entries"].as_u64().unwrap();
    assert!(entries > 260);
    // Its neighbours: a folder that is not empty, and another broker's identity.
    let refused = run(&[&remote[..], &["--admin-key", &key, "--to", &far]].concat());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("[kbs.init.exists]"));
    let stranger = Broker::simulated();
    let other = text(&stranger.made.identity_path);
    let to = folder("nowhere");
    let refused = run(&["--broker", &at, "--identity", &other, "--admin-key", &key, "--to", &to]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("[log.checkpoint.origin]"), "{said}");

    broker.stop();
    let config = text(&broker.made.config_path);
    let done = run(&["--config", &config, "--to", &near]);
    assert!(done.status.success(), "{done:?}");
    // The first one's own reading has lines that came after its head.
    let entries_of = |folder: &str| {
        let text = std::fs::read_to_string(format!("{folder}/log.jsonl")).unwrap();
        let lines = text.lines().filter(|l| l.starts_with("{\"hash\""));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (near, far) = (entries_of(&near), entries_of(&far));
    assert_eq!(far.len() as u64, entries);
    assert_eq!(far[..], near[..far.len()]);
    let tile = |folder: &str| std::fs::read(format!("{folder}/tile/entries/000")).unwrap();
    assert_eq!(tile(&folder("near")), tile(&folder("far")));
}
