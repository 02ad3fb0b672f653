//! A stand-in engine on a real Unix socket: it answers `/health` and `/tokenize`, and plays a script as its answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// What the engine does with a chat request.
#[derive(Clone)]
pub enum Script {
    /// Raw bytes, each piece written at once, a pause after each.
    Raw(Vec<String>, Duration),
    /// A status and a body.
    Refuse(u16, &'static str),
    /// A JSON document.
    Json(&'static str),
    /// Waits for a permit, then answers as [`honest`] does.
    Gate(Arc<Semaphore>),
    /// As `Raw`, and takes the ids that it counted in a prompt's place; `/tokenize` is among what it was asked.
    Reusing(Vec<String>),
    /// Refuses even to count.
    RefuseAll(u16, &'static str),
}

pub struct Engine {
    pub socket: PathBuf,
    /// Answers whose client went away before their end.
    pub cancelled: Arc<AtomicUsize>,
    /// The last chat request's body.
    pub seen: Arc<std::sync::Mutex<String>>,
    /// All of them, in the order in which they came.
    pub asked: Arc<std::sync::Mutex<Vec<String>>>,
    _dir: tempfile::TempDir,
}

pub const PROMPT_TOKENS: usize = 5;

pub fn frame(text: &str) -> String {
    let content = serde_json::to_string(text).unwrap();
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{content}}},\"finish_reason\":null}}],\"usage\":null}}\n\n"
    )
}

pub fn last(text: &str, finish: &str, prompt: usize, completion: usize) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":\"{finish}\"}}],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion}}}}}\n\ndata: [DONE]\n\n"
    )
}

/// "Par" "is" ".": three tokens.
pub fn honest() -> Script {
    Script::Raw(
        vec![frame("Par"), frame("is"), last(".", "stop", PROMPT_TOKENS, 3)],
        Duration::ZERO,
    )
}

/// As [`honest`], of a completion.
pub fn honest_text() -> Script {
    let chat = [frame("Par"), frame("is"), last(".", "stop", PROMPT_TOKENS, 3)];
    let pieces = chat.map(|piece| {
        piece
            .replace("\"delta\":{\"content\":", "\"text\":")
            .replace("},\"finish", ",\"finish")
    });
    Script::Raw(pieces.to_vec(), Duration::ZERO)
}

/// One frame for each text, the last with its end.
pub fn says(texts: &[&str], finish: &str) -> Script {
    let mut pieces: Vec<String> = texts.iter().map(|text| frame(text)).collect();
    pieces.push(last("", finish, PROMPT_TOKENS, texts.len()));
    Script::Raw(pieces, Duration::ZERO)
}

pub fn raw(pieces: &[String]) -> Script {
    Script::Raw(pieces.to_vec(), Duration::ZERO)
}

impl Engine {
    pub fn start(script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let cancelled = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(std::sync::Mutex::new(String::new()));
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (count, body, all) = (cancelled.clone(), seen.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, count) = (script.clone(), count.clone());
                let (body, all) = (body.clone(), all.clone());
                tokio::spawn(async move {
                    if serve(stream, script, body, all).await.is_err() {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self {
            socket,
            cancelled,
            seen,
            asked,
            _dir: dir,
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    script: Script,
    seen: Arc<std::sync::Mutex<String>>,
    asked: Arc<std::sync::Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let (path, body) = loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|l| {
            l.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse::<usize>()
                .ok()
        });
        if body.len() >= length.unwrap_or(0) {
            break (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned());
        }
    };
    let json = |status: u16, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match path.as_str() {
        "/health" => stream.write_all(json(200, "{\"status\":\"ready\"}").as_bytes()).await,
        "/tokenize" => {
            if let Script::RefuseAll(status, body) = script {
                return stream.write_all(json(status, body).as_bytes()).await;
            }
            let counted = match script {
                Script::Reusing(_) => {
                    asked.lock().unwrap().push(format!("/tokenize {body}"));
                    "{\"count\":5,\"reusable\":true,\"tokens\":[1,2,3,4,5]}"
                }
                _ => "{\"count\":5,\"tokens\":[1,2,3,4,5]}",
            };
            stream.write_all(json(200, counted).as_bytes()).await
        }
        _ => {
            asked.lock().unwrap().push(body.clone());
            *seen.lock().unwrap() = body;
            match script {
                Script::Json(body) => stream.write_all(json(200, body).as_bytes()).await,
                Script::Refuse(status, body) | Script::RefuseAll(status, body) => {
                    stream.write_all(json(status, body).as_bytes()).await
                }
                Script::Gate(gate) => {
                    gate.acquire().await.unwrap().forget();
                    let Script::Raw(pieces, pause) = honest() else {
                        unreachable!()
                    };
                    play(stream, pieces, pause).await
                }
                Script::Raw(pieces, pause) => play(stream, pieces, pause).await,
                Script::Reusing(pieces) => play(stream, pieces, Duration::ZERO).await,
            }
        }
    }
}

async fn play(mut stream: UnixStream, pieces: Vec<String>, pause: Duration) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        .await?;
    for piece in pieces {
        stream.write_all(piece.as_bytes()).await?;
        if !pause.is_zero() {
            let mut gone = [0; 1];
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                read = stream.read(&mut gone) => if read? == 0 {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                },
            }
        }
    }
    Ok(())
}
