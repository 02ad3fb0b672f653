//! Files that are no model, or not quite one: the process ends with status 1 and a code, before it could serve.

use std::path::Path;

use crate::fixture::{self, Spec, text};
use crate::process::command;

fn failure(model_dir: &Path, socket: &Path) -> (Option<i32>, String) {
    let output = command(model_dir, socket, &[]).output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn what_cannot_start_says_why() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("engine.sock");
    let refused = |bytes: &[u8], code: &str| {
        let dir = fixture::model_dir(root.path());
        std::fs::write(dir.join("model.gguf"), bytes).unwrap();
        let (status, log) = failure(&dir, &socket);
        assert_eq!(status, Some(1), "{code}: {log}");
        assert!(
            log.lines().any(|line| line.starts_with(&format!("{code}: "))),
            "{code}: {log}"
        );
    };
    let good = Spec::new().bytes();
    refused(b"", "gguf.not_gguf");
    refused(b"PK\x03\x04 a zip file", "gguf.not_gguf");
    refused(&good[..good.len() - 4096], "gguf.truncated");
    refused(&good[..40], "gguf.truncated");
    let mut many = good.clone();
    many[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&many, "gguf.malformed");
    let version = Spec {
        version: 1,
        ..Spec::new()
    };
    refused(&version.bytes(), "gguf.version");
    let kind = Spec {
        ggml_type: 99,
        ..Spec::new()
    };
    refused(&kind.bytes(), "gguf.tensor_type");
    refused(
        &Spec::new().set("general.architecture", text("mamba")).bytes(),
        "gguf.architecture",
    );
    // Sound as GGUF, but no model: the library's refusal, not its end.
    refused(&Spec::new().without("llama.block_count").bytes(), "engine.load");
    refused(
        &Spec::new().set("llama.block_count", text("two")).bytes(),
        "engine.load",
    );
    refused(&Spec::new().without("tokenizer.ggml.tokens").bytes(), "engine.load");
    refused(
        &Spec::new().set("tokenizer.ggml.model", text("canary")).bytes(),
        "engine.load",
    );
    // Patterns that llama.cpp leaves to `std::regex`: one long word would end the process.
    for pre in ["gpt-4o", "tekken", "falcon", "deepseek-llm", "default", ""] {
        refused(&Spec::new().set("tokenizer.ggml.pre", text(pre)).bytes(), "engine.load");
    }
    refused(&Spec::new().without("tokenizer.ggml.pre").bytes(), "engine.load");
    refused(
        &Spec::new()
            .set("llama.embedding_length", fixture::Value::Number(63))
            .bytes(),
        "engine.load",
    );
    refused(
        &Spec::new().set("llama.block_count", fixture::Value::Number(3)).bytes(),
        "engine.load",
    );
    refused(
        &Spec::new().without("tokenizer.chat_template").bytes(),
        "engine.model_dir",
    );
    refused(
        &Spec::new().set("tokenizer.chat_template", text("{% if %}")).bytes(),
        "engine.template",
    );

    let (status, log) = failure(&root.path().join("absent"), &socket);
    assert_eq!(status, Some(1));
    assert!(log.starts_with("engine.model_dir: "), "{log}");
    let dir = fixture::model_dir(root.path());
    let _ = std::fs::remove_file(&socket);
    std::fs::write(&socket, "somebody's file").unwrap();
    let (status, log) = failure(&dir, &socket);
    assert_eq!(status, Some(1));
    assert!(log.starts_with("engine.socket: "), "{log}");
    assert_eq!(std::fs::read(&socket).unwrap(), b"somebody's file");
}
