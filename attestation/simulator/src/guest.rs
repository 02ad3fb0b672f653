//! A launched guest and the reports it gets.

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::snp::{Product, REPORT_BYTES, SIGNED_BYTES, SigningKey, TcbVersion};
use hanzo_attestation::{Digest256, Digest384};

use crate::certificate::{NOT_AFTER, NOT_BEFORE, Subject, p384_spki, vek_extensions};
use crate::keys::{ReportKey, public_digest};
use crate::processor::SimulatedProcessor;

const CSP_ID: &str = "CN=simulated.invalid";

/// How a guest is launched. [`LaunchSpec::new`] is healthy; tests make it sick.
#[derive(Debug, Clone)]
pub struct LaunchSpec {
    /// What stands in for the image.
    pub image_digest: Digest384,
    /// SHA-256 of the configuration.
    pub config_digest: Digest256,
    /// Genoa unless changed.
    pub product: Product,
    /// Policy bit 19.
    pub debug: bool,
    /// Policy bit 18.
    pub migrate_ma: bool,
    /// 0 unless changed.
    pub vmpl: u32,
    /// Reported, current, committed and launch TCB; `fmc` is added for Turin and dropped for the others.
    pub tcb: TcbVersion,
    /// Chip id; Turin uses the first 8 bytes.
    pub chip: [u8; 64],
    /// Report version, 2 to 5; 5 unless changed.
    pub version: u32,
    /// VCEK unless changed.
    pub signing_key: SigningKey,
    /// From the host at launch.
    pub host_data: [u8; 32],
    /// First and last second of the VEK certificate, Unix time.
    pub vek_validity: (u64, u64),
    /// Serial number of the VEK certificate; 0, as AMD's, unless changed.
    pub vek_serial: u8,
}

impl LaunchSpec {
    /// A healthy guest on Genoa.
    pub fn new(image_digest: Digest384, config_digest: Digest256) -> Self {
        let mut chip = [0; 64];
        chip[..48].copy_from_slice(&public_digest(&[b"chip"]));
        Self {
            image_digest,
            config_digest,
            product: Product::Genoa,
            debug: false,
            migrate_ma: false,
            vmpl: 0,
            tcb: TcbVersion {
                fmc: None,
                bootloader: 10,
                tee: 0,
                snp: 23,
                microcode: 84,
            },
            chip,
            version: 5,
            signing_key: SigningKey::Vcek,
            host_data: [0; 32],
            vek_validity: (NOT_BEFORE, NOT_AFTER),
            vek_serial: 0,
        }
    }
}

/// The launch measurement of a simulated guest: SHA-384(`hanzo/simulated-tee/v1` || `measurement` || image digest ||
/// config digest).
pub fn simulated_measurement(image_digest: &Digest384, config_digest: &Digest256) -> Digest384 {
    Digest384(public_digest(&[b"measurement", &image_digest.0, &config_digest.0]))
}

/// A running guest.
pub struct SimulatedGuest {
    spec: LaunchSpec,
    key: ReportKey,
    vek_der: Vec<u8>,
    ask_der: Vec<u8>,
    crl_der: Option<Vec<u8>>,
}

impl SimulatedGuest {
    pub(crate) fn new(processor: &SimulatedProcessor, mut spec: LaunchSpec) -> Self {
        spec.tcb.fmc = (spec.product == Product::Turin).then(|| spec.tcb.fmc.unwrap_or(0));
        let (named, rest) = spec.chip.split_at_mut(spec.product.hwid_bytes());
        rest.fill(0);
        let (tcb, product) = (spec.tcb.to_bytes(spec.product), spec.product.name().as_bytes());
        let key = match spec.signing_key {
            SigningKey::Vcek => processor.report_key(&[b"vcek", product, named, &tcb]),
            SigningKey::Vlek => processor.report_key(&[b"vlek", product, &tcb]),
        };
        let subject = Subject {
            common_name: match spec.signing_key {
                SigningKey::Vcek => "SEV-VCEK",
                SigningKey::Vlek => "SEV-VLEK",
            },
            serial: &[spec.vek_serial],
            validity: spec.vek_validity,
            spki: p384_spki(key.public_key()),
            extensions: vek_extensions(spec.product, spec.tcb, spec.signing_key, &spec.chip, CSP_ID),
        };
        let vek_der = processor.sign_vek(&spec, &subject);
        let ask_der = processor.intermediate_der(spec.product, spec.signing_key).to_vec();
        Self {
            spec,
            key,
            vek_der,
            ask_der,
            crl_der: None,
        }
    }

