//! Programs in front of an endpoint: curl, as anybody calls it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use hanzo_attestation::{Anchors, Collateral};
use hanzo_client::connect::{self, ConnectOptions};
use hanzo_client::{AttestedClient, ClientConfig};
use hanzo_policy::AppraisalPolicy;
use hanzo_verifier::VerifierContext;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::appliance::Up;
use crate::needs::private_dir;

/// For one step of a connection to an emulated guest.
const PATIENCE: Duration = Duration::from_secs(120);

/// An endpoint of this test's own, with a client of its own: it is there after the appliance has ended.
pub struct Endpoint {
    base: String,
    model: String,
    key: Option<String>,
    pub state: tempfile::TempDir,
    _runtime: Runtime,
}

impl Endpoint {
    /// One that trusts what the appliance's own client trusts.
    pub fn open(up: &Up) -> Self {
        let policy = std::fs::read(up.greeting["policy"].as_str().unwrap()).unwrap();
        let ak = serde_json::from_value(up.greeting["tpm_ak"].clone()).unwrap();
        let context = VerifierContext {
            anchors: Anchors::vendor().with_tpm_ak(ak),
            collateral: Collateral::default(),
            policy: AppraisalPolicy::from_toml(&policy).unwrap(),
        };
        let proxy = up.greeting["proxy"].as_str().unwrap().parse().unwrap();
        let state = private_dir();
        let mut config = ClientConfig::new(proxy, context);
        config.state_dir = Some(state.path().to_owned());
        config.limits.handshake = PATIENCE;
        config.limits.attestation = PATIENCE;
        config.limits.proof = PATIENCE;
        let client = AttestedClient::new(config).unwrap();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(connect::listen("127.0.0.1:0".parse().unwrap()))
            .unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        runtime.spawn(connect::serve(
            listener,
            client,
            ConnectOptions::default(),
            std::future::pending(),
        ));
        Self {
            base,
            model: up.model().to_owned(),
            key: up.key(0),
            state,
            _runtime: runtime,
        }
    }

    pub fn chat(&self, max_tokens: u32) -> (u16, Value) {
        post(&self.base, &self.model, max_tokens, self.key.as_deref())
    }

    /// A long answer, as soon as its first tokens are here.
    pub fn stream(&self) -> Streaming {
        let mut curl = curl(&self.base, &request(&self.model, 1500, true), self.key.as_deref())
            .arg("-N")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(curl.stdout.take().unwrap());
        let mut text = String::new();
        while text.matches("\"content\"").count() < 2 {
            assert_ne!(out.read_line(&mut text).unwrap(), 0, "{text}");
        }
        Streaming { curl, out, text }
    }
}

/// An answer that is under way.
pub struct Streaming {
    curl: Child,
    out: BufReader<ChildStdout>,
    text: String,
}

impl Streaming {
    /// curl's exit code, and all that came.
    pub fn rest(mut self) -> (Option<i32>, String) {
        self.out.read_to_string(&mut self.text).unwrap();
        (self.curl.wait().unwrap().code(), self.text)
    }
}

fn request(model: &str, max_tokens: u32, stream: bool) -> String {
    let messages = json!([{"role": "user", "content": "Hi"}]);
    json!({"model": model, "temperature": 0, "max_tokens": max_tokens, "stream": stream, "messages": messages})
        .to_string()
}

fn curl(base: &str, request: &str, key: Option<&str>) -> Command {
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "-m",
        "3600",
        "-H",
        "content-type: application/json",
        "-d",
        request,
    ]);
    if let Some(key) = key {
        curl.args(["-H", &format!("authorization: Bearer {key}")]);
    }
    curl.arg(format!("{base}/chat/completions"));
    curl
}

/// Status and body of one whole answer.
pub fn post(base: &str, model: &str, max_tokens: u32, key: Option<&str>) -> (u16, Value) {
    let done = curl(base, &request(model, max_tokens, false), key)
        .args(["-w", "\n%{http_code}"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (
        status.parse().unwrap_or_default(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}
