//! Who may have a link: the chain's validators, and the candidates that this validator's own configuration names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hanzo_attestation::Digest256;
use hanzo_ledger::{Address, Fixed, key_digest};

use crate::greeting::{LOOKING, Registered};
use crate::network::{Network, PeerAddress, State};

/// What stands for the key of an account that the chain has none of.
const NO_KEY: Registered = Registered {
    incarnation: LOOKING,
    key: Digest256([0; 32]),
};

impl State {
    /// The key that a validator has on the chain; none at all for whoever may have no link.
    pub(crate) fn registered(&self, account: &Address) -> Option<Registered> {
        let candidate = || self.candidates.contains(account).then_some(NO_KEY);
        self.members.get(account).copied().or_else(candidate)
    }

    fn close_those_that_do_not_fit(&mut self) {
        let (members, candidates) = (&self.members, &self.candidates);
        self.live.retain(|account, live| {
            let keys = &live.peer.greeting.keys;
            match members.get(account) {
                _ if keys.incarnation == LOOKING => members.contains_key(account) || candidates.contains(account),
                None => candidates.contains(account),
                Some(now) if now.incarnation == keys.incarnation => now.key == keys.key_digest(),
                Some(now) => now.incarnation < keys.incarnation,
            }
        });
    }
}

impl Network {
    /// Says which validators the chain has, with the key of each. Connections that no longer fit are closed.
    pub fn set_members(&self, members: BTreeMap<Address, Registered>) {
        let mut state = self.0.state();
        state.members = members;
        state.close_those_that_do_not_fit();
    }

    /// Says whom this validator's operator wants to have a link with before the chain has it. Connections that no longer fit are closed.
    ///
    /// A candidate is judged as anybody else: its account's signature, its evidence, the channel.
    pub fn set_candidates(&self, candidates: BTreeSet<Address>) {
        let mut state = self.0.state();
        state.candidates = candidates;
        state.close_those_that_do_not_fit();
    }

    /// Members that are kept away with the key that they have now.
    pub fn blocked(&self) -> BTreeSet<Address> {
        let state = self.0.state();
        let keys = state.blocked.iter().filter_map(|key| Fixed::new(key));
        let digests: BTreeSet<_> = keys.map(|key| key_digest(&key)).collect();
        let away = state.members.iter().filter(|(_, member)| digests.contains(&member.key));
        away.map(|(account, _)| *account).collect()
    }

    /// Dials one more peer until it is dropped, if this validator is the one that dials.
    pub async fn dial(self, peer: PeerAddress) {
        if self.0.me() < peer.account {
            Arc::clone(&self.0).dial(peer).await;
        }
    }
}
