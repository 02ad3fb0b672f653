//! The simulated vendor and its processor: roots, intermediates, list.

use hanzo_attestation::UnixTime;
use hanzo_attestation::snp::{Product, SigningKey};
use zeroize::Zeroizing;

use crate::DOMAIN;
use crate::certificate::{
    ARK_COMMON_NAME, NOT_AFTER, NOT_BEFORE, Subject, authority_extensions, issue, issuing_distribution_point, revoke,
    rsa_spki,
};
use crate::guest::{LaunchSpec, SimulatedGuest};
use crate::keys::{ReportKey, VendorKey};

/// How long a list lives, in seconds: 30 days.
const CRL_LIFETIME_S: u64 = 30 * 86_400;
/// How far before `now` a list starts, in seconds.
const CRL_BACKDATED_S: u64 = 3600;

/// TEST ONLY: keys of a public seed, made by [`SimulatedProcessor::from_seed`] and written down because that takes
/// seconds.
const TEST_MATERIAL: &[u8] = include_bytes!("../testdata/for_tests.bin");

/// The seed behind [`SimulatedProcessor::for_tests`]. TEST ONLY.
#[cfg(test)]
const TEST_SEED: &[u8; 32] = b"hanzo simulated tee: TEST ONLY !";

/// Why there is no processor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SimulatorError {
    /// The RSA library found no key.
    #[error("simulated processor: no RSA key was found; try another seed")]
    KeyGeneration,
    /// Not what [`SimulatedProcessor::to_material`] wrote.
    #[error(
        "simulated processor: the stored material is not of this version or damaged; remove it and start again from a seed"
    )]
    Material,
}

impl SimulatorError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::KeyGeneration => "simulator.key_generation",
            Self::Material => "simulator.material",
        }
    }
}

/// A simulated vendor with one kind of processor per product. Its keys protect nothing from whoever runs it.
pub struct SimulatedProcessor {
    seed: Zeroizing<[u8; 32]>,
    ark: VendorKey,
    ask: VendorKey,
    ark_der: Vec<u8>,
    /// In the order of [`intermediates`].
    ask_ders: Vec<Vec<u8>>,
}

/// Every intermediate certificate, all with one key.
fn intermediates() -> impl Iterator<Item = (Product, SigningKey)> {
    Product::ALL
        .into_iter()
        .flat_map(|product| [(product, SigningKey::Vcek), (product, SigningKey::Vlek)])
}

impl SimulatedProcessor {
    /// Derives roots from `seed`. Takes seconds: two RSA-4096 keys are searched.
    ///
    /// The keys are the same for the same seed; signatures are not, so certificates differ in their bytes. Keep
    /// [`SimulatedProcessor::to_material`].
    ///
    /// # Errors
    /// [`SimulatorError::KeyGeneration`].
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SimulatorError> {
        let (ark, ask) = (VendorKey::derive(seed, "ark")?, VendorKey::derive(seed, "ask")?);
        Ok(Self::certified(Zeroizing::new(*seed), ark, ask))
    }

    /// The same names over other keys: what a forger of this processor's roots would make.
    pub fn with_swapped_keys(self) -> Self {
        let Self { seed, ark, ask, .. } = self;
        Self::certified(seed, ask, ark)
    }

    /// Issues root and intermediates.
    fn certified(seed: Zeroizing<[u8; 32]>, ark: VendorKey, ask: VendorKey) -> Self {
        let authority = |common_name, number: u8, key, root| {
            let subject = Subject {
                common_name,
                serial: &[1, 0, number],
                validity: (NOT_BEFORE, NOT_AFTER),
                spki: rsa_spki(key),
                extensions: authority_extensions(root),
            };
            issue(ARK_COMMON_NAME, &ark, &subject)
        };
        let ark_der = authority(ARK_COMMON_NAME, 0, &ark, true);
        let numbered = intermediates().zip(1_u8..);
        let ask_ders = numbered
            .map(|((product, key), number)| authority(product.ask_common_name(key), number, &ask, false))
            .collect();
        Self {
            seed,
            ark,
            ask,
            ark_der,
            ask_ders,
        }
    }

    /// The processor of a fixed, public seed. TEST ONLY.
    ///
    /// # Panics
    /// If the committed material was changed.
    pub fn for_tests() -> Self {
        Self::from_material(TEST_MATERIAL).expect("the committed test material is intact")
    }

