//! Unmodified clients against a running appliance: `hanzo up` with SmolLM2 and a model that makes vectors, both on llama.cpp, started
//! once; `hanzo-verify connect` before its proxy; every client of PyPI and npm; schemathesis over the document that it serves.

#[path = "../clients/installed.rs"]
mod installed;
#[path = "../openai.rs"]
mod openai;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, path::Path};

use installed::{Clients, narrowed, ran};
use serde_json::Value;

use crate::{Connect, HANZO, Up, descendants, fixture, is_zombie, no_model, private_dir, search, signal, turn};

const MODEL: &str = "smollm2-135m-instruct";
const VECTORS: &str = "vectors";

/// A folder with the default model and a small random one that makes vectors; `None` where the first cannot be had.
fn models() -> Option<tempfile::TempDir> {
    let folder = private_dir();
    let pulled = ran(Command::new(HANZO)
        .args(["model", "pull", "--output"])
        .arg(folder.path().join(MODEL)));
    if let Err(said) = pulled {
        assert!(no_model(&said), "{said}");
        return None;
    }
    let spec = fixture::Spec::new().set("llama.pooling_type", fixture::Value::Number(1));
    let made = fixture::dir_of(folder.path(), &spec);
    fs::write(made.join("chat_template.jinja"), "{{ messages[0]['content'] }}").unwrap();
    fs::rename(made, folder.path().join(VECTORS)).unwrap();
    Some(folder)
}

/// What the endpoint says to a `GET`.
fn get(base: &str, path: &str) -> Value {
    let at = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

#[test]
fn unmodified_clients_do_all_that_a_running_appliance_does() {
    let _turn = turn();
    let Some(clients) = Clients::installed() else { return };
    let Some(folder) = models() else { return };
    let Some(mut up) = Up::start_with(&["--models".as_ref(), folder.path().as_os_str()]) else {
        return;
    };
    assert_eq!(up.text("model"), MODEL);
    let connect = Connect::start(&up);
    let base = connect.base.trim_end_matches("/v1");

    let found = ran(Command::new(clients.python("python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/openai_client.py"))
        .args([&connect.base, MODEL]));
    let got: Value = serde_json::from_str(&found.unwrap_or_else(|said| panic!("{said}"))).unwrap();
    openai::check(&got, MODEL);
    assert!(got["chat"].as_str().unwrap().contains("Paris"), "{got}");

    let home = private_dir();
    clients.run_python("appliance.py", &[base, MODEL, VECTORS], home.path());
    clients.run_node("appliance.mjs", &[base, MODEL, VECTORS]);

    // Requests that the document allows; what it does not allow is tried on the stand-in, which answers at once.
    let examples = std::env::var("HANZO_SCHEMATHESIS_EXAMPLES").ok();
    let examples = examples.map_or(4, |n| n.parse().unwrap());
    let mut document = get(base, "/v1/openapi.json");
    narrowed(&mut document, &[MODEL, VECTORS], Some(4));
    clients.schemathesis(&document, base, "fuzzing", "positive", examples);

    let receipts = &get(base, "/hanzo/status")["receipts"];
    assert_eq!((&receipts["mismatched"], &receipts["missing"]), (&0.into(), &0.into()));
    assert!(receipts["verified"].as_u64().unwrap() > 60, "{receipts}");

    // Nothing of the question or the answer is in any file that the appliance keeps or logs.
    let files = search(up.state.path(), b"capital of France");
    assert!(files > 5, "only {files} files were looked at");
    drop(connect);

    // Ctrl-C stops every part.
    let pids = descendants(up.child.id());
    assert!(
        pids.len() >= 5,
        "broker, guest, both engines and proxy are processes of their own: {pids:?}"
    );
    signal(up.child.id(), rustix::process::Signal::INT);
    let end = Instant::now() + Duration::from_secs(60);
    while up.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "Ctrl-C did not stop it");
        std::thread::sleep(Duration::from_millis(50));
    }
    for pid in pids {
        assert!(
            !Path::new(&format!("/proc/{pid}")).exists() || is_zombie(pid),
            "process {pid} was left behind"
        );
    }
}
