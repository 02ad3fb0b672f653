//! A random two-layer llama with a byte-level vocabulary, written here byte for byte: loads in milliseconds, talks nonsense.

use std::path::{Path, PathBuf};

const WIDTH: usize = 64;
const HIDDEN: usize = 128;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
/// Long enough that an answer which is not cancelled would not end within a test.
pub const CONTEXT: usize = 16_384;
const TEMPLATE: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const ALIGNMENT: usize = 32;

/// A value of GGUF's metadata.
#[derive(Clone)]
pub enum Value {
    Flag(bool),
    Number(u32),
    Real(f32),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<i32>),
}

/// A GGUF as it is written; tests change one thing.
pub struct Spec {
    pub metadata: Vec<(String, Value)>,
    /// Written instead of the true one.
    pub version: u32,
    /// Type of the matrices as the header states it; the data is F32.
    pub ggml_type: u32,
    /// The tensors.
    pub tensors: Vec<Tensor>,
}

/// Name, shape with the slowest dimension first, elements.
pub type Tensor = (String, Vec<usize>, Vec<f32>);

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub fn number(number: usize) -> Value {
    Value::Number(u32::try_from(number).unwrap())
}

impl Spec {
    pub fn new() -> Self {
        let tokens = tokens();
        let kinds = (0..tokens.len()).map(|id| if id < 3 { 3 } else { 1 }).collect();
        let metadata = [
            ("general.architecture", text("llama")),
            ("llama.block_count", number(LAYERS)),
            ("llama.context_length", number(CONTEXT)),
            ("llama.embedding_length", number(WIDTH)),
            ("llama.feed_forward_length", number(HIDDEN)),
            ("llama.attention.head_count", number(HEADS)),
            ("llama.attention.head_count_kv", number(KV_HEADS)),
            ("llama.rope.dimension_count", number(WIDTH / HEADS)),
            ("llama.rope.freq_base", Value::Real(10_000.0)),
            ("llama.attention.layer_norm_rms_epsilon", Value::Real(1e-5)),
            ("llama.vocab_size", number(tokens.len())),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("smollm")),
            ("tokenizer.ggml.tokens", Value::Texts(tokens)),
            ("tokenizer.ggml.token_type", Value::Numbers(kinds)),
            ("tokenizer.ggml.merges", Value::Texts(vec!["Ġ t".into(), "h e".into()])),
            ("tokenizer.ggml.bos_token_id", number(1)),
            ("tokenizer.ggml.eos_token_id", number(2)),
            ("tokenizer.ggml.unknown_token_id", number(0)),
            ("tokenizer.chat_template", text(TEMPLATE)),
        ];
        Self {
            metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
            version: 3,
            ggml_type: 0,
            tensors: tensors(),
        }
    }

    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.metadata.retain(|(known, _)| known != key);
        self.metadata.push((key.into(), value));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(known, _)| known != key);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        let tensors = &self.tensors;
        out.extend(self.version.to_le_bytes());
        out.extend((tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            string(&mut out, key);
            write(&mut out, value);
        }
        let mut offset = 0u64;
        for (name, shape, _) in tensors {
            string(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            // The fastest dimension first.
            for dim in shape.iter().rev() {
                out.extend((*dim as u64).to_le_bytes());
            }
            let ggml_type = if shape.len() == 2 { self.ggml_type } else { 0 };
            out.extend(ggml_type.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (shape.iter().product::<usize>() * 4).next_multiple_of(ALIGNMENT) as u64;
        }
        for (.., values) in tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out
    }
}

/// A LoRA adapter on the model of [`Spec::new`], and the model that both together are.
pub struct Adapted {
    pub lora: Spec,
    pub merged: Spec,
}

/// Changes four matrices, by rank 4 and alpha 8, each by about as much as it holds: answers become others.
pub fn adapted(seed: u64) -> Adapted {
    const RANK: usize = 4;
    const ALPHA: f32 = 8.0;
    let mut merged = Spec::new();
    let mut random = Random(seed);
    let mut halves = Vec::new();
    for name in ["blk.0.attn_q", "blk.0.ffn_up", "blk.1.attn_v", "blk.1.ffn_down"] {
        let name = format!("{name}.weight");
        let (_, shape, values) = merged.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
        let (rows, columns) = (shape[0], shape[1]);
        let a = random.tensor(format!("{name}.lora_a"), &[RANK, columns], 0.3);
        let b = random.tensor(format!("{name}.lora_b"), &[rows, RANK], 0.3);
        for row in 0..rows {
            for column in 0..columns {
                let sum: f32 = (0..RANK).map(|k| b.2[row * RANK + k] * a.2[k * columns + column]).sum();
                values[row * columns + column] += ALPHA / RANK as f32 * sum;
            }
        }
        halves.extend([a, b]);
    }
    let metadata = [
        ("general.type", text("adapter")),
        ("general.architecture", text("llama")),
        ("adapter.type", text("lora")),
        ("adapter.lora.alpha", Value::Real(ALPHA)),
    ];
    let lora = Spec {
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        version: 3,
        ggml_type: 0,
        tensors: halves,
    };
    Adapted { lora, merged }
}

/// A model directory with `spec` in it.
pub fn dir_of(root: &Path, spec: &Spec) -> PathBuf {
    let dir = root.join("model");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("model.gguf"), spec.bytes()).unwrap();
    dir
}

