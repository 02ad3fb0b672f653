//! Peers as counter: q of n peers hold the head, so that no rolled-back, cloned or forgetful minority matters.
//!
//! A signer first fences: it takes an incarnation greater than any that the peers know, and learns the heads that they hold; the
//! newest is that of the greatest incarnation, and of those the longest. Then it advances under its incarnation. A peer answers each
//! question with its state, signed, with the question's nonce; it gives each incarnation to one fencing and takes no head of an older
//! incarnation, nor within one incarnation a shorter head. (A head that reached a minority before its signer died counts less than
//! one that a later incarnation wrote: length alone would not tell them apart.)
//! q = n - floor((n-1)/3): two quorums share an honest peer if at most floor((n-1)/3) lie.

use hanzo_pqc::random;

use super::{FreshnessError, FreshnessSource, Head};
use crate::key::{PublicKey, SignerKey};

const VIA: &str = "peer quorum";
const DOMAIN: &str = "hanzo/signer-peer-answer/v1";

/// What a peer is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerStep {
    /// Serve this incarnation and none below.
    Fence,
    /// Hold this head.
    Advance(Head),
}

/// A question to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerQuestion {
    /// [`PublicKey::digest`] of the key whose journal it is.
    pub key: [u8; 32],
    /// Drawn for this question.
    pub nonce: [u8; 32],
    /// Of the signer.
    pub incarnation: u64,
    /// What to do.
    pub step: PeerStep,
}

/// A peer's state after a question, signed by the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAnswer {
    /// Newest incarnation that this peer serves.
    pub incarnation: u64,
    /// Whether the question was carried out.
    pub is_done: bool,
    /// The head that it holds.
    pub head: Head,
    /// The incarnation that wrote that head.
    pub written: u64,
    /// By the peer's key.
    pub signature: Vec<u8>,
}

impl PeerAnswer {
    /// key, nonce, incarnation, done, written, count, hash: 121 bytes.
    fn signed(question: &PeerQuestion, register: &PeerRegister, is_done: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(121);
        out.extend_from_slice(&question.key);
        out.extend_from_slice(&question.nonce);
        out.extend_from_slice(&register.incarnation.to_be_bytes());
        out.push(u8::from(is_done));
        out.extend_from_slice(&register.written.to_be_bytes());
        out.extend_from_slice(&register.head.count.to_be_bytes());
        out.extend_from_slice(&register.head.hash);
        out
    }

    fn register(&self) -> PeerRegister {
        PeerRegister {
            incarnation: self.incarnation,
            head: self.head,
            written: self.written,
        }
    }
}

/// What a peer holds for one key. Whoever serves it stores it before the answer leaves, and serves none whose state it lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRegister {
    /// Newest incarnation that was served; 0 before the first.
    pub incarnation: u64,
    /// The head.
    pub head: Head,
    /// The incarnation that wrote it.
    pub written: u64,
}

impl PeerRegister {
    /// Of a key that was just enrolled.
    pub fn enrolled() -> Self {
        Self {
            incarnation: 0,
            head: Head::EMPTY,
            written: 0,
        }
    }

    /// Carries a question out, or does not; whether it did.
    pub fn apply(&mut self, question: &PeerQuestion) -> bool {
        match question.step {
            PeerStep::Fence if question.incarnation > self.incarnation => {
                self.incarnation = question.incarnation;
                true
            }
            PeerStep::Advance(to) if question.incarnation == self.incarnation => {
                if (question.incarnation, to.count) > (self.written, self.head.count) {
                    (self.head, self.written) = (to, question.incarnation);
                }
                self.head == to
            }
            _ => false,
        }
    }

    /// The answer to a question that was carried out or not, signed with the peer's key.
    ///
    /// # Errors
    /// [`FreshnessError::Unreachable`] if the random generator fails.
    pub fn answer(
        &self,
        question: &PeerQuestion,
        is_done: bool,
        key: &SignerKey,
    ) -> Result<PeerAnswer, FreshnessError> {
        let signed = PeerAnswer::signed(question, self, is_done);
        let signature = key.sign(DOMAIN, &signed).map_err(crypto)?;
        Ok(PeerAnswer {
            incarnation: self.incarnation,
            is_done,
            head: self.head,
            written: self.written,
            signature,
        })
    }
}

fn crypto(error: hanzo_pqc::PqcError) -> FreshnessError {
    FreshnessError::Unreachable {
        via: VIA,
        cause: error.to_string(),
    }
}

