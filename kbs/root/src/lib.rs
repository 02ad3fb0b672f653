//! Where a broker's root key comes from.
//!
//! The configuration names one kind ([`RootConfig`]); its [`RootProvider`] makes the root once and hands it out at each
//! start. There is no fallback from one kind to another. Every file is written whole or not at all, mode 0600, names its
//! format, and is refused if others can read it. A passphrase or PIN comes from a systemd credential, a file descriptor
//! or the terminal, never from arguments or the environment.
//!
//! This is the only crate that reaches PKCS #11 and TPM code. It links neither at build time: the token's module is
//! opened when it is configured, and the TPM is driven by the programs of tpm2-tools, with secrets on pipes.
//!
//! # Does not establish
//! That the root was never seen elsewhere: whoever had root on the machine while a broker ran, or a copy of a key file and
//! its passphrase, may have it.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod config;
mod credential;
mod document;
mod error;
mod file;
mod key_file;
mod passphrase;
mod passphrase_file;
mod pkcs11;
mod shamir;
mod source;
mod tpm;
mod tpm_tools;

pub use config::{RootConfig, Share};
pub use error::RootError;
pub use passphrase::Cost;
pub use source::{SecretSource, Surroundings};
pub use tpm_tools::{TpmToolError, TpmTools};

use hanzo_vault::Root;

/// Keeps one root.
pub trait RootProvider {
    /// The kind, as the configuration spells it.
    fn kind(&self) -> &'static str;

    /// Hands the root out.
    ///
    /// # Errors
    /// [`RootError`]; there is no other root to fall back to.
    fn load(&self) -> Result<Root, RootError>;

    /// Starts keeping `root`, and proves before anything is written that it can be handed out again. Replaces nothing. A
    /// passphrase or PIN is read once.
    ///
    /// # Errors
    /// [`RootError::Exists`] if one is kept already, [`RootError::ReadOnly`] for a kind that others fill.
    fn keep(&self, root: &Root) -> Result<(), RootError>;

    /// Whether the place that the root is kept in is there and answers: a file, a token, a TPM. Reads no secret, asks nobody,
    /// and so does not tell whether [`RootProvider::load`] would succeed.
    ///
    /// # Errors
    /// [`RootError`].
    fn reachable(&self) -> Result<(), RootError>;

    /// Makes a new root and keeps it.
    ///
    /// # Errors
    /// As [`RootProvider::keep`].
    fn create(&self) -> Result<Root, RootError> {
        let root = Root::generate()?;
        self.keep(&root)?;
        Ok(root)
    }
}
