//! An engine for tests. It is this very test program, started again by the guest: `stand_in_engine` acts only when
//! there is a `--socket` among the arguments.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hanzo_attestation::Digest256;
use hanzo_guest::engine::sandbox::{EngineSandbox, Isolation, SUBCOMMAND};

/// How the guest starts it. What follows `--` is for the engine, not for the test harness.
pub fn command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    let arguments = ["--exact", "engine::stand_in_engine", "--nocapture", "--"];
    std::iter::once(program).chain(arguments.map(str::to_owned)).collect()
}

/// The launcher is the program that ships.
pub fn sandbox() -> EngineSandbox {
    EngineSandbox {
        launcher: [env!("CARGO_BIN_EXE_hanzo-guest"), SUBCOMMAND]
            .map(str::to_owned)
            .to_vec(),
        isolation: Isolation::AsFarAsPossible,
    }
}

fn argument(name: &str) -> Option<PathBuf> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1).map(PathBuf::from)
}

#[test]
fn stand_in_engine() {
    serve_if_asked();
}

/// Serves as the engine if the arguments are an engine's; a program without this harness calls it first.
pub fn serve_if_asked() {
    let (Some(socket), Some(model)) = (argument("--socket"), argument("--model-dir")) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(engine(&socket, &model));
}

async fn engine(socket: &Path, model: &Path) {
    let mode = std::fs::read_to_string(model.join("mode.txt")).unwrap_or_default();
    if mode == "broken" {
        eprintln!("cannot read tensor blk.0");
        std::process::exit(9);
    }
    if mode == "slow" {
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    }
    // What it computes with, where its orders ask for that.
    let told = (mode == "telling").then(|| {
        let weights = Digest256::of(&std::fs::read(model.join("model.gguf")).unwrap());
        let adapter = argument("--adapter").map(|file| Digest256::of(&std::fs::read(file).unwrap()));
        let scale = argument("--adapter-scale-micros").map(|scale| scale.display().to_string());
        match (adapter, scale) {
            (Some(adapter), Some(scale)) => format!("{weights}+{adapter}*{scale}"),
            _ => weights.to_string(),
        }
    });
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let routes = Router::new()
        .route("/health", get(|| async { r#"{"status":"ready"}"# }))
        .route("/tokenize", post(|| async { r#"{"count":3,"tokens":[1,2,3]}"# }))
        .route("/v1/chat/completions", post(move |body: Bytes| chat(body, told)));
    axum::serve(listener, routes).await.unwrap();
}

async fn chat(body: Bytes, told: Option<String>) -> Response {
    if String::from_utf8_lossy(&body).contains("die now") {
        eprintln!("a line that could hold a prompt: die now");
        std::process::exit(7);
    }
    if String::from_utf8_lossy(&body).contains("\"wait\"") {
        // Whoever looks sees by this thread's name that the request is here.
        let waiting = std::thread::Builder::new().name("waiting".into());
        let waiting = waiting
            .spawn(|| std::thread::sleep(std::time::Duration::from_secs(4)))
            .unwrap();
        tokio::task::spawn_blocking(|| waiting.join().unwrap()).await.unwrap();
    }
    let frames = concat!(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Paris\"},\"finish_reason\":null}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],",
        "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n",
        "data: [DONE]\n\n"
    );
    let frames = frames.replace("Paris", told.as_deref().unwrap_or("Paris"));
    ([("content-type", "text/event-stream")], frames).into_response()
}
