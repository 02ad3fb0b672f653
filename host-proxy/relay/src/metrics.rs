//! What the relay counts. Every label has a closed set of values; nothing that a client sends becomes one.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::refused::Refused;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Message,
    Keys,
    Evidence,
}

/// How an answer ended that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Complete,
    ClientGone,
    ClientSlow,
    GatewayBroken,
    GatewaySlow,
    TooLong,
}

impl What {
    const ALL: [Self; 3] = [Self::Message, Self::Keys, Self::Evidence];

    fn text(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Keys => "keys",
            Self::Evidence => "evidence",
        }
    }
}

impl How {
    const ALL: [Self; 6] = [
        Self::Complete,
        Self::ClientGone,
        Self::ClientSlow,
        Self::GatewayBroken,
        Self::GatewaySlow,
        Self::TooLong,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::ClientSlow => "client_slow",
            Self::GatewayBroken => "gateway_broken",
            Self::GatewaySlow => "gateway_slow",
            Self::TooLong => "too_long",
        }
    }
}

impl EncodeLabelValue for What {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.text())
    }
}

impl EncodeLabelValue for How {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.text())
    }
}

impl EncodeLabelValue for Refused {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.code())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWhat {
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHow {
    how: How,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWhy {
    code: Refused,
}

/// What the relay counts.
pub(crate) struct Metrics {
    pub(crate) connections: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) open: Gauge,
    pub(crate) gateway_connections: Counter,
    pub(crate) gateway_failures: Counter,
    pub(crate) bytes_to_gateway: Counter,
    pub(crate) bytes_to_client: Counter,
    requests: Family<OfWhat, Counter>,
    refused: Family<OfWhy, Counter>,
    answers: Family<OfHow, Counter>,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("hanzo_relay");
        let mut counter = |name: &str, help: &str| {
            let c = Counter::default();
            registry.register(name, help, c.clone());
            c
        };
        let connections = counter("connections", "Clients' connections accepted");
        let connections_refused = counter("connections_refused", "Connections over the limit, closed at once");
        let gateway_connections = counter("gateway_connections", "Connections made to the gateway");
        let gateway_failures = counter("gateway_failures", "Requests that failed at the gateway");
        let bytes_to_gateway = counter("bytes_to_gateway", "Bytes of messages carried to the gateway");
        let bytes_to_client = counter("bytes_to_client", "Bytes of answers carried to clients");
        let open = Gauge::default();
        registry.register("connections_open", "Clients' connections open now", open.clone());
        let requests = Family::<OfWhat, Counter>::default();
        registry.register(
            "requests",
            "Requests that may be carried, by what they ask for",
            requests.clone(),
        );
        let refused = Family::<OfWhy, Counter>::default();
        registry.register(
            "requests_refused",
            "Requests that were not carried, by why",
            refused.clone(),
        );
        let answers = Family::<OfHow, Counter>::default();
        registry.register("answers", "Answers that began, by how they ended", answers.clone());
        for what in What::ALL {
            drop(requests.get_or_create(&OfWhat { what }));
        }
        for code in Refused::ALL {
            drop(refused.get_or_create(&OfWhy { code }));
        }
        for how in How::ALL {
            drop(answers.get_or_create(&OfHow { how }));
        }
        Arc::new(Self {
            connections,
            connections_refused,
            open,
            gateway_connections,
            gateway_failures,
            bytes_to_gateway,
            bytes_to_client,
            requests,
            refused,
            answers,
            registry,
        })
    }

    pub(crate) fn requested(&self, what: What) {
        self.requests.get_or_create(&OfWhat { what }).inc();
    }

    pub(crate) fn refused(&self, code: Refused) {
        self.refused.get_or_create(&OfWhy { code }).inc();
    }

    pub(crate) fn answered(&self, how: How) {
        self.answers.get_or_create(&OfHow { how }).inc();
    }

    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
