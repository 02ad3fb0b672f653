//! What one caller has used of its limits. An account outlives the tables that name it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hanzo_attestation::UnixTime;
use hanzo_attestation::name::Name;
use hanzo_verifier::callers::{Caller, Isolation};

use super::Uptime;
use super::bucket::{Bucket, Short};
use crate::error::ApiError;
use crate::supply::EngineClass;

/// A caller of the table in force, and its account.
pub(crate) struct Known {
    pub(super) caller: Caller,
    pub(super) account: Arc<Account>,
}

impl Known {
    /// Whether the table lets it ask at `now`.
    pub(super) fn counts(&self, now: UnixTime) -> bool {
        now.0 <= self.caller.expires_at
    }

    /// What the caller is told: its own limits, what is left of them, and when they are whole again.
    pub(super) fn headers(&self) -> HeaderMap {
        let account = &self.account;
        let now_ms = now_ms(&account.uptime);
        let mut meter = account.meter();
        let mut headers = HeaderMap::new();
        let mut tell = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        let requests = &mut meter.requests;
        tell("x-ratelimit-limit-requests", requests.limit().to_string());
        tell("x-ratelimit-remaining-requests", requests.left(now_ms).to_string());
        tell("x-ratelimit-reset-requests", span(requests.full_after_ms(now_ms)));
        tell("anthropic-ratelimit-requests-limit", requests.limit().to_string());
        tell(
            "anthropic-ratelimit-requests-remaining",
            requests.left(now_ms).to_string(),
        );
        let tokens = &mut meter.tokens;
        tell("x-ratelimit-limit-tokens", tokens.limit().to_string());
        tell("x-ratelimit-remaining-tokens", tokens.left(now_ms).to_string());
        tell("x-ratelimit-reset-tokens", span(tokens.full_after_ms(now_ms)));
        tell("anthropic-ratelimit-tokens-limit", tokens.limit().to_string());
        tell("anthropic-ratelimit-tokens-remaining", tokens.left(now_ms).to_string());
        headers
    }
}

/// What was used.
pub(super) struct Account {
    meter: Mutex<Meter>,
    uptime: Uptime,
}

struct Meter {
    requests: Bucket,
    tokens: Bucket,
    /// Tokens of all receipts.
    used: u64,
    /// Tokens that requests in work may still use.
    held: u64,
}

impl Account {
    /// Of a caller that the guest's store knows `used` tokens of.
    pub(super) fn new(caller: &Caller, used: u64, uptime: Uptime) -> Self {
        let now_ms = now_ms(&uptime);
        Self {
            meter: Mutex::new(Meter {
                requests: Bucket::new(caller.requests_per_min, now_ms),
                tokens: Bucket::new(caller.tokens_per_min, now_ms),
                used,
                held: 0,
            }),
            uptime,
        }
    }

