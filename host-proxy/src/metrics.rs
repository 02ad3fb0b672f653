//! What the proxy counts. Every label has a closed set of values: reasons are enums, pools and guests come from the
//! configuration or from discovery (at most 64 guests a pool at a time), and nothing that a client sends becomes one.

mod endpoint;

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use endpoint::{MetricsAddress, MetricsListener};

use crate::pool::Pool;

/// Enums whose variants are the values of a label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            pub(crate) const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                encoder.write_str(self.text())
            }
        }
    };
}

label! {
    /// How a forwarded connection ended.
    Ended {
        /// Both sides closed.
        Closed = "closed",
        /// Nothing moved for the idle limit.
        Idle = "idle",
        /// A side did not take what was there for it.
        Stalled = "stalled",
        /// The client never sent anything.
        Silent = "silent",
        /// The client closed its half and nothing followed.
        HalfClosed = "half_closed",
        /// The client reset the connection or went away.
        ClientBroken = "client_broken",
        /// The guest reset the connection or went away.
        GuestBroken = "guest_broken",
        /// The kernel would not report about it: out of memory.
        Unwatched = "unwatched",
        /// The proxy stopped and its drain time was over.
        Drained = "drained",
    }
}

label! {
    /// Why a connection was closed before it reached a guest.
    Refused {
        /// Too many connections are open.
        Connections = "connections_max",
        /// Too many were accepted lately.
        Rate = "connections_per_s",
        /// This client has too many open.
        ClientConnections = "client_connections_max",
        /// This client opened too many lately.
        ClientRate = "client_connections_per_s",
        /// More clients than the table has rows.
        Clients = "clients_max",
        /// No first bytes, or only a part of what must come first, within the time.
        FirstBytes = "first_bytes",
        /// The client went away before it had said where to.
        ClientGone = "client_gone",
        /// A listed peer sent no acceptable PROXY header.
        ProxyHeader = "proxy_header",
        /// No acceptable ClientHello.
        ClientHello = "client_hello",
        /// A server name that no guest has.
        UnknownName = "unknown_name",
        /// No server name where one is needed.
        NoName = "no_name",
        /// The pool has no guest that is up.
        NoGuest = "no_guest",
        /// Every guest that was tried refused or did not answer.
        Unreachable = "guest_unreachable",
        /// Too many wait already.
        QueueFull = "queue_full",
        /// No guest had a free place within the deadline.
        QueueTime = "queue_deadline",
        /// The kernel would not report about it: out of memory.
        Unwatched = "unwatched",
    }
}

