//! `hanzo bench`: the same question to the same engine and model, once called in this process and once through client,
//! proxy, attested TLS, guest and receipts, in turns. Prints both sides and their ratio.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use hanzo_attestation::config::EngineKind;
use hanzo_client::connect::{self, ConnectOptions};
use hanzo_client::{AttestedClient, ClientConfig};
use hanzo_engine_llama::{EngineOptions, Llama, Message, Role, Sampling};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::computes::Computes;
use crate::error::ApplianceError;
use crate::models::{Wanted, context_tokens};
use crate::paths::{self, Layout, private_dir};
use crate::progress::Progress;
use crate::start::{Asked, start};
use crate::up::{Parts, Reach};

const QUESTION: &str = "Write a story about a lighthouse keeper.";

/// Options of `hanzo bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Pairs of measurements
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Tokens an answer
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// One short pair, to see that it works
    #[arg(long)]
    smoke: bool,
    /// A GGUF file or a safetensors directory instead of SmolLM2-135M-Instruct
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
}

/// One answer's times.
struct Times {
    /// From the call to the first text.
    first: Duration,
    /// From the first text to the last token.
    decode: Duration,
    /// From the call to the end of everything, the receipt included.
    whole: Duration,
    tokens: usize,
}

impl Times {
    fn tokens_per_second(&self) -> f64 {
        self.tokens.saturating_sub(1) as f64 / self.decode.as_secs_f64().max(1e-9)
    }
}

