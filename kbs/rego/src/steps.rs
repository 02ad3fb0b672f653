//! A bound on evaluation that is no clock: the evaluator asks for the time after every step, and each answer is one
//! microsecond later than the one before.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, TimeSource, set_time_source};

use crate::STEPS_MAX;

std::thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

struct Counter;

impl TimeSource for Counter {
    fn now(&self) -> Option<Duration> {
        STEPS.with(|steps| {
            let next = steps.get().wrapping_add(1);
            steps.set(next);
            Some(Duration::from_micros(next))
        })
    }
}

static COUNTER: Counter = Counter;

/// Starts counting on this thread. `None` if another part of the program gave the evaluator a clock: then nothing bounds it.
pub(crate) fn bound() -> Option<ExecutionTimerConfig> {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    if !*INSTALLED.get_or_init(|| set_time_source(&COUNTER).is_ok()) {
        return None;
    }
    STEPS.with(|steps| steps.set(0));
    Some(ExecutionTimerConfig {
        limit: Duration::from_micros(STEPS_MAX),
        check_interval: NonZeroU32::MIN,
    })
}

/// True if the evaluation that just ended on this thread used its steps up.
pub(crate) fn used_up() -> bool {
    STEPS.with(Cell::get) > STEPS_MAX
}
