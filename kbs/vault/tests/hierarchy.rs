//! The hierarchy: what opens, and the nearest thing that does not.

use hanzo_attestation::name::{KeyId, Name};
use hanzo_policy::PrivacyTier;
use hanzo_pqc::Dek;
use hanzo_vault::{
    GpuCcVault, KEK_SEALS_MAX, KeyPurpose, Limits, Place, PqcVault, Root, RootPurpose, SECRET_BYTES_MAX, TenantKek,
    Vault, VaultError, WRAPPED_KEK_BYTES, check_kek_seals, object_key, shredded_secret, tenant_of, vault_for,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

fn kek(tenant: &str, version: u64) -> TenantKek {
    TenantKek::generate(name(tenant), version).unwrap()
}

fn code<T>(outcome: Result<T, VaultError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(e) => e.code(),
    }
}

fn place(key_id: &KeyId, key_version: u64) -> Place<'_> {
    Place {
        key_id,
        key_version,
        purpose: KeyPurpose::DataKey,
    }
}

#[test]
fn each_purpose_of_the_root_has_a_key_of_its_own() {
    let root = Root::from_slice(&[7; 32]).unwrap();
    let keys: std::collections::BTreeSet<_> = RootPurpose::ALL
        .iter()
        .map(|p| *root.derive(*p).unwrap().expose())
        .collect();
    assert_eq!(keys.len(), RootPurpose::ALL.len());
    assert!(!keys.contains(root.expose()));
    // Pinned: HKDF-SHA-256(salt = "", ikm = 32 x 07, info = domain string), computed with another implementation.
    assert_eq!(
        hex::encode(root.derive(RootPurpose::Store).unwrap().expose()),
        STORE_KEY
    );
    assert_eq!(hex::encode(root.commitment().unwrap()), COMMITMENT);
    let label: [&[u8]; 2] = [b"pack", b"0"];
    let object = object_key(&Dek::from_slice(&[7; 32]).unwrap(), &label).unwrap();
    assert_eq!(hex::encode(object.expose()), OBJECT_KEY);
}

const STORE_KEY: &str = "e965a381fa6a627b8de1b4142524ca6d8af4af0e1a95c83a7e6687564cff7540";
const COMMITMENT: &str = "d2e629dfa05ca96a879070fd6456b45dfe21dc955a61759cb572a4150e6fa6b0";
const OBJECT_KEY: &str = "1511eb4d4fdc4f11a1012b9f8a784e1c36232742dcf4b397a96c394839bca03d";

#[test]
fn a_root_is_32_bytes_and_not_zero() {
    let code = |bytes: &[u8]| Root::from_slice(bytes).map_err(|e| e.code()).err();
    assert_eq!(code(&[1; 32]), None);
    assert_eq!(code(&[1; 31]), Some("pqc.length"));
    assert_eq!(code(&[1; 33]), Some("pqc.length"));
    assert_eq!(code(&[0; 32]), Some("pqc.encoding"));
}

#[test]
fn a_wrapped_kek_opens_for_its_root_tenant_and_version_alone() {
    let (root, other) = (Root::generate().unwrap(), Root::generate().unwrap());
    let kek = kek("acme", 2);
    let wrapped = kek.wrap(&root).unwrap();
    assert_eq!(wrapped.len(), WRAPPED_KEK_BYTES);
    let open =
        |root: &Root, tenant: &str, version, bytes: &[u8]| code(TenantKek::unwrap(root, name(tenant), version, bytes));
    assert_eq!(open(&root, "acme", 2, &wrapped), "ok");
    assert_eq!(open(&other, "acme", 2, &wrapped), "vault.kek");
    assert_eq!(open(&root, "acme2", 2, &wrapped), "vault.kek");
    assert_eq!(open(&root, "acme", 1, &wrapped), "vault.kek");
    for at in 1..wrapped.len() {
        let mut bad = wrapped.clone();
        bad[at] ^= 1;
        assert_eq!(open(&root, "acme", 2, &bad), "vault.kek", "byte {at}");
    }
    let mut newer = wrapped.clone();
    newer[0] = 2;
    assert_eq!(open(&root, "acme", 2, &newer), "vault.format");
    assert_eq!(open(&root, "acme", 2, &wrapped[..29]), "vault.length");
    assert_eq!(open(&root, "acme", 2, &wrapped[..60]), "vault.kek");
    assert_eq!(
        open(&root, "acme", 2, &[wrapped.as_slice(), &[0]].concat()),
        "vault.kek"
    );
}