pub(crate) fn run(args: BenchArgs, as_json: bool) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hanzo: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(bench(args, as_json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hanzo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(args: BenchArgs, as_json: bool) -> Result<(), ApplianceError> {
    let (runs, tokens) = if args.smoke {
        (1, 8)
    } else {
        (args.runs.max(1), args.tokens.max(2))
    };
    let cache = paths::default_cache()?;
    let state = std::env::temp_dir().join(format!("hanzo-bench-{}", std::process::id()));
    private_dir(&state.join("up"))?;
    let layout = Layout { state: state.clone() };
    let mut parts = Parts::default();
    let asked = Asked::plain(Wanted::of(args.model, None), Computes::by(EngineKind::LlamaCpp));
    let outcome = tokio::select! {
        outcome = async {
            let reach = start(asked, &layout, &cache, &mut parts).await?;
            measure(&reach, &layout, runs, tokens).await
        } => outcome,
        _ = tokio::signal::ctrl_c() => Err(ApplianceError::Part("interrupted: nothing was measured".into())),
    };
    parts.stop().await;
    std::fs::remove_dir_all(&state).map_err(ApplianceError::io("cannot remove", &state))?;
    let (ours, direct) = outcome?;
    report(as_json, &ours, &direct);
    Ok(())
}

async fn measure(
    reach: &Reach,
    layout: &Layout,
    runs: usize,
    tokens: usize,
) -> Result<(Vec<Times>, Vec<Times>), ApplianceError> {
    let failed = |text: String| ApplianceError::Part(text);
    let mut config = ClientConfig::new(reach.endpoint()?, reach.context.clone());
    config.state_dir = Some(layout.client());
    let client = AttestedClient::new(config).map_err(|e| failed(e.to_string()))?;
    client.verdict().await.map_err(|e| failed(e.to_string()))?;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = connect::listen(loopback).await.map_err(|e| failed(e.to_string()))?;
    let at = listener
        .local_addr()
        .map_err(ApplianceError::io("cannot read the address of", "the endpoint"))?;
    let endpoint = tokio::spawn(connect::serve(
        listener,
        client,
        ConnectOptions::default(),
        std::future::pending(),
    ));

    let engine = in_process(&reach.model_dir).await?;
    let mut through = Connection::open(at).await?;
    let bar = Progress::bytes("measuring in turns");
    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    // The first pair warms caches and pools and is not counted.
    for run in 0..=runs {
        bar.at(run as u64, runs as u64 + 1);
        let a = through.ask(at, &reach.model, tokens).await?;
        let b = ask_engine(&engine, tokens).await?;
        if run > 0 {
            ours.push(a);
            direct.push(b);
        }
    }
    endpoint.abort();
    Ok((ours, direct))
}

async fn in_process(model: &Path) -> Result<Llama, ApplianceError> {
    let options = EngineOptions {
        context_tokens: Some(context_tokens(model)? as usize),
        ..EngineOptions::new(model, "")
    };
    Llama::load(&options).await.map_err(|e| ApplianceError::Coded {
        text: e.to_string(),
        code: e.code(),
    })
}

async fn ask_engine(engine: &Llama, tokens: usize) -> Result<Times, ApplianceError> {
    let messages = [Message::new(Role::User, QUESTION)];
    let sampling = Sampling {
        max_tokens: tokens,
        ..Sampling::default()
    };
    let (start, mut first) = (Instant::now(), None);
    let mut on_token = |token: &hanzo_engine_llama::Token| {
        if !token.text.is_empty() {
            first.get_or_insert_with(Instant::now);
        }
    };
    let answer = hanzo_engine_llama::measure(engine, &messages, sampling, &mut on_token)
        .await
        .map_err(|e| ApplianceError::Part(e.to_string()))?;
    let end = Instant::now();
    let first = first.unwrap_or(end);
    Ok(Times {
        first: first - start,
        decode: end - first,
        whole: end - start,
        tokens: answer.ids.len(),
    })
}

/// A keep-alive connection to the local endpoint, as an OpenAI client has it.
struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn open(at: SocketAddr) -> Result<Self, ApplianceError> {
        let io = || ApplianceError::io("cannot reach", at.to_string());
        let stream = TcpStream::connect(at).await.map_err(io())?;
        stream.set_nodelay(true).map_err(io())?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| ApplianceError::Part(e.to_string()))?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn ask(&mut self, at: SocketAddr, model: &str, tokens: usize) -> Result<Times, ApplianceError> {
        let failed = |e: hyper::Error| ApplianceError::Part(e.to_string());
        let body = json!({
            "model": model, "stream": true, "temperature": 0, "max_tokens": tokens,
            "messages": [{"role": "user", "content": QUESTION}],
        });
        let request = Request::post("/v1/chat/completions")
            .header("host", at.to_string())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|e| ApplianceError::Part(e.to_string()))?;
        self.0.ready().await.map_err(failed)?;
        let start = Instant::now();
        let answer = self.0.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        let mut body = answer.into_body();
        let (mut text, mut first, mut last, mut frames, mut receipt) = (String::new(), None, None, 0, false);
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.map_err(failed)?.into_data() else {
                continue;
            };
            text.push_str(&String::from_utf8_lossy(&bytes));
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                receipt |= event.starts_with(": hanzo-receipt ");
                let Some(data) = event.trim_end().strip_prefix("data: ") else {
                    continue;
                };
                let value: Value = serde_json::from_str(data).unwrap_or_default();
                let Some(choice) = value["choices"].get(0) else {
                    continue;
                };
                if choice["delta"]["content"].as_str().is_some_and(|t| !t.is_empty()) {
                    first.get_or_insert_with(Instant::now);
                    frames += 1;
                }
                if !choice["finish_reason"].is_null() {
                    last = Some(Instant::now());
                }
            }
        }
        let end = Instant::now();
        let (Some(first), Some(last), true) = (first, last, receipt) else {
            return Err(ApplianceError::Part(format!(
                "the endpoint answered {status} without text, end or receipt: {text}"
            )));
        };
        Ok(Times {
            first: first - start,
            decode: last - first,
            whole: end - start,
            tokens: frames.max(tokens),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(as_json: bool, ours: &[Times], direct: &[Times]) {
    let of = |times: &[Times], f: &dyn Fn(&Times) -> f64| median(times.iter().map(f).collect());
    let pairs = |f: &dyn Fn(&Times, &Times) -> f64| median(ours.iter().zip(direct).map(|(a, b)| f(a, b)).collect());
    let (rate, rate_direct) = (
        of(ours, &Times::tokens_per_second),
        of(direct, &Times::tokens_per_second),
    );
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let (first, first_direct) = (of(ours, &|t| ms(t.first)), of(direct, &|t| ms(t.first)));
    let (whole, whole_direct) = (of(ours, &|t| ms(t.whole)), of(direct, &|t| ms(t.whole)));
    let rate_ratio = pairs(&|a, b| a.tokens_per_second() / b.tokens_per_second());
    let added_first = pairs(&|a, b| ms(a.first) - ms(b.first));
    let whole_ratio = pairs(&|a, b| b.whole.as_secs_f64() / a.whole.as_secs_f64());
    if as_json {
        println!(
            "{}",
            json!({"pairs": ours.len(), "tokens_per_s": rate, "tokens_per_s_in_process": rate_direct, "tokens_per_s_ratio": rate_ratio,
                "first_token_ms": first, "first_token_ms_in_process": first_direct, "first_token_added_ms": added_first,
                "whole_ms": whole, "whole_ms_in_process": whole_direct, "whole_speed_ratio": whole_ratio})
        );
        return;
    }
    println!(
        "medians of {} pairs; ratios and differences are medians over pairs",
        ours.len()
    );
    println!("{:28} {:>14} {:>14} {:>12}", "", "through all", "in process", "");
    println!(
        "{:28} {rate:>14.1} {rate_direct:>14.1} {rate_ratio:>11.3}x",
        "tokens a second"
    );
    println!(
        "{:28} {first:>14.1} {first_direct:>14.1} {added_first:>+9.1} ms",
        "time to first token, ms"
    );
    println!(
        "{:28} {whole:>14.1} {whole_direct:>14.1} {whole_ratio:>11.3}x",
        "whole answer, ms"
    );
    println!(
        "through all = OpenAI endpoint, client, proxy, TLS 1.3 X25519MLKEM768, guest, engine process, receipt verified"
    );
}
