//! Wallets: keys, addresses, encrypted files, words.

use hanzo_pqc::PqcError;
use hanzo_signer::wallet::{Cipher, Cost, FILE_BYTES_MAX, WalletError, address, verify_message};
use hanzo_signer::{MiningWallet, PublicKey, SecurityLevel};
use zeroize::Zeroizing;

const PASSPHRASE: &str = "correct horse battery staple";
const CHEAP: Cost = Cost {
    memory_kib: 19_456,
    passes: 2,
    lanes: 1,
};

fn wallet(level: SecurityLevel) -> MiningWallet {
    MiningWallet::from_seed(level, Zeroizing::new([7; 32])).unwrap()
}

fn refused(bytes: &[u8], passphrase: &str) -> &'static str {
    MiningWallet::import_from_bytes(bytes, passphrase).err().unwrap().code()
}

#[test]
fn every_level_signs_and_each_changed_part_is_refused() {
    assert_eq!(SecurityLevel::default(), SecurityLevel::MlDsa65);
    for level in SecurityLevel::ALL {
        let wallet = MiningWallet::generate(level).unwrap();
        let signature = wallet.sign(b"message").unwrap();
        assert_eq!((wallet.level(), signature.len()), (level, level.signature_len()));
        wallet.verify(b"message", &signature).unwrap();
        let refused = |message: &[u8], signature: &[u8]| wallet.verify(message, signature).unwrap_err();
        let bad = WalletError::Crypto(PqcError::MlDsa { set: level.name() });
        assert_eq!(refused(b"messagf", &signature), bad);
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert_eq!(refused(b"message", &changed), bad);
        }
        assert_eq!(refused(b"message", &signature[1..]).code(), "pqc.length");
        assert_eq!(refused(b"message", &[]).code(), "pqc.length");
        let other = MiningWallet::generate(level).unwrap();
        assert_eq!(other.verify(b"message", &signature).unwrap_err(), bad);
        verify_message(wallet.public(), b"message", &signature).unwrap();
        assert_eq!(
            PublicKey::from_bytes(level, &wallet.public().as_bytes()[1..])
                .unwrap_err()
                .code(),
            "pqc.length"
        );
    }
}

#[test]
fn an_address_is_of_one_key_at_one_level() {
    let mut all = Vec::new();
    for level in SecurityLevel::ALL {
        let wallet = wallet(level);
        let text = wallet.address();
        assert_eq!(text.len(), 66);
        assert!(
            text.strip_prefix("0x")
                .unwrap()
                .bytes()
                .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
        );
        assert_eq!(text, address(wallet.public()));
        assert_eq!(text, self::wallet(level).address());
        assert_eq!(SecurityLevel::from_name(level.name()), Some(level));
        assert_eq!(SecurityLevel::from_tag(level.tag()), Some(level));
        all.push(text);
    }
    all.push(MiningWallet::generate(SecurityLevel::MlDsa65).unwrap().address());
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
    assert_eq!(SecurityLevel::from_name("ml-dsa-65"), None);
    assert_eq!(SecurityLevel::from_tag(0), None);
}

