//! A random two-layer BERT with a WordPiece vocabulary of letters: it makes vectors, and nothing else.

use crate::fixture::{Random, Spec, Tensor, Value, number, text};

const WIDTH: usize = 32;
const HIDDEN: usize = 64;
const LAYERS: usize = 2;
const CONTEXT: usize = 128;
/// Words of the vocabulary beside single letters; without the mark they go on with a word that began.
const PIECES: [&str; 6] = ["\u{2581}the", "\u{2581}heat", "\u{2581}of", "\u{2581}day", "ing", "er"];

/// It. `pooling` as GGUF counts: 1 mean, 2 the first token's.
pub fn bert(pooling: u32) -> Spec {
    let tokens = tokens();
    let kinds = (0..tokens.len()).map(|id| if id < 5 { 3 } else { 1 }).collect();
    let mut random = Random(11);
    let tensors = tensors(&mut random, tokens.len());
    let metadata = [
        ("general.architecture", text("bert")),
        ("bert.block_count", number(LAYERS)),
        ("bert.context_length", number(CONTEXT)),
        ("bert.embedding_length", number(WIDTH)),
        ("bert.feed_forward_length", number(HIDDEN)),
        ("bert.attention.head_count", number(4)),
        ("bert.attention.layer_norm_epsilon", Value::Real(1e-5)),
        ("bert.attention.causal", Value::Flag(false)),
        ("bert.pooling_type", Value::Number(pooling)),
        ("tokenizer.ggml.model", text("bert")),
        ("tokenizer.ggml.tokens", Value::Texts(tokens)),
        ("tokenizer.ggml.token_type", Value::Numbers(kinds)),
        ("tokenizer.ggml.token_type_count", number(2)),
        ("tokenizer.ggml.padding_token_id", number(0)),
        ("tokenizer.ggml.unknown_token_id", number(1)),
        ("tokenizer.ggml.bos_token_id", number(2)),
        ("tokenizer.ggml.cls_token_id", number(2)),
        ("tokenizer.ggml.seperator_token_id", number(3)),
        ("tokenizer.ggml.mask_token_id", number(4)),
    ];
    Spec {
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        version: 3,
        ggml_type: 0,
        tensors,
    }
}

fn tokens() -> Vec<String> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let letters = ('a'..='z').flat_map(|letter| [format!("\u{2581}{letter}"), letter.to_string()]);
    special
        .into_iter()
        .chain(letters)
        .chain(PIECES.map(str::to_owned))
        .collect()
}

fn tensors(random: &mut Random, tokens: usize) -> Vec<Tensor> {
    let mut all = vec![
        random.tensor("token_embd.weight".into(), &[tokens, WIDTH], 1.0),
        random.tensor("token_types.weight".into(), &[2, WIDTH], 0.3),
        random.tensor("position_embd.weight".into(), &[CONTEXT, WIDTH], 0.5),
        random.tensor("token_embd_norm.weight".into(), &[WIDTH], 1.0),
        random.tensor("token_embd_norm.bias".into(), &[WIDTH], 0.1),
    ];
    let matrices = [
        ("attn_q", WIDTH, WIDTH),
        ("attn_k", WIDTH, WIDTH),
        ("attn_v", WIDTH, WIDTH),
        ("attn_output", WIDTH, WIDTH),
        ("ffn_up", HIDDEN, WIDTH),
        ("ffn_down", WIDTH, HIDDEN),
    ];
    for layer in 0..LAYERS {
        for (part, rows, columns) in matrices {
            let name = format!("blk.{layer}.{part}");
            all.push(random.tensor(format!("{name}.weight"), &[rows, columns], 0.3));
            all.push(random.tensor(format!("{name}.bias"), &[rows], 0.1));
        }
        for part in ["attn_output_norm", "layer_output_norm"] {
            let name = format!("blk.{layer}.{part}");
            all.push(random.tensor(format!("{name}.weight"), &[WIDTH], 1.0));
            all.push(random.tensor(format!("{name}.bias"), &[WIDTH], 0.1));
        }
    }
    all
}
