//! A client that shares no line with the guest talks to it: Python and `cryptography`, from the texts of the RFCs.

use std::process::Command;

use hanzo_pqc::hpke::message::MessageKem;
use serde_json::Value;

use crate::sealed::{clear_address, guest, key_of};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/client.py");

/// Python with `cryptography` 50 or later. `HANZO_PYCA` names a folder made by `pip install --target FOLDER cryptography==50.0.2`.
fn python() -> Option<Command> {
    let make = || {
        let mut python = Command::new(std::env::var_os("HANZO_PYTHON").unwrap_or("python3".into()));
        if let Some(folder) = std::env::var_os("HANZO_PYCA") {
            python.env("PYTHONPATH", folder);
        }
        python
    };
    let asked = make()
        .args([
            "-c",
            "from cryptography.hazmat.primitives import hpke; hpke.KEM.MLKEM768_X25519",
        ])
        .output();
    if asked.is_ok_and(|output| output.status.success()) {
        return Some(make());
    }
    eprintln!(
        "PYTHON WITHOUT cryptography>=50: the independent OHTTP client was NOT RUN; \
         pip install --target FOLDER cryptography==50.0.2 and set HANZO_PYCA=FOLDER"
    );
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_independently_is_answered_whole_and_streamed_and_sees_every_cut() {
    let Some(_) = python() else { return };
    let (_world, guest) = guest(true).await;
    let address = clear_address(&guest).to_string();
    for (kem, transport) in [
        (MessageKem::Xwing, "ohttp+x-wing"),
        (MessageKem::X25519, "ohttp+x25519"),
    ] {
        let config = hex::encode(key_of(&guest.ready.keyset, "ohttp", kem).encode());
        let mut command = python().unwrap();
        command.args([CLIENT, &address, &config]);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        let said = String::from_utf8(output.stdout).unwrap();
        let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Both AEADs.
        assert_eq!(said.len(), 10, "{said:?}");
        for exchange in &said {
            match exchange["how"].as_str().unwrap() {
                "whole" => {
                    assert_eq!(exchange["status"], 200, "{exchange}");
                    assert!(exchange["content"].as_str().unwrap().contains("Paris"), "{exchange}");
                    assert_eq!(exchange["replay"][0], 400, "the same bytes again");
                    assert_eq!(exchange["replay"][1], hanzo_sealed::ohttp::KEY_PROBLEM);
                }
                "streamed" => {
                    assert_eq!(
                        (&exchange["status"], &exchange["done"]),
                        (&200.into(), &true.into()),
                        "{exchange}"
                    );
                    assert_eq!(exchange["type"], "text/event-stream");
                    assert!(exchange["content"].as_str().unwrap().contains("Paris"), "{exchange}");
                    assert_eq!(exchange["transport"], transport);
                    assert!(exchange["parts"].as_u64().unwrap() > 4, "{exchange}");
                }
                _ => assert_eq!(exchange["whole"], false, "{exchange}"),
            }
        }
    }
    guest.stop().await.unwrap();
}
