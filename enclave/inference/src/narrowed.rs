//! What administrators narrowed: orders of the log, from the first on. Nothing here widens what the configuration says.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_attestation::UnixTime;
use hanzo_attestation::name::Name;
use hanzo_verifier::callers::Caller;
use hanzo_verifier::order::{Action, Order};

/// All orders together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Narrowed {
    revoked: BTreeSet<Name>,
    lowered: BTreeMap<Name, Most>,
    unloaded: BTreeSet<Name>,
    /// Until when; 0: until it is let again.
    put_out: BTreeMap<Name, u64>,
}

/// How orders leave a model of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Served,
    Unloaded,
    /// For so many seconds, 1 or more; `None`: until it is let again.
    PutOut(Option<u64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Most {
    concurrent_requests: u32,
    requests_per_min: u64,
    tokens_per_min: u64,
}

impl Narrowed {
    pub(crate) fn by<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Self {
        let mut all = Self::default();
        for order in orders {
            all.narrow(order);
        }
        all
    }

    pub(crate) fn narrow(&mut self, order: &Order) {
        match &order.action {
            Action::RevokeCaller { id } => {
                self.revoked.insert(id.clone());
            }
            Action::UnloadModel { model } => {
                self.unloaded.insert(model.clone());
            }
            Action::PutOut { model, until } => {
                self.put_out.insert(model.clone(), *until);
            }
            Action::Load { model } => {
                self.put_out.remove(model);
            }
            Action::LowerCaller {
                concurrent_requests,
                id,
                requests_per_min,
                tokens_per_min,
            } => {
                let most = self.lowered.entry(id.clone()).or_insert(Most {
                    concurrent_requests: u32::MAX,
                    requests_per_min: u64::MAX,
                    tokens_per_min: u64::MAX,
                });
                most.concurrent_requests = most.concurrent_requests.min(*concurrent_requests);
                most.requests_per_min = most.requests_per_min.min(*requests_per_min);
                most.tokens_per_min = most.tokens_per_min.min(*tokens_per_min);
            }
        }
    }

    /// What is left to a caller; `None`: nothing.
    pub(crate) fn left(&self, caller: &Caller) -> Option<Caller> {
        if self.revoked.contains(&caller.id) {
            return None;
        }
        let mut left = caller.clone();
        if let Some(most) = self.lowered.get(&caller.id) {
            left.concurrent_requests = left.concurrent_requests.min(most.concurrent_requests);
            left.requests_per_min = left.requests_per_min.min(most.requests_per_min);
            left.tokens_per_min = left.tokens_per_min.min(most.tokens_per_min);
        }
        Some(left)
    }

    pub(crate) fn standing(&self, model: &Name, now: UnixTime) -> Standing {
        if self.unloaded.contains(model) {
            return Standing::Unloaded;
        }
        match self.put_out.get(model).copied() {
            None => Standing::Served,
            Some(0) => Standing::PutOut(None),
            Some(until) => match until.saturating_sub(now.0) {
                0 => Standing::Served,
                left => Standing::PutOut(Some(left)),
            },
        }
    }
}
