//! Which token comes next.
//!
//! Inference libraries keep one random generator for all their requests, or one whose state depends on who else asked
//! before. So the choice is made here, from the logits and the request's parameters alone: greedy at temperature 0, otherwise from a counter-based generator
//! keyed by (seed, position). The same request gives the same answer, whoever else is served.

use crate::error::GenerateError;

/// Sampling parameters of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 (the default) is greedy and ignores `top_p` and `seed`. At most 2.
    pub temperature: f64,
    /// Nucleus: the smallest set of most likely tokens whose probability reaches this. In (0, 1].
    pub top_p: f64,
    /// Seed of the request; honoured exactly. Without one a fresh random seed is drawn.
    pub seed: Option<u64>,
    /// The answer ends before the first of these. At most [`STOPS_MAX`], each 1 to [`STOP_BYTES_MAX`] bytes.
    pub stop: Vec<String>,
    /// Upper bound of the answer, in tokens; cut further where the context ends.
    pub max_tokens: usize,
}

/// Most stop strings in one request.
pub const STOPS_MAX: usize = 16;
/// e to this is 10^-20 of the likeliest token's weight.
const LEAST_EXPONENT: f64 = -46.0;
/// Longest stop string.
pub const STOP_BYTES_MAX: usize = 256;

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            seed: None,
            stop: Vec::new(),
            max_tokens: 256,
        }
    }
}

impl Sampling {
    /// Checks every range.
    ///
    /// # Errors
    /// [`GenerateError::Parameter`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), GenerateError> {
        let wrong = |parameter, expected| Err(GenerateError::Parameter { parameter, expected });
        if !(0.0..=2.0).contains(&self.temperature) {
            return wrong("temperature", "0 to 2");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p", "more than 0, at most 1");
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens", "at least 1");
        }
        if self.stop.len() > STOPS_MAX
            || self
                .stop
                .iter()
                .any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX)
        {
            return wrong("stop", "at most 16 strings of 1 to 256 bytes");
        }
        Ok(())
    }
}

/// Chooses tokens for one request.
pub struct Picker {
    temperature: f64,
    top_p: f64,
    seed: u64,
}

impl Picker {
    /// For one request. Without a seed in `sampling` a fresh one is drawn.
    pub fn new(sampling: &Sampling) -> Self {
        Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            seed: sampling.seed.unwrap_or_else(fresh_seed),
        }
    }

    /// The token for `position`, or `None` where the logits hold no finite number.
    pub fn pick(&self, logits: &[f32], position: usize) -> Option<u32> {
        let (best, top) = argmax(logits)?;
        if self.temperature < 1e-6 {
            return Some(best);
        }
        let mut weights: Vec<(u32, f64)> = logits
            .iter()
            .enumerate()
            .filter(|(_, logit)| logit.is_finite())
            .map(|(id, logit)| (id as u32, f64::from(logit - top) / self.temperature))
            // All of a vocabulary that is less likely than this together weighs less than the sum's last bits.
            .filter(|(_, exponent)| *exponent > LEAST_EXPONENT)
            .map(|(id, exponent)| (id, exponent.exp()))
            .collect();
        let mut total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        if self.top_p < 1.0 {
            // Tokens that together weigh less than 1 - top_p are never in the nucleus: drop them before sorting.
            let cut = (1.0 - self.top_p) * total / weights.len() as f64;
            weights.retain(|(_, weight)| *weight >= cut);
            weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let mut sum = 0.0;
            let kept = weights.iter().take_while(|(_, weight)| {
                let inside = sum < self.top_p * total;
                sum += weight;
                inside
            });
            let kept = kept.count();
            weights.truncate(kept.max(1));
            total = weights.iter().map(|(_, weight)| weight).sum();
        }
        let mut left = uniform(self.seed, position as u64) * total;
        for (id, weight) in &weights {
            left -= weight;
            if left < 0.0 {
                return Some(*id);
            }
        }
        Some(best)
    }
}

