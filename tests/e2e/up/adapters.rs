//! `hanzo up --adapter`: a LoRA file and a delta on a small generated model, each for its caller alone, on the real engine in a guest; and
//! what is no adapter for the model that is served.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture::{self, Adapted, Spec, adapted};
use crate::http::{Reply, ask};
use crate::{HANZO, Up, descendants, hanzo_verify, private_dir, said, turn};

/// Of the engine's own test, which holds its answers against the merged model's and node-llama-cpp's.
const SEED: u64 = 5;
const PROMPTS: [&[u32]; 4] = [
    &[1, 75, 104],
    &[1, 2, 3, 4, 5, 6, 7, 8],
    &[259, 260, 35, 259],
    &[200; 40],
];

/// A model directory `name` in `folder`.
fn model(folder: &Path, name: &str, spec: &Spec) -> PathBuf {
    let made = fixture::dir_of(folder, spec);
    fs::write(made.join("chat_template.jinja"), "{{ messages[0]['content'] }}").unwrap();
    let dir = folder.join(name);
    fs::rename(made, &dir).unwrap();
    dir
}

fn tool(arguments: &[&str]) {
    let done = Command::new(HANZO).arg("model").args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
}

/// What `model` says greedily to each prompt of ids: the bytes of every token.
fn greedy(up: &Up, key: &str, model: &str) -> Vec<Vec<Value>> {
    let answers = PROMPTS.map(|ids| {
        let asked = json!({"model": model, "prompt": ids, "max_tokens": 32, "temperature": 0, "logprobs": 0});
        let reply = ask(up.text("listening"), Some(key), "/v1/completions", Some(asked));
        assert_eq!(reply.status, 200, "{}", reply.body);
        let choice = &reply.body["choices"][0];
        assert_eq!(reply.header("hanzo-receipt-status"), "verified");
        let tokens = choice["logprobs"]["tokens"].as_array().unwrap().clone();
        assert!(
            !tokens.is_empty() || choice["finish_reason"] == "stop",
            "{}",
            reply.body
        );
        tokens
    });
    answers.into()
}

/// Engines of the appliance that run now.
fn engines(up: &Up) -> usize {
    let lines = descendants(up.child.id())
        .into_iter()
        .filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
    lines
        .filter(|line| line.split(|b| *b == 0).any(|word| word == b"llama"))
        .count()
}

