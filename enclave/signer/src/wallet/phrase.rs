//! 24 words of BIP-39 that are the seed.

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use super::{SEED_LEN, WalletError};

/// Longest text in bytes: 24 words of at most 8 letters, and room for spaces.
const TEXT_BYTES_MAX: usize = 1024;

pub(super) fn write(seed: &[u8; SEED_LEN]) -> Result<Zeroizing<String>, WalletError> {
    let words = Mnemonic::from_entropy_in(Language::English, seed).map_err(|_| WalletError::Phrase {
        rule: "the seed has no phrase",
    })?;
    let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
    for word in words.words() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    Ok(text)
}

pub(super) fn read(words: &str) -> Result<Zeroizing<[u8; SEED_LEN]>, WalletError> {
    let refused = |rule| WalletError::Phrase { rule };
    if words.len() > TEXT_BYTES_MAX {
        return Err(refused("it is longer than 24 words can be"));
    }
    if words.split_whitespace().count() != 24 {
        return Err(refused("expected 24 words"));
    }
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, words).map_err(|error| match error {
        bip39::Error::InvalidChecksum => refused("its checksum is wrong"),
        bip39::Error::UnknownWord(_) => refused("a word is not in the English list, in lower case"),
        _ => refused("it is no BIP-39 phrase"),
    })?;
    let entropy = Zeroizing::new(mnemonic.to_entropy());
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    match entropy.len() == SEED_LEN {
        true => seed.copy_from_slice(&entropy),
        false => return Err(refused("expected 24 words")),
    }
    Ok(seed)
}
