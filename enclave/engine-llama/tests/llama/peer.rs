//! The same file on this engine and on llama.cpp as npm ships it: the same ids for every text, the same greedy answer.

use std::path::Path;

use hanzo_engine_llama::{Ask, Engine as _, EngineOptions, Llama, Message, Prompt, Role, Sampling};
use serde_json::{Value, json};

use crate::node::Node;
use crate::{abilities, encoder, fixture, real_model};

const TEXTS: &[&str] = &[
    "Hello 12345 world's  test\n\n  x = 1;",
    "Ünïcödé: Grüße, Ελληνικά, кириллица, 日本語のテキスト, العربية, हिन्दी, 한국어",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u{301} \u{200b}zero\u{feff}width \u{1f600}\u{1f601}",
    "fn main() {\n\tlet x: Vec<u8> = (0..10).map(|i| i * 2).collect();\n    println!(\"{x:?}\");\r\n}\n",
    "def f(a, b):\n    return {k: v for k, v in zip(a, b) if k != 'x'}  # 100%\n\n\n",
    "   leading, trailing   \t\t\n\n\n\n",
    "1234567890 3.14159 -0.5e-10 $1,000.00 §12(3)",
    "I'll he'd THEY'RE don'T 's 't",
    "<|im_start|>special, as in llama.cpp's own server<|im_end|>",
    "",
];

const QUESTIONS: &[&str] = &[
    "What is the capital of France?",
    "Schreibe „Grüße aus Köln“ auf Englisch, bitte. 日本語も話せますか？ 🙂",
    "Explain this code:\n```rust\nfn add(a: i32, b: i32) -> i32 {\n    a + b // sum\n}\n```\n",
    "List the first ten prime numbers, separated by commas.",
];

/// SmolLM2's template, written out.
fn chatml(question: &str) -> String {
    format!(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    )
}

fn long_question() -> String {
    let mut text = String::from("Here is a log.\n");
    for line in 0..70 {
        text.push_str(&format!(
            "{line:03}: worker {} stored {} bytes – ok ✓\n",
            line % 7,
            line * 4096
        ));
    }
    text + "Which worker stored line 041?"
}

