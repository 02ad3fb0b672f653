//! What a validator does now and then beside its engine: members of links, its own rotation, endorsements of others, what is missing,
//! reports of conflicting votes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commonware_p2p::{Blocker as _, Receiver as _, Recipients};
use hanzo_chain::PoolReject;
use hanzo_chain_links::{LOOKING, LinkReceiver, LinkSender, Network};
use hanzo_ledger::{Canonical, Reject};
use hanzo_signer::MiningWallet;

use crate::boot::Account;
use crate::config::{Config, Keys};
use crate::node::{House, Wallets, members};
use crate::rotate::{self, Registration, Rotation, registration};
use crate::serve::Asks;
use crate::snapshot::Fetch;

/// How often the state is looked at for members, rotation and what is missing.
const TICK: Duration = Duration::from_millis(250);
/// Ticks without a new block after which others are asked for newer ones.
const QUIET_TICKS: u32 = 5;
/// Ticks between two requests for endorsements.
const ASK_TICKS: u32 = 4;

/// Ticks without any link after which a key that the chain does not have is given up, to read the chain again.
const ALONE_TICKS: u32 = 60;
/// A block so young is the newest.
const NEWEST_MS: u64 = 3_000;

/// What is done now and then.
pub(crate) struct Watched<'a> {
    pub(crate) config: &'a Config,
    pub(crate) house: &'a House,
    pub(crate) links: &'a Network,
    pub(crate) asks: Asks,
    pub(crate) words: LinkSender,
    pub(crate) snapshots: LinkSender,
    pub(crate) fetch: Arc<Mutex<Fetch>>,
    pub(crate) transactions: LinkSender,
    pub(crate) account: &'a Account,
    pub(crate) registrar: Option<&'a MiningWallet>,
    pub(crate) possession: Option<(hanzo_ledger::MlDsaSignature, u64)>,
    pub(crate) rotation: Rotation,
    pub(crate) height: u64,
    pub(crate) quiet: u32,
    pub(crate) alone: u32,
    pub(crate) ticks: u32,
}