    /// Everything this processor is, so that it need not be derived again. Private keys: keep it in a file that only its
    /// owner reads.
    ///
    /// # Layout
    /// [`DOMAIN`], a zero byte, the seed (32 bytes); then, each after its length (4 bytes, big endian): ARK key, ASK key
    /// (PKCS #8), ARK certificate, and six ASK and ASVK certificates.
    pub fn to_material(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(24 * 1024));
        out.extend(DOMAIN.as_bytes());
        out.push(0);
        out.extend(self.seed.iter());
        let fixed = [self.ark.pkcs8(), self.ask.pkcs8(), &self.ark_der];
        for part in fixed.into_iter().chain(self.ask_ders.iter().map(Vec::as_slice)) {
            out.extend((part.len() as u32).to_be_bytes());
            out.extend(part);
        }
        out
    }

    /// Reads what [`SimulatedProcessor::to_material`] wrote.
    ///
    /// # Errors
    /// [`SimulatorError::Material`] for anything else.
    pub fn from_material(material: &[u8]) -> Result<Self, SimulatorError> {
        let rest = material
            .strip_prefix(DOMAIN.as_bytes())
            .and_then(|m| m.strip_prefix(&[0]));
        let (seed, mut rest) = rest
            .and_then(|m| m.split_first_chunk::<32>())
            .ok_or(SimulatorError::Material)?;
        let mut part = || {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let (part, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = tail;
            Some(part)
        };
        let mut required = || part().ok_or(SimulatorError::Material);
        let ark = VendorKey::from_pkcs8(required()?)?;
        let ask = VendorKey::from_pkcs8(required()?)?;
        let ark_der = required()?.to_vec();
        let ask_ders = intermediates()
            .map(|_| required().map(<[u8]>::to_vec))
            .collect::<Result<_, _>>()?;
        if !rest.is_empty() {
            return Err(SimulatorError::Material);
        }
        Ok(Self {
            seed: Zeroizing::new(*seed),
            ark,
            ask,
            ark_der,
            ask_ders,
        })
    }

    /// The root certificate (DER): what `Anchors::with_simulator_ark` takes. One root serves all products.
    pub fn ark_der(&self) -> &[u8] {
        &self.ark_der
    }

    /// The ASK certificate for VCEKs of Genoa (DER). Evidence carries the right one by itself.
    pub fn ask_der(&self) -> &[u8] {
        self.intermediate_der(Product::Genoa, SigningKey::Vcek)
    }

    /// The ASK (VCEK) or ASVK (VLEK) certificate of a product (DER).
    pub fn intermediate_der(&self, product: Product, key: SigningKey) -> &[u8] {
        let place = intermediates().position(|i| i == (product, key));
        place.and_then(|i| self.ask_ders.get(i)).map_or(&[], Vec::as_slice)
    }

    /// An empty revocation list (DER), alive from an hour before `now` for 30 days.
    pub fn crl_der(&self, now: UnixTime) -> Vec<u8> {
        self.crl_naming(now, &[])
    }

    /// A list that names certificates by the big-endian bytes of their serial numbers.
    pub fn crl_naming(&self, now: UnixTime, serials: &[&[u8]]) -> Vec<u8> {
        revoke(&self.ark, life(now), serials, &[])
    }

    /// A list that says that it is about a part of the certificates alone (issuingDistributionPoint).
    pub fn crl_of_one_part(&self, now: UnixTime) -> Vec<u8> {
        revoke(&self.ark, life(now), &[], &issuing_distribution_point())
    }

    /// Launches a guest: what a hypervisor and a real processor do together.
    ///
    /// # Panics
    /// If the operating system has no randomness for signatures.
    pub fn launch(&self, spec: LaunchSpec) -> SimulatedGuest {
        SimulatedGuest::new(self, spec)
    }

    pub(crate) fn sign_vek(&self, spec: &LaunchSpec, subject: &Subject<'_>) -> Vec<u8> {
        issue(spec.product.ask_common_name(spec.signing_key), &self.ask, subject)
    }

    pub(crate) fn report_key(&self, parts: &[&[u8]]) -> ReportKey {
        ReportKey::derive(&self.seed, parts)
    }
}

/// First and last second of a list.
fn life(now: UnixTime) -> (u64, u64) {
    (
        now.0.saturating_sub(CRL_BACKDATED_S),
        now.0.saturating_add(CRL_LIFETIME_S),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes seconds, hence on demand: `cargo test -p hanzo-simulated-tee -- --ignored`. With
    /// `HANZO_WRITE_TEST_MATERIAL` set to a path it writes the file that is committed as `testdata/for_tests.bin`.
    #[test]
    #[ignore = "searches two RSA-4096 keys"]
    fn the_committed_material_has_the_keys_of_its_seed() {
        let made = SimulatedProcessor::from_seed(TEST_SEED).unwrap();
        if let Some(path) = std::env::var_os("HANZO_WRITE_TEST_MATERIAL") {
            std::fs::write(path, made.to_material().as_slice()).unwrap();
            return;
        }
        let kept = SimulatedProcessor::for_tests();
        assert_eq!(made.ark.pkcs8(), kept.ark.pkcs8());
        assert_eq!(made.ask.pkcs8(), kept.ask.pkcs8());
        assert_eq!(*kept.seed, *TEST_SEED);
    }

    #[test]
    fn material_is_read_whole_or_not_at_all() {
        let kept = SimulatedProcessor::for_tests();
        let material = kept.to_material();
        assert_eq!(material.as_slice(), TEST_MATERIAL);
        assert!(SimulatedProcessor::from_material(&material).is_ok());
        for bad in [
            &material[1..],
            &material[..material.len() - 1],
            &[&material[..], &[0]].concat(),
            b"",
        ] {
            assert_eq!(
                SimulatedProcessor::from_material(bad).err(),
                Some(SimulatorError::Material)
            );
        }
    }
}