/// Starts the test of this name again without wide kernels, which add in another order than the peer's narrow ones: near ties
/// would fall otherwise. False in the process that it started.
pub fn started_again(name: &str) -> bool {
    const KERNELS: &str = "HANZO_LLAMA_KERNELS";
    if std::env::var(KERNELS).as_deref() == Ok("avx2") {
        return false;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(KERNELS, "avx2")
        .status();
    assert!(status.unwrap().success(), "{name} with AVX2 kernels");
    true
}

pub async fn greedy(engine: &Llama, ids: Vec<u32>, max_tokens: usize) -> Vec<u32> {
    let sampling = Sampling {
        max_tokens,
        ..Sampling::default()
    };
    let ask = Ask {
        sampling,
        ..Ask::default()
    };
    let mut answer = engine.generate(&Prompt::Tokens(ids), ask).await.unwrap();
    let mut out = Vec::new();
    while let Some(token) = answer.next().await {
        out.push(token.unwrap().id);
    }
    out
}

pub fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

async fn compare(dir: &Path, node: &Node, prompts: &[String], context: usize, max: usize) {
    let engine = Llama::load(&EngineOptions {
        threads: Some(1),
        context_tokens: Some(context),
        streams: Some(1),
        ..EngineOptions::new(dir, "")
    })
    .await
    .unwrap();
    let task =
        json!({"model": dir.join("model.gguf"), "threads": 1, "context": context, "texts": TEXTS, "chats": prompts});
    let peer = node.run(&task);
    for (text, theirs) in TEXTS.iter().zip(peer["texts"].as_array().unwrap()) {
        let ours = engine.tokenize(&Prompt::Text((*text).into())).await.unwrap();
        assert_eq!(ours, ids(theirs), "{text:?}");
    }
    let chats: Vec<Vec<u32>> = peer["chats"].as_array().unwrap().iter().map(ids).collect();
    let asked: Vec<Value> = chats.iter().map(|ids| json!({"ids": ids, "max": max})).collect();
    let task = json!({"model": dir.join("model.gguf"), "threads": 1, "context": context, "prompts": asked});
    let peer = node.run(&task);
    for ((prompt, chat), theirs) in prompts.iter().zip(&chats).zip(peer["answers"].as_array().unwrap()) {
        let ours = greedy(&engine, chat.clone(), max).await;
        assert_eq!(ours, ids(&theirs["ids"]), "the greedy answer to {prompt:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smollm2_gives_the_ids_and_greedy_answers_of_node_llama_cpp() {
    if started_again("peer::smollm2_gives_the_ids_and_greedy_answers_of_node_llama_cpp") {
        return;
    }
    let (Some(source), Some(node)) = (real_model::source(), Node::alike()) else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    // On the published Q4_1 weights the two releases' kernels differ in the last bits, and the model's own answers are near ties
    // from the sixteenth token on; re-encoded as Q4_0 they agree.
    let (file, max) = match real_model::encoded() {
        Some(encoded) => (encoded, 24),
        None => (source, 12),
    };
    let dir = real_model::dir(root.path(), &file);
    let long = long_question();
    let questions: Vec<&str> = QUESTIONS.iter().copied().chain([long.as_str()]).collect();
    let prompts: Vec<String> = questions.iter().map(|question| chatml(question)).collect();
    compare(&dir, &node, &prompts, 4096, max).await;
    // What the template makes of messages is that text.
    let engine = Llama::load(&EngineOptions {
        threads: Some(1),
        streams: Some(1),
        ..EngineOptions::new(&dir, "")
    })
    .await
    .unwrap();
    let chat = |question: &str| Prompt::chat(vec![Message::new(Role::User, question)]);
    let task = json!({"model": dir.join("model.gguf"), "threads": 1, "context": 512, "chats": prompts});
    let theirs = node.run(&task);
    for (question, theirs) in questions.iter().zip(theirs["chats"].as_array().unwrap()) {
        let ours = engine.tokenize(&chat(question)).await.unwrap();
        assert_eq!(ours, ids(theirs), "{question:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_model_gives_the_ids_and_greedy_answers_of_node_llama_cpp() {
    if started_again("peer::a_generated_model_gives_the_ids_and_greedy_answers_of_node_llama_cpp") {
        return;
    }
    let Some(node) = Node::alike() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = fixture::model_dir(root.path());
    let prompts = [chatml("hello"), chatml(&"the heat ".repeat(40))];
    compare(&dir, &node, &prompts, 2048, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_model_gives_the_vectors_of_node_llama_cpp() {
    let Some(node) = Node::alike() else { return };
    let texts = ["hello", "the heat of the day", "Grüße 🙂"];
    // A decoder, mean and last; an encoder, mean and first.
    for (decodes, pooling) in [(true, 1), (true, 3), (false, 1), (false, 2)] {
        let root = tempfile::tempdir().unwrap();
        let dir = match decodes {
            true => abilities::pooled(root.path(), pooling),
            false => fixture::dir_of(root.path(), &encoder::bert(pooling)),
        };
        let context = if decodes { 256 } else { 128 };
        let task = json!({"model": dir.join("model.gguf"), "threads": 1, "context": context, "embed": texts});
        let theirs = node.run(&task);
        let engine = Llama::load(&EngineOptions {
            threads: Some(1),
            context_tokens: Some(context),
            ..EngineOptions::new(&dir, "")
        })
        .await
        .unwrap();
        let inputs = texts.map(|text| Prompt::Text(text.into()));
        let (ours, _) = engine.embed(&inputs).await.unwrap();
        for (ours, theirs) in ours.iter().zip(theirs["vectors"].as_array().unwrap()) {
            let theirs: Vec<f64> = theirs.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
            assert_eq!(ours.len(), theirs.len());
            let length = theirs.iter().map(|n| n * n).sum::<f64>().sqrt();
            let product: f64 = ours.iter().zip(&theirs).map(|(a, b)| f64::from(*a) * b / length).sum();
            assert!(product > 0.9999, "decodes {decodes}, pooling {pooling}: {product}");
        }
    }
}