    /// Staples a revocation list to all further evidence.
    pub fn with_crl(mut self, crl_der: Vec<u8>) -> Self {
        self.crl_der = Some(crl_der);
        self
    }

    /// The launch measurement.
    pub fn measurement(&self) -> Digest384 {
        simulated_measurement(&self.spec.image_digest, &self.spec.config_digest)
    }

    /// What the guest was launched with.
    pub fn spec(&self) -> &LaunchSpec {
        &self.spec
    }

    /// A signed report over `report_data`, with its certificates.
    ///
    /// # Panics
    /// If the operating system has no randomness for the signature.
    pub fn evidence(&self, report_data: &[u8; 64]) -> SnpEvidence {
        self.evidence_edited(report_data, |_| {})
    }

    /// As [`SimulatedGuest::evidence`], with the report changed *before* it is signed: a processor that lies or is newer
    /// than the verifier.
    ///
    /// # Panics
    /// As [`SimulatedGuest::evidence`].
    pub fn evidence_edited(&self, report_data: &[u8; 64], edit: impl FnOnce(&mut [u8; SIGNED_BYTES])) -> SnpEvidence {
        let mut signed = self.report_body(report_data);
        edit(&mut signed);
        let mut signature = self.key.sign(&signed);
        let (r, s) = signature.split_at_mut(48);
        r.reverse();
        s.reverse();
        let mut report = vec![0; REPORT_BYTES];
        report[..SIGNED_BYTES].copy_from_slice(&signed);
        report[0x2a0..0x2a0 + 48].copy_from_slice(r);
        report[0x2e8..0x2e8 + 48].copy_from_slice(s);
        SnpEvidence {
            ask: Some(Base64(self.ask_der.clone())),
            crl: self.crl_der.clone().map(Base64),
            report: Base64(report),
            vek: Base64(self.vek_der.clone()),
        }
    }

    fn report_body(&self, report_data: &[u8; 64]) -> [u8; SIGNED_BYTES] {
        let spec = &self.spec;
        let mut body = [0; SIGNED_BYTES];
        let mut put = |offset: usize, bytes: &[u8]| body[offset..offset + bytes.len()].copy_from_slice(bytes);
        let policy = 0x3_0000 | u64::from(spec.migrate_ma) << 18 | u64::from(spec.debug) << 19;
        let vlek = spec.signing_key == SigningKey::Vlek;
        let tcb = spec.tcb.to_bytes(spec.product);
        put(0x000, &spec.version.to_le_bytes());
        put(0x008, &policy.to_le_bytes());
        put(0x030, &spec.vmpl.to_le_bytes());
        put(0x034, &1_u32.to_le_bytes());
        put(0x038, &tcb);
        put(0x040, &0x25_u64.to_le_bytes());
        put(0x048, &(u32::from(vlek) << 2).to_le_bytes());
        put(0x050, report_data);
        put(0x090, &self.measurement().0);
        put(0x0c0, &spec.host_data);
        put(0x140, &public_digest(&[b"report id", &self.measurement().0])[..32]);
        put(0x160, &[0xff; 32]);
        put(0x180, &tcb);
        if spec.version >= 3 {
            put(
                0x188,
                &match spec.product {
                    Product::Milan => [0x19, 0x01, 1],
                    Product::Genoa => [0x19, 0x11, 1],
                    Product::Turin => [0x1a, 0x02, 1],
                },
            );
        }
        if !vlek {
            put(0x1a0, &spec.chip);
        }
        put(0x1e0, &tcb);
        put(0x1e8, &[29, 55, 1]);
        put(0x1ec, &[29, 55, 1]);
        put(0x1f0, &tcb);
        body
    }
}
