//! Counters and bucketed times, without labels of guests, tenants or keys: a public listener shows them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::rate::Route;

/// Upper bounds in seconds.
const TIMES_S: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

type ByRoute = Vec<(&'static str, &'static str)>;
type Times = Family<ByRoute, Histogram, fn() -> Histogram>;

/// What happened since the start.
pub(crate) struct Metrics {
    pub(crate) challenges: Counter,
    pub(crate) attested: Counter,
    pub(crate) not_attested: Counter,
    pub(crate) granted: Counter,
    pub(crate) refused: Counter,
    pub(crate) admin: Counter,
    pub(crate) admin_refused: Counter,
    /// Configurations loaded again.
    pub(crate) reloads: Counter,
    /// Configurations that were not taken.
    pub(crate) reloads_refused: Counter,
    /// TLS handshakes that failed or took too long.
    pub(crate) handshakes_failed: Counter,
    /// Connections closed at once because there were too many.
    pub(crate) connections_refused: Counter,
    /// Open connections.
    pub(crate) connections: Gauge,
    limited: Family<ByRoute, Counter>,
    busy: Family<ByRoute, Counter>,
    seconds: Times,
    sessions: Gauge,
    session_bytes: Gauge,
    collateral_age_s: Gauge,
    registry: Registry,
}

pub(crate) fn count(counter: &Counter<u64, AtomicU64>) {
    counter.inc();
}

fn times() -> Histogram {
    Histogram::new(TIMES_S)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            challenges: Counter::default(),
            attested: Counter::default(),
            not_attested: Counter::default(),
            granted: Counter::default(),
            refused: Counter::default(),
            admin: Counter::default(),
            admin_refused: Counter::default(),
            reloads: Counter::default(),
            reloads_refused: Counter::default(),
            handshakes_failed: Counter::default(),
            connections_refused: Counter::default(),
            connections: Gauge::default(),
            limited: Family::default(),
            busy: Family::default(),
            seconds: Family::new_with_constructor(times),
            sessions: Gauge::default(),
            session_bytes: Gauge::default(),
            collateral_age_s: Gauge::default(),
            registry: Registry::with_prefix("hanzo_kbs"),
        };
        let registry = &mut metrics.registry;
        for (name, help, counter) in [
            ("challenges", "Challenges given out", &metrics.challenges),
            ("attested", "Sessions that attested", &metrics.attested),
            ("attest_refused", "Attestations refused", &metrics.not_attested),
            ("grants", "Keys released", &metrics.granted),
            ("refusals", "Keys not released", &metrics.refused),
            ("admin", "Admin requests carried out", &metrics.admin),
            ("admin_refused", "Admin requests refused", &metrics.admin_refused),
            ("reloads", "Configurations loaded again", &metrics.reloads),
            (
                "reloads_refused",
                "Configurations not taken: the old one stays",
                &metrics.reloads_refused,
            ),
            (
                "handshakes_failed",
                "TLS handshakes that failed",
                &metrics.handshakes_failed,
            ),
            (
                "connections_refused",
                "Connections beyond a bound",
                &metrics.connections_refused,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("connections", "Open connections", &metrics.connections),
            ("sessions", "Attested sessions", &metrics.sessions),
            ("session_bytes", "Evidence of attested sessions", &metrics.session_bytes),
            (
                "collateral_age_seconds",
                "Age of the oldest file of collateral, -1 if there is none",
                &metrics.collateral_age_s,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register("limited", "Requests over a peer's rate", metrics.limited.clone());
        registry.register("busy", "Requests turned away from a full queue", metrics.busy.clone());
        registry.register(
            "request_seconds",
            "From the request's body to its answer",
            metrics.seconds.clone(),
        );
        metrics
    }
}

impl Metrics {
    pub(crate) fn limited(&self, route: Route) {
        self.limited.get_or_create(&by(route)).inc();
    }

    pub(crate) fn busy(&self, route: Route) {
        self.busy.get_or_create(&by(route)).inc();
    }

    pub(crate) fn took(&self, route: Route, time: Duration) {
        self.seconds.get_or_create(&by(route)).observe(time.as_secs_f64());
    }

    /// OpenMetrics 1.0.0 text.
    pub(crate) fn text(&self, (sessions, session_bytes): (usize, usize), collateral_age_s: Option<i64>) -> String {
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        self.session_bytes.set(i64::try_from(session_bytes).unwrap_or(i64::MAX));
        self.collateral_age_s.set(collateral_age_s.unwrap_or(-1));
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn by(route: Route) -> ByRoute {
    vec![("route", route.name())]
}