label! {
    /// What came of asking who a pool's guests are.
    Discovered {
        /// Other guests than before.
        Changed = "changed",
        /// The same.
        Same = "same",
        /// Nobody.
        Nobody = "nobody",
        /// No answer, or not one that is understood.
        Failed = "failed",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDiscovery {
    pool: String,
    outcome: Discovered,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct How {
    how: Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Guest {
    pool: String,
    guest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPool {
    pool: String,
}

/// What the proxy counts.
pub(crate) struct Metrics {
    pub(crate) connections: Counter,
    pub(crate) open: Gauge,
    pub(crate) bytes_to_guest: Counter,
    pub(crate) bytes_to_client: Counter,
    pub(crate) accept_failures: Counter,
    pub(crate) dial_failures: Counter,
    pub(crate) reloads: Counter,
    pub(crate) reloads_refused: Counter,
    ended: Vec<Counter>,
    refused: Vec<Counter>,
    guest_up: Family<Guest, Gauge>,
    guest_open: Family<Guest, Gauge>,
    waiting: Family<OfPool, Gauge>,
    parting: Family<OfPool, Gauge>,
    kept: Family<OfPool, Gauge>,
    discovered: Family<OfDiscovery, Counter>,
    pools: Mutex<Vec<Arc<Pool>>>,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("hanzo_proxy");
        let mut counter = |name: &str, help: &str| {
            let c = Counter::default();
            registry.register(name, help, c.clone());
            c
        };
        let connections = counter("connections", "Connections accepted");
        let bytes_to_guest = counter("bytes_to_guest", "Opaque bytes carried to guests");
        let bytes_to_client = counter("bytes_to_client", "Opaque bytes carried to clients");
        let accept_failures = counter("accept_failures", "Connections that could not be accepted");
        let dial_failures = counter("dial_failures", "Connections that a guest did not accept");
        let reloads = counter("reloads", "Configurations put in force while running");
        let reloads_refused = counter("reloads_refused", "Configurations refused while running");
        let open = Gauge::default();
        registry.register("connections_open", "Connections open now", open.clone());
        let ended = Family::<How, Counter>::default();
        registry.register(
            "connections_ended",
            "Forwarded connections that ended, by how",
            ended.clone(),
        );
        let refused = Family::<Why, Counter>::default();
        let help = "Connections closed before they reached a guest, by why";
        registry.register("connections_refused", help, refused.clone());
        let guest_up = Family::<Guest, Gauge>::default();
        registry.register("guest_up", "1 if connections may go to this guest", guest_up.clone());
        let guest_open = Family::<Guest, Gauge>::default();
        registry.register(
            "guest_connections_open",
            "Connections open to this guest",
            guest_open.clone(),
        );
        let waiting = Family::<OfPool, Gauge>::default();
        registry.register(
            "pool_waiting",
            "Clients that wait for a guest of this pool",
            waiting.clone(),
        );
        let parting = Family::<OfPool, Gauge>::default();
        let help = "Connections open to guests that left this pool";
        registry.register("pool_parting_connections", help, parting.clone());
        let kept = Family::<OfPool, Gauge>::default();
        let help = "1 while discovery names nobody and the guests it named last are used";
        registry.register("discovery_kept", help, kept.clone());
        let discovered = Family::<OfDiscovery, Counter>::default();
        let help = "Answers about who a pool's guests are, by outcome";
        registry.register("discoveries", help, discovered.clone());
        Arc::new(Self {
            connections,
            open,
            bytes_to_guest,
            bytes_to_client,
            accept_failures,
            dial_failures,
            reloads,
            reloads_refused,
            ended: each(Ended::ALL, |&how| ended.get_or_create_owned(&How { how })),
            refused: each(Refused::ALL, |&why| refused.get_or_create_owned(&Why { why })),
            guest_up,
            guest_open,
            waiting,
            parting,
            kept,
            discovered,
            pools: Mutex::default(),
            registry,
        })
    }

    pub(crate) fn ended(&self, how: Ended) {
        if let Some(counter) = self.ended.get(how as usize) {
            counter.inc();
        }
    }

    pub(crate) fn refused(&self, why: Refused) {
        if let Some(counter) = self.refused.get(why as usize) {
            counter.inc();
        }
    }

    pub(crate) fn discovered(&self, pool: &str, outcome: Discovered) {
        let pool = pool.to_owned();
        self.discovered.get_or_create(&OfDiscovery { pool, outcome }).inc();
    }

    /// The pools whose guests are shown from now on.
    pub(crate) fn show(&self, pools: Vec<Arc<Pool>>) {
        for pool in pools.iter().filter(|p| p.config().discover.is_some()) {
            for &outcome in Discovered::ALL {
                let pool = pool.name().to_owned();
                drop(self.discovered.get_or_create(&OfDiscovery { pool, outcome }));
            }
        }
        *self.pools.lock().unwrap_or_else(PoisonError::into_inner) = pools;
    }

    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        self.guest_up.clear();
        self.guest_open.clear();
        self.waiting.clear();
        self.parting.clear();
        self.kept.clear();
        for pool in pools.iter() {
            let of_pool = OfPool {
                pool: pool.name().to_owned(),
            };
            self.waiting.get_or_create(&of_pool).set(pool.waiting().into());
            self.parting.get_or_create(&of_pool).set(pool.parting().into());
            if pool.config().discover.is_some() {
                self.kept.get_or_create(&of_pool).set(pool.is_kept().into());
            }
            for guest in &pool.set().guests {
                let labels = Guest {
                    pool: pool.name().to_owned(),
                    guest: guest.address.to_string(),
                };
                self.guest_up.get_or_create(&labels).set(guest.is_up().into());
                self.guest_open.get_or_create(&labels).set(guest.outstanding().into());
            }
        }
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

fn each<T>(all: &[T], counter: impl Fn(&T) -> Counter) -> Vec<Counter> {
    all.iter().map(counter).collect()
}
