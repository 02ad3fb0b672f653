//! A stand-in engine: it speaks the engine protocol on a Unix socket, echoes the question, and notes each prompt it gets
//! in the file that the model names. The guest starts it as a process, as it starts the real one.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hanzo_guest::engine::sandbox::{EngineSandbox, Isolation};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

/// File of the model that says where prompts are noted.
pub const NOTES_FILE: &str = "notes.txt";

/// Starts the stand-in as it is: it notes prompts in a file, which no confined engine could write. What confinement refuses
/// is shown in enclave/guest/tests/sandbox.
pub fn unconfined() -> EngineSandbox {
    let skip = r#"while [ "$1" != -- ]; do shift; done; shift; exec "$@""#;
    EngineSandbox {
        launcher: ["/bin/sh", "-c", skip, "sh"].map(str::to_owned).to_vec(),
        isolation: Isolation::AsFarAsPossible,
    }
}

/// Serves on `socket` until killed.
///
/// # Errors
/// If the socket cannot be bound.
pub async fn serve(socket: &Path, model: &Path) -> io::Result<()> {
    let notes = PathBuf::from(std::fs::read_to_string(model.join(NOTES_FILE)).unwrap_or_default());
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

async fn answer(request: Request<Incoming>, notes: PathBuf) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let words = last_message(&value)
        .split_whitespace()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let (kind, text) = match path.as_str() {
        "/health" => ("application/json", r#"{"status":"ready"}"#.to_owned()),
        "/tokenize" => {
            let tokens: Vec<_> = (0..words.len().max(1)).collect();
            (
                "application/json",
                serde_json::json!({"count": tokens.len(), "tokens": tokens}).to_string(),
            )
        }
        _ => {
            let noted = std::fs::OpenOptions::new().create(true).append(true).open(&notes);
            noted
                .and_then(|mut f| f.write_all(b"prompt\n"))
                .expect("prompts can be noted");
            ("text/event-stream", stream(&words))
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(kind),
    );
    Ok(response)
}

fn last_message(value: &serde_json::Value) -> &str {
    value["messages"]
        .as_array()
        .and_then(|m| m.last())
        .and_then(|m| m["content"].as_str())
        .unwrap_or("nothing")
}

/// One frame a word, as an engine sends one frame a token.
fn stream(words: &[String]) -> String {
    let mut out = String::new();
    let prompt = words.len().max(1);
    let words: Vec<&str> = if words.is_empty() {
        vec!["nothing"]
    } else {
        words.iter().map(String::as_str).collect()
    };
    for (at, word) in words.iter().enumerate() {
        let last = at + 1 == words.len();
        let text = if at == 0 {
            (*word).to_owned()
        } else {
            format!(" {word}")
        };
        let frame = serde_json::json!({
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": if last { Some("stop") } else { None }}],
            "usage": if last {
                serde_json::json!({"prompt_tokens": prompt, "completion_tokens": words.len()})
            } else {
                serde_json::Value::Null
            },
        });
        out.push_str(&format!("data: {frame}\n\n"));
    }
    out.push_str("data: [DONE]\n\n");
    out
}
