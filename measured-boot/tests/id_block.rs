//! ID blocks: published bytes and key digests, our own signatures, and what breaks each.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use hanzo_attestation::digest::Digest384;
use hanzo_measured_boot::snp::id_block::{AuthBlock, IdBlock, IdBlockError, IdKey, IdSignature};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/measured-boot/snp");
/// `snp-create-id-block`'s own test: launch digest, and the digests of the two published test keys.
const DIGEST: &str = "076f052d08bda7a700aa2a608c5caa6b00ebad297b6d68a85a45b1e669a558b67e1b91d284a301fe63c4fa0750467eed";
const ID_KEY_DIGEST: &str =
    "870b7e35c53f8a72d0d322f75ab2af8262792aaf6579622ce4131c3f21f289e77cb0560a5e3b90b3932e674ec709cb14";
const AUTHOR_KEY_DIGEST: &str =
    "63111c34bbfc0a4938f9a009bd074980d8172323e61599c9fd336da8673248e1dca98d0be8f76376a106b8afd4c0a057";

fn block() -> IdBlock {
    IdBlock {
        launch_digest: Digest384::from_hex(DIGEST).unwrap(),
        family_id: [0; 16],
        image_id: [0; 16],
        guest_svn: 0,
        policy: 0x3_0000,
    }
}

fn fresh() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()
}

fn key(pair: &EcdsaKeyPair) -> IdKey {
    IdKey::from_point(pair.public_key().as_ref()).unwrap()
}

fn sign(pair: &EcdsaKeyPair, message: &[u8]) -> IdSignature {
    let signature = pair.sign(&SystemRandom::new(), message).unwrap();
    IdSignature::from_fixed(signature.as_ref()).unwrap()
}

fn authenticated(id: &EcdsaKeyPair, author: Option<&EcdsaKeyPair>) -> AuthBlock {
    let id_key = key(id);
    let author = author.map(|pair| (key(pair), sign(pair, id_key.bytes())));
    AuthBlock::new(id_key, sign(id, &block().bytes()), author)
}

/// A PEM file's DER; the keys are PKCS #8 or SEC 1.
fn published(name: &str) -> Option<EcdsaKeyPair> {
    let Ok(pem) = std::fs::read_to_string(format!("{VECTORS}/{name}")) else {
        eprintln!("VECTORS MISSING (shared/vectors beside the repository): {name}: not run");
        return None;
    };
    let body: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
    let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
    EcdsaKeyPair::from_pkcs8(algorithm, &der)
        .or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, &der))
        .ok()
}

#[test]
fn published_block_and_key_digests() {
    let bytes = block().bytes();
    let expected = format!("{DIGEST}{}{}", "00".repeat(32), "01000000000000000000030000000000");
    assert_eq!(hex::encode(bytes), expected);
    assert_eq!(IdBlock::parse(&bytes), Ok(block()));
    let (Some(id), Some(author)) = (published("id_key_test.pem"), published("author_key_test.pem")) else {
        return;
    };
    let digests = authenticated(&id, Some(&author)).verify(&block()).unwrap();
    assert_eq!(digests.id_key.to_string(), ID_KEY_DIGEST);
    assert_eq!(digests.author_key.unwrap().to_string(), AUTHOR_KEY_DIGEST);
}

#[test]
fn what_is_signed_verifies_and_nothing_else() {
    let (id, author) = (fresh(), fresh());
    for author in [None, Some(&author)] {
        let auth = authenticated(&id, author);
        let bytes = auth.bytes();
        let read = AuthBlock::parse(&bytes).unwrap();
        assert_eq!((&read, read.bytes()), (&auth, bytes));
        let digests = read.verify(&block()).unwrap();
        assert_eq!(digests.author_key.is_some(), author.is_some());
        assert_eq!(digests.id_key, key(&id).digest());
        // Each member of the block is signed.
        let good = block();
        for changed in [
            IdBlock {
                launch_digest: Digest384([1; 48]),
                ..good
            },
            IdBlock {
                family_id: [1; 16],
                ..good
            },
            IdBlock {
                image_id: [1; 16],
                ..good
            },
            IdBlock { guest_svn: 1, ..good },
            IdBlock {
                policy: 0x3_0001,
                ..good
            },
        ] {
            assert_eq!(read.verify(&changed).unwrap_err().code(), "snp.id_block.signature");
        }
    }
    // Signed by somebody else, and vouched for by somebody else.
    let other = AuthBlock::new(key(&id), sign(&author, &block().bytes()), None);
    assert_eq!(
        other.verify(&block()),
        Err(IdBlockError::Signature { what: "ID block" })
    );
    let own = sign(&id, &block().bytes());
    let other = AuthBlock::new(key(&id), own, Some((key(&author), sign(&id, key(&id).bytes()))));
    assert_eq!(other.verify(&block()), Err(IdBlockError::Signature { what: "ID key" }));
}

#[test]
fn each_byte_of_the_authentication_counts() {
    let (id, author) = (fresh(), fresh());
    let good = authenticated(&id, Some(&author)).bytes();
    for (at, code) in [
        (0, "snp.id_block.algorithm"),
        (4, "snp.id_block.reserved"), // No author, but an author's key.
        (5, "snp.id_block.algorithm"),
        (0x8, "snp.id_block.reserved"),
        (0x3f, "snp.id_block.reserved"),
        (0x40, "snp.id_block.signature"),
        (0x40 + 48, "snp.id_block.signature"),
        (0x40 + 72, "snp.id_block.signature"),
        (0x40 + 144, "snp.id_block.reserved"),
        (0x240, "snp.id_block.algorithm"),
        (0x244, "snp.id_block.key"),
        (0x244 + 48, "snp.id_block.key"),
        (0x244 + 144, "snp.id_block.reserved"),
        (0x644, "snp.id_block.reserved"),
        (0x680, "snp.id_block.signature"),
        (0x880, "snp.id_block.algorithm"),
        (0x884, "snp.id_block.key"),
        (0xc84, "snp.id_block.reserved"),
        (0xfff, "snp.id_block.reserved"),
    ] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let refused = AuthBlock::parse(&bytes).and_then(|auth| auth.verify(&block()).map(|_| ()));
        assert_eq!(refused.unwrap_err().code(), code, "{at:#x}");
    }
    for length in [0, 4095, 4097] {
        let mut bytes = good.clone();
        bytes.resize(length, 0);
        assert_eq!(AuthBlock::parse(&bytes).unwrap_err().code(), "snp.id_block.length");
    }
}

#[test]
fn other_blocks_and_keys() {
    let bytes = block().bytes();
    for length in [0, 95] {
        assert_eq!(
            IdBlock::parse(&bytes[..length]).unwrap_err().code(),
            "snp.id_block.length"
        );
    }
    assert_eq!(
        IdBlock::parse(&[&bytes[..], &[0]].concat()).unwrap_err().code(),
        "snp.id_block.length"
    );
    let mut other = bytes;
    other[80] = 2;
    assert_eq!(IdBlock::parse(&other).unwrap_err().code(), "snp.id_block.version");
    let point = fresh().public_key().as_ref().to_vec();
    assert!(IdKey::from_point(&point).is_ok());
    let mut wrong = point.clone();
    wrong[96] ^= 1;
    for point in [&wrong[..], &point[..96], &[], &[2; 97]] {
        assert_eq!(IdKey::from_point(point).unwrap_err().code(), "snp.id_block.key");
    }
    assert_eq!(
        IdSignature::from_fixed(&[0; 95]).unwrap_err().code(),
        "snp.id_block.key"
    );
}
