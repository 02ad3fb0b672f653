//! Engines side by side on one file, one number of threads, one machine: this engine, mistral.rs behind the same protocol,
//! and llama.cpp as npm ships it. Time to first token, prefill and decode; then 1, 4 and 16 answers at once.
//!
//! `cargo bench -p hanzo-engine-llama --bench engines -- [--smoke] [--model FILE.gguf] [--threads N] [--runs N]`
//!
//! Sides that are not at hand are named on stderr and left out: `hanzo-engine` of this build (or `HANZO_ENGINE`), node-llama-cpp.

#[allow(dead_code, reason = "a part is the tests'")]
#[path = "../tests/llama/node.rs"]
mod node;
#[path = "engines/side.rs"]
mod side;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::node::Node;
use crate::side::{Served, Times};

struct Options {
    smoke: bool,
    model: PathBuf,
    threads: usize,
    runs: usize,
}

impl Options {
    fn read() -> Option<Self> {
        let cached = std::env::var_os("HOME")
            .map(|home| PathBuf::from(home).join(".cache/hanzo/models/SmolLM2-135M-Instruct.Q4_1.gguf"));
        let mut options = Self {
            smoke: false,
            model: std::env::var_os("HANZO_TEST_MODEL").map(PathBuf::from).or(cached)?,
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            runs: 5,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--smoke" => (options.smoke, options.runs) = (true, 1),
                "--model" => options.model = words.next()?.into(),
                "--threads" => options.threads = words.next()?.parse().ok()?,
                "--runs" => options.runs = words.next()?.parse().ok()?,
                // Cargo's own.
                "--bench" => (),
                _ => return None,
            }
        }
        Some(options)
    }
}

