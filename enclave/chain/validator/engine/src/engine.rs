//! A validator: the engine, its application and their networks put together.

use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use commonware_consensus::simplex::config::{Config, Floor, ForwardPolicy, SkipBudget, SkipPolicy};
use commonware_consensus::simplex::elector::{Config as ElectorConfig, RoundRobin};
use commonware_consensus::simplex::{Engine, max_payload_size};
use commonware_consensus::types::{Epoch, ViewDelta};
use commonware_p2p::{Blocker, Receiver, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage};
use commonware_utils::NonZeroDuration;
use commonware_utils::channel::mpsc;
use hanzo_chain_types::{COMMITTEE_MAX, ConfigError, ConsensusConfig, ConsensusMode, SetError};
use hanzo_ledger::PublicKey;
use rand_core::CryptoRng;

use crate::BlockId;
use crate::epochs::{EpochStart, Outcome, Progress};
use crate::final_blocks::FinalBlocks;
use crate::held::{HOLD, Held};
use crate::keys::ValidatorKey;
use crate::node::{Actor, Halt, Mailbox, Setup};
use crate::pool::Pool;
use crate::scheme::Scheme;
use crate::voting::VoteSigner;

/// Why a validator did not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its mode.
    #[error("chain: mode: expected embedded, got rpc {endpoint}: a validator runs the engine itself")]
    Mode {
        /// The node that would be asked.
        endpoint: String,
    },
    /// The state names a committee that is none.
    #[error(transparent)]
    Committee(#[from] SetError),
    /// The state names nobody.
    #[error("chain: epoch {epoch}: the state names nobody who votes in it: the chain ends there")]
    Nobody {
        /// Which.
        epoch: u64,
    },
    /// Its key.
    #[error("chain: validator set {set}: this validator's key is not in it: it does not vote in this epoch")]
    Stranger {
        /// Digest of the set.
        set: hanzo_attestation::Digest256,
    },
    /// It ran, and cannot go on.
    #[error(transparent)]
    Halted(Arc<Halt>),
}

impl StartError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(e) => e.code(),
            Self::Mode { .. } => "chain.mode",
            Self::Committee(e) => e.code(),
            Self::Nobody { .. } => "chain.nobody",
            Self::Stranger { .. } => "chain.stranger",
            Self::Halted(e) => e.code(),
        }
    }
}

/// Who a validator is and what it keeps.
#[derive(Clone)]
pub struct Validator<L, B> {
    /// Parameters of the network.
    pub config: ConsensusConfig,
    /// This validator's key.
    pub key: PublicKey,
    /// Casts its votes.
    pub signer: Arc<dyn VoteSigner>,
    /// Where final blocks go. Its state says which epoch comes next and who votes in it. Others may bring it on.
    pub ledger: L,
    /// What it proposes.
    pub pool: Arc<Pool>,
    /// Says what it is doing.
    pub progress: Progress,
    /// Shuts out peers that break the protocol.
    pub blocker: B,
    /// Name of its files in the runtime's storage: letters, digits, `-` and `_`. Another one for another key.
    pub partition: String,
}

/// Networks of a validator. Peers are authenticated as the keys of the set.
pub struct Links<S, R> {
    /// Votes.
    pub votes: (S, R),
    /// Certificates.
    pub certificates: (S, R),
    /// Certificates that are asked for, and answers.
    pub resolver: (S, R),
    /// Blocks; messages of up to [`crate::MESSAGE_BYTES_MAX`].
    pub blocks: (S, R),
}

/// A validator that runs.
pub struct Running {
    /// Its epoch.
    pub epoch: u64,
    /// Ends when it does.
    pub handle: Handle<Outcome>,
}

/// The AI chain's consensus engine.
pub struct ConsensusEngine;

impl ConsensusEngine {
    /// Longest message on the networks of votes, certificates and the resolver, in bytes.
    pub fn message_bytes_max() -> usize {
        max_payload_size::<Scheme, BlockId>(u32::try_from(COMMITTEE_MAX).unwrap_or(u32::MAX))
    }

