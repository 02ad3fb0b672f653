//! What the broker counts. Every label has a closed set of values; nothing that a guest or a name sends becomes one.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::error::Refusal;

/// How a connection ended that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Closed,
    Idle,
    Time,
    Bytes,
    Broken,
}

impl How {
    const ALL: [Self; 5] = [Self::Closed, Self::Idle, Self::Time, Self::Bytes, Self::Broken];

    fn text(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Broken => "broken",
        }
    }
}

impl EncodeLabelValue for How {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.text())
    }
}

impl EncodeLabelValue for Refusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.word())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHow {
    how: How,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWhy {
    why: Refusal,
}

/// What the broker counts.
pub(crate) struct Metrics {
    pub(crate) connections: Counter,
    pub(crate) open: Gauge,
    pub(crate) gone: Counter,
    pub(crate) bytes_to_name: Counter,
    pub(crate) bytes_to_guest: Counter,
    refused: Family<OfWhy, Counter>,
    ended: Family<OfHow, Counter>,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("hanzo_egress");
        let (connections, open, gone) = (Counter::default(), Gauge::default(), Counter::default());
        let (bytes_to_name, bytes_to_guest) = (Counter::default(), Counter::default());
        let refused = Family::<OfWhy, Counter>::default();
        let ended = Family::<OfHow, Counter>::default();
        registry.register("connections", "Connections of guests", connections.clone());
        registry.register("connections_open", "Connections to names that are open", open.clone());
        registry.register(
            "guests_gone",
            "Guests that broke off before they were answered",
            gone.clone(),
        );
        registry.register("bytes_to_name", "Bytes from guests", bytes_to_name.clone());
        registry.register("bytes_to_guest", "Bytes from names", bytes_to_guest.clone());
        registry.register("refused", "Requests refused, by reason", refused.clone());
        registry.register("ended", "Opened connections that ended, by how", ended.clone());
        // All label values from the start, so that a counter that appears is no news.
        for why in Refusal::ALL {
            drop(refused.get_or_create(&OfWhy { why }));
        }
        for how in How::ALL {
            drop(ended.get_or_create(&OfHow { how }));
        }
        Arc::new(Self {
            connections,
            open,
            gone,
            bytes_to_name,
            bytes_to_guest,
            refused,
            ended,
            registry,
        })
    }

    pub(crate) fn refused(&self, why: Refusal) {
        self.refused.get_or_create(&OfWhy { why }).inc();
    }

    pub(crate) fn ended(&self, how: How) {
        self.ended.get_or_create(&OfHow { how }).inc();
    }

    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
