//! The key broker as counter: a lease of the journal's head, moved by compare-and-swap.
//!
//! The messages are those of the broker's fence (`hanzo_kbs_protocol::heads`): the lease names one writer by a token that only
//! grows, every reply answers a nonce and carries a MAC under the lease's key. Who connects is the caller's matter.

use hanzo_attestation::{Digest256, Nonce};
use hanzo_kbs_protocol::heads::{HeadError, HeldLease, StoreHead};
use hanzo_pqc::random;

use super::{FreshnessError, FreshnessSource, Head};

const VIA: &str = "key broker";

/// One request to the broker's place of heads, and its reply.
pub trait HeadExchange: Send {
    /// Sends `body` and returns what came back.
    ///
    /// # Errors
    /// What went wrong, in words; also every refusal of the broker.
    fn exchange(&mut self, body: Vec<u8>) -> Result<Vec<u8>, String>;
}

/// A lease of one journal's head.
pub struct KbsCounter<X> {
    lease: HeldLease,
    exchange: X,
    lease_s: u64,
}

impl<X: HeadExchange> KbsCounter<X> {
    /// Goes on with a lease that an attested session acquired; each request extends it by `lease_s` seconds.
    pub fn new(lease: HeldLease, exchange: X, lease_s: u64) -> Self {
        Self {
            lease,
            exchange,
            lease_s,
        }
    }

    /// Stays the writer while nothing is signed.
    ///
    /// # Errors
    /// [`FreshnessError::Unreachable`].
    pub fn renew(&mut self) -> Result<Head, FreshnessError> {
        let nonce = nonce()?;
        let body = self.lease.renew_body(self.lease_s, nonce).map_err(wrong)?;
        self.ask(body, &nonce)
    }

    fn ask(&mut self, body: Vec<u8>, nonce: &Nonce) -> Result<Head, FreshnessError> {
        let reply = self
            .exchange
            .exchange(body)
            .map_err(|cause| FreshnessError::Unreachable { via: VIA, cause })?;
        let state = self.lease.answered(&reply, nonce).map_err(wrong)?;
        Ok(Head {
            count: state.head.size,
            hash: state.head.root.0,
        })
    }
}

fn nonce() -> Result<Nonce, FreshnessError> {
    let mut nonce = [0; 32];
    random::fill(&mut nonce).map_err(|e| FreshnessError::Unreachable {
        via: VIA,
        cause: e.to_string(),
    })?;
    Ok(Nonce(nonce))
}

fn wrong(source: HeadError) -> FreshnessError {
    FreshnessError::Unreachable {
        via: VIA,
        cause: source.to_string(),
    }
}

fn store_head(head: Head) -> StoreHead {
    StoreHead {
        root: Digest256(head.hash),
        size: head.count,
    }
}

impl<X: HeadExchange> FreshnessSource for KbsCounter<X> {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        self.renew()
    }

    fn advance(&mut self, from: Head, to: Head) -> Result<(), FreshnessError> {
        let held = self.lease.state().head;
        let moved = |held: u64| FreshnessError::Moved {
            via: VIA,
            held,
            from: from.count,
        };
        if held != store_head(from) {
            return Err(moved(held.size));
        }
        let nonce = nonce()?;
        let body = self
            .lease
            .advance_body(store_head(to), self.lease_s, nonce)
            .map_err(wrong)?;
        match self.ask(body, &nonce)? {
            now if now == to => Ok(()),
            now => Err(moved(now.count)),
        }
    }
}