/// The first of the largest finite numbers.
fn argmax(logits: &[f32]) -> Option<(u32, f32)> {
    const LANES: usize = 16;
    // Side by side, so that the processor compares many at once: a vocabulary is looked through for every token.
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (most, logit) in most.iter_mut().zip(chunk) {
            // Not-a-number is no more than anything.
            *most = if *logit > *most { *logit } else { *most };
        }
    }
    let top = most
        .iter()
        .chain(rest)
        .copied()
        .filter(|logit| !logit.is_nan())
        .fold(f32::NEG_INFINITY, f32::max);
    if top == f32::INFINITY {
        let finite = logits
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, logit)| logit.is_finite());
        let first = finite.reduce(|best, next| if next.1 > best.1 { next } else { best });
        return first.map(|(id, logit)| (id as u32, logit));
    }
    if top == f32::NEG_INFINITY {
        return None;
    }
    let id = logits.iter().position(|logit| *logit == top)?;
    Some((id as u32, top))
}

/// A number in [0, 1) from (seed, position): two rounds of the SplitMix64 finaliser. Not cryptographic, and need not be.
fn uniform(seed: u64, position: u64) -> f64 {
    let bits = mix(mix(seed).wrapping_add(position.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The standard library's hash keys come from the system's random source, once a thread, and differ at every call.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picker(temperature: f64, top_p: f64, seed: u64) -> Picker {
        Picker::new(&Sampling {
            temperature,
            top_p,
            seed: Some(seed),
            ..Sampling::default()
        })
    }

    #[test]
    fn greedy_takes_the_first_of_equals_and_no_nan() {
        assert_eq!(picker(0.0, 1.0, 7).pick(&[f32::NAN, 1.0, 3.0, 3.0], 0), Some(2));
        assert_eq!(picker(0.0, 1.0, 7).pick(&[f32::NAN, f32::INFINITY], 0), None);
        assert_eq!(picker(0.0, 1.0, 7).pick(&[f32::INFINITY, 1.0, 2.0, 2.0], 0), Some(2));
        assert_eq!(picker(0.0, 1.0, 7).pick(&[f32::NEG_INFINITY; 40], 0), None);
        // Wherever it stands, among lanes and after them.
        for at in 0..40 {
            let mut logits = [f32::NAN; 40];
            logits[at] = -3.0;
            assert_eq!(picker(0.0, 1.0, 7).pick(&logits, 0), Some(at as u32));
            let mut logits = [-3.0; 40];
            logits[at] = -2.0;
            assert_eq!(picker(0.0, 1.0, 7).pick(&logits, 0), Some(at as u32));
        }
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let logits: Vec<f32> = (0..100).map(|i| (i % 7) as f32 * 0.1).collect();
        let draw = |seed| {
            (0..50)
                .map(|at| picker(1.0, 1.0, seed).pick(&logits, at))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn frequencies_follow_probabilities() {
        // ln 3 against 0: three to one.
        let logits = [3f32.ln(), 0.0];
        let heads = (0..4000)
            .filter(|at| picker(1.0, 1.0, 9).pick(&logits, *at) == Some(0))
            .count();
        assert!((2880..3120).contains(&heads), "{heads}");
    }

    #[test]
    fn the_nucleus_leaves_the_tail_out() {
        let logits = [5.0, 4.9, -5.0, -5.0];
        assert!((0..500).all(|at| picker(1.0, 0.9, 3).pick(&logits, at).is_some_and(|id| id < 2)));
        assert!((0..50).all(|at| picker(1.0, 0.01, 3).pick(&logits, at) == Some(0)));
    }

    #[test]
    fn ranges() {
        let code = |sampling: Sampling| sampling.validate().map_err(|error| error.to_string());
        assert_eq!(code(Sampling::default()), Ok(()));
        assert!(
            code(Sampling {
                temperature: f64::NAN,
                ..Sampling::default()
            })
            .is_err()
        );
        assert!(
            code(Sampling {
                temperature: 2.1,
                ..Sampling::default()
            })
            .is_err()
        );
        assert!(
            code(Sampling {
                top_p: 0.0,
                ..Sampling::default()
            })
            .is_err()
        );
        assert!(
            code(Sampling {
                max_tokens: 0,
                ..Sampling::default()
            })
            .is_err()
        );
        assert!(
            code(Sampling {
                stop: vec![String::new()],
                ..Sampling::default()
            })
            .is_err()
        );
    }
}
