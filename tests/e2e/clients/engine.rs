//! An engine that does everything the engine protocol has, without a model: it repeats what it is told, makes documents after
//! their schema, and calls the first tool it is given.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::UnixListener;

/// Serves on `socket` until killed.
pub async fn serve(socket: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(answer);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let ask: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (kind, text) = match path.as_str() {
        "/health" => ("application/json", json!({"status": "ready"}).to_string()),
        "/tokenize" => {
            let count = match ask["text"].as_str() {
                Some(text) => tokens(text),
                None => conversation(&ask),
            };
            let ids: Vec<u64> = (0..count).collect();
            ("application/json", json!({"count": count, "tokens": ids}).to_string())
        }
        "/v1/embeddings" => ("application/json", embeddings(&ask).to_string()),
        "/v1/chat/completions" | "/v1/completions" => ("text/event-stream", generated(&ask)),
        _ => {
            let mut response = Response::new(Full::new(Bytes::from_static(b"{\"error\":{\"code\":\"not_found\"}}")));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    Ok(response)
}

/// One a word.
fn tokens(text: &str) -> u64 {
    text.split_whitespace().count().max(1) as u64
}

fn conversation(ask: &Value) -> u64 {
    let messages = ask["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    messages
        .iter()
        .map(|m| tokens(m["content"].as_str().unwrap_or("")))
        .sum::<u64>()
        .max(1)
}

fn prompt(prompt: &Value) -> u64 {
    match prompt {
        Value::Array(ids) => ids.len() as u64,
        other => tokens(other.as_str().unwrap_or("")),
    }
}

fn embeddings(ask: &Value) -> Value {
    let inputs = ask["input"].as_array().map(Vec::as_slice).unwrap_or_default();
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(i, input)| {
            let bytes = input.to_string().into_bytes();
            let vector: Vec<f32> = (0..4).map(|k| f32::from(bytes[k % bytes.len()]) / 256.0).collect();
            json!({"index": i, "embedding": vector})
        })
        .collect();
    json!({"data": data, "usage": {"prompt_tokens": inputs.iter().map(prompt).sum::<u64>()}})
}

fn said(ask: &Value) -> String {
    if !ask["json_schema"].is_null() {
        return document(&ask["json_schema"], &ask["json_schema"], 0).to_string();
    }
    let messages = ask["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last = messages.last().cloned().unwrap_or_default();
    let content = last["content"]
        .as_str()
        .or(ask["prompt"].as_str())
        .unwrap_or("some tokens")
        .to_owned();
    let function = &ask["tools"][0]["function"];
    match last["role"].as_str() {
        Some("tool") => format!("The tool says {content}."),
        Some("user") if function.is_object() => {
            let arguments = document(&function["parameters"], &function["parameters"], 0);
            let call = json!({"name": function["name"], "arguments": arguments});
            format!("<tool_call>\n{call}\n</tool_call>")
        }
        _ => format!("You said: {content}"),
    }
}

/// Some document that the schema allows, for schemas that ask for nothing strange.
fn document(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > 30 {
        return Value::Null;
    }
    if let Some(pointer) = schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
        return document(root.pointer(pointer).unwrap_or(&Value::Null), root, depth + 1);
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    for list in ["enum", "anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[list].get(0) {
            return if list == "enum" {
                first.clone()
            } else {
                document(first, root, depth + 1)
            };
        }
    }
    let kind = schema["type"]
        .as_str()
        .or(schema["type"][0].as_str())
        .unwrap_or("object");
    match kind {
        "null" => Value::Null,
        "boolean" => json!(true),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(7)),
        "string" => "text"
            .repeat(schema["minLength"].as_u64().unwrap_or(1).div_ceil(4).clamp(1, 64) as usize)
            .into(),
        "array" => {
            let least = schema["minItems"].as_u64().unwrap_or(1).min(8);
            (0..least)
                .map(|_| document(&schema["items"], root, depth + 1))
                .collect()
        }
        _ => {
            let mut members = Map::new();
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                members.insert(name.clone(), document(inner, root, depth + 1));
            }
            Value::Object(members)
        }
    }
}

/// One frame a token of at most eight characters.
fn generated(ask: &Value) -> String {
    let mut text = said(ask);
    let stops = ask["stop"].as_array().map(Vec::as_slice).unwrap_or_default();
    let stopped = stops
        .iter()
        .filter_map(|s| Some((text.find(s.as_str()?)?, s.clone())))
        .min_by_key(|(at, _)| *at);
    if let Some((at, _)) = &stopped {
        text.truncate(*at);
    }
    let chars: Vec<char> = text.chars().collect();
    let mut pieces: Vec<String> = chars.chunks(8).map(|c| c.iter().collect()).collect();
    let most = ask["max_tokens"].as_u64().unwrap_or(1) as usize;
    let cut = pieces.len() > most;
    pieces.truncate(most);
    let is_chat = ask["messages"].is_array();
    let top = ask["top_logprobs"].as_u64().unwrap_or(0);
    let entry = |piece: &str, logprob: f64| json!({"token": piece, "logprob": logprob, "bytes": piece.as_bytes()});
    let mut out = String::new();
    let mut frame = |piece: &str, end: bool| {
        let mut choice = json!({"index": 0, "finish_reason": null});
        match is_chat {
            true => choice["delta"] = json!({"content": piece}),
            false => choice["text"] = piece.into(),
        }
        if ask["logprobs"] == true && !end {
            let mut one = entry(piece, -0.5);
            one["top_logprobs"] = (0..top).map(|n| entry(&format!("t{n}"), -1.0 - n as f64)).collect();
            choice["logprobs"] = json!({"content": [one]});
        }
        let mut usage = Value::Null;
        if end {
            choice["finish_reason"] = if cut { "length".into() } else { "stop".into() };
            if let (false, Some((_, stop))) = (cut, &stopped) {
                choice["stop_reason"] = stop.clone();
            }
            let asked = if is_chat {
                conversation(ask)
            } else {
                prompt(&ask["prompt"])
            };
            usage = json!({"prompt_tokens": asked, "completion_tokens": pieces.len()});
        }
        out.push_str(&format!("data: {}\n\n", json!({"choices": [choice], "usage": usage})));
    };
    pieces.iter().for_each(|piece| frame(piece, false));
    frame("", true);
    out.push_str("data: [DONE]\n\n");
    out
}