pub fn model_dir(root: &Path) -> PathBuf {
    dir_of(root, &Spec::new())
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn write(out: &mut Vec<u8>, value: &Value) {
    let kind = |out: &mut Vec<u8>, kind: u32| out.extend(kind.to_le_bytes());
    match value {
        Value::Flag(flag) => {
            kind(out, 7);
            out.push(u8::from(*flag));
        }
        Value::Number(number) => {
            kind(out, 4);
            out.extend(number.to_le_bytes());
        }
        Value::Real(number) => {
            kind(out, 6);
            out.extend(number.to_le_bytes());
        }
        Value::Text(text) => {
            kind(out, 8);
            string(out, text);
        }
        Value::Texts(texts) => {
            kind(out, 9);
            kind(out, 8);
            out.extend((texts.len() as u64).to_le_bytes());
            texts.iter().for_each(|text| string(out, text));
        }
        Value::Numbers(numbers) => {
            kind(out, 9);
            kind(out, 5);
            out.extend((numbers.len() as u64).to_le_bytes());
            numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
        }
    }
}

fn tokens() -> Vec<String> {
    // GPT-2's printable stand-ins for the 256 bytes.
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let bytes = (0u32..256).map(|byte| {
        let code = if printable(byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap().to_string()
    });
    let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned);
    special
        .into_iter()
        .chain(bytes)
        .chain(["Ġt".to_owned(), "he".to_owned()])
        .collect()
}

fn tensors() -> Vec<Tensor> {
    let kv = WIDTH / HEADS * KV_HEADS;
    let parts: [(&str, &[usize]); 9] = [
        ("attn_q", &[WIDTH, WIDTH]),
        ("attn_k", &[kv, WIDTH]),
        ("attn_v", &[kv, WIDTH]),
        ("attn_output", &[WIDTH, WIDTH]),
        ("ffn_gate", &[HIDDEN, WIDTH]),
        ("ffn_up", &[HIDDEN, WIDTH]),
        ("ffn_down", &[WIDTH, HIDDEN]),
        ("attn_norm", &[WIDTH]),
        ("ffn_norm", &[WIDTH]),
    ];
    let mut random = Random(1);
    let mut all = vec![
        random.tensor("token_embd.weight".into(), &[tokens().len(), WIDTH], 1.0),
        random.tensor("output_norm.weight".into(), &[WIDTH], 1.0),
    ];
    for layer in 0..LAYERS {
        for (part, shape) in parts {
            all.push(random.tensor(format!("blk.{layer}.{part}.weight"), shape, 0.3));
        }
    }
    all
}

pub struct Random(pub u64);

impl Random {
    pub fn tensor(&mut self, name: String, shape: &[usize], scale: f32) -> Tensor {
        let values = (0..shape.iter().product())
            .map(|_| {
                self.0 = self
                    .0
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                ((self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
            })
            .collect();
        (name, shape.into(), values)
    }
}
