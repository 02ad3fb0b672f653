//! A stand-in engine that does what the prompt says: it answers with the words of the prompt and the last of them backwards, and
//! waits where a word tells it to, so that processes can be cut at a known point.
//!
//! `@first` waits before anything is answered, `@mid` in the middle, `@last` before the end is said. It goes on once the file
//! `go` lies beside its notes. The notes get a line `prompt` for each prompt and `waiting` for each wait; `engine.pids` gets
//! the process.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::engine::NOTES_FILE;

/// Beside the notes: the processes of all engines.
pub const PIDS_FILE: &str = "engine.pids";
/// Beside the notes: waiting engines go on.
pub const GO_FILE: &str = "go";
/// Longest wait, in steps of 5 ms.
const STEPS: usize = 4_000;

struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Serves on `socket` until killed.
///
/// # Errors
/// If the socket cannot be bound.
pub async fn serve(socket: &Path, model: &Path) -> io::Result<()> {
    let notes = PathBuf::from(std::fs::read_to_string(model.join(NOTES_FILE)).unwrap_or_default());
    note(&notes.with_file_name(PIDS_FILE), &std::process::id().to_string());
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let notes = notes.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, notes.clone()));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn note(file: &Path, line: &str) {
    let open = std::fs::OpenOptions::new().create(true).append(true).open(file);
    open.and_then(|mut f| f.write_all(format!("{line}\n").as_bytes()))
        .expect("notes can be taken");
}

async fn answer(request: Request<Incoming>, notes: PathBuf) -> Result<Response<Pieces>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = value["messages"].as_array().and_then(|m| m.last());
    let said = said.and_then(|m| m["content"].as_str()).unwrap_or("nothing");
    let words: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    let (send, pieces) = mpsc::unbounded_channel();
    let kind = match path.as_str() {
        "/health" => {
            let _ = send.send(r#"{"status":"ready"}"#.into());
            "application/json"
        }
        "/tokenize" => {
            let tokens: Vec<_> = (0..words.len().max(1)).collect();
            let _ = send.send(json!({"count": tokens.len(), "tokens": tokens}).to_string().into());
            "application/json"
        }
        _ => {
            note(&notes, "prompt");
            tokio::spawn(speak(words, notes, send));
            "text/event-stream"
        }
    };
    let mut response = Response::new(Pieces(pieces));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

async fn wait(notes: &Path) {
    note(notes, "waiting");
    for _ in 0..STEPS {
        if notes.with_file_name(GO_FILE).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn speak(words: Vec<String>, notes: PathBuf, send: mpsc::UnboundedSender<Bytes>) {
    let told = |what: &str| words.iter().any(|w| w == what);
    let mut said: Vec<String> = words.iter().filter(|w| !w.starts_with('@')).cloned().collect();
    said.truncate(8);
    said.push(
        words
            .last()
            .map(|w| w.chars().rev().take(40).collect())
            .unwrap_or_default(),
    );
    if told("@first") {
        wait(&notes).await;
    }
    let middle = said.len() / 2;
    for (at, word) in said.iter().enumerate() {
        if at == middle && told("@mid") {
            wait(&notes).await;
        }
        let is_last = at + 1 == said.len();
        let short: String = word.chars().take(64).collect();
        let text = if at == 0 { short } else { format!(" {short}") };
        let usage = json!({"prompt_tokens": words.len().max(1), "completion_tokens": said.len()});
        let frame = json!({
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": is_last.then_some("stop")}],
            "usage": is_last.then_some(usage),
        });
        if send.send(format!("data: {frame}\n\n").into()).is_err() {
            return;
        }
        // One frame a write, as an engine that computes sends them.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if told("@last") {
        wait(&notes).await;
    }
    let _ = send.send("data: [DONE]\n\n".into());
}
