//! Whether the time to a first token tells one tenant what another has asked.
//!
//! Tenants take turns. Whether the next one asks the very words of the last (what a shared cache would answer sooner) or other words of
//! as many tokens is drawn, and rank tests (Mann and Whitney's, Kolmogorov and Smirnov's) say whether the times differ. The control is
//! what a hit would look like: a quarter of the words, so that the rest need not be computed.
//!
//! `cargo bench --workspace --profile dev --bench isolation -- [--smoke] [--model FILE.gguf] [--samples N] [--seed N] [--threads N] [--words N]`
//! (the dev profile shares llama.cpp with `cargo test`, at the same optimisation).

#[allow(dead_code, reason = "a part is the other bench's")]
#[path = "engines/side.rs"]
mod side;

use std::path::{Path, PathBuf};

use crate::side::Served;

/// As long as each other in tokens, in vocabularies of words (each is one behind a space) and of bytes alike.
const WORDS: [&str; 24] = [
    "area", "back", "body", "book", "case", "city", "door", "face", "fact", "form", "game", "girl", "hand", "idea",
    "kind", "life", "line", "name", "part", "road", "room", "side", "week", "year",
];
/// Questions that are not counted: the process warms up.
const WARM_UP: usize = 8;
/// Questions between two of the control, whose difference is plain with few.
const CONTROL: usize = 16;

struct Options {
    model: PathBuf,
    samples: usize,
    seed: u64,
    threads: usize,
    /// Of a question; a quarter of them in the control.
    words: usize,
}

impl Options {
    fn read() -> Option<Self> {
        let cached = std::env::var_os("HOME")
            .map(|home| PathBuf::from(home).join(".cache/hanzo/models/SmolLM2-135M-Instruct.Q4_1.gguf"));
        let mut options = Self {
            model: std::env::var_os("HANZO_TEST_MODEL").map(PathBuf::from).or(cached)?,
            samples: 2_000,
            seed: 1,
            threads: 1,
            words: 48,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--smoke" => options.samples = 40,
                "--model" => options.model = words.next()?.into(),
                "--samples" => options.samples = words.next()?.parse().ok()?,
                "--threads" => options.threads = words.next()?.parse().ok()?,
                "--words" => options.words = words.next()?.parse().ok()?,
                "--seed" => options.seed = words.next()?.parse().ok()?,
                // Cargo's own.
                "--bench" => (),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// SplitMix64: which words, which kind next.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// So many words.
    fn words(&mut self, count: usize) -> String {
        let words = (0..count).map(|_| WORDS[(self.next() % WORDS.len() as u64) as usize]);
        words.collect::<Vec<_>>().join(" ")
    }

    /// A question of as many tokens as every other.
    fn question(&mut self, served: &Served, words: usize, tokens: usize) -> String {
        for _ in 0..1_000 {
            let question = self.words(words);
            if served.ids(&question).len() == tokens {
                return question;
            }
        }
        panic!("no question of {tokens} tokens in 1,000 draws: another vocabulary than these words are for");
    }
}

fn main() {
    let Some(options) = Options::read() else {
        eprintln!("usage: isolation [--smoke] [--model FILE.gguf] [--samples N] [--seed N] [--threads N] [--words N]");
        std::process::exit(2);
    };
    if !options.model.is_file() {
        eprintln!("MODEL MISSING: {}: NOTHING MEASURED", options.model.display());
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("model");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(&options.model, dir.join("model.gguf")).unwrap();
    let engine = Path::new(env!("CARGO_BIN_EXE_hanzo-engine-llama"));
    let served = Served::start(engine, &dir, root.path(), options.threads, 1);
    let mut draw = Draw(options.seed);
    let whole = served.ids(&vec![WORDS[0]; options.words].join(" ")).len();
    let quarter = served.ids(&vec![WORDS[0]; options.words / 4].join(" ")).len();

    let (mut same, mut other, mut short) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = draw.question(&served, options.words, whole);
    let mut asked = 0;
    while same.len().min(other.len()) < options.samples {
        let is_same = draw.next() % 2 == 0;
        // Drawn either way: the engine has been asked for its length a moment ago in both cases.
        let fresh = draw.question(&served, options.words, whole);
        if !is_same {
            before = fresh;
        }
        let took = served.ask(&before, 1).first_ms();
        asked += 1;
        match is_same {
            _ if asked <= WARM_UP => (),
            true => same.push(took),
            false => other.push(took),
        }
        if asked % CONTROL == 0 {
            // Out of the way of the others: its question is nobody's, and one that is not counted follows.
            let part = draw.question(&served, options.words / 4, quarter);
            short.push(served.ask(&part, 1).first_ms());
            before = draw.question(&served, options.words, whole);
            served.ask(&before, 1);
        }
    }
    println!(
        "{}: {} and {} samples ({} of the control), {whole} tokens a question, {} threads, seed {}",
        options.model.display(),
        same.len(),
        other.len(),
        short.len(),
        options.threads,
        options.seed
    );
    compare("asked before by another tenant", &same, "never asked", &other);
    compare("what a hit would be (control)", &short, "never asked", &other);
}

fn compare(name: &str, a: &[f64], other_name: &str, b: &[f64]) {
    let (ranks, distance) = (mann_whitney(a, b), kolmogorov_smirnov(a, b));
    let verdict = match ranks > 0.01 && distance > 0.01 {
        true => "no difference",
        false => "DIFFERENT",
    };
    println!(
        "{name}: median {:.3} ms; {other_name}: {:.3} ms; Mann-Whitney p = {ranks:.4}, Kolmogorov-Smirnov p = {distance:.4}: {verdict}",
        median(a),
        median(b)
    );
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Two-sided p of the rank sum, by the normal distribution: samples are in the hundreds and ties are rare.
fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = a
        .iter()
        .map(|x| (*x, true))
        .chain(b.iter().map(|x| (*x, false)))
        .collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let ranks = all
        .iter()
        .zip(1..)
        .filter(|((_, is_a), _)| *is_a)
        .map(|(_, rank)| f64::from(rank));
    let (n, m) = (a.len() as f64, b.len() as f64);
    let sum: f64 = ranks.sum();
    let u = sum - n * (n + 1.0) / 2.0;
    let z = (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt();
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// p of the greatest distance between the two distributions.
fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, f64)> = a
        .iter()
        .map(|x| (*x, 1.0 / a.len() as f64))
        .chain(b.iter().map(|x| (*x, -1.0 / b.len() as f64)))
        .collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut at, mut most) = (0.0_f64, 0.0_f64);
    for (_, step) in all {
        at += step;
        most = most.max(at.abs());
    }
    let size = (a.len() * b.len()) as f64 / (a.len() + b.len()) as f64;
    let lambda = (size.sqrt() + 0.12 + 0.11 / size.sqrt()) * most;
    // The series does not converge where nothing differs.
    if lambda < 0.2 {
        return 1.0;
    }
    let terms = (1..=100).map(|k| {
        let k = f64::from(k);
        let sign = if k % 2.0 == 1.0 { 2.0 } else { -2.0 };
        sign * (-2.0 * k * k * lambda * lambda).exp()
    });
    terms.sum::<f64>().clamp(0.0, 1.0)
}

/// The complementary error function for `x >= 0`, to 1.2e-7 (W. J. Cody's form in Numerical Recipes, 6.2).
fn erfc(x: f64) -> f64 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x);
    let series = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    t * (-x * x + series).exp()
}
