//! A limit per minute that refills evenly.
//!
//! Whole numbers alone: the level is counted in sixty-thousandths, and each millisecond adds `limit` of them. What was used but could
//! not be known beforehand is charged afterwards, so the level may fall below zero; then nothing is taken until it has risen.

/// Parts of one unit: milliseconds of a minute.
const PARTS: i128 = 60_000;

/// So many a minute.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: u64,
    /// In parts; at most `limit * PARTS`.
    level: i128,
    /// When `level` was that, in milliseconds of the guest's own uptime.
    at_ms: u64,
}

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// It will be there after so many milliseconds.
    For(u64),
    /// It is more than the limit ever has.
    ForEver,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(limit: u64, now_ms: u64) -> Self {
        Self {
            limit,
            level: i128::from(limit) * PARTS,
            at_ms: now_ms,
        }
    }

    fn full(&self) -> i128 {
        i128::from(self.limit) * PARTS
    }

    fn refill(&mut self, now_ms: u64) {
        let passed = i128::from(now_ms.saturating_sub(self.at_ms));
        self.level = (self.level + i128::from(self.limit) * passed).min(self.full());
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// Another limit from now on. What was used stays used.
    pub(super) fn set_limit(&mut self, limit: u64, now_ms: u64) {
        self.refill(now_ms);
        let used = self.full() - self.level;
        self.limit = limit;
        self.level = self.full() - used;
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whole units that may be taken now.
    pub(super) fn left(&mut self, now_ms: u64) -> u64 {
        self.refill(now_ms);
        u64::try_from(self.level / PARTS).unwrap_or(0)
    }

    /// Milliseconds until it is full.
    pub(super) fn full_after_ms(&mut self, now_ms: u64) -> u64 {
        self.refill(now_ms);
        self.after(self.full())
    }

    fn after(&self, level: i128) -> u64 {
        let missing = (level - self.level).max(0);
        let limit = i128::from(self.limit.max(1));
        u64::try_from((missing + limit - 1) / limit).unwrap_or(u64::MAX)
    }

    /// Takes `amount`, or nothing.
    pub(super) fn take(&mut self, amount: u64, now_ms: u64) -> Result<(), Short> {
        self.refill(now_ms);
        let parts = i128::from(amount) * PARTS;
        if parts > self.full() {
            return Err(Short::ForEver);
        }
        // A debt has to be paid before even nothing can be taken.
        if self.level < parts || self.level < 0 {
            return Err(Short::For(self.after(parts)));
        }
        self.level -= parts;
        Ok(())
    }

    /// Corrects what was taken: `used` in place of `taken`.
    pub(super) fn correct(&mut self, taken: u64, used: u64) {
        let parts = (i128::from(taken) - i128::from(used)) * PARTS;
        self.level = (self.level + parts).min(self.full());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_refills_evenly_and_says_to_the_millisecond_when() {
        let mut bucket = Bucket::new(60, 1_000);
        assert_eq!((bucket.left(1_000), bucket.full_after_ms(1_000)), (60, 0));
        for _ in 0..60 {
            bucket.take(1, 1_000).unwrap();
        }
        assert_eq!(bucket.take(1, 1_000), Err(Short::For(1_000)));
        assert_eq!(bucket.take(1, 1_999), Err(Short::For(1)));
        assert_eq!(bucket.full_after_ms(1_999), 59_001);
        bucket.take(1, 2_000).unwrap();
        assert_eq!(bucket.left(2_000), 0);
        assert_eq!(bucket.left(1_000_000), 60, "never more than the limit");
        assert_eq!(bucket.take(61, 1_000_000), Err(Short::ForEver));
    }

    #[test]
    fn what_was_used_beyond_what_was_taken_is_owed_and_what_was_not_comes_back() {
        let mut bucket = Bucket::new(600, 0);
        bucket.take(100, 0).unwrap();
        bucket.correct(100, 1_100);
        assert_eq!(bucket.left(0), 0);
        // 500 below zero: 10 a second.
        assert_eq!(bucket.take(1, 0), Err(Short::For(50_100)));
        assert_eq!(bucket.take(0, 0), Err(Short::For(50_000)));
        bucket.take(0, 50_000).unwrap();
        let mut bucket = Bucket::new(600, 0);
        bucket.take(600, 0).unwrap();
        bucket.correct(600, 20);
        assert_eq!(bucket.left(0), 580);
    }

    #[test]
    fn a_new_limit_forgives_nothing() {
        let mut bucket = Bucket::new(100, 0);
        bucket.take(60, 0).unwrap();
        bucket.set_limit(50, 0);
        assert_eq!((bucket.limit(), bucket.left(0)), (50, 0));
        assert_eq!(bucket.take(1, 0), Err(Short::For(13_200)));
        bucket.set_limit(200, 0);
        assert_eq!(bucket.left(0), 140);
        // The clock never runs back.
        let mut bucket = Bucket::new(60, 5_000);
        bucket.take(60, 5_000).unwrap();
        assert_eq!(bucket.left(0), 0);
        assert_eq!(bucket.left(6_000), 1);
    }
}
