//! Which numbers of one counter were used: constant space, each number once.

use crate::Reject;
use crate::codec::canonical;

/// Words of the bitmap.
const WORDS: usize = 16;
/// How many numbers back one may still be used.
pub const WINDOW: u64 = 64 * WORDS as u64;

/// Numbers below `next`; bit i of the bitmap says whether `next - 1 - i` was used. Whatever lies further back counts as used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    next: u64,
    bitmap: [u64; WORDS],
}
canonical!(Window { next, bitmap });

impl Window {
    /// One above the highest number that was used.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The window with `seq` used.
    ///
    /// # Errors
    /// [`Reject::Claimed`] if it was used, [`Reject::TooOld`] if it lies too far back to know.
    pub fn with(mut self, seq: u64) -> Result<Self, Reject> {
        match self.next.checked_sub(seq) {
            None | Some(0) => {
                let by = seq.saturating_sub(self.next);
                self.shift(by);
                self.shift(1);
                self.next = seq.checked_add(1).ok_or(Reject::Overflow {
                    what: "sequence number",
                })?;
                self.set(0);
                Ok(self)
            }
            Some(back) => {
                let bit = back.saturating_sub(1);
                if bit >= WINDOW {
                    return Err(Reject::TooOld {
                        seq,
                        lowest: self.next.saturating_sub(WINDOW),
                    });
                }
                if self.has(bit) {
                    return Err(Reject::Claimed { seq });
                }
                self.set(bit);
                Ok(self)
            }
        }
    }

    fn has(&self, bit: u64) -> bool {
        self.bitmap
            .get((bit / 64) as usize)
            .is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    fn set(&mut self, bit: u64) {
        if let Some(word) = self.bitmap.get_mut((bit / 64) as usize) {
            *word |= 1 << (bit % 64);
        }
    }

    /// Moves every bit `by` numbers back.
    fn shift(&mut self, by: u64) {
        if by >= WINDOW {
            self.bitmap = [0; WORDS];
            return;
        }
        let (words, bits) = ((by / 64) as usize, (by % 64) as u32);
        let old = self.bitmap;
        for (at, word) in self.bitmap.iter_mut().enumerate() {
            let from = |back: usize| {
                let source = at.checked_sub(words).and_then(|at| at.checked_sub(back));
                source.and_then(|s| old.get(s)).copied().unwrap_or(0)
            };
            *word = match bits {
                0 => from(0),
                bits => (from(0) << bits) | (from(1) >> 64_u32.saturating_sub(bits)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_counts_once_whatever_the_order_and_never_once_it_is_too_old() {
        let (mut window, mut used, mut random) = (Window::default(), BTreeSet::new(), 7_u64);
        for round in 0..60_000_u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let jump = if round % 97 == 0 { 3_000 } else { 1_300 };
            let seq = (window.next() + 40).saturating_sub(random % jump);
            let lowest = window.next().saturating_sub(WINDOW);
            match window.with(seq) {
                Ok(after) => {
                    assert!(seq >= lowest && used.insert(seq), "{seq} counted twice");
                    window = after;
                }
                Err(Reject::Claimed { seq: told }) => assert!(told == seq && used.contains(&seq)),
                Err(Reject::TooOld { seq: told, lowest: l }) => assert!(told == seq && l == lowest && seq < lowest),
                Err(other) => panic!("{other}"),
            }
        }
        assert!(used.len() > 10_000);
    }

    #[test]
    fn the_edges_of_the_window() {
        let window = Window::default().with(5_000).unwrap();
        assert!(matches!(window.with(5_000), Err(Reject::Claimed { seq: 5_000 })));
        assert!(window.with(5_001 - WINDOW).is_ok());
        assert!(matches!(
            window.with(5_000 - WINDOW),
            Err(Reject::TooOld { lowest: 3_977, .. })
        ));
        assert!(matches!(window.with(u64::MAX), Err(Reject::Overflow { .. })));
        let far = window.with(9_000_000).unwrap();
        assert!(matches!(far.with(5_000), Err(Reject::TooOld { .. })));
        let mut all = Window::default();
        for seq in (0..WINDOW).rev() {
            all = all.with(seq).unwrap();
        }
        assert_eq!(all.bitmap, [u64::MAX; WORDS]);
    }
}
