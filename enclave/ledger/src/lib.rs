//! The AI chain's ledger: who has what, what work is paid and against which evidence. A pure state machine: bytes and a state in,
//! a state or a typed refusal out.
//!
//! [`SignedTx::verify`] checks every signature in a transaction against the state of the block before; [`State::apply`] runs the
//! [`VerifiedBlock`] they make and shows what it leads to ([`Applied`]); [`State::commit`] goes there. [`State::propose`] makes
//! blocks. [`State::prove`] shows one entry, or that there is none, to whoever knows the root.
//!
//! Amounts are u128 base units. Rewards move from the pool, nothing is minted: pool, treasury, accounts, escrows and deposits make
//! the maximum supply at every block. Each receipt, delivery and epoch is paid once, in constant space ([`Window`]).
//!
//! Validators put money at stake and register consensus keys, each with the next number; the committee of an epoch is fixed a whole
//! epoch before ([`State::committee`]). Whoever shows two conflicting votes of a key takes part of its stake.
//!
//! What it never does: read a clock (time is the block's), draw randomness, touch a file, count in fractions, iterate over
//! anything unsorted, apply half of a block. Who may make blocks and when they are final is for the chain above.
//!
//! # Does not establish
//! That an answer was wanted by anybody but its miner. Whoever pays himself gets back at most what the fee gave to the pool.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(
    clippy::result_large_err,
    reason = "a refusal says what was expected and what came; it is not the fast path"
)]
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        reason = "tests stop at the first surprise"
    )
)]

mod apply;
mod block;
pub mod claim;
mod codec;
mod entry;
mod error;
mod genesis;
mod network;
mod proof;
pub mod snapshot;
mod state;
mod supply;
mod tree;
mod tx;
mod validator;
mod verify;
mod window;

pub use apply::{Applied, InferencePay, Proposal};
pub use block::{BLOCK_BYTES_MAX, BLOCK_TXS_MAX, Block, Header, VerifiedBlock, tx_root};
pub use claim::Claim;
pub use codec::{Bounded, Canonical, DecodeError, Fixed, List, Reader};
pub use entry::{
    Account, Beacon, Boot, Committee, ConsensusKey, Head, KEY_BYTES_MAX, KEYSET_BYTES_MAX, Key, Lease, Member, Miner,
    Model, One, Pair, Resident, Stake, Standing, VALUE_BYTES_MAX, Validator, Value, Voucher,
};
pub use error::{BlockReject, Reject};
pub use genesis::{Allocation, FirstValidator, Genesis, GenesisError, Params, RewardKind, SUPPLY_MAX};
pub use network::{Address, MAINNET, MlDsaSignature, Network, NetworkKind, PublicKey, TESTNET, message};
pub use proof::{NotProven, PROOF_BYTES_MAX, Proof};
pub use state::{Changes, RestoreError, State};
pub use supply::Supply;
pub use tx::{
    Action, Amount, Close, Endorsement, Nothing, OpenLease, OpenVoucher, RegisterBoot, RegisterModel,
    RegisterValidator, ReportConflict, RotateConsensusKey, SignedTx, TX_BYTES_MAX, Transfer, Tx,
};
pub use validator::{
    Ballot, COMMITTEE_MAX, COMMITTEE_MIN, EndorsedKey, Fault, KEY_EPOCHS, NewKey, SignedVote, Skipped, Vote, admitted,
    key_digest,
};
pub use verify::VerifiedTx;
pub use window::{WINDOW, Window};
