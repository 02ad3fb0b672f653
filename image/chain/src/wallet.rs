//! Wallet files, and what their keys sign. A passphrase comes from a file or the terminal, never from the command line.

use std::path::Path;

use clap::Args;
use hanzo_ledger::{Address, Fixed, MlDsaSignature, NewKey, PublicKey, SignedTx, Tx, key_digest};
use hanzo_signer::wallet::FILE_BYTES_MAX;
use hanzo_signer::{
    FreshnessError, FreshnessSource, Head, MiningWallet, Network, Role, SecurityLevel, SignRequest, Signer, Statement,
    Subject, Volatile,
};
use zeroize::Zeroizing;

use crate::{ChainError, files};

/// A wallet on the command line.
#[derive(Debug, Clone, Args)]
pub struct WalletArgs {
    /// The wallet file (`hanzo-wallet new FILE` makes one)
    #[arg(long, value_name = "FILE")]
    pub wallet: std::path::PathBuf,
    /// A file whose first line is its passphrase; asked for on the terminal without it
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<std::path::PathBuf>,
}

/// An account's key, opened.
pub(crate) struct Account {
    wallet: MiningWallet,
    public: PublicKey,
}

/// The head of a journal that lives as long as this command: no number is signed twice in it, and the ledger takes
/// each once.
struct OneCommand(Head);

impl FreshnessSource for OneCommand {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        Ok(self.0)
    }

    fn advance(&mut self, _from: Head, to: Head) -> Result<(), FreshnessError> {
        self.0 = to;
        Ok(())
    }
}

impl WalletArgs {
    pub(crate) fn open(&self) -> Result<Account, ChainError> {
        Account::open(&self.wallet, self.passphrase_file.as_deref())
    }
}

/// The first line of `file`, or what is typed.
fn passphrase(file: Option<&Path>) -> Result<Zeroizing<String>, ChainError> {
    match file {
        Some(path) => {
            let all = files::text(path)?;
            Ok(Zeroizing::new(all.lines().next().unwrap_or_default().to_owned()))
        }
        None => rpassword::prompt_password("Passphrase: ")
            .map(Zeroizing::new)
            .map_err(ChainError::Terminal),
    }
}

/// As the signer writes a network of the ledger.
pub(crate) fn signers(network: &hanzo_ledger::Network) -> Network {
    Network::ai_chain(network.id, network.genesis.0)
}

impl Account {
    pub(crate) fn open(path: &Path, passphrase_file: Option<&Path>) -> Result<Self, ChainError> {
        let bytes = files::read(path, FILE_BYTES_MAX)?;
        let passphrase = passphrase(passphrase_file)?;
        let of = |source| ChainError::Wallet {
            path: path.into(),
            source,
        };
        let wallet = MiningWallet::import_from_bytes(&bytes, &passphrase).map_err(of)?;
        let public = public_of(&wallet).ok_or_else(|| ChainError::File {
            path: path.into(),
            expected: "a wallet of ML-DSA-65, which is what the chain takes",
            got: wallet.level().to_string(),
        })?;
        Ok(Self { wallet, public })
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn address(&self) -> Address {
        Address::of(&self.public)
    }

    /// Signs a statement.
    pub(crate) fn states(
        &self,
        network: &hanzo_ledger::Network,
        statement: &Statement,
    ) -> Result<MlDsaSignature, ChainError> {
        let signed = self.wallet.sign_statement(&signers(network), statement);
        let signed = signed.map_err(|source| ChainError::Wallet {
            path: "the wallet".into(),
            source,
        })?;
        signature(&signed)
    }

    /// The account as a sender of transactions on `network`. It states nothing any more.
    pub(crate) fn into_sender(self, network: &hanzo_ledger::Network) -> Result<Sender, ChainError> {
        let here = signers(network);
        let signer = Signer::create(
            Role::Wallet,
            here,
            self.wallet.into_key(),
            Volatile,
            OneCommand(Head::EMPTY),
        )?;
        Ok(Sender {
            signer,
            public: self.public,
        })
    }
}

/// Signs transactions of one account, each number once.
pub(crate) struct Sender {
    signer: Signer<Volatile, OneCommand>,
    public: PublicKey,
}

impl Sender {
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn address(&self) -> Address {
        Address::of(&self.public)
    }

    /// Signs that the account, a validator's, takes this consensus key.
    pub(crate) fn rotates(
        &mut self,
        network: &hanzo_ledger::Network,
        validator: &Address,
        key: &NewKey,
    ) -> Result<MlDsaSignature, ChainError> {
        let subject = Subject::RotateKey {
            validator: validator.0,
            incarnation: key.incarnation,
            key: key_digest(&key.key).0,
            evidence: key.evidence.0,
        };
        let network = signers(network);
        signature(&self.signer.sign(&SignRequest { network, subject })?)
    }

    pub(crate) fn sign(&mut self, tx: Tx) -> Result<SignedTx, ChainError> {
        let network = signers(&tx.network);
        let subject = Subject::Transaction {
            nonce: tx.nonce,
            body: tx.digest().0,
        };
        let signed = self.signer.sign(&SignRequest { network, subject })?;
        let signature = signature(&signed)?;
        Ok(SignedTx { tx, signature })
    }
}

/// The ledger's key of a wallet; `None` for other parameter sets.
pub(crate) fn public_of(wallet: &MiningWallet) -> Option<PublicKey> {
    (wallet.level() == SecurityLevel::MlDsa65)
        .then(|| Fixed::new(wallet.public().as_bytes()))
        .flatten()
}

fn signature(bytes: &[u8]) -> Result<MlDsaSignature, ChainError> {
    Fixed::new(bytes).ok_or_else(|| ChainError::Mismatch {
        what: "signature",
        expected: "3309 bytes".into(),
        got: bytes.len().to_string(),
    })
}
