//! What `hanzo up` serves for programs of other projects, and through other projects' servers: the ACI view, checked by `hanzo-verify verify
//! --aci-receipt`; and llama.cpp's own server behind `--server`.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::{Connect, Up, hanzo_verify, said, turn};

const NONCE: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// Head and body of an answer of the endpoint; the comment that it adds to streams is not the guest's, and is taken out.
fn exchange(connect: &Connect, request: &str, body: &str) -> (String, String) {
    let at = connect.base.trim_start_matches("http://").trim_end_matches("/v1");
    let mut stream = TcpStream::connect(at).unwrap();
    write!(
        stream,
        "{request} HTTP/1.0\r\nhost: {at}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let own = body.find(": hanzo-receipt-status ").map(|from| {
        let to = from + body[from..].find("\n\n").unwrap() + 2;
        assert!(body[from..to].contains("verified"), "{body}");
        format!("{}{}", &body[..from], &body[to..])
    });
    (head.to_owned(), own.unwrap_or_else(|| body.to_owned()))
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head
        .lines()
        .find(|l| l.to_ascii_lowercase().starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
        .split_once(':')
        .unwrap()
        .1
        .trim()
}

fn question(up: &Up, more: &str) -> String {
    let model = up.text("model");
    format!(
        r#"{{"model":"{model}","temperature":0,"max_tokens":24{more},"messages":[{{"role":"user","content":"What is the capital of France?"}}]}}"#
    )
}

