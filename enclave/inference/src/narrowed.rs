//! What administrators narrowed: orders of the log, from the first on. Nothing here widens.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_attestation::name::Name;
use hanzo_verifier::callers::Caller;
use hanzo_verifier::order::{Action, Order};

/// All orders together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Narrowed {
    revoked: BTreeSet<Name>,
    lowered: BTreeMap<Name, Most>,
    unloaded: BTreeSet<Name>,
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

    pub(crate) fn serves(&self, model: &Name) -> bool {
        !self.unloaded.contains(model)
    }
}
