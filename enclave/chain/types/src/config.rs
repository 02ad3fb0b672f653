//! Parameters of a network's consensus.

use hanzo_ledger::{Genesis, MAINNET, TESTNET};

/// Where a node's blocks come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsensusMode {
    /// The engine runs in this process.
    Embedded,
    /// Another node is asked; what it says is verified against the validator set.
    Rpc {
        /// Where it listens.
        endpoint: String,
    },
}

/// Parameters of a network's consensus. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// Number of the network.
    pub network_id: u64,
    /// Where blocks come from.
    pub mode: ConsensusMode,
    /// Least time from a block to the next, by their headers: a rule of validity, not a pause.
    pub block_interval_ms: u64,
    /// How far ahead of a voter's clock a header may be.
    pub clock_ahead_ms: u64,
    /// How long a view waits for its leader's proposal.
    pub leader_timeout_ms: u64,
    /// How long a view waits for a certificate, from its start.
    pub certification_timeout_ms: u64,
    /// After which a vote to give a view up is sent again.
    pub retry_ms: u64,
}

/// A configuration that cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value out of its bounds.
    #[error("consensus: {field}: expected {expected}, got {got}")]
    Value {
        /// Which.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: u64,
    },
}

impl ConfigError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        "chain.config"
    }
}

impl ConsensusConfig {
    /// Least time between blocks in milliseconds, on the main and the test network.
    pub const BLOCK_INTERVAL_MS: u64 = 500;

    /// The main network, 36963: 20 validators, 14 votes, two rounds, 500 ms from block to block.
    pub fn ai_chain_mainnet() -> Self {
        Self::of(MAINNET)
    }

    /// The test network, 36964: the same rules.
    pub fn ai_chain_testnet() -> Self {
        Self::of(TESTNET)
    }

    fn of(network_id: u64) -> Self {
        Self {
            network_id,
            mode: ConsensusMode::Embedded,
            block_interval_ms: Self::BLOCK_INTERVAL_MS,
            clock_ahead_ms: 500,
            leader_timeout_ms: 1_000,
            certification_timeout_ms: 1_500,
            retry_ms: 2_000,
        }
    }

    /// Holds the values against each other and against the chain's genesis.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self, genesis: &Genesis) -> Result<(), ConfigError> {
        let (interval, minute) = (self.block_interval_ms, 60_000);
        let real = [MAINNET, TESTNET].contains(&self.network_id);
        let least = if real { Self::BLOCK_INTERVAL_MS } else { 1 };
        // A leader may have to wait for a whole interval before the time of its block has come.
        let leader = interval.saturating_add(1);
        let certification = self.leader_timeout_ms.saturating_add(1);
        let bounds = [
            ("network_id", self.network_id, genesis.id, genesis.id),
            ("block_interval_ms", interval, least, minute),
            (
                "block_interval_ms",
                interval,
                genesis.params.block_interval_ms,
                genesis.params.block_interval_ms,
            ),
            ("clock_ahead_ms", self.clock_ahead_ms, 0, minute),
            ("leader_timeout_ms", self.leader_timeout_ms, leader, minute),
            (
                "certification_timeout_ms",
                self.certification_timeout_ms,
                certification,
                minute,
            ),
            ("retry_ms", self.retry_ms, 1, minute),
        ];
        for (field, got, low, high) in bounds {
            if !(low..=high).contains(&got) {
                let expected = match low == high {
                    true => format!("{low}, as the genesis says"),
                    false => format!("{low} to {high}"),
                };
                return Err(ConfigError::Value { field, expected, got });
            }
        }
        Ok(())
    }
}
