//! What is in force: listening sockets, routes and pools of one configuration. A reload makes a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use socket2::Socket as Raw;

use crate::address::Address;
use crate::config::Config;
use crate::error::ProxyError;
use crate::pool::Pool;
use crate::route::Door;
use crate::socket::{bind, bound_address};

/// A configured address and the sockets that listen there.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    /// As configured; what a successor asks by.
    pub(crate) asked: Address,
    pub(crate) sockets: Arc<Vec<Raw>>,
    pub(crate) door: Arc<Door>,
}

impl Entrance {
    pub(crate) fn bound(&self) -> Address {
        let first = self.sockets.first();
        first.map_or(self.asked, |socket| bound_address(socket, &self.asked))
    }
}

/// Why no entrance is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// Open connections go on, new ones go nowhere.
    Draining,
    /// Open connections go on, new ones go to a successor that has the same sockets.
    HandedOver,
}

/// What is in force.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) config: Arc<Config>,
    pub(crate) pools: BTreeMap<String, Arc<Pool>>,
    pub(crate) entrances: Vec<Entrance>,
}

impl State {
    /// Sockets of `before` and of a predecessor are used again, others are bound.
    pub(crate) fn build(
        config: Config,
        before: Option<&Self>,
        mut inherited: BTreeMap<String, Vec<Raw>>,
    ) -> Result<Arc<Self>, ProxyError> {
        let known = |name: &str| before.and_then(|b| b.pools.get(name)).map(Arc::as_ref);
        let pools: BTreeMap<_, _> = config
            .pools
            .iter()
            .map(|(name, pool)| (name.clone(), Pool::new(name, pool.clone(), known(name))))
            .collect();
        let mut entrances = Vec::new();
        for listen in &config.listeners {
            let asked = listen.address;
            let listening = before.and_then(|b| b.entrances.iter().find(|e| e.asked == asked));
            let sockets = match (listening, inherited.remove(&asked.to_string())) {
                (Some(entrance), _) => entrance.sockets.clone(),
                (None, Some(sockets)) if !sockets.is_empty() => Arc::new(sockets),
                _ => Arc::new(bind(&asked, config.workers).map_err(|e| ProxyError::listen(asked, e))?),
            };
            let door = Door::new(listen, &config, &pools)
                .ok_or_else(|| ProxyError::value("listen", "pools that exist", "another"))?;
            entrances.push(Entrance { asked, sockets, door });
        }
        Ok(Arc::new(Self {
            phase: Phase::Serving,
            config: Arc::new(config),
            pools,
            entrances,
        }))
    }

    /// The same without entrances.
    pub(crate) fn closed(&self, phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            phase,
            config: self.config.clone(),
            pools: self.pools.clone(),
            entrances: Vec::new(),
        })
    }
}