    /// Limits of another table.
    pub(super) fn set_limits(&self, caller: &Caller) {
        let now_ms = now_ms(&self.uptime);
        let mut meter = self.meter();
        meter.requests.set_limit(caller.requests_per_min, now_ms);
        meter.tokens.set_limit(caller.tokens_per_min, now_ms);
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms(uptime: &Uptime) -> u64 {
    u64::try_from(uptime().as_millis()).unwrap_or(u64::MAX)
}

/// One request of a known caller. What it held and did not use goes back when this is dropped.
pub(crate) struct Admitted {
    known: Arc<Known>,
    held: u64,
    /// Taken of the tokens of a minute.
    taken: u64,
}

impl Admitted {
    /// Counts a request. One whose tokens are used up is told so before anything is read.
    pub(super) fn new(known: Arc<Known>) -> Result<Self, ApiError> {
        let account = &known.account;
        let now_ms = now_ms(&account.uptime);
        {
            let mut meter = account.meter();
            if known.caller.budget_tokens.is_some_and(|budget| meter.used >= budget) {
                return Err(ApiError::Quota { left: 0 });
            }
            meter.tokens.take(0, now_ms).map_err(|short| rate("tokens", short))?;
            meter
                .requests
                .take(1, now_ms)
                .map_err(|short| rate("requests", short))?;
        }
        Ok(Self {
            known,
            held: 0,
            taken: 0,
        })
    }

    pub(crate) fn id(&self) -> &Name {
        &self.known.caller.id
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.known.caller
    }

    pub(super) fn class(&self) -> EngineClass {
        match self.known.caller.isolation {
            Isolation::Shared => EngineClass::Shared,
            Isolation::Own => EngineClass::Own(self.known.caller.id.clone()),
        }
    }

    /// Holds what a request may use: its prompts, and `answers` of at most `most` tokens each. Where the caller gave no number, an
    /// answer is as long as `most` or the rest of the budget, and the minute is charged for it afterwards. Returns the most tokens of
    /// each answer.
    pub(super) fn hold(&mut self, prompt: u64, answers: u64, most: u64, is_given: bool) -> Result<u64, ApiError> {
        let account = &self.known.account;
        let now_ms = now_ms(&account.uptime);
        let mut meter = account.meter();
        let mut each = most;
        if let Some(budget) = self.known.caller.budget_tokens {
            let unused = budget.saturating_sub(meter.used);
            let left = unused.saturating_sub(meter.held);
            // What others in work hold may come back; what is used does not.
            let short = |of: u64, needed: u64| match needed > of {
                true if needed > unused => Err(ApiError::Quota { left: unused }),
                true => Err(rate("tokens", Short::For(0))),
                false => Ok(()),
            };
            if is_given {
                short(left, prompt.saturating_add(answers.saturating_mul(each)))?;
            } else {
                short(left, prompt.saturating_add(answers))?;
                each = each.min(left.saturating_sub(prompt) / answers.max(1));
            }
        }
        let answer = answers.saturating_mul(each);
        let taken = prompt.saturating_add(if is_given { answer } else { 0 });
        meter
            .tokens
            .take(taken, now_ms)
            .map_err(|short| rate("tokens", short))?;
        let held = prompt.saturating_add(answer);
        meter.held = meter.held.saturating_add(held);
        drop(meter);
        (self.held, self.taken) = (held, taken);
        Ok(each)
    }

    /// Settles with what its receipt says.
    pub(super) fn settle(mut self, used: u64) {
        let (held, taken) = (std::mem::take(&mut self.held), std::mem::take(&mut self.taken));
        let mut meter = self.known.account.meter();
        meter.held = meter.held.saturating_sub(held);
        meter.used = meter.used.saturating_add(used);
        meter.tokens.correct(taken, used);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.held > 0 || self.taken > 0 {
            let mut meter = self.known.account.meter();
            meter.held = meter.held.saturating_sub(self.held);
            meter.tokens.correct(self.taken, 0);
        }
    }
}

fn rate(of: &'static str, short: Short) -> ApiError {
    match short {
        Short::For(ms) => ApiError::Rate {
            of,
            retry_after_s: ms.div_ceil(1000).max(1),
        },
        Short::ForEver => ApiError::RateNever { of },
    }
}

/// A span as OpenAI writes it: `120ms`, `7s`, `6m0s`. Rounded up.
fn span(ms: u64) -> String {
    match ms {
        0 => "0s".into(),
        1..1000 => format!("{ms}ms"),
        _ => {
            let s = ms.div_ceil(1000);
            match s / 60 {
                0 => format!("{s}s"),
                minutes => format!("{minutes}m{}s", s % 60),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_written_as_clients_read_them() {
        let written = [0, 1, 999, 1_000, 1_001, 59_001, 60_000, 360_000].map(span);
        assert_eq!(written, ["0s", "1ms", "999ms", "1s", "2s", "1m0s", "1m0s", "6m0s"]);
    }
}
