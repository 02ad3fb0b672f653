//! What is done with wallets.

use std::path::Path;

use hanzo_signer::wallet::{Cipher, Cost, FILE_BYTES_MAX, address, verify_message};
use hanzo_signer::{MiningWallet, PublicKey, SecurityLevel};

use crate::Passphrase;
use crate::files::{self, CliError};

/// Longest message in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

fn open(path: &Path, passphrase: &Passphrase) -> Result<MiningWallet, CliError> {
    let bytes = files::read(path, FILE_BYTES_MAX)?;
    let passphrase = files::passphrase(passphrase.passphrase_file.as_deref())?;
    Ok(MiningWallet::import_from_bytes(&bytes, &passphrase)?)
}

fn write(path: &Path, wallet: &MiningWallet, cipher: Cipher, passphrase: &Passphrase) -> Result<String, CliError> {
    let passphrase = files::new_passphrase(passphrase.passphrase_file.as_deref())?;
    let bytes = wallet.export_with(&passphrase, cipher, Cost::default())?;
    files::write_new(path, &bytes)?;
    Ok(told(wallet.public()))
}

fn told(key: &PublicKey) -> String {
    format!("address {}\nlevel   {}\n", address(key), key.level())
}

pub fn new(path: &Path, level: SecurityLevel, fips: bool, passphrase: &Passphrase) -> Result<String, CliError> {
    let cipher = match fips {
        true => Cipher::Aes256Gcm,
        false => Cipher::XChaCha20Poly1305,
    };
    write(path, &MiningWallet::generate(level)?, cipher, passphrase)
}

pub fn show(path: &Path, public_key: bool, passphrase: &Passphrase) -> Result<String, CliError> {
    let wallet = open(path, passphrase)?;
    let key = wallet.public();
    Ok(match public_key {
        true => format!("{} {}\n", key.level(), hex::encode(key.as_bytes())),
        false => told(key),
    })
}

pub fn sign(path: &Path, message: &Path, passphrase: &Passphrase) -> Result<String, CliError> {
    let message = files::read(message, MESSAGE_BYTES_MAX)?;
    let signature = open(path, passphrase)?.sign(&message)?;
    Ok(format!("{}\n", hex::encode(signature)))
}

pub fn verify(public_key: &Path, message: &Path, signature: &Path) -> Result<String, CliError> {
    let key = public(public_key)?;
    let message = files::read(message, MESSAGE_BYTES_MAX)?;
    let text = files::text(signature)?;
    let signature = hex::decode(text.trim()).map_err(|_| CliError::Text {
        path: signature.into(),
        expected: "a signature in hex, as `hanzo-wallet sign` prints it",
    })?;
    verify_message(&key, &message, &signature)?;
    Ok(format!("verified\n{}", told(&key)))
}

fn public(path: &Path) -> Result<PublicKey, CliError> {
    let text = files::text(path)?;
    let key = text.trim().split_once(' ').and_then(|(level, key)| {
        let level = SecurityLevel::from_name(level)?;
        PublicKey::from_bytes(level, &hex::decode(key).ok()?).ok()
    });
    key.ok_or(CliError::Text {
        path: path.into(),
        expected: "a level and a key in hex, as `hanzo-wallet show --public-key` prints them",
    })
}

pub fn words(path: &Path, passphrase: &Passphrase) -> Result<String, CliError> {
    let words = open(path, passphrase)?.phrase()?;
    Ok(format!("{}\n", *words))
}

pub fn restore(
    path: &Path,
    words_file: Option<&Path>,
    level: SecurityLevel,
    passphrase: &Passphrase,
) -> Result<String, CliError> {
    let words = match words_file {
        Some(file) => files::text(file)?,
        None => files::ask("The 24 words: ")?,
    };
    let wallet = MiningWallet::from_phrase(level, &words)?;
    write(path, &wallet, Cipher::XChaCha20Poly1305, passphrase)
}
