//! `hanzo-model` as people and scripts call it: what it prints, what it writes, what it exits with.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Tool(tempfile::TempDir);

impl Tool {
    fn new() -> Self {
        let tool = Self(tempfile::tempdir().unwrap());
        let model = tool.at("model");
        fs::create_dir(&model).unwrap();
        let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        let word = |key: &str, value: &str| [text(key), 8_u32.to_le_bytes().to_vec(), text(value)].concat();
        let number =
            |key: &str, value: u32| [text(key), 4_u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat();
        let gguf = [
            b"GGUF".to_vec(),
            3_u32.to_le_bytes().to_vec(),
            0_u64.to_le_bytes().to_vec(),
            3_u64.to_le_bytes().to_vec(),
            word("general.architecture", "llama"),
            number("llama.context_length", 512),
            word("tokenizer.ggml.model", "gpt2"),
        ]
        .concat();
        fs::write(model.join("model.gguf"), gguf).unwrap();
        fs::write(model.join("tokenizer.json"), "{}").unwrap();
        fs::write(model.join("chat_template.jinja"), "{{ messages }}").unwrap();
        tool
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hanzo-model"))
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// One that must succeed; its JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)))
    }

    /// One that must fail so; the same in text and in JSON.
    fn refused(&self, arguments: &[&str], exit: i32, code: &str) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(&format!("[{code}]")), "{}", said(&output));
        let output = self.run(&[arguments, &["--json"]].concat());
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["code"], code);
        assert_eq!(document["exit_code"], exit);
    }

    fn flip(&self, name: &str, at: usize) {
        let mut bytes = fs::read(self.at(name)).unwrap();
        bytes[at] ^= 1;
        fs::write(self.at(name), bytes).unwrap();
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_sealed_is_verified_by_root_and_each_change_is_named() {
    let tool = Tool::new();
    let sealed = tool.json(&["seal", "model", "--output", "m.pack", "--dek-file", "m.key"]);
    let root = sealed["weights_root"].as_str().unwrap();
    assert_eq!((mode(&tool.at("m.key")), mode(&tool.at("m.pack"))), (0o600, 0o600));
    assert_eq!(sealed["files"].as_array().unwrap().len(), 3);
    let of_dir = tool.json(&["verify", "model", "--weights-root", root]);
    let of_pack = tool.json(&["verify", "m.pack", "--dek-file", "m.key", "--weights-root", root]);
    assert_eq!(of_dir["weights_root"], root);
    assert_eq!(
        (&of_pack["weights_root"], &of_pack["compared_root"]),
        (&of_dir["weights_root"], &true.into())
    );

    // Nothing is replaced, and nothing is begun that cannot end.
    tool.refused(
        &["seal", "model", "--output", "m.pack", "--dek-file", "n.key"],
        1,
        "model.exists",
    );
    tool.refused(
        &["seal", "model", "--output", "n.pack", "--dek-file", "m.key"],
        1,
        "store.io",
    );
    assert!(!tool.at("n.pack").exists() && !tool.at("n.key").exists());
    tool.refused(&["verify", "m.pack"], 1, "model.usage");

    let other = "0".repeat(64);
    tool.refused(&["verify", "model", "--weights-root", &other], 20, "pack.root");
    tool.refused(
        &["verify", "m.pack", "--dek-file", "m.key", "--weights-root", &other],
        20,
        "pack.root",
    );
    tool.json(&["seal", "model", "--output", "n.pack", "--dek-file", "n.key"]);
    tool.refused(
        &["verify", "m.pack", "--dek-file", "n.key"],
        20,
        "pack.table.not_authentic",
    );
    let len = fs::metadata(tool.at("n.pack")).unwrap().len() as usize;
    tool.flip("n.pack", len - 1);
    tool.refused(
        &["verify", "n.pack", "--dek-file", "n.key"],
        20,
        "pack.chunk.not_authentic",
    );
    tool.flip("n.pack", 0);
    tool.refused(&["verify", "n.pack", "--dek-file", "n.key"], 10, "pack.header");
}

#[test]
fn files_that_are_no_model_are_named_and_never_sealed() {
    let tool = Tool::new();
    fs::write(tool.at("notes.txt"), "hello").unwrap();
    tool.refused(&["inspect", "notes.txt"], 10, "model.not_a_model");
    tool.refused(&["inspect", "nothing"], 1, "model.io");
    tool.flip("model/model.gguf", 8 + 7);
    tool.refused(&["inspect", "model"], 10, "model.malformed");
    tool.refused(
        &["seal", "model", "--output", "m.pack", "--dek-file", "m.key"],
        10,
        "model.malformed",
    );
    assert!(!tool.at("m.pack").exists() && !tool.at("m.key").exists());
    let listed = tool.json(&["list", "."]);
    assert_eq!(listed["models"][0]["error"]["code"], "model.malformed");
    let usage = tool.run(&["seal", "model", "--output", "m.pack"]);
    assert_eq!(usage.status.code(), Some(2), "{}", said(&usage));
}

#[test]
fn inspect_and_list_say_the_same_and_what_memory_is_needed() {
    let tool = Tool::new();
    let one = tool.json(&["inspect", "model", "--context-tokens", "128"]);
    let listed = tool.json(&["list", "."]);
    assert_eq!(one["facts"], listed["models"][0]["facts"]);
    assert_eq!(one["facts"]["architecture"], "llama");
    let engines = one["engines"].as_array().unwrap();
    assert_eq!(engines.len(), 2);
    assert_eq!(engines[0]["tokenizer_sha256"], one["facts"]["gguf_tokenizer_sha256"]);
    assert_eq!(engines[1]["tokenizer_sha256"], one["facts"]["tokenizer_json_sha256"]);
    let text = said(&tool.run(&["inspect", "model"]));
    assert!(
        text.contains("architecture   llama") && text.contains("512 tokens"),
        "{text}"
    );
}

/// A GGUF of one F32 matrix.
fn matrix(numbers: [f32; 8]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut out = [
        b"GGUF".to_vec(),
        3_u32.to_le_bytes().to_vec(),
        1_u64.to_le_bytes().to_vec(),
        0_u64.to_le_bytes().to_vec(),
        text("blk.0.ffn_up.weight"),
        2_u32.to_le_bytes().to_vec(),
        4_u64.to_le_bytes().to_vec(),
        2_u64.to_le_bytes().to_vec(),
        vec![0; 12],
    ]
    .concat();
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    out
}

#[test]
fn what_base_and_delta_give_is_under_one_root_wherever_it_is_made() {
    let tool = Tool::new();
    let (base, fine) = (
        matrix([1.0, -1.0, 0.5, 0.25, 2.0, 3.0, -4.0, 0.0]),
        matrix([1.5, -1.5, 0.0, 0.75, 2.5, 2.5, -3.5, 0.5]),
    );
    for (dir, weights) in [("base", &base), ("fine", &fine)] {
        fs::create_dir(tool.at(dir)).unwrap();
        fs::write(tool.at(dir).join("model.gguf"), weights).unwrap();
    }
    let made = tool.json(&["delta", "make", "base", "fine", "--output", "delta"]);
    assert_eq!((&made["matrices"], &made["elements"]), (&1.into(), &8.into()));
    let applied = tool.json(&["delta", "apply", "base", "delta", "--output", "tuned"]);
    let again = tool.json(&["delta", "apply", "base", "delta", "--output", "again"]);
    assert_eq!(applied["weights_root"], again["weights_root"]);
    // Every change was by the same amount, so here the result is the fine-tuned model itself.
    assert_eq!(fs::read(tool.at("tuned/model.gguf")).unwrap(), fine);
    assert_eq!(tool.json(&["verify", "fine"])["weights_root"], applied["weights_root"]);
    assert_eq!(
        fs::read(tool.at("base/model.gguf")).unwrap(),
        base,
        "the base is as it was"
    );

    tool.refused(
        &["delta", "apply", "base", "delta", "--output", "tuned"],
        1,
        "model.exists",
    );
    tool.refused(
        &["delta", "apply", "model", "delta", "--output", "other"],
        40,
        "adapter.base",
    );
    fs::rename(tool.at("delta/adapter.json"), tool.at("adapter.json")).unwrap();
    tool.refused(
        &["delta", "apply", "model", "delta", "--output", "other"],
        10,
        "delta.unknown_tensor",
    );
    fs::rename(tool.at("adapter.json"), tool.at("delta/adapter.json")).unwrap();
    assert!(!tool.at("other").exists());
    let told = tool.json(&["inspect", "delta"]);
    assert_eq!(
        (&told["kind"], &told["weights_root"]),
        (&"bitdelta".into(), &made["root"])
    );
    assert_eq!(told["base_root"], tool.json(&["verify", "base"])["weights_root"]);
    tool.json(&["seal", "delta", "--output", "d.pack", "--dek-file", "d.key"]);
    tool.json(&["verify", "d.pack", "--dek-file", "d.key"]);
}

/// A LoRA file of one pair, for a base of `architecture`.
fn lora(architecture: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let word = |key: &str, value: &str| [text(key), 8_u32.to_le_bytes().to_vec(), text(value)].concat();
    let tensor = |name: &str, offset: u64| {
        let head = [text(name), 1_u32.to_le_bytes().to_vec(), 4_u64.to_le_bytes().to_vec()].concat();
        [head, 0_u32.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat()
    };
    let alpha = [
        text("adapter.lora.alpha"),
        6_u32.to_le_bytes().to_vec(),
        8_f32.to_le_bytes().to_vec(),
    ]
    .concat();
    let mut out = [
        b"GGUF".to_vec(),
        3_u32.to_le_bytes().to_vec(),
        2_u64.to_le_bytes().to_vec(),
        4_u64.to_le_bytes().to_vec(),
        word("general.type", "adapter"),
        word("general.architecture", architecture),
        word("adapter.type", "lora"),
        alpha,
        tensor("w.lora_a", 0),
        tensor("w.lora_b", 32),
    ]
    .concat();
    out.resize(out.len().next_multiple_of(32) + 64, 0);
    out
}

#[test]
fn a_lora_adapter_is_made_for_one_base_sealed_and_drafted_and_no_other_base_takes_it() {
    let tool = Tool::new();
    fs::write(tool.at("l.gguf"), lora("llama")).unwrap();
    fs::write(tool.at("q.gguf"), lora("qwen2")).unwrap();
    let made = tool.json(&["adapter", "model", "l.gguf", "--output", "tuned"]);
    let base = tool.json(&["verify", "model"])["weights_root"].clone();
    assert_eq!((&made["kind"], &made["base_root"]), (&"lora".into(), &base));
    let sealed = tool.json(&["seal", "tuned", "--output", "t.pack", "--dek-file", "t.key"]);
    assert_eq!(sealed["weights_root"], made["weights_root"]);
    let draft = ["--name", "tuned", "--licence", "MIT", "--minimum-tier", "2"];
    let of = |base: &str, output: &str| -> Vec<String> {
        let words = ["manifest", "draft", "tuned", "--base", base, "--output", output];
        words.iter().chain(&draft).map(|word| (*word).to_owned()).collect()
    };
    let words = of("model", "t.json");
    let drafted = tool.json(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(
        (&drafted["manifest"]["base_root"], &drafted["manifest"]["weights_root"]),
        (&base, &made["weights_root"])
    );

    tool.refused(
        &["adapter", "model", "q.gguf", "--output", "other"],
        1,
        "model.document",
    );
    tool.refused(
        &["adapter", "model", "model/model.gguf", "--output", "other"],
        10,
        "model.malformed",
    );
    let words = ["adapter", "model", "l.gguf", "--output", "other", "--scale-micros", "0"];
    tool.refused(&words, 10, "adapter.value");
    assert!(!tool.at("other").exists());
    fs::create_dir(tool.at("elsewhere")).unwrap();
    for file in ["model.gguf", "chat_template.jinja"] {
        fs::copy(tool.at("model").join(file), tool.at("elsewhere").join(file)).unwrap();
    }
    let words = of("elsewhere", "e.json");
    tool.refused(
        &words.iter().map(String::as_str).collect::<Vec<_>>(),
        40,
        "adapter.base",
    );
    fs::write(tool.at("tuned/more"), "x").unwrap();
    tool.refused(
        &["seal", "tuned", "--output", "u.pack", "--dek-file", "u.key"],
        10,
        "adapter.contents",
    );
}

#[test]
fn a_manifest_is_drafted_signed_by_two_and_holds_for_its_model_alone() {
    let tool = Tool::new();
    for holder in ["ada", "bob", "eve"] {
        let name = hanzo_attestation::name::Name::new(holder).unwrap();
        let public = hanzo_image::release::keys::make_release_key(&name, &tool.at(&format!("{holder}.key"))).unwrap();
        let bytes = hanzo_attestation::jcs::to_vec("key", &public).unwrap();
        fs::write(tool.at(&format!("{holder}.pub")), bytes).unwrap();
    }
    let draft = [
        "manifest",
        "draft",
        "model",
        "--name",
        "tiny",
        "--licence",
        "Apache-2.0",
        "--minimum-tier",
        "2",
    ];
    let drafted = tool.json(&[&draft[..], &["--output", "tiny.json"]].concat());
    assert_eq!(drafted["manifest"]["engine"], "llama.cpp");
    assert_eq!(drafted["manifest"]["context_tokens"], 512);
    for holder in ["ada", "bob", "eve"] {
        let (key, signature) = (format!("{holder}.key"), format!("{holder}.sig"));
        tool.json(&["manifest", "sign", "tiny.json", "--key", &key, "--output", &signature]);
    }
    let assemble = [
        "manifest",
        "assemble",
        "tiny.json",
        "--public",
        "ada.pub",
        "--public",
        "bob.pub",
    ];
    let one = ["--signature", "ada.sig", "--output", "signed.json"];
    tool.refused(&[&assemble[..], &one].concat(), 20, "model.manifest.quorum");
    let foreign = [
        "--signature",
        "ada.sig",
        "--signature",
        "eve.sig",
        "--output",
        "signed.json",
    ];
    tool.refused(&[&assemble[..], &foreign].concat(), 20, "model.manifest.quorum");
    assert!(!tool.at("signed.json").exists());
    let both = [
        "--signature",
        "ada.sig",
        "--signature",
        "bob.sig",
        "--output",
        "signed.json",
    ];
    tool.json(&[&assemble[..], &both].concat());

    let check = [
        "--manifest",
        "signed.json",
        "--public",
        "ada.pub",
        "--public",
        "bob.pub",
    ];
    let held = tool.json(&[&["verify", "model"][..], &check].concat());
    assert_eq!(held["signers"].as_array().unwrap().len(), 2);
    tool.refused(
        &[&["verify", "model", "--at", "1"][..], &check].concat(),
        30,
        "model.manifest.time",
    );
    let others = [
        "--manifest",
        "signed.json",
        "--public",
        "ada.pub",
        "--public",
        "eve.pub",
    ];
    tool.refused(
        &[&["verify", "model"][..], &others].concat(),
        20,
        "model.manifest.quorum",
    );
    fs::write(tool.at("model/tokenizer.json"), "{ }").unwrap();
    tool.refused(
        &[&["verify", "model"][..], &check].concat(),
        40,
        "model.manifest.differs",
    );
}
