//! What the host may scrape: coarse counts, no labels of callers, renewed at most every 10 seconds.
//!
//! Counts are rounded down to multiples of 8 (requests) and 1024 (tokens), so that one request cannot be read off.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hanzo_attestation::UnixTime;
use hanzo_receipts::Outcome;

const RENEW_S: u64 = 10;
const REQUESTS_STEP: u64 = 8;
const TOKENS_STEP: u64 = 1024;

/// Counters of one boot.
#[derive(Default)]
pub(crate) struct Metrics {
    complete: AtomicU64,
    cut: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    completion_tokens: AtomicU64,
    shown: Mutex<Option<(u64, String)>>,
}

impl Metrics {
    pub(crate) fn ended(&self, outcome: Outcome, completion_tokens: u64) {
        match outcome {
            Outcome::Complete => &self.complete,
            Outcome::Cut => &self.cut,
            Outcome::Failed => &self.failed,
        }
        .fetch_add(1, Ordering::Relaxed);
        self.completion_tokens.fetch_add(completion_tokens, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn text(&self, now: UnixTime) -> String {
        let mut shown = self.shown.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*shown {
            Some((at, text)) if (*at..at.saturating_add(RENEW_S)).contains(&now.0) => text.clone(),
            _ => {
                let text = self.render();
                *shown = Some((now.0, text.clone()));
                text
            }
        }
    }

    fn render(&self) -> String {
        let rounded = |counter: &AtomicU64, step: u64| counter.load(Ordering::Relaxed) / step * step;
        let mut out = String::from(
            "# HELP hanzo_requests_total Requests by how they ended, rounded down to multiples of 8.\n# TYPE hanzo_requests_total counter\n",
        );
        for (outcome, counter) in [
            ("complete", &self.complete),
            ("cut", &self.cut),
            ("failed", &self.failed),
            ("refused", &self.refused),
        ] {
            let _ = writeln!(
                out,
                "hanzo_requests_total{{outcome=\"{outcome}\"}} {}",
                rounded(counter, REQUESTS_STEP)
            );
        }
        let _ = write!(
            out,
            "# HELP hanzo_completion_tokens_total Tokens of answers, rounded down to multiples of 1024.\n# TYPE hanzo_completion_tokens_total counter\nhanzo_completion_tokens_total {}\n",
            rounded(&self.completion_tokens, TOKENS_STEP)
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_does_not_show_and_the_text_stands_for_ten_seconds() {
        let metrics = Metrics::default();
        let first = metrics.text(UnixTime(100));
        metrics.ended(Outcome::Complete, 900);
        assert_eq!(metrics.text(UnixTime(110)), first);
        for _ in 0..8 {
            metrics.ended(Outcome::Complete, 900);
        }
        assert_eq!(metrics.text(UnixTime(119)), first);
        let later = metrics.text(UnixTime(120));
        assert!(
            later.contains("{outcome=\"complete\"} 8\n") && later.contains("tokens_total 7168\n"),
            "{later}"
        );
    }
}
