//! Numbers for whoever watches a node: OpenMetrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::{Failure, Node, views};

type Number = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// One of the crate's own names.
    method: &'static str,
    outcome: &'static str,
}

pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<Outcome, Counter>,
    pub(crate) refused: Counter,
    pub(crate) streams: Gauge,
    height: Number,
    certified: Number,
    epoch: Number,
    view: Number,
    time: Number,
    validators: Number,
    votes: Number,
    peers: Number,
    pending: Number,
    faults: Number,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("hanzo_chain");
        let mut number = |name: &str, help: &str| {
            let gauge = Number::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let height = number("height", "Height of the newest final block here");
        let certified = number("certified_height", "Height of the newest block with a certificate here");
        let epoch = number("epoch", "Epoch of the newest block");
        let view = number("view", "View of the engine");
        let time = number("block_time_seconds", "Time of the newest block, Unix seconds");
        let validators = number("validators", "Validators that are active");
        let votes = number("votes", "1 if this node votes in this epoch");
        let peers = number("peers_connected", "Peers with an attested link");
        let pending = number("pending_transactions", "Transactions that wait");
        let faults = number("faults_seen", "Conflicting votes of others that were seen");
        let (calls, refused, streams) = (Family::default(), Counter::default(), Gauge::default());
        let text = "Calls by method and outcome";
        registry.register("rpc_calls", text, Family::clone(&calls));
        let text = "Requests that were turned away before they were read";
        registry.register("rpc_refused", text, refused.clone());
        registry.register("rpc_streams", "Streams of blocks that are open", streams.clone());
        Self {
            registry,
            calls,
            refused,
            streams,
            height,
            certified,
            epoch,
            view,
            time,
            validators,
            votes,
            peers,
            pending,
            faults,
        }
    }

    pub(crate) fn called(&self, method: &str, outcome: &Result<(), Failure>) {
        let known = crate::calls::METHODS.iter().find(|known| **known == method);
        let method = known.copied().unwrap_or("other");
        let outcome = match outcome {
            Ok(()) => "done",
            Err(failure) if failure.number == -32603 => "failed",
            Err(_) => "refused",
        };
        self.calls.get_or_create(&Outcome { method, outcome }).inc();
    }

    /// The text, after asking the node.
    pub(crate) fn text(&self, node: &dyn Node) -> Result<String, Failure> {
        let status = views::status(node)?;
        self.height.set(status.height);
        self.certified.set(status.certified.unwrap_or(0));
        self.epoch.set(status.epoch);
        self.view.set(status.node.view);
        self.time.set(status.time_ms / 1000);
        self.validators.set(u64::from(status.validators));
        self.votes.set(u64::from(status.node.votes));
        self.peers
            .set(status.node.peers.iter().filter(|p| p.connected).count() as u64);
        self.pending.set(status.node.pending);
        self.faults.set(status.node.faults);
        let mut text = String::new();
        let written = encode(&mut text, &self.registry);
        written.map_err(|e| Failure::new(-32603, "rpc.metrics", e.to_string()))?;
        Ok(text)
    }
}
