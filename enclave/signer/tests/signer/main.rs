//! The signer by its public interface: rules and their refused twins, crashes, rollbacks, clones, freshness, EIP-3076, wallets.

mod compaction;
mod crash;
mod doubles;
mod files;
mod freshness;
mod histories;
mod interchange;
mod plain;
mod requests;
mod rules;
mod tpm;
mod vectors;
mod wallet;