#[test]
fn a_sealed_secret_opens_at_its_place_alone() {
    let (key, other) = (id("acme/dek/m"), id("acme/dek/n"));
    let (old, new) = (kek("acme", 1), kek("acme", 2));
    let dek = [9; 32];
    let sealed = PqcVault.seal(&old, place(&key, 3), &dek).unwrap();
    assert_eq!(PqcVault.open(&old, place(&key, 3), &sealed).unwrap().as_slice(), dek);
    assert_eq!(code(PqcVault.open(&old, place(&other, 3), &sealed)), "vault.open");
    assert_eq!(code(PqcVault.open(&old, place(&key, 4), &sealed)), "vault.open");
    assert_eq!(code(PqcVault.open(&new, place(&key, 3), &sealed)), "vault.open");
    assert_eq!(code(GpuCcVault.open(&old, place(&key, 3), &sealed)), "vault.open");
    let resource = Place {
        purpose: KeyPurpose::Resource,
        ..place(&key, 3)
    };
    assert_eq!(code(PqcVault.open(&old, resource, &sealed)), "vault.open");
    assert_eq!(
        code(PqcVault.open(&kek("other", 1), place(&key, 3), &sealed)),
        "vault.tenant"
    );
    for at in 1..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 0x80;
        assert_eq!(
            code(PqcVault.open(&old, place(&key, 3), &bad)),
            "vault.open",
            "byte {at}"
        );
    }
    let again = PqcVault.seal(&old, place(&key, 3), &dek).unwrap();
    assert_ne!(sealed, again, "a nonce of its own each time");
}

/// The same version number, another key: what a rolled-back or replayed KEK row would be.
#[test]
fn another_kek_of_the_same_version_opens_nothing() {
    let key = id("acme/dek/m");
    let sealed = PqcVault.seal(&kek("acme", 1), place(&key, 1), &[9; 32]).unwrap();
    assert_eq!(
        code(PqcVault.open(&kek("acme", 1), place(&key, 1), &sealed)),
        "vault.open"
    );
}

#[test]
fn what_was_shredded_says_so() {
    let (root, key) = (Root::generate().unwrap(), id("acme/dek/m"));
    let gone = TenantKek::shredded();
    assert_eq!(gone.len(), WRAPPED_KEK_BYTES);
    assert_eq!(code(TenantKek::unwrap(&root, name("acme"), 1, &gone)), "vault.shredded");
    let kek = kek("acme", 1);
    let sealed = PqcVault.seal(&kek, place(&key, 1), &[9; 32]).unwrap();
    let mut gone = shredded_secret(sealed.len());
    assert_eq!(code(PqcVault.open(&kek, place(&key, 1), &gone)), "vault.shredded");
    // One byte that is not zero is damage, not a decision.
    gone[20] = 1;
    assert_eq!(code(PqcVault.open(&kek, place(&key, 1), &gone)), "vault.format");
}

#[test]
fn lengths_follow_the_purpose() {
    let (kek, key) = (kek("acme", 1), id("acme/secret/s"));
    let seal = |purpose, len: usize| {
        let place = Place {
            purpose,
            ..place(&key, 1)
        };
        let sealed = PqcVault.seal(&kek, place, &vec![1; len])?;
        Ok(PqcVault.open(&kek, place, &sealed)?.len())
    };
    for (purpose, good, bad) in [
        (KeyPurpose::DataKey, vec![32], vec![0, 31, 33]),
        (
            KeyPurpose::Resource,
            vec![1, 33, SECRET_BYTES_MAX],
            vec![0, SECRET_BYTES_MAX + 1],
        ),
    ] {
        for len in good {
            assert_eq!(seal(purpose, len).unwrap(), len);
        }
        for len in bad {
            assert_eq!(code(seal(purpose, len)), "vault.secret.length", "{purpose:?} {len}");
        }
        assert_eq!(KeyPurpose::parse(purpose.name()).unwrap(), purpose);
    }
    assert_eq!(code(KeyPurpose::parse("Data-Key")), "vault.purpose");
}

