//! Unmodified clients out of PyPI and npm against a guest on the simulated TEE, through the endpoint of `hanzo-verify connect`:
//! every answer's receipt is checked on its way. Then schemathesis, over the document that the guest serves.
//!
//! Needs Python and npm and, at the first run, their registries. Where there are none, the tests say so loudly and check
//! nothing.

#[path = "clients/engine.rs"]
mod engine;
#[path = "clients/installed.rs"]
mod installed;
#[path = "openai.rs"]
mod openai;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hanzo_client::connect::{ConnectOptions, listen, serve};
use hanzo_client::{ChannelRequest, Client};
use hanzo_tests_adversary::appliance::{Appliance, Differs};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use installed::{Clients, narrowed, ran};

/// The engine: this program, started again.
#[test]
fn engine_process() {
    let mut arguments = std::env::args().skip_while(|a| a != "--socket");
    let Some(socket) = arguments.nth(1) else { return };
    let parent = std::os::unix::process::parent_id();
    std::thread::spawn(move || {
        while std::os::unix::process::parent_id() == parent {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(engine::serve(Path::new(&socket))).unwrap();
}

/// A guest, and the local endpoint that programs talk to.
struct Connected {
    appliance: Appliance,
    client: Client,
    base: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Connected {
    async fn start(differs: Differs) -> Self {
        let program = std::env::current_exe().unwrap().display().to_string();
        let command = [program.as_str(), "--exact", "engine_process", "--nocapture", "--"];
        Self::start_on(command.map(str::to_owned).to_vec(), differs).await
    }

    async fn start_on(engine: Vec<String>, differs: Differs) -> Self {
        let appliance = Appliance::start_as(engine, differs).await;
        let client = Client::from(appliance.client(appliance.guest_at));
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = serve(listener, client.clone(), ConnectOptions::default(), async {
            let _ = stopped.await;
        });
        let serving = tokio::spawn(async move { served.await.unwrap() });
        Self {
            appliance,
            client,
            base,
            stop,
            serving,
        }
    }

    async fn end(self) {
        let _ = self.stop.send(());
        self.serving.abort();
        drop(self.client);
        self.appliance.stop().await;
    }
}

/// Runs what starts programs, which ask this process.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unmodified_clients_work_and_every_receipt_verifies() {
    let Some(clients) = apart(Clients::installed).await else {
        return;
    };
    let connected = Connected::start(Differs::default()).await;
    let base = connected.base.clone();
    apart(move || {
        let home = tempfile::tempdir().unwrap();
        clients.run_python("clients.py", &[&base, "tiny"], home.path());
        clients.run_node("clients.mjs", &[&base, "tiny"]);
    })
    .await;
    let tally = connected.client.tally();
    assert_eq!((tally.mismatched, tally.missing), (0, 0), "{tally:?}");
    assert!(tally.verified > 30, "{tally:?}");
    connected.end().await;
}

/// The llama.cpp engine of this build, and SmolLM2; says so where one is missing.
fn real_engine() -> Option<(PathBuf, PathBuf)> {
    let built = std::env::current_exe().ok()?;
    let engine = std::env::var_os("HANZO_LLAMA_ENGINE")
        .map(PathBuf::from)
        .unwrap_or_else(|| built.ancestors().nth(2).unwrap_or(&built).join("hanzo-engine-llama"));
    let model = std::env::var_os("HANZO_TEST_MODEL").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cache/hanzo/models/SmolLM2-135M-Instruct.Q4_1.gguf"))
    })?;
    for (file, remedy) in [
        (&engine, "cargo build -p hanzo-engine-llama, or HANZO_LLAMA_ENGINE"),
        (&model, "HANZO_TEST_MODEL"),
    ] {
        if !file.is_file() {
            let _ = writeln!(
                std::io::stderr(),
                "\n*** MISSING: {} ({remedy}): the real engine was NOT RUN ***",
                file.display()
            );
            return None;
        }
    }
    Some((engine, model))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unmodified_openai_package_and_the_real_engine_do_all_of_it() {
    let Some((engine, model)) = real_engine() else { return };
    let Some(clients) = apart(Clients::installed).await else {
        return;
    };
    let command = vec![engine.display().to_string(), "serve".to_owned()];
    let differs = Differs {
        model: Some(model),
        ..Differs::default()
    };
    let connected = Connected::start_on(command, differs).await;
    let at = format!("{}/v1", connected.base);
    let found = apart(move || {
        ran(Command::new(clients.python("python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/openai_client.py"))
            .args([&at, "tiny"]))
    })
    .await;
    let found = found.unwrap_or_else(|said| panic!("{said}"));
    openai::check(&serde_json::from_str(&found).unwrap(), "tiny");
    let tally = connected.client.tally();
    assert_eq!((tally.mismatched, tally.missing), (0, 0), "{tally:?}");
    assert!(tally.verified > 8, "{tally:?}");
    connected.end().await;
}

/// Has the document name a receipt that there is: of ids drawn alone none is ever found.
fn known(document: &mut Value, receipt: &str) {
    for (path, operations) in document["paths"].as_object_mut().unwrap() {
        let chat = path.starts_with("/v1/signature/");
        let parameters = operations.pointer_mut("/get/parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            if parameter["name"] == "id" || parameter["name"] == "chat_id" {
                let id = if chat {
                    format!("chatcmpl-{receipt}")
                } else {
                    receipt.to_owned()
                };
                let drawn = parameter["schema"].take();
                parameter["schema"] = json!({"anyOf": [{"const": id}, drawn]});
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_server_error() {
    let Some(clients) = apart(Clients::installed).await else {
        return;
    };
    // With ACI on nothing of the document is missing.
    let connected = Connected::start(Differs {
        aci: true,
        ..Differs::default()
    })
    .await;
    let chat = json!({"model": "tiny", "messages": [{"role": "user", "content": "good day"}]});
    let answer = connected.client.chat_once(&chat).await.unwrap();
    let asked = connected.client.exchange(ChannelRequest::get("/v1/openapi.json")).await;
    let mut document: Value = serde_json::from_slice(&asked.unwrap().body).unwrap();
    narrowed(&mut document, &["tiny"], None);
    let id = answer.receipt_id.unwrap();
    let aci = connected
        .client
        .exchange(ChannelRequest::get(format!("/v1/aci/receipts/{id}")))
        .await
        .unwrap();
    assert_eq!(aci.status, 200, "it is served");
    known(&mut document, &id);
    let base = connected.base.clone();
    apart(move || clients.schemathesis(&document, &base, "coverage,fuzzing", "all", 25)).await;
    let tally = connected.client.tally();
    assert_eq!((tally.mismatched, tally.missing), (0, 0), "{tally:?}");
    assert!(tally.verified > 20, "documents that the guest answers: {tally:?}");
    connected.end().await;
}