fn main() {
    let Some(options) = Options::read() else {
        eprintln!("usage: engines [--smoke] [--model FILE.gguf] [--threads N] [--runs N]");
        std::process::exit(2);
    };
    if !options.model.is_file() {
        eprintln!("MODEL MISSING: {}: NOTHING MEASURED", options.model.display());
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let dir = model_dir(root.path(), &options.model);
    let file = dir.join("model.gguf");
    println!(
        "{}: {} threads, {} runs, {} bytes",
        options.model.display(),
        options.threads,
        options.runs,
        std::fs::metadata(&file).unwrap().len()
    );
    let llama = Path::new(env!("CARGO_BIN_EXE_hanzo-engine-llama"));
    let mistral = side::mistral(llama);
    let node = Node::find();
    one_at_a_time(&options, root.path(), &dir, llama, mistral.as_deref(), node.as_ref());
    at_once(&options, root.path(), &dir, llama, mistral.as_deref(), node.as_ref());
}

/// A prepared directory, which both engines of ours take: matrices that mistral.rs has no kernel for are re-encoded in it.
fn model_dir(root: &Path, model: &Path) -> PathBuf {
    let dir = root.join("model");
    let llama = Path::new(env!("CARGO_BIN_EXE_hanzo-engine-llama"));
    if let Some(engine) = side::mistral(llama) {
        let status = Command::new(engine)
            .arg("prepare")
            .arg(model)
            .arg(&dir)
            .status()
            .unwrap();
        assert!(status.success(), "hanzo-engine prepare: {status}");
    } else {
        std::fs::create_dir(&dir).unwrap();
        std::fs::copy(model, dir.join("model.gguf")).unwrap();
    }
    dir
}

const NAMES: [&str; 3] = ["hanzo-engine-llama", "hanzo-engine (mistral.rs)", "node-llama-cpp"];

/// Measured questions to a process that is warm; mistral.rs, seconds for a long prompt, gets one.
const ASKS: usize = 5;

/// The same questions to each side in turn, several times; the median of each figure.
fn one_at_a_time(
    options: &Options,
    root: &Path,
    dir: &Path,
    llama: &Path,
    mistral: Option<&Path>,
    node: Option<&Node>,
) {
    let long =
        "The quick brown fox jumps over the lazy dog and thinks about it. ".repeat(if options.smoke { 6 } else { 30 });
    let tokens = if options.smoke { 8 } else { 96 };
    let questions = [
        ("short prompt", "Tell me a long story about a river."),
        ("long prompt", long.as_str()),
    ];
    let mut samples: BTreeMap<(usize, usize), Vec<Times>> = BTreeMap::new();
    for run in 0..=options.runs {
        for (side, program) in [(0, Some(llama)), (1, mistral)] {
            // mistral.rs takes seconds for a long prompt: measured less often.
            let Some(program) = program.filter(|_| side == 0 || run < 2) else {
                continue;
            };
            let served = Served::start(program, dir, root, options.threads, 1);
            for (at, (_, question)) in questions.iter().enumerate() {
                // The first question of each process warms it up: what was just loaded has pages to fault in.
                served.ask(question, 2);
                let asks = if side == 0 { ASKS } else { 1 };
                let times = samples.entry((at, side)).or_default();
                times.extend((0..asks).map(|_| served.ask(question, tokens)));
            }
        }
        if let Some(node) = node {
            let served = Served::start(llama, dir, root, options.threads, 1);
            for (at, (_, question)) in questions.iter().enumerate() {
                let ids = served.ids(question);
                let mut prompts = vec![json!({"ids": ids, "max": 2, "on": true})];
                prompts.extend((0..ASKS).map(|_| json!({"ids": ids, "max": tokens, "on": true})));
                let task = json!({
                    "model": dir.join("model.gguf"), "threads": options.threads, "context": 2048, "prompts": prompts,
                });
                let answers = node.run(&task);
                let times = samples.entry((at, 2)).or_default();
                times.extend((1..=ASKS).map(|answer| peer(&answers["answers"][answer], ids.len())));
            }
        }
    }
    for (at, (name, _)) in questions.iter().enumerate() {
        println!("\n{name}");
        println!(
            "| side | prompt tokens | first token, ms | prefill tokens/s | decode tokens/s | first | prefill | decode |\n|---|---|---|---|---|---|---|---|"
        );
        let of = |side: usize, figure: fn(&Times) -> f64| {
            samples
                .get(&(at, side))
                .map(|times| median(times.iter().map(figure).collect()))
        };
        for (side, label) in NAMES.iter().enumerate() {
            let Some(times) = samples.get(&(at, side)) else {
                continue;
            };
            let ratio = |figure: fn(&Times) -> f64, inverse: bool| match (of(0, figure), of(side, figure)) {
                (Some(ours), Some(theirs)) if inverse => format!("{:.2}", theirs / ours),
                (Some(ours), Some(theirs)) => format!("{:.2}", ours / theirs),
                _ => String::new(),
            };
            println!(
                "| {label} | {} | {:.1} | {:.0} | {:.1} | {} | {} | {} |",
                times[0].prompt_tokens,
                of(side, Times::first_ms).unwrap_or_default(),
                of(side, Times::prefill_per_s).unwrap_or_default(),
                of(side, Times::decode_per_s).unwrap_or_default(),
                ratio(Times::first_ms, true),
                ratio(Times::prefill_per_s, false),
                ratio(Times::decode_per_s, false),
            );
        }
    }
    println!("\nThe last three columns: hanzo-engine-llama against that side; above 1 it is the faster.");
}

/// So many answers at once; tokens a second of all together.
fn at_once(options: &Options, root: &Path, dir: &Path, llama: &Path, mistral: Option<&Path>, node: Option<&Node>) {
    let tokens = if options.smoke { 8 } else { 64 };
    println!("\nanswers at once: tokens/s of all together, first-token wait included");
    println!("| side | 1 | 4 | 16 |\n|---|---|---|---|");
    let mut ours = Vec::new();
    for (side, program) in [(0, Some(llama)), (1, mistral)] {
        let Some(program) = program else { continue };
        let rates: Vec<f64> = [1, 4, 16]
            .into_iter()
            .map(|streams| {
                let served = Served::start(program, dir, root, options.threads, streams);
                served.ask("warm up", 2);
                let runs = if side == 0 { options.runs } else { 1 };
                median((0..runs).map(|_| served.at_once(streams, tokens)).collect())
            })
            .collect();
        println!("| {} | {} |", NAMES[side], shown(&rates));
        if side == 0 {
            ours = rates;
        } else {
            println!("| ratio | {} |", ratios(&ours, &rates));
        }
    }
    let Some(node) = node else { return };
    let served = Served::start(llama, dir, root, options.threads, 1);
    let rates: Vec<f64> = [1usize, 4, 16]
        .into_iter()
        .map(|streams| {
            let prompts: Vec<Value> = (0..streams)
                .map(|at| json!({"ids": served.ids(&side::question(at)), "max": tokens, "on": true}))
                .collect();
            let task = json!({
                "model": dir.join("model.gguf"), "threads": options.threads, "context": 1024, "sequences": streams,
                "prompts": prompts, "together": true,
            });
            median(
                (0..options.runs)
                    .map(|_| (streams * tokens) as f64 / (node.run(&task)["all_ms"].as_f64().unwrap() / 1e3))
                    .collect(),
            )
        })
        .collect();
    println!(
        "| {} | {} |\n| ratio | {} |",
        NAMES[2],
        shown(&rates),
        ratios(&ours, &rates)
    );
}

fn peer(answer: &Value, prompt_tokens: usize) -> Times {
    let ms = |key: &str| answer[key].as_f64().unwrap() / 1e3;
    Times {
        prompt_tokens,
        tokens: answer["ids"].as_array().unwrap().len(),
        first_s: ms("first_ms"),
        decode_s: ms("decode_ms"),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn shown(rates: &[f64]) -> String {
    let rates: Vec<_> = rates.iter().map(|rate| format!("{rate:.1}")).collect();
    rates.join(" | ")
}

fn ratios(ours: &[f64], theirs: &[f64]) -> String {
    let ratios: Vec<_> = ours.iter().zip(theirs).map(|(a, b)| format!("{:.2}", a / b)).collect();
    ratios.join(" | ")
}
