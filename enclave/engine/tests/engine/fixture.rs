//! A random two-layer llama with a byte-level vocabulary, written here: loads in milliseconds, talks nonsense.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use hanzo_engine::convert;
use serde_json::json;

pub const WIDTH: usize = 64;
pub const HIDDEN: usize = 128;
pub const LAYERS: usize = 2;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
/// Long enough that an answer which is not cancelled would not end within a test.
pub const CONTEXT: usize = 65_536;
pub const TEMPLATE: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A GGUF as it is written; tests change one thing.
pub struct Spec {
    pub dtype: GgmlDType,
    pub metadata: BTreeMap<String, Value>,
}

impl Spec {
    pub fn new(dtype: GgmlDType) -> Self {
        let text = |text: &str| Value::String(text.to_owned());
        let number = |number: usize| Value::U32(number as u32);
        let tokens = tokens();
        let kinds = (0..tokens.len())
            .map(|id| Value::I32(if id < 3 { 3 } else { 1 }))
            .collect();
        let metadata = [
            ("general.architecture", text("llama")),
            ("general.file_type", number(3)),
            ("llama.block_count", number(LAYERS)),
            ("llama.context_length", number(CONTEXT)),
            ("llama.embedding_length", number(WIDTH)),
            ("llama.feed_forward_length", number(HIDDEN)),
            ("llama.attention.head_count", number(HEADS)),
            ("llama.attention.head_count_kv", number(KV_HEADS)),
            ("llama.rope.dimension_count", number(WIDTH / HEADS)),
            ("llama.rope.freq_base", Value::F32(10_000.0)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.vocab_size", number(tokens.len())),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("smollm")),
            (
                "tokenizer.ggml.tokens",
                Value::Array(tokens.iter().map(|token| text(token)).collect()),
            ),
            ("tokenizer.ggml.token_type", Value::Array(kinds)),
            ("tokenizer.ggml.merges", Value::Array(vec![text("Ġ t"), text("h e")])),
            ("tokenizer.ggml.bos_token_id", number(1)),
            ("tokenizer.ggml.eos_token_id", number(2)),
            ("tokenizer.ggml.unknown_token_id", number(0)),
            ("tokenizer.chat_template", text(TEMPLATE)),
        ];
        Self {
            dtype,
            metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        }
    }

    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.metadata.insert(key.into(), value);
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.metadata.remove(key);
        self
    }

    pub fn write(&self, path: &Path) {
        let tensors: Vec<(String, QTensor)> = tensors(Names::Gguf)
            .into_iter()
            .map(|(name, tensor)| {
                let dtype = if tensor.rank() == 2 { self.dtype } else { GgmlDType::F32 };
                (name, QTensor::quantize(&tensor, dtype).unwrap())
            })
            .collect();
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let metadata: Vec<_> = self.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        gguf_file::write(&mut File::create(path).unwrap(), &metadata, &tensors).unwrap();
    }
}

/// A prepared model directory.
pub fn model_dir(root: &Path) -> PathBuf {
    let source = root.join("tiny.gguf");
    Spec::new(GgmlDType::Q8_0).write(&source);
    let dir = root.join("model");
    convert::prepare(&source, &dir, &mut |_| {}).unwrap();
    dir
}

/// The same model as a Hugging Face directory.
pub fn safetensors_dir(root: &Path) -> PathBuf {
    let prepared = model_dir(root);
    let dir = root.join("hf");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(prepared.join("tokenizer.json"), dir.join("tokenizer.json")).unwrap();
    let config = json!({"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "chat_template": TEMPLATE});
    std::fs::write(dir.join("tokenizer_config.json"), config.to_string()).unwrap();
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": WIDTH,
        "intermediate_size": HIDDEN, "vocab_size": tokens().len(), "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": 512, "tie_word_embeddings": true, "torch_dtype": "float32",
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let tensors: HashMap<String, Tensor> = tensors(Names::HuggingFace).into_iter().collect();
    candle_core::safetensors::save(&tensors, dir.join("model.safetensors")).unwrap();
    dir
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

enum Names {
    Gguf,
    HuggingFace,
}

fn tensors(names: Names) -> Vec<(String, Tensor)> {
    let kv = WIDTH / HEADS * KV_HEADS;
    let (embed, norm, layer) = match names {
        Names::Gguf => ("token_embd.weight", "output_norm.weight", "blk"),
        Names::HuggingFace => ("model.embed_tokens.weight", "model.norm.weight", "model.layers"),
    };
    let parts: [(&str, &str, &[usize]); 9] = [
        ("attn_q", "self_attn.q_proj", &[WIDTH, WIDTH]),
        ("attn_k", "self_attn.k_proj", &[kv, WIDTH]),
        ("attn_v", "self_attn.v_proj", &[kv, WIDTH]),
        ("attn_output", "self_attn.o_proj", &[WIDTH, WIDTH]),
        ("ffn_gate", "mlp.gate_proj", &[HIDDEN, WIDTH]),
        ("ffn_up", "mlp.up_proj", &[HIDDEN, WIDTH]),
        ("ffn_down", "mlp.down_proj", &[WIDTH, HIDDEN]),
        ("attn_norm", "input_layernorm", &[WIDTH]),
        ("ffn_norm", "post_attention_layernorm", &[WIDTH]),
    ];
    let mut random = Random(1);
    let mut all = vec![
        (embed.to_owned(), random.tensor(&[tokens().len(), WIDTH], 1.0)),
        (norm.to_owned(), random.tensor(&[WIDTH], 1.0)),
    ];
    for index in 0..LAYERS {
        for (gguf, hf, shape) in &parts {
            let part = if layer == "blk" { gguf } else { hf };
            all.push((format!("{layer}.{index}.{part}.weight"), random.tensor(shape, 0.3)));
        }
    }
    all
}

struct Random(u64);

impl Random {
    fn tensor(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                self.0 = self
                    .0
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                ((self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
            })
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }
}