#[test]
fn a_file_opens_under_its_passphrase_and_every_changed_byte_is_refused() {
    for (level, cipher) in [
        (SecurityLevel::MlDsa65, Cipher::XChaCha20Poly1305),
        (SecurityLevel::MlDsa87, Cipher::Aes256Gcm),
    ] {
        let wallet = wallet(level);
        let bytes = wallet.export_with(PASSPHRASE, cipher, CHEAP).unwrap();
        let opened = MiningWallet::import_from_bytes(&bytes, PASSPHRASE).unwrap();
        assert_eq!(opened.address(), wallet.address());
        let signature = opened.sign(b"message").unwrap();
        wallet.verify(b"message", &signature).unwrap();
        assert_eq!(refused(&bytes, "correct horse battery stapler"), "wallet.open");
        // Salt, nonce, fingerprint, ciphertext and tag are all authenticated.
        for at in (23..bytes.len()).step_by(9).chain([bytes.len() - 1]) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(refused(&changed, PASSPHRASE), "wallet.open", "byte {at}");
        }
        for len in 0..bytes.len() {
            assert_eq!(refused(&bytes[..len], PASSPHRASE), "wallet.file", "{len} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(refused(&longer, PASSPHRASE), "wallet.file");
        // The seed is not in it.
        assert!(!bytes.windows(8).any(|window| window == [7; 8]));
    }
    assert_eq!(refused(&[0; FILE_BYTES_MAX + 1], PASSPHRASE), "wallet.file");
}

#[test]
fn each_field_of_a_file_has_bounds_and_is_authenticated() {
    let bytes = wallet(SecurityLevel::MlDsa65)
        .export_with(PASSPHRASE, Cipher::XChaCha20Poly1305, CHEAP)
        .unwrap();
    for (at, new, code) in [
        (0, &b"h"[..], "wallet.file"),
        (8, &[0], "wallet.file"),
        (8, &[2], "wallet.file"),
        (9, &[0], "wallet.file"),
        // Another cipher has another length.
        (9, &[2], "wallet.file"),
        (10, &[66], "wallet.file"),
        (10, &[87], "wallet.open"),
        // A gigabyte, four gigabytes less one, nothing: refused before any of it is taken.
        (11, &[0, 0x10, 0, 0], "wallet.file"),
        (11, &[0xff; 4], "wallet.file"),
        (11, &[0; 4], "wallet.file"),
        (11, &19_457_u32.to_be_bytes(), "wallet.open"),
        (15, &1_u32.to_be_bytes(), "wallet.file"),
        (15, &11_u32.to_be_bytes(), "wallet.file"),
        (15, &3_u32.to_be_bytes(), "wallet.open"),
        (19, &0_u32.to_be_bytes(), "wallet.file"),
        (19, &9_u32.to_be_bytes(), "wallet.file"),
        (19, &2_u32.to_be_bytes(), "wallet.open"),
    ] {
        let mut changed = bytes.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        assert_eq!(refused(&changed, PASSPHRASE), code, "{new:?} at {at}");
    }
}

#[test]
fn files_are_written_with_costs_in_bounds_and_passphrases_of_some_length_alone() {
    let wallet = wallet(SecurityLevel::MlDsa44);
    let code = |passphrase: &str, cost| {
        let written = wallet.export_with(passphrase, Cipher::XChaCha20Poly1305, cost);
        written.err().map(|error| error.code())
    };
    assert_eq!(code("twelve bytes", CHEAP), None);
    assert_eq!(code("eleven byte", CHEAP), Some("wallet.passphrase"));
    assert_eq!(code(&"x".repeat(1024), CHEAP), None);
    assert_eq!(code(&"x".repeat(1025), CHEAP), Some("wallet.passphrase"));
    for cost in [
        Cost {
            memory_kib: 19_455,
            ..CHEAP
        },
        Cost {
            memory_kib: 262_145,
            ..CHEAP
        },
        Cost { passes: 1, ..CHEAP },
        Cost { lanes: 9, ..CHEAP },
    ] {
        assert_eq!(code(PASSPHRASE, cost), Some("wallet.file"));
    }
    // One file is never another: salt and nonce are drawn.
    let two = [(); 2].map(|()| wallet.export_with(PASSPHRASE, Cipher::Aes256Gcm, CHEAP).unwrap());
    assert_ne!(two[0], two[1]);
}

#[test]
fn the_default_cost_is_what_the_documents_say_and_passphrases_are_normalised() {
    let wallet = wallet(SecurityLevel::MlDsa65);
    // U+212B ANGSTROM SIGN, and A with a combining ring.
    let bytes = wallet.export_to_bytes("\u{212b}ngstr\u{f6}m und Meter").unwrap();
    assert_eq!(
        bytes[8..23],
        [&[1, 1, 65][..], &[0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4]].concat()[..]
    );
    let opened = MiningWallet::import_from_bytes(&bytes, "A\u{30a}ngstro\u{308}m und Meter").unwrap();
    assert_eq!(opened.address(), wallet.address());
}

#[test]
fn twenty_four_words_are_the_seed() {
    let zeros = MiningWallet::from_seed(SecurityLevel::MlDsa65, Zeroizing::new([0; 32])).unwrap();
    // BIP-39's own vector for 32 zero bytes.
    let words = format!("{}art", "abandon ".repeat(23));
    assert_eq!(*zeros.phrase().unwrap(), words);
    let back = MiningWallet::from_phrase(SecurityLevel::MlDsa65, &words).unwrap();
    assert_eq!(back.address(), zeros.address());
    let drawn = MiningWallet::generate(SecurityLevel::MlDsa87).unwrap();
    let phrase = drawn.phrase().unwrap();
    let back =
        MiningWallet::from_phrase(SecurityLevel::MlDsa87, &format!("  {}\n", phrase.replace(' ', "  "))).unwrap();
    assert_eq!(back.address(), drawn.address());
    let refused = |words: &str| MiningWallet::from_phrase(SecurityLevel::MlDsa65, words).err().unwrap();
    let rule = |words: &str| match refused(words) {
        WalletError::Phrase { rule } => rule,
        other => panic!("{other}"),
    };
    assert_eq!(rule(&words.replace("art", "abandon")), "its checksum is wrong");
    assert_eq!(
        rule(&words.replace("art", "hanzo")),
        "a word is not in the English list, in lower case"
    );
    assert_eq!(
        rule(&words.to_uppercase()),
        "a word is not in the English list, in lower case"
    );
    assert_eq!(rule(words.trim_start_matches("abandon ")), "expected 24 words");
    assert_eq!(rule(&format!("{}about", "abandon ".repeat(11))), "expected 24 words");
    assert_eq!(rule(&"abandon ".repeat(200)), "it is longer than 24 words can be");
    assert_eq!(refused("").code(), "wallet.phrase");
}