#[test]
fn the_minimum_tier_chooses_vault_suites_and_limits() {
    let mut table = String::new();
    for tier in PrivacyTier::ALL {
        let vault = vault_for(tier);
        let (kem, signature) = vault.suites();
        table.push_str(&format!(
            "{} {} {} {} {}\n",
            tier.number(),
            vault.name(),
            kem.name(),
            signature.name(),
            vault.limits(tier).unwrap().releases_max
        ));
    }
    assert_eq!(
        table,
        "0 PqcVault x-wing ml-dsa-65 9007199254740991\n\
         1 PqcVault x-wing ml-dsa-65 9007199254740991\n\
         2 PqcVault x-wing ml-dsa-65 1000\n\
         3 GpuCcVault mlkem1024-p384 ml-dsa-87 100\n\
         4 GpuTeeIoVault mlkem1024-p384 ml-dsa-87 10\n"
    );
    assert_eq!(code(PqcVault.limits(PrivacyTier::GpuCc)), "vault.tier");
    for (tier, limit) in [
        (PrivacyTier::CpuTee, 1000),
        (PrivacyTier::GpuCc, 100),
        (PrivacyTier::GpuTeeIo, 10),
    ] {
        assert_eq!(code(Limits::of(tier).check_max_uses(limit)), "ok");
        assert_eq!(code(Limits::of(tier).check_max_uses(limit + 1)), "vault.limit.uses");
    }
    let kek = kek("acme", 1);
    assert_eq!(code(check_kek_seals(&kek, KEK_SEALS_MAX - 1)), "ok");
    assert_eq!(code(check_kek_seals(&kek, KEK_SEALS_MAX)), "vault.limit.kek");
}

#[test]
fn object_keys_follow_their_label() {
    let (dek, other) = (Dek::generate().unwrap(), Dek::generate().unwrap());
    let key = |dek: &Dek, label: &[&[u8]]| object_key(dek, label).map(|k| *k.expose());
    let one = key(&dek, &[b"pack", b"1"]).unwrap();
    assert_eq!(key(&dek, &[b"pack", b"1"]).unwrap(), one);
    for label in [&[b"pack".as_slice(), b"2"][..], &[b"pack1"], &[b"pac", b"k1"]] {
        assert_ne!(key(&dek, label).unwrap(), one);
    }
    assert_ne!(key(&other, &[b"pack", b"1"]).unwrap(), one);
    assert_eq!(code(key(&dek, &[])), "vault.label");
    assert_eq!(code(key(&dek, &[b""])), "vault.label");
    assert_eq!(code(key(&dek, &[&[1; 1024]])), "ok");
    assert_eq!(code(key(&dek, &[&[1; 1025]])), "vault.label");
    assert_eq!(tenant_of(&id("acme/dek/m")), name("acme"));
}

/// Rotation as the broker does it: a new KEK version, each secret moved, the old KEK destroyed.
#[test]
fn moving_to_a_new_kek_leaves_every_secret_readable_and_the_old_kek_useless() {
    let root = Root::generate().unwrap();
    let (old, new) = (kek("acme", 1), kek("acme", 2));
    let keys: Vec<_> = (0..50).map(|n| id(&format!("acme/dek/k{n}"))).collect();
    let mut rows: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| PqcVault.seal(&old, place(key, 1), &[n as u8 + 1; 32]).unwrap())
        .collect();
    for (key, row) in keys.iter().zip(&mut rows) {
        let secret = PqcVault.open(&old, place(key, 1), row).unwrap();
        *row = PqcVault.seal(&new, place(key, 1), &secret).unwrap();
    }
    let stored = TenantKek::unwrap(&root, name("acme"), 2, &new.wrap(&root).unwrap()).unwrap();
    for (n, (key, row)) in keys.iter().zip(&rows).enumerate() {
        assert_eq!(
            PqcVault.open(&stored, place(key, 1), row).unwrap().as_slice(),
            [n as u8 + 1; 32]
        );
        assert_eq!(code(PqcVault.open(&old, place(key, 1), row)), "vault.open");
    }
}