/// The way to one peer.
pub trait Peer: Send {
    /// Asks, and returns the answer.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn ask(&mut self, question: &PeerQuestion) -> Result<PeerAnswer, String>;
}

/// The peers of one key.
pub struct PeerQuorum {
    key: [u8; 32],
    peers: Vec<(PublicKey, Box<dyn Peer>)>,
    incarnation: u64,
    fenced: Option<Head>,
}

impl PeerQuorum {
    /// Fewest peers: with fewer none may lie.
    pub const PEERS_MIN: usize = 4;

    /// The peers of the key `key`, which ask under `incarnation`: the number that the ledger gave this boot, greater than any before.
    ///
    /// # Errors
    /// [`FreshnessError::Setup`] for fewer than four peers, or one twice, or incarnation 0.
    pub fn new(
        key: &PublicKey,
        incarnation: u64,
        peers: Vec<(PublicKey, Box<dyn Peer>)>,
    ) -> Result<Self, FreshnessError> {
        let mut keys: Vec<_> = peers.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        let is_twice = keys.windows(2).any(|pair| pair.first() == pair.last());
        let rule = match (peers.len() < Self::PEERS_MIN, is_twice, incarnation) {
            (true, _, _) => "expected at least 4 peers",
            (_, true, _) => "one peer is listed twice",
            (_, _, 0) => "expected an incarnation of at least 1",
            _ => {
                return Ok(Self {
                    key: key.digest(),
                    peers,
                    incarnation,
                    fenced: None,
                });
            }
        };
        Err(FreshnessError::Setup { via: VIA, rule })
    }

    fn quorum(&self) -> usize {
        let n = self.peers.len();
        n - n.saturating_sub(1) / 3
    }

    /// Asks all; the verified answers of those that carried it out, if they are a quorum.
    fn all(&mut self, step: PeerStep) -> Result<Vec<PeerRegister>, FreshnessError> {
        let quorum = self.quorum();
        let (mut done, mut newest, mut causes) = (Vec::new(), None, Vec::new());
        let mut largest = 0;
        for (public, peer) in &mut self.peers {
            let mut nonce = [0; 32];
            random::fill(&mut nonce).map_err(crypto)?;
            let question = PeerQuestion {
                key: self.key,
                nonce,
                incarnation: self.incarnation,
                step,
            };
            let answer = match peer.ask(&question) {
                Ok(answer) => answer,
                Err(cause) => {
                    causes.push(cause);
                    continue;
                }
            };
            let signed = PeerAnswer::signed(&question, &answer.register(), answer.is_done);
            if let Err(error) = public.verify(DOMAIN, &signed, &answer.signature) {
                causes.push(error.to_string());
                continue;
            }
            largest = largest.max(answer.head.count);
            if !answer.is_done {
                newest = newest.max(Some(answer.incarnation));
            }
            if answer.is_done && answer.incarnation == self.incarnation {
                done.push(answer.register());
            }
        }
        if done.len() >= quorum {
            return Ok(done);
        }
        // An incarnation is given to one fencing: a second one finds it taken.
        let own = self.incarnation;
        let taken = own.saturating_add(u64::from(step != PeerStep::Fence));
        if let Some(newest) = newest.filter(|newest| *newest >= taken) {
            return Err(FreshnessError::Fenced { via: VIA, newest, own });
        }
        Err(FreshnessError::Unreachable {
            via: VIA,
            cause: format!(
                "{} of {} peers did it, expected {quorum} (greatest head {largest}): {}",
                done.len(),
                self.peers.len(),
                causes.join("; ")
            ),
        })
    }
}

impl FreshnessSource for PeerQuorum {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        if let Some(head) = self.fenced {
            return Ok(head);
        }
        let held = self.all(PeerStep::Fence)?;
        let newest = held.into_iter().max_by_key(|held| (held.written, held.head.count));
        let head = newest.map_or(Head::EMPTY, |held| held.head);
        self.fenced = Some(head);
        Ok(head)
    }

    fn advance(&mut self, from: Head, to: Head) -> Result<(), FreshnessError> {
        let held = self.newest()?;
        if held != from || to.count <= from.count {
            return Err(FreshnessError::Moved {
                via: VIA,
                held: held.count,
                from: from.count,
            });
        }
        // What fails here may have reached some peers: the next signer asks them.
        self.fenced = None;
        self.all(PeerStep::Advance(to))?;
        self.fenced = Some(to);
        Ok(())
    }
}
