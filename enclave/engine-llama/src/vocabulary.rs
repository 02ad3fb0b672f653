//! Which tokenizers this engine runs, and how much text may be given to them.
//!
//! llama.cpp splits text by the pattern that `tokenizer.ggml.pre` names before it looks for tokens. For some patterns it has a
//! scanner; the others go through `std::regex`, which calls itself once for every character of a match: a prompt with one long
//! word overflows the stack and ends the process, with everybody's answers. So only patterns with scanners are run, and
//! those whose other parts match one character at a time. Read in llama.cpp as of llama-cpp-sys-2 0.1.160
//! (`src/llama-vocab.cpp`, `src/unicode.cpp`); a newer one has to be read again.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

/// Values of `tokenizer.ggml.pre` with a scanner: GPT-2's pattern, Llama 3's, Qwen 2's and Qwen 3.5's.
const SCANNED: [&str; 25] = [
    "chatglm-bpe",
    "codeshell",
    "command-r",
    "dbrx",
    "deepseek-r1-qwen",
    "exaone",
    "falcon3",
    "glm4",
    "gpt-2",
    "hunyuan",
    "jais",
    "llama-bpe",
    "llama-v3",
    "llama3",
    "mpt",
    "olmo",
    "phi-2",
    "qwen2",
    "qwen35",
    "refact",
    "smaug-bpe",
    "smollm",
    "stablelm2",
    "starcoder",
    "trillion",
];

/// What is wrong with a model's tokenizer for this engine. `embeds`: the model makes vectors.
pub(crate) fn refusal(model: &LlamaModel, embeds: bool) -> Option<String> {
    let value = |key: &str| model.meta_val_str(key).unwrap_or_default();
    match value("tokenizer.ggml.model").as_str() {
        // SentencePiece: pairs are merged, nothing is split by a pattern.
        "llama" => None,
        // WordPiece: split at white space and punctuation, then the longest pieces from the left.
        "bert" if embeds => None,
        "gpt2" => match value("tokenizer.ggml.pre").as_str() {
            pre if SCANNED.contains(&pre) => None,
            "" => Some(
                "it does not say how it splits text (`tokenizer.ggml.pre`): make the file again with a newer converter"
                    .into(),
            ),
            pre => Some(format!(
                "the splitting `{pre}` (`tokenizer.ggml.pre`) overflows the stack on long words in llama.cpp; expected one of {}; use `engine = \"mistral.rs\"`",
                SCANNED.join(", ")
            )),
        },
        other => Some(format!(
            "the tokenizer `{other}` (`tokenizer.ggml.model`) is not run here; expected `gpt2` or `llama`"
        )),
    }
}

/// Bytes of the longest token's text: no text of `n` tokens is longer than `n` times this.
pub(crate) fn longest_token(model: &LlamaModel) -> usize {
    let vocab = model.vocab();
    let lengths = (0..model.n_vocab()).filter_map(|id| vocab.text(LlamaToken(id)).map(|text| text.to_bytes().len()));
    lengths.max().unwrap_or(0).max(1)
}
