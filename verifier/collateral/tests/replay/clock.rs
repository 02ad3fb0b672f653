//! A clock that waits in no time and remembers for how long.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_collateral::clock::{Clock, Sleep};

#[derive(Default)]
pub struct VirtualClock {
    state: Mutex<(Duration, Vec<Duration>)>,
}

impl VirtualClock {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Every wait so far.
    pub fn waits(&self) -> Vec<Duration> {
        self.state.lock().unwrap().1.clone()
    }
}

impl Clock for VirtualClock {
    fn elapsed(&self) -> Duration {
        self.state.lock().unwrap().0
    }

    fn unix_s(&self) -> u64 {
        784_111_777 - 9
    }

    fn sleep(&self, wait: Duration) -> Sleep {
        let mut state = self.state.lock().unwrap();
        state.0 += wait;
        state.1.push(wait);
        Box::pin(tokio::task::yield_now())
    }

    fn jitter(&self) -> u16 {
        u16::MAX
    }
}
