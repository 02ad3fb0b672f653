//! What stands in for a disk and for a counter, and who counts the signatures that left.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use hanzo_signer::{
    FreshnessError, FreshnessSource, Head, Network, Role, SecurityLevel, SignRequest, Signer, SignerError, SignerKey,
    Storage, Vote, verify,
};

pub const NETWORK: Network = Network::ai_chain(36964, [9; 32]);

pub fn key(n: u8) -> SignerKey {
    SignerKey::from_seed(SecurityLevel::MlDsa44, &[n; 32]).unwrap()
}

pub fn vote(view: u64, payload: u8) -> Vote {
    Vote {
        epoch: 0,
        view,
        parent: view.saturating_sub(1),
        payload: [payload; 32],
    }
}

pub fn notarize(view: u64, payload: u8) -> SignRequest {
    SignRequest::notarize(NETWORK, vote(view, payload))
}

/// What the next appends do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing unusual.
    None,
    /// The append after this many is written up to so many bytes, and the machine ends.
    Power { after: usize, bytes: usize },
    /// The compacted journal is staged up to so many bytes, and the machine ends.
    Stage { bytes: usize },
    /// The machine ends before the staged journal takes its place.
    BeforeAdopt,
    /// The machine ends right after it.
    AfterAdopt,
}

/// A disk that outlives signers.
#[derive(Clone)]
pub struct Disk {
    pub bytes: Arc<Mutex<Vec<u8>>>,
    pub staged: Arc<Mutex<Option<Vec<u8>>>>,
    pub fault: Arc<Mutex<Fault>>,
}

impl Disk {
    pub fn new() -> Self {
        Self::of(Vec::new())
    }

    pub fn of(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Arc::new(Mutex::new(bytes)),
            staged: Arc::new(Mutex::new(None)),
            fault: Arc::new(Mutex::new(Fault::None)),
        }
    }

    pub fn copy(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl Storage for Disk {
    fn read(&mut self, _: u64) -> io::Result<Vec<u8>> {
        Ok(self.copy())
    }

    fn append(&mut self, new: &[u8]) -> io::Result<()> {
        let mut fault = self.fault.lock().unwrap();
        let mut bytes = self.bytes.lock().unwrap();
        match *fault {
            Fault::Power { after: 0, bytes: n } => {
                bytes.extend_from_slice(&new[..n.min(new.len())]);
                Err(io::Error::other("power"))
            }
            Fault::Power { after, bytes: n } => {
                *fault = Fault::Power {
                    after: after - 1,
                    bytes: n,
                };
                bytes.extend_from_slice(new);
                Ok(())
            }
            _ => {
                bytes.extend_from_slice(new);
                Ok(())
            }
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn stage(&mut self, new: &[u8]) -> io::Result<()> {
        let mut staged = self.staged.lock().unwrap();
        match *self.fault.lock().unwrap() {
            Fault::Stage { bytes } => {
                *staged = Some(new[..bytes.min(new.len())].to_vec());
                Err(io::Error::other("power"))
            }
            _ => {
                *staged = Some(new.to_vec());
                Ok(())
            }
        }
    }

    fn staged(&mut self, _: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.staged.lock().unwrap().clone())
    }

    fn adopt(&mut self) -> io::Result<()> {
        let fault = *self.fault.lock().unwrap();
        if fault == Fault::BeforeAdopt {
            return Err(io::Error::other("power"));
        }
        *self.bytes.lock().unwrap() = self.staged.lock().unwrap().take().ok_or(io::ErrorKind::NotFound)?;
        match fault {
            Fault::AfterAdopt => Err(io::Error::other("power")),
            _ => Ok(()),
        }
    }
}

/// How a counter answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// As it should.
    Good,
    /// Requests do not arrive.
    Down,
    /// Requests arrive, replies do not.
    ReplyLost,
}

/// A compare-and-swap counter that outlives signers; each clone is a way to it.
#[derive(Clone)]
pub struct Counter {
    pub head: Arc<Mutex<Option<Head>>>,
    pub line: Arc<Mutex<Line>>,
}

impl Counter {
    pub fn new() -> Self {
        Self {
            head: Arc::new(Mutex::new(Some(Head::EMPTY))),
            line: Arc::new(Mutex::new(Line::Good)),
        }
    }

    fn down() -> FreshnessError {
        FreshnessError::Unreachable {
            via: "counter",
            cause: "the line is down".into(),
        }
    }
}

impl FreshnessSource for Counter {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        match *self.line.lock().unwrap() {
            Line::Good => self
                .head
                .lock()
                .unwrap()
                .ok_or(FreshnessError::Missing { via: "counter" }),
            Line::Down | Line::ReplyLost => Err(Self::down()),
        }
    }

    fn advance(&mut self, from: Head, to: Head) -> Result<(), FreshnessError> {
        let line = *self.line.lock().unwrap();
        if line == Line::Down {
            return Err(Self::down());
        }
        let mut head = self.head.lock().unwrap();
        if *head != Some(from) {
            return Err(FreshnessError::Moved {
                via: "counter",
                held: head.map_or(0, |head| head.count),
                from: from.count,
            });
        }
        *head = Some(to);
        match line {
            Line::ReplyLost => Err(Self::down()),
            _ => Ok(()),
        }
    }
}

pub type TestSigner = Signer<Disk, Counter>;

pub fn create(n: u8, disk: &Disk, counter: &Counter) -> Result<TestSigner, SignerError> {
    Signer::create(Role::Consensus, NETWORK, key(n), disk.clone(), counter.clone())
}

pub fn open(n: u8, disk: &Disk, counter: &Counter) -> Result<TestSigner, SignerError> {
    Signer::open(Role::Consensus, NETWORK, key(n), disk.clone(), counter.clone())
}

/// Every signature that left, by place. It panics at a second one.
#[derive(Default)]
pub struct Released(BTreeMap<(u8, u64, u64), (SignRequest, Arc<[u8]>)>);

impl Released {
    pub fn take<S: Storage, F: FreshnessSource>(
        &mut self,
        signer: &mut Signer<S, F>,
        request: &SignRequest,
    ) -> Result<Arc<[u8]>, SignerError> {
        let signature = signer.sign(request)?;
        verify(signer.public(), request, &signature).unwrap();
        let place = match request.subject {
            hanzo_signer::Subject::Notarize(vote) => (0, vote.epoch, vote.view),
            hanzo_signer::Subject::Finalize(vote) => (1, vote.epoch, vote.view),
            hanzo_signer::Subject::Nullify { epoch, view } => (1, epoch, view),
            _ => return Ok(signature),
        };
        let first = self
            .0
            .entry(place)
            .or_insert_with(|| (*request, Arc::clone(&signature)));
        assert_eq!(first.0, *request, "a second content was signed at {place:?}");
        assert_eq!(first.1, signature, "a second signature left at {place:?}");
        Ok(signature)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}