impl Watched<'_> {
    /// Until the chain wants another key of this validator.
    pub(crate) async fn watch(&mut self, mut told: LinkReceiver) -> u64 {
        let mut tick = tokio::time::interval(TICK);
        // What is counted in ticks is time that others had: no tick is made up for.
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if let Some(next) = self.tick() {
                        return next;
                    }
                }
                message = told.recv() => match message {
                    Ok((peer, message)) => self.told(peer, message.as_ref()),
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    fn tick(&mut self) -> Option<u64> {
        self.ticks = self.ticks.wrapping_add(1);
        let ledger = &self.house.ledger;
        let height = ledger.read(|state| state.head().height);
        match height == self.height {
            true => self.quiet = self.quiet.saturating_add(1),
            false => {
                (self.height, self.quiet) = (height, 0);
                self.links.set_members(ledger.read(members));
            }
        }
        if self.links.peers().is_empty() {
            // That nobody has newer blocks is told by those who were asked.
            self.quiet = 0;
        }
        let greeting = self.links.identity().greeting();
        let votes = self.house.progress.standing().votes;
        let behind = self.quiet >= QUIET_TICKS || (!votes && self.ticks.is_multiple_of(2));
        let fetching = self.fetch_state(behind);
        if !fetching && behind {
            self.ask_newer(height);
        }
        if greeting.keys.incarnation == LOOKING {
            return self.looked(fetching);
        }
        self.report();
        self.alone = match self.links.peers().is_empty() {
            true => self.alone.saturating_add(1),
            false => 0,
        };
        let standing = ledger.read(|state| registration(state, greeting));
        if standing != Registration::Done && self.alone >= ALONE_TICKS && self.bond().is_some() {
            // The chain may have moved on where nobody says so to a key of an old number.
            return Some(LOOKING);
        }
        match standing {
            Registration::Done => {}
            Registration::Nobody => self.rotate(),
            Registration::Past { next } => return Some(next),
            // Behind, or a boot that the chain never saw: known once nobody has newer blocks.
            Registration::Early { next }
                if self.quiet >= QUIET_TICKS.saturating_mul(4) && !self.links.peers().is_empty() =>
            {
                return Some(next);
            }
            Registration::Early { .. } => {}
            Registration::Next => self.rotate(),
        }
        None
    }

    /// What an account is to put at stake that registers itself; none for one that is registered by hand.
    fn bond(&self) -> Option<Option<u128>> {
        match self.config.keys {
            Keys::Given { bond, .. } => Some(bond),
            Keys::Files { .. } => None,
        }
    }

    /// The number that the chain wants for the next key, once this ledger is where the chain is.
    fn looked(&self, fetching: bool) -> Option<u64> {
        let quiet = self.quiet >= QUIET_TICKS.saturating_mul(4) && !self.links.peers().is_empty();
        self.house.ledger.read(|state| {
            let head = state.head();
            let interval = state.genesis().params.block_interval_ms;
            let newest = u128::from(head.time_ms.saturating_add(interval.saturating_mul(4).max(NEWEST_MS)));
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis();
            let there = !fetching && (quiet || (head.height > 0 && newest >= now));
            let last = state
                .validator(&self.account.address())
                .map_or(0, |held| held.incarnation);
            there.then(|| last.saturating_add(1))
        })
    }

    /// Asks for a state, if this ledger may be far behind; whether one is on its way.
    fn fetch_state(&self, behind: bool) -> bool {
        let peers: Vec<_> = self.links.peers().into_iter().map(|peer| peer.key).collect();
        // Busy: it is putting something together right now.
        let Ok(mut fetch) = self.fetch.try_lock().or_else(|e| match e {
            std::sync::TryLockError::Poisoned(held) => Ok(PoisonError::into_inner(held)),
            std::sync::TryLockError::WouldBlock => Err(()),
        }) else {
            return true;
        };
        if let Some((peer, question)) = fetch.tick(&peers, behind) {
            self.snapshots.tell(&Recipients::One(peer), question.to_bytes());
        }
        fetch.is_under_way()
    }

    fn ask_newer(&self, height: u64) {
        let peers = self.links.peers();
        let turn = usize::try_from(self.ticks)
            .unwrap_or(0)
            .checked_rem(peers.len())
            .unwrap_or(0);
        if let Some(peer) = peers.get(turn) {
            self.asks.ask(&peer.key, height.saturating_add(1));
        }
    }

    fn rotate(&mut self) {
        if !self.ticks.is_multiple_of(ASK_TICKS) {
            return;
        }
        let Some((possession, incarnation)) = &self.possession else {
            return;
        };
        let greeting = self.links.identity().greeting();
        let bond = self.bond();
        let made = self.house.ledger.read(|state| {
            let me = self.account.address();
            let bond = match (state.validator(&me), bond) {
                (Some(_), _) => None,
                // By hand, or with what it does not have yet.
                (None, None) => return Err(()),
                (None, Some(bond)) => Some(rotate::stake(state, &me, bond).ok_or(())?),
            };
            let key = (possession, *incarnation);
            let Some(tx) = self.rotation.transaction(state, greeting, key, bond, self.account) else {
                return Ok(None);
            };
            let _ = self.house.pool.submit(tx.clone(), state);
            Ok(Some(tx))
        });
        match made {
            Err(()) => {}
            Ok(Some(tx)) => {
                self.transactions.tell(&Recipients::All, tx.to_bytes());
            }
            Ok(None) => {
                self.words.tell(&Recipients::All, rotate::Message::Ask.to_bytes());
            }
        }
    }

    /// Hands in reports of conflicting votes whose turn it is.
    fn report(&self) {
        let heard = &self.house.heard;
        if !self.ticks.is_multiple_of(ASK_TICKS) || heard.reports().is_empty() {
            return;
        }
        let (ledger, me) = (&self.house.ledger, self.account.public());
        let due = ledger.read(|state| heard.reports().due(state, me));
        for tx in due {
            // A signer of its own: a report that another validator's came before is never included, and its nonce is used again.
            let account = Wallets::open(self.config).and_then(|wallets| Account::open(wallets.account, tx.network));
            match account.map(|account| account.transaction(tx)) {
                Ok(Some(tx)) => heard.reports().signed(tx),
                Ok(None) => {}
                Err(error) => tracing::warn!("a report of conflicting votes is not signed: {error}"),
            }
        }
        let ready = heard.reports().ready();
        for tx in ready {
            match ledger.read(|state| self.house.pool.submit(tx.clone(), state)) {
                Ok(id) => tracing::warn!(%id, "conflicting votes: reported to the chain"),
                Err(PoolReject::Reject(why)) if !matches!(why, Reject::Nonce { .. }) => {
                    tracing::warn!(code = why.code(), "a report of conflicting votes is dropped: {why}");
                    heard.reports().refused(&tx);
                    continue;
                }
                Err(_) => {}
            }
            self.transactions.tell(&Recipients::All, tx.to_bytes());
        }
    }

    fn told(&mut self, peer: hanzo_chain::ValidatorKey, message: &[u8]) {
        let ledger = &self.house.ledger;
        match rotate::Message::from_bytes("endorsement", message, rotate::MESSAGE_BYTES_MAX) {
            Ok(rotate::Message::Ask) => {
                let (Some(registrar), Some(asking)) = (self.registrar, self.links.peer(&peer)) else {
                    return;
                };
                if let Some(word) = ledger.read(|state| rotate::endorse(registrar, state, &asking)) {
                    tracing::info!(account = %asking.account(), incarnation = word.incarnation, "endorsed a key");
                    let word = rotate::Message::Word(Box::new(word)).to_bytes();
                    self.words.tell(&Recipients::One(peer), word);
                }
            }
            Ok(rotate::Message::Word(word)) => {
                let greeting = self.links.identity().greeting();
                let good = ledger.read(|state| self.rotation.hear(state, greeting, &word));
                if !good {
                    tracing::debug!(%peer, "an endorsement that does not verify");
                }
            }
            Err(error) => {
                tracing::warn!(%peer, code = error.code(), "peer blocked: {error}");
                let _ = self.links.blocker().block(peer);
            }
        }
    }
}