    /// Starts a validator in the epoch of its ledger's next block; leaders take turns. It ends with its epoch.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start<E, L, B, S, R>(
        context: E,
        validator: Validator<L, B>,
        links: Links<S, R>,
    ) -> Result<Running, StartError>
    where
        E: Clock + CryptoRng + Spawner + Storage + Metrics,
        L: FinalBlocks,
        B: Blocker<PublicKey = ValidatorKey>,
        S: Sender<PublicKey = ValidatorKey>,
        R: Receiver<PublicKey = ValidatorKey>,
    {
        Self::start_with(context, validator, links, <RoundRobin>::default())
    }

    /// As [`ConsensusEngine::start`], with another order of leaders. All validators must have the same.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start_with<E, L, B, S, R, O>(
        context: E,
        validator: Validator<L, B>,
        links: Links<S, R>,
        leaders: O,
    ) -> Result<Running, StartError>
    where
        E: Clock + CryptoRng + Spawner + Storage + Metrics,
        L: FinalBlocks,
        B: Blocker<PublicKey = ValidatorKey>,
        S: Sender<PublicKey = ValidatorKey>,
        R: Receiver<PublicKey = ValidatorKey>,
        O: ElectorConfig<Scheme>,
    {
        let config = &validator.config;
        let state = validator.ledger.state();
        config.check(state.genesis())?;
        if let ConsensusMode::Rpc { endpoint } = &config.mode {
            let endpoint = endpoint.clone();
            return Err(StartError::Mode { endpoint });
        }
        let EpochStart {
            epoch,
            floor,
            last,
            set,
        } = EpochStart::after(&state)?;
        let set = set.ok_or(StartError::Nobody { epoch })?;
        let partition = format!("{}-{epoch}", validator.partition);
        let stranger = StartError::Stranger { set: set.digest() };
        let place = set.position(&validator.key).ok_or(stranger.clone())?;
        let account = set.validators().get(place).ok_or(stranger.clone())?.id;
        let network = *state.network();
        let signer = Arc::clone(&validator.signer);
        let scheme = Scheme::signer(network, set, &validator.key, signer).ok_or(stranger)?;
        let floor = commonware_cryptography::sha256::Digest(floor.0);
        let ms = Duration::from_millis;
        let (sender, receiver) = mpsc::unbounded_channel();
        let mailbox = Mailbox(sender);
        let engine = Engine::new(
            context.child("engine"),
            Config {
                scheme: scheme.clone(),
                elector: leaders,
                blocker: validator.blocker.clone(),
                automaton: mailbox.clone(),
                relay: mailbox.clone(),
                reporter: mailbox.clone(),
                track_historical_votes: false,
                strategy: Sequential,
                partition: format!("{partition}-votes"),
                mailbox_size: NonZeroUsize::MIN.saturating_add(1023),
                epoch: Epoch::new(epoch),
                floor: Floor::Genesis(floor),
                replay_buffer: NonZeroUsize::MIN.saturating_add(0xf_ffff),
                write_buffer: NonZeroUsize::MIN.saturating_add(0xf_ffff),
                page_cache: CacheRef::new(
                    NonZeroU16::MIN.saturating_add(4083),
                    NonZeroUsize::MIN.saturating_add(15),
                ),
                leader_timeout: ms(config.leader_timeout_ms),
                certification_timeout: ms(config.certification_timeout_ms),
                timeout_retry: ms(config.retry_ms),
                view_retention: ViewDelta::new(64),
                skip: SkipPolicy::Enabled {
                    timeout: ms(config.certification_timeout_ms.saturating_mul(8)),
                    budget: SkipBudget::Participants,
                },
                fetch_timeout: NonZeroDuration::new_panic(ms(1000)),
                fetch_retry_delay: ms(100),
                forward: ForwardPolicy::SilentVoters,
            },
        );
        let setup = Setup {
            scheme,
            config: validator.config,
            me: (place, account),
            ledger: validator.ledger,
            blocker: validator.blocker,
            pool: validator.pool,
            progress: validator.progress,
            last,
            partition,
        };
        let (block_sender, block_receiver) = links.blocks;
        let actor = Actor::new(context.child("application"), setup, block_sender);
        let handle = context.spawn(move |context| async move {
            let application = context.child("application_loop").spawn(move |_| async move {
                match actor.run(receiver, block_receiver).await {
                    Ok(outcome) => outcome,
                    Err(halt) => {
                        tracing::error!(code = halt.code(), "validator stopped: {halt}");
                        Outcome::Halted(halt)
                    }
                }
            });
            let (sender, receiver) = links.certificates;
            let (certificates, mut held) = Held::start(context.child("certificates"), sender);
            let mut engine = engine.start(links.votes, (certificates, receiver), links.resolver);
            let mut application = application;
            commonware_macros::select! {
                _ = &mut engine => {
                    application.abort();
                    Outcome::Stopped
                },
                outcome = &mut application => {
                    engine.abort();
                    // Others may need the certificate of the epoch's last block.
                    commonware_macros::select! {
                        _ = &mut held => {},
                        _ = context.sleep(HOLD.saturating_mul(20)) => {},
                    }
                    outcome.unwrap_or(Outcome::Stopped)
                },
            }
        });
        Ok(Running { epoch, handle })
    }
}
