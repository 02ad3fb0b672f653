//! How likely a token was, from the logits before any temperature, schema or cut.

/// Most other tokens that can be asked for with each.
pub const TOP_LOGPROBS_MAX: usize = 20;

/// A token of an answer and how likely it was.
#[derive(Clone, PartialEq)]
pub struct Logprob {
    /// The bytes of the token alone; not always text.
    pub bytes: Vec<u8>,
    /// Natural logarithm, at most 0.
    pub logprob: f32,
    /// The likeliest tokens in its place, likeliest first; it may be one of them.
    pub top: Vec<(Vec<u8>, f32)>,
}

/// A token by its id and how likely it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likely {
    /// The token.
    pub id: u32,
    /// Natural logarithm, at most 0.
    pub logprob: f32,
}

/// How likely `id` was under `logits`, and the `count` likeliest tokens, likeliest first, the lower id among equals. `None`
/// where the logits hold no number for it.
pub fn likely(logits: &[f32], id: u32, count: usize) -> Option<(f32, Vec<Likely>)> {
    let chosen = logits.get(id as usize).copied().filter(|logit| logit.is_finite())?;
    let most = logits
        .iter()
        .copied()
        .filter(|logit| logit.is_finite())
        .fold(chosen, f32::max);
    let sum: f64 = logits
        .iter()
        .filter(|logit| logit.is_finite())
        .map(|logit| f64::from(logit - most).exp())
        .sum();
    let log_sum = sum.ln();
    let of = |logit: f32| ((f64::from(logit - most) - log_sum) as f32).min(0.0);
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    if count > 0 {
        for (at, logit) in logits.iter().enumerate().filter(|(_, logit)| logit.is_finite()) {
            if top.len() == count && top.last().is_some_and(|(_, least)| *logit <= *least) {
                continue;
            }
            let place = top.partition_point(|(_, other)| *other >= *logit);
            top.insert(place, (at as u32, *logit));
            top.truncate(count);
        }
    }
    let top = top.into_iter().map(|(id, logit)| Likely { id, logprob: of(logit) });
    Some((of(chosen), top.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_the_likeliest_come_first() {
        let logits = [1.0, 3.0, 2.0, 3.0, f32::NEG_INFINITY, f32::NAN];
        let (chosen, top) = likely(&logits, 2, 3).unwrap();
        let sum: f64 = (0..4)
            .map(|id| f64::from(likely(&logits, id, 0).unwrap().0).exp())
            .sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(top.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 3, 2]);
        assert_eq!(top.last().unwrap().logprob, chosen);
        assert!(likely(&logits, 2, 0).unwrap().1.is_empty());
        assert_eq!(likely(&logits, 2, 20).unwrap().1.len(), 4);
    }

    #[test]
    fn what_is_no_number_has_none() {
        let logits = [0.0, f32::NAN, f32::NEG_INFINITY];
        assert_eq!(likely(&logits, 0, 1).unwrap().0, 0.0);
        assert_eq!(likely(&logits, 1, 1), None);
        assert_eq!(likely(&logits, 2, 1), None);
        assert_eq!(likely(&logits, 3, 1), None);
    }
}