fn models(up: &Up, key: &str) -> Vec<String> {
    let listed = ask(up.text("listening"), Some(key), "/v1/models", None).body;
    let names = listed["data"].as_array().unwrap().iter();
    names.map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn adapters_answer_their_callers_as_the_merged_models_do_and_end_when_they_idle() {
    let _turn = turn();
    let work = private_dir();
    let folder = work.path().join("models");
    fs::create_dir(&folder).unwrap();
    let Adapted { lora, merged } = adapted(SEED);
    let base = model(&folder, "base", &Spec::new());
    let fine = model(&folder, "merged", &merged);
    let (lora_file, delta) = (work.path().join("tuned.gguf"), work.path().join("delta"));
    fs::write(&lora_file, lora.bytes()).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    tool(&["delta", "make", &path(&base), &path(&fine), "--output", &path(&delta)]);
    let applied = folder.join("applied");
    tool(&[
        "delta",
        "apply",
        &path(&base),
        &path(&delta),
        "--output",
        &path(&applied),
    ]);

    let tuned = format!("base/tuned={}@acme", lora_file.display());
    let signs = format!("signs={}@beta,acme", delta.display());
    let options = [
        "--models",
        &path(&folder),
        "--adapter",
        &tuned,
        "--adapter",
        &signs,
        "--idle-s",
        "1",
    ];
    let up = Up::start_with(&options.map(AsRef::as_ref)).unwrap();
    assert_eq!(up.text("model"), "tuned", "the first adapter is what examples name");
    let told = json!([
        {"name": "tuned", "base": "base", "callers": ["acme"]},
        {"name": "signs", "base": "base", "callers": ["acme", "beta"]}
    ]);
    assert_eq!(up.greeting["adapters"], told);
    let key = |who: usize| {
        let file = up.greeting["callers"][who]["key_file"].as_str().unwrap();
        fs::read_to_string(file).unwrap().trim().to_owned()
    };
    let (acme, beta) = (key(0), key(1));

    let plain = greedy(&up, &beta, "base");
    let tuned = greedy(&up, &acme, "tuned");
    assert_ne!(tuned, plain, "it changes answers");
    assert_eq!(tuned, greedy(&up, &beta, "merged"));
    let signs = greedy(&up, &beta, "signs");
    assert_ne!(signs, plain);
    assert_eq!(signs, greedy(&up, &acme, "applied"));
    assert_eq!(greedy(&up, &acme, "base"), plain, "the base is as it was for everybody");

    // Another caller neither sees nor asks it, and nobody asks without a key.
    let chat = |key: Option<&str>, model: &str| -> Reply {
        let asked = json!({"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]});
        ask(up.text("listening"), key, "/v1/chat/completions", Some(asked))
    };
    let (hidden, absent) = (chat(Some(&beta), "tuned"), chat(Some(&beta), "nobody"));
    assert_eq!(hidden.refusal(), (404, "model_not_found", "invalid_request_error"));
    assert_eq!((hidden.status, &hidden.body), (absent.status, &absent.body));
    assert_eq!(
        chat(None, "base").refusal(),
        (401, "invalid_api_key", "invalid_request_error")
    );
    assert_eq!(models(&up, &acme), ["applied", "base", "merged", "signs", "tuned"]);
    assert_eq!(models(&up, &beta), ["applied", "base", "merged", "signs"]);

    // The receipt names both roots, and stands without the appliance.
    let answer = chat(Some(&acme), "tuned");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = answer.header("hanzo-receipt-id");
    let receipt = ask(up.text("listening"), None, &format!("/v1/receipts/{id}"), None).body;
    let root = hanzo_pack::weights_root(&base, &|_| ()).unwrap().to_string();
    assert_eq!(receipt["receipt"]["base_root"], root, "{receipt}");
    assert_ne!(receipt["receipt"]["weights_root"], root);
    let checked = Command::new(hanzo_verify())
        .args(["receipt", id, "--state"])
        .arg(up.state.path())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", said(&checked));

    // Nobody asks: every engine ends. Somebody asks: the same answers.
    let end = Instant::now() + Duration::from_secs(60);
    while engines(&up) > 0 {
        assert!(Instant::now() < end, "engines idle for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(greedy(&up, &acme, "tuned"), tuned);
    assert!(engines(&up) > 0);
}

/// What `hanzo up` says to options that it refuses, on JSON's own way.
fn refused(state: &Path, options: &[&str]) -> (String, Output) {
    let output = Command::new(HANZO)
        .args(["up", "--json", "--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .args(options)
        .output()
        .unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (error["error"]["code"].as_str().unwrap_or_default().to_owned(), output)
}

#[test]
fn what_is_no_adapter_for_the_model_is_refused_before_anything_starts() {
    let work = private_dir();
    let at = |name: &str| work.path().join(name).display().to_string();
    let base = model(work.path(), "base", &Spec::new());
    let Adapted { lora, merged } = adapted(SEED);
    let fine = model(work.path(), "fine", &merged);
    let folder = work.path().join("both");
    fs::create_dir(&folder).unwrap();
    for (from, to) in [(&base, "one"), (&fine, "two")] {
        fs::create_dir(folder.join(to)).unwrap();
        for file in ["model.gguf", "chat_template.jinja"] {
            fs::copy(from.join(file), folder.join(to).join(file)).unwrap();
        }
    }
    fs::write(at("lora.gguf"), lora.bytes()).unwrap();
    let mut narrow = adapted(SEED).lora;
    for (name, shape, values) in &mut narrow.tensors {
        if name.ends_with("ffn_up.weight.lora_b") {
            shape[0] /= 2;
            values.truncate(values.len() / 2);
        }
    }
    fs::write(at("narrow.gguf"), narrow.bytes()).unwrap();
    fs::write(at("notes.txt"), "no adapter at all").unwrap();
    fs::create_dir(at("peft")).unwrap();
    fs::write(at("peft") + "/adapter_config.json", "{}").unwrap();
    tool(&["delta", "make", &at("base"), &at("fine"), "--output", &at("delta")]);
    let cut = lora.bytes();
    fs::write(at("cut.gguf"), &cut[..cut.len() - 64]).unwrap();

    let one = ["--model", &at("base")];
    let both = ["--models", &at("both")];
    let state = private_dir();
    for (models, adapter, code, words) in [
        (
            one,
            format!("t={}", at("nowhere")),
            "up.adapter.io",
            "behind the last @ stand callers",
        ),
        (
            one,
            format!("t={}", at("notes.txt")),
            "up.adapter.file",
            "convert_lora_to_gguf.py",
        ),
        (
            one,
            format!("t={}", at("peft")),
            "up.adapter.file",
            "is a PEFT directory",
        ),
        (
            one,
            format!("t={}/model.gguf", at("fine")),
            "model.malformed",
            "general.type",
        ),
        (
            one,
            format!("t={}", at("cut.gguf")),
            "model.truncated",
            "fetch it again",
        ),
        (
            one,
            format!("t={}", at("narrow.gguf")),
            "up.adapter.fit",
            "blk.0.ffn_up.weight",
        ),
        (
            one,
            format!("base={}", at("lora.gguf")),
            "up.adapter.name",
            "choose another NAME",
        ),
        (
            one,
            format!("other/t={}", at("lora.gguf")),
            "up.adapter.base",
            "expected one of base",
        ),
        (
            both,
            format!("t={}", at("lora.gguf")),
            "up.adapter.base",
            "--adapter BASE/t=",
        ),
        // Made for `base`, which `fine` is not.
        (
            ["--model", &at("fine")],
            format!("t={}", at("delta")),
            "adapter.base",
            "serve the model that it was made for",
        ),
        (
            both,
            format!("two/t={}", at("delta")),
            "adapter.base",
            "was made for the model with weights root",
        ),
        (one, format!("t={}:2", at("delta")), "up.adapter.scale", "leave it out"),
    ] {
        let (got, output) = refused(state.path(), &[&models[..], &["--adapter", &adapter]].concat());
        assert_eq!(
            (got.as_str(), output.status.code()),
            (code, Some(1)),
            "{adapter}: {}",
            said(&output)
        );
        assert!(said(&output).contains(words), "{adapter}: {}", said(&output));
        assert!(
            !state.path().join("up/run/kbs/kbs.toml").exists(),
            "{adapter}: a part was made"
        );
    }
    let lora = format!("t={}", at("lora.gguf"));
    let (code, _) = refused(
        state.path(),
        &["--model", &at("base"), "--adapter", &lora, "--engine", "mistral.rs"],
    );
    assert_eq!(code, "up.adapter.engine");
    let many: Vec<String> = (0..64).map(|n| format!("t{n}={}", at("lora.gguf"))).collect();
    let many = many.iter().flat_map(|adapter| ["--adapter", adapter]);
    let (code, output) = refused(state.path(), &one.into_iter().chain(many).collect::<Vec<_>>());
    assert_eq!(code, "up.adapter.limit", "{}", said(&output));
    // Not of the form: usage, before anything is read.
    for adapter in ["lora.gguf", "T=x", "t=x@Acme", "t=x:0"] {
        let (_, output) = refused(state.path(), &["--adapter", adapter]);
        assert_eq!(output.status.code(), Some(2), "{adapter}: {}", said(&output));
    }
}
