//! What the metrics say about one connection.

use std::sync::Arc;

use crate::metrics::{Ended, Refused};
use crate::worker::Shared;

/// Counts a connection while it is open, and how it ended.
pub(super) struct Tally {
    shared: Arc<Shared>,
    is_counted: bool,
}

impl Tally {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.metrics.open.inc();
        Self {
            shared,
            is_counted: false,
        }
    }

    pub(super) fn refused(&mut self, why: Refused) {
        self.is_counted = true;
        self.shared.metrics.refused(why);
    }

    pub(super) fn ended(&mut self, how: Ended) {
        self.is_counted = true;
        self.shared.metrics.ended(how);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.is_counted {
            self.shared.metrics.ended(Ended::Drained);
        }
        self.shared.metrics.open.dec();
    }
}
