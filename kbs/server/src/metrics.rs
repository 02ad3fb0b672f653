//! Counters, without labels of guests or keys.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What happened since the start.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) challenges: AtomicU64,
    pub(crate) attested: AtomicU64,
    pub(crate) not_attested: AtomicU64,
    pub(crate) granted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) admin: AtomicU64,
    pub(crate) admin_refused: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Metrics {
    /// Prometheus text format 0.0.4.
    pub(crate) fn text(&self, sessions: usize) -> String {
        let counters = [
            ("challenges_total", "Challenges given out.", &self.challenges),
            ("attested_total", "Sessions that attested.", &self.attested),
            (
                "attest_refused_total",
                "Sessions whose evidence was refused.",
                &self.not_attested,
            ),
            ("grants_total", "Keys released.", &self.granted),
            ("refusals_total", "Keys not released.", &self.refused),
            ("admin_total", "Admin requests carried out.", &self.admin),
            ("admin_refused_total", "Admin requests refused.", &self.admin_refused),
        ];
        let mut text = String::new();
        for (name, help, value) in counters {
            text.push_str(&format!(
                "# HELP hanzo_kbs_{name} {help}\n# TYPE hanzo_kbs_{name} counter\nhanzo_kbs_{name} {}\n",
                value.load(Relaxed)
            ));
        }
        text.push_str(&format!(
            "# HELP hanzo_kbs_sessions Sessions held.\n# TYPE hanzo_kbs_sessions gauge\nhanzo_kbs_sessions {sessions}\n"
        ));
        text
    }
}
