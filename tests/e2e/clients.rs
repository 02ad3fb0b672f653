//! Unmodified clients out of PyPI and npm against a guest on the simulated TEE, through the endpoint of `hanzo-verify connect`:
//! every answer's receipt is checked on its way. Then schemathesis, over the document that the guest serves.
//!
//! Needs Python and npm and, at the first run, their registries. Where there are none, the tests say so loudly and check
//! nothing.

#[path = "clients/engine.rs"]
mod engine;
#[path = "openai.rs"]
mod openai;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hanzo_client::connect::{ConnectOptions, listen, serve};
use hanzo_client::{ChannelRequest, Client};
use hanzo_tests_adversary::appliance::{Appliance, Differs};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

/// What is installed; a change needs another folder.
const PYTHON: [&str; 5] = [
    "openai==3.54.0",
    "anthropic==2.12.0",
    "langchain-openai==1.7.3",
    "llm==0.36",
    "schemathesis==4.32.5",
];
/// In a folder of its own: it asks for another version of `openai`. It loads `mcp` for tools without asking for it.
const APART: [&str; 2] = ["litellm==1.106.2", "mcp==2.3.0"];
const NODE: &str = "openai@7.57.0";
const FOLDER: &str = "hanzo-clients/1";

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
    async fn start() -> Self {
        let program = std::env::current_exe().unwrap().display().to_string();
        let command = [program.as_str(), "--exact", "engine_process", "--nocapture", "--"];
        Self::start_on(command.map(str::to_owned).to_vec(), Differs::default()).await
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

fn cache() -> PathBuf {
    let home = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| Path::new(&h).join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    home.join(FOLDER)
}

async fn ran(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|e| e.to_string())?;
    let said = [output.stdout.clone(), output.stderr].concat();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&said).into_owned()),
    }
}

/// The folder with all clients, or `None` where they cannot be had; says so.
async fn installed() -> Option<PathBuf> {
    static TURN: Mutex<()> = Mutex::const_new(());
    let _turn = TURN.lock().await;
    let dir = cache();
    let whole = dir.join("complete");
    if whole.exists() {
        return Some(dir);
    }
    let install = async {
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        let pip = ["install", "--quiet", "--disable-pip-version-check"];
        for (venv, packages) in [(dir.join("py"), &PYTHON[..]), (dir.join("apart"), &APART)] {
            ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv)).await?;
            ran(Command::new(venv.join("bin/pip")).args(pip).args(packages)).await?;
        }
        Ok::<_, String>(())
    };
    match install.await {
        Ok(()) => {
            std::fs::write(whole, "").unwrap();
            Some(dir)
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "\n*** CLIENTS MISSING: they were NOT RUN ***\n{why}");
            None
        }
    }
}

/// The package of npm beside them, where there is Node.
async fn node_modules(dir: &Path) -> Option<PathBuf> {
    let modules = dir.join("node_modules");
    if modules.join("openai/package.json").exists() {
        return Some(modules);
    }
    let npm = ["install", "--silent", "--no-audit", "--no-fund", "--prefix"];
    match ran(Command::new("npm").args(npm).arg(dir).arg(NODE)).await {
        Ok(_) => Some(modules),
        Err(why) => {
            let _ = writeln!(
                std::io::stderr(),
                "\n*** NODE'S CLIENT MISSING: it was NOT RUN ***\n{why}"
            );
            None
        }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/clients").join(name)
}

/// Each client's findings: what it did, or how it failed.
fn all_well(said: &str, clients: &[&str]) {
    let line = said
        .lines()
        .rfind(|l| l.starts_with('{'))
        .unwrap_or_else(|| panic!("{said}"));
    let findings: Value = serde_json::from_str(line).unwrap();
    for client in clients {
        assert_eq!(findings[client], "ok", "{client}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unmodified_clients_work_and_every_receipt_verifies() {
    let Some(dir) = installed().await else { return };
    let connected = Connected::start().await;
    let home = tempfile::tempdir().unwrap();
    for (venv, clients) in [
        ("py", &["openai", "anthropic", "langchain", "llm"][..]),
        ("apart", &["litellm"]),
    ] {
        let python = ran(Command::new(dir.join(venv).join("bin/python"))
            .arg(script("clients.py"))
            .args([&connected.base, "tiny"])
            .args(clients)
            .env("HOME", home.path())
            .env("LLM_USER_PATH", home.path()))
        .await;
        all_well(&python.unwrap_or_else(|said| panic!("{said}")), clients);
    }
    if let Some(modules) = node_modules(&dir).await {
        let node = ran(Command::new("node")
            .arg(script("clients.mjs"))
            .args([&connected.base, "tiny"])
            .arg(modules))
        .await;
        all_well(&node.unwrap_or_else(|said| panic!("{said}")), &["openai"]);
    }
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
    let Some(dir) = installed().await else { return };
    let command = vec![engine.display().to_string(), "serve".to_owned()];
    let differs = Differs {
        model: Some(model),
        ..Differs::default()
    };
    let connected = Connected::start_on(command, differs).await;
    let found = ran(Command::new(dir.join("py/bin/python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/openai_client.py"))
        .args([&format!("{}/v1", connected.base), "tiny"]))
    .await;
    let found = found.unwrap_or_else(|said| panic!("{said}"));
    openai::check(&serde_json::from_str(&found).unwrap(), "tiny");
    let tally = connected.client.tally();
    assert_eq!((tally.mismatched, tally.missing), (0, 0), "{tally:?}");
    assert!(tally.verified > 8, "{tally:?}");
    connected.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_server_error() {
    let Some(dir) = installed().await else { return };
    let connected = Connected::start().await;
    let url = &connected.base;
    let work = tempfile::tempdir().unwrap();
    // The guest's own document, with the model that is served: other names end at 404.
    let asked = connected.client.exchange(ChannelRequest::get("/v1/openapi.json")).await;
    let mut document: Value = serde_json::from_slice(&asked.unwrap().body).unwrap();
    for (_, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
        if schema["properties"]["messages"].is_object() || schema["additionalProperties"] == false {
            schema["properties"]["model"] = serde_json::json!({"const": "tiny"});
        }
    }
    let file = work.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let said = ran(Command::new(dir.join("py/bin/schemathesis"))
        .arg("run")
        .arg(&file)
        .args(["--url", url, "--checks", "not_a_server_error", "--max-examples", "25"])
        .args(["--phases", "coverage,fuzzing", "--seed", "7", "--no-color"])
        .args(["--suppress-health-check", "all"])
        .current_dir(work.path()))
    .await;
    let said = said.unwrap_or_else(|said| panic!("{said}"));
    let tested = format!("Tested: {}", document["paths"].as_object().unwrap().len());
    assert!(said.contains(&tested), "{said}");
    let tally = connected.client.tally();
    assert_eq!((tally.mismatched, tally.missing), (0, 0), "{tally:?}");
    assert!(tally.verified > 20, "documents that the guest answers: {tally:?}");
    connected.end().await;
}