/// `hanzo-verify verify` of a report in `folder`, with what else is said.
fn verify(up: &Up, folder: &Path, more: &[&str]) -> Output {
    let files = up.state.path();
    Command::new(hanzo_verify())
        .current_dir(folder)
        .args(["verify", "report.json", "--nonce", NONCE, "--policy"])
        .arg(files.join("up/policy.toml"))
        .arg("--simulator-root")
        .arg(files.join("up/simulator-ark.der"))
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn the_aci_view_of_a_running_appliance_verifies_and_each_twin_is_refused() {
    let _turn = turn();
    let Some(up) = Up::start_with(&["--aci".as_ref()]) else {
        return;
    };
    let connect = Connect::start(&up);
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let (head, report) = exchange(&connect, &format!("GET /v1/aci/attestation?nonce={NONCE}"), "");
    assert!(head.contains(" 200 "), "{head} {report}");
    assert!(report.contains(r#""tee_type":"hanzo-simulated""#), "{report}");
    put("report.json", &report);
    for (name, more) in [("plain", ""), ("stream", r#","stream":true"#)] {
        let asked = question(&up, more);
        let (head, answer) = exchange(&connect, "POST /v1/chat/completions", &asked);
        assert!(head.contains(" 200 ") && answer.contains("Paris"), "{head} {answer}");
        let id = header(&head, "x-receipt-id");
        let (head, receipt) = exchange(&connect, &format!("GET /v1/aci/receipts/{id}"), "");
        assert!(head.contains(" 200 "), "{head} {receipt}");
        let (_, signature) = exchange(&connect, &format!("GET /v1/signature/chatcmpl-{id}"), "");
        let signature: Value = serde_json::from_str(&signature).unwrap();
        assert!(
            signature["text"].as_str().unwrap().starts_with("simulated:"),
            "{signature}"
        );
        put("request", &asked);
        put("answer", &answer);
        put("receipt.json", &receipt);
        put("changed.json", &receipt.replace("\"served_at\":", "\"served_at\":1"));
        put("cut", &answer[..answer.len() - 1]);
        let both = ["--aci-receipt", "receipt.json", "--request", "request", "--response"];
        let good = verify(&up, folder.path(), &[&both[..], &["answer"]].concat());
        assert_eq!(good.status.code(), Some(0), "{name}: {}", said(&good));
        for word in ["ACCEPTED", "SIMULATED", "request and response compared and equal", id] {
            assert!(said(&good).contains(word), "{word}: {}", said(&good));
        }
        for (more, status, code) in [
            ([&both[..], &["cut"]].concat(), 30, "aci.body.response"),
            ([&both[..], &["request"]].concat(), 30, "aci.body.response"),
            (
                vec!["--aci-receipt", "receipt.json", "--request", "answer"],
                30,
                "aci.body.request",
            ),
            (vec!["--aci-receipt", "changed.json"], 20, "aci.signature"),
        ] {
            let refused = verify(&up, folder.path(), &more);
            assert_eq!(
                refused.status.code(),
                Some(status),
                "{name} {more:?}: {}",
                said(&refused)
            );
            assert!(said(&refused).contains(code), "{code}: {}", said(&refused));
        }
    }
    // A report for somebody else's challenge, and one that calls the processor a real one.
    let (_, other) = exchange(
        &connect,
        &format!("GET /v1/aci/attestation?nonce={}", "5b".repeat(32)),
        "",
    );
    put("report.json", &other);
    assert!(said(&verify(&up, folder.path(), &[])).contains("foreign.recomputed"));
    put("report.json", &report.replace("\"hanzo-simulated\"", "\"sev_snp\""));
    assert!(said(&verify(&up, folder.path(), &[])).contains("foreign.field"));
}

/// Options that serve through a real llama-server, or a loud line: `HANZO_LLAMA_SERVER`, or the one inside PyPI's xllamacpp.
fn server() -> Option<Vec<OsString>> {
    if let Some(program) = std::env::var_os("HANZO_LLAMA_SERVER") {
        return Some(vec!["--server".into(), program]);
    }
    let cached = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/hanzo/xllamacpp"));
    let folder = std::env::var_os("HANZO_XLLAMACPP").map(PathBuf::from).or(cached)?;
    if !folder.join("xllamacpp").is_dir() {
        let _ = writeln!(
            std::io::stderr(),
            "\n*** MISSING: a llama-server (HANZO_LLAMA_SERVER, or HANZO_XLLAMACPP; .ci/run installs it): `hanzo up --server` WAS NOT RUN ***"
        );
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../enclave/engine-upstream/tests/real/server.py");
    let script = script.canonicalize().unwrap();
    let mut asked = Command::new("python3");
    asked.args([
        "-Ic",
        "import os, sys; print(os.path.realpath(sys.executable)); print(sys.prefix)",
    ]);
    let python = String::from_utf8(asked.output().unwrap().stdout).unwrap();
    let (program, prefix) = python.trim().split_once('\n').unwrap();
    let mut options: Vec<OsString> = vec!["--server".into(), program.into()];
    let words = [
        "-I",
        script.to_str()?,
        folder.to_str()?,
        "--model",
        "{model_dir}/model.gguf",
    ];
    let told = ["--host", "{socket}", "--ctx-size", "{context_tokens}"];
    for word in words.into_iter().chain(told) {
        options.extend(["--server-arg".into(), word.into()]);
    }
    for file in [prefix, script.to_str()?, folder.to_str()?] {
        options.extend(["--server-file".into(), file.into()]);
    }
    Some(options)
}

#[test]
fn a_llama_server_of_the_users_own_answers_behind_hanzo_up_and_receipts_say_whose_counts_they_are() {
    let _turn = turn();
    let Some(options) = server() else { return };
    let options: Vec<_> = options.iter().map(OsString::as_os_str).collect();
    let Some(up) = Up::start_with(&options) else { return };
    let connect = Connect::start(&up);
    for more in ["", r#","stream":true"#] {
        let (head, answer) = exchange(&connect, "POST /v1/chat/completions", &question(&up, more));
        assert!(head.contains(" 200 ") && answer.contains("Paris"), "{head} {answer}");
        if more.is_empty() {
            assert_eq!(header(&head, "hanzo-receipt-status"), "verified");
        }
        let id = header(&head, "hanzo-receipt-id");
        let (_, receipt) = exchange(&connect, &format!("GET /v1/receipts/{id}"), "");
        let receipt: Value = serde_json::from_str(&receipt).unwrap();
        assert_eq!(receipt["receipt"]["counted_by"], "upstream", "{receipt}");
        let checked = Command::new(hanzo_verify())
            .args(["receipt", id, "--state"])
            .arg(up.state.path().join("another-client"))
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", said(&checked));
        assert!(said(&checked).contains("the word of a server"), "{}", said(&checked));
    }
}

#[test]
fn a_server_that_is_not_there_is_named_before_anything_starts() {
    let state = crate::private_dir();
    let refused = Command::new(crate::HANZO)
        .args(["up", "--server", "/nowhere/llama-server", "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(said(&refused).contains("/nowhere/llama-server"), "{}", said(&refused));
}
