//! Requests that `connect` signs.

use std::collections::BTreeSet;
use std::sync::Arc;

use hanzo_attestation::name::Name;
use hanzo_client::RequestSigner;
use hanzo_client::connect::{self, ConnectOptions};
use hanzo_verifier::callers::{RequestLine, RequestSignature, content_digest};

use crate::guest::*;
use crate::local::{ask, key, serve};

fn signer() -> RequestSigner {
    RequestSigner::from_seeds(Name::new("acme").unwrap(), &[1; 32], &[2; 32]).unwrap()
}

/// A header's value in what a guest heard, which is the `Debug` of its headers.
fn header(heard: &str, name: &str) -> String {
    let mark = format!("\"{name}\": \"");
    let at = heard.find(&mark).unwrap_or_else(|| panic!("{name} in {heard}")) + mark.len();
    let mut value = String::new();
    let mut rest = heard[at..].chars();
    loop {
        match rest.next().unwrap() {
            '\\' => value.push(rest.next().unwrap()),
            '"' => return value,
            other => value.push(other),
        }
    }
}

#[tokio::test]
async fn requests_are_signed_for_the_guest_that_they_go_to_and_anew_each_time() {
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, None);
    let options = ConnectOptions {
        request_signer: Some(Arc::new(signer())),
        ..ConnectOptions::default()
    };
    let at = serve(client.clone(), options).await;
    let keyset = client.verdict().await.unwrap().keyset_digest().to_string();
    let headers = format!(
        "host: localhost:{}\r\ncontent-type: application/json\r\nx-api-key: {}\r\n",
        at.port(),
        key(1).text().as_str()
    );
    let mut nonces = BTreeSet::new();
    let chat = chat(false).to_string();
    for (line, body) in [
        ("POST /v1/chat/completions", chat.as_str()),
        ("GET /v1/models?a=1", ""),
        ("GET /v1/models?a=1", ""),
    ] {
        let before = guest.heard().len();
        let answer = ask(at, line, &headers, body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let heard = guest.heard()[before..].to_owned();
        assert!(
            !heard.contains("x-api-key") && !heard.contains("authorization"),
            "{heard}"
        );
        let (input, signature) = (header(&heard, "signature-input"), header(&heard, "signature"));
        let read = RequestSignature::parse(input.as_bytes(), signature.as_bytes()).unwrap();
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let digest = content_digest(body.as_bytes());
        assert_eq!(
            (header(&heard, "content-digest"), header(&heard, "hanzo-keyset")),
            (digest.clone(), keyset.clone())
        );
        let line = RequestLine {
            method,
            path,
            query,
            content_digest: &digest,
            keyset: &keyset,
        };
        read.verify(&signer().keys(), &line).unwrap();
        assert_eq!(read.keyid(), "acme");
        assert!(nonces.insert(read.nonce().to_owned()), "a nonce twice");
    }
}

#[test]
fn a_request_key_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("acme.key");
    let file = RequestSigner::draw(Name::new("acme").unwrap(), |out| {
        out.fill(7);
        Ok(())
    })
    .unwrap();
    let read = |bytes: &[u8], mode: u32| {
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        connect::read_request_key(&path)
            .map(|signer| signer.id().to_string())
            .map_err(|e| e.code())
    };
    assert_eq!(read(&file, 0o600), Ok("acme".to_owned()));
    assert_eq!(read(&file, 0o640), Err("state.mode"));
    for wrong in [&file[1..], b"", b"hz_00"] {
        assert_eq!(read(wrong, 0o600), Err("connect.request_key_file"));
    }
}
