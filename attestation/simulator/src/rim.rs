//! RIM files in NVIDIA's form (SWID tag, enveloped XML signature), under a root that is not NVIDIA's.
//!
//! The file is written twice: as NVIDIA spells it, and as C14N 1.1 spells that. No code is shared with what reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA384, digest};

use crate::authority::{Authority, ca_extensions, signer_extensions};
use crate::certificate::{NOT_AFTER, NOT_BEFORE, Subject};
use crate::ocsp::{OcspSpec, answer, refusal};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const RIM_MODEL: &str =
    "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
const XMLENC_SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

/// Serial numbers of the chain, signer first.
const SERIALS: [&[u8]; 4] = [&[1, 4], &[1, 3], &[1, 2], &[1, 1]];

/// One reference measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RimResource {
    /// 0 to 63; a report's measurement has the next number.
    pub index: u8,
    /// To be compared.
    pub active: bool,
    /// Acceptable values: one to ten.
    pub alternatives: Vec<[u8; 48]>,
}

/// What a RIM says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RimSpec {
    /// Chip: `GH100`, `GB100`, `LS10`.
    pub product: String,
    /// Version of the driver or VBIOS.
    pub version: String,
    /// Written in this order.
    pub resources: Vec<RimResource>,
}

impl RimSpec {
    /// A RIM for the measurements of a report with these numbers (1 to 64); the other indexes are there and inactive.
    /// Measurements that are not 48 bytes long are left inactive too.
    pub fn of_measurements(
        product: &str,
        version: &str,
        measurements: &BTreeMap<u8, Vec<u8>>,
        numbers: impl IntoIterator<Item = u8>,
    ) -> Self {
        let numbers: Vec<u8> = numbers.into_iter().collect();
        let resources = (0..64).map(|index: u8| {
            let number = index + 1;
            let measured = measurements.get(&number).filter(|_| numbers.contains(&number));
            let value = measured.and_then(|m| <[u8; 48]>::try_from(m.as_slice()).ok());
            RimResource {
                index,
                active: value.is_some(),
                alternatives: vec![value.unwrap_or([0; 48])],
            }
        });
        Self {
            product: product.to_owned(),
            version: version.to_owned(),
            resources: resources.collect(),
        }
    }

    fn edition(&self) -> &'static str {
        if self.product == "LS10" { "SWITCH" } else { "GPU" }
    }

    /// As NVIDIA computes it.
    fn tag_id(&self) -> String {
        let name = format!("{}_{}", self.product, self.version);
        hex(digest(&SHA384, name.as_bytes()).as_ref())
    }

    /// Everything before the signature, as NVIDIA spells it.
    fn written(&self) -> String {
        let Self { product, version, .. } = self;
        let (edition, tag_id) = (self.edition(), self.tag_id());
        let mut out = format!(
            "<SoftwareIdentity xmlns=\"{SWID}\" xmlns:ns0=\"{SWID}\" xmlns:ns2=\"{XMLENC_SHA384}\" corpus=\"false\" \
             name=\"{product}\" patch=\"false\" supplemental=\"false\" tagId=\"{tag_id}\" version=\"1.0\" tagVersion=\"0\">\n    \
             <ns0:Entity name=\"Hanzo simulated TEE, no hardware\" role=\"softwareCreator tagCreator\"/>\n    \
             <ns0:Meta xmlns:ns1=\"{RIM_MODEL}\" colloquialVersion=\"{version}\" edition=\"{edition}\" product=\"{product}\" \
             revision=\"r1\" PayloadType=\"direct\" ns1:BindingSpec=\"RIMIM\" ns1:BindingSpecVersion=\"1.01\" \
             ns1:PlatformModel=\"{product}\" ns1:FirmwareManufacturer=\"simulated\"/>\n    \
             <ns0:Payload xmlns:SHA384=\"{XMLENC_SHA384}\">\n"
        );
        for resource in &self.resources {
            let (index, count) = (resource.index, resource.alternatives.len());
            let _ = writeln!(
                out,
                "        <ns0:Resource type=\"Measurement\" index=\"{index}\" active=\"{}\" alternatives=\"{count}\"{} \
                 name=\"Measurement_{index}\" size=\"48\"/>",
                active(resource),
                hashes(resource),
            );
        }
        out.push_str("    </ns0:Payload>\n");
        out
    }

    /// The same as C14N 1.1 spells it.
    fn canonical(&self) -> String {
        let Self { product, version, .. } = self;
        let (edition, tag_id) = (self.edition(), self.tag_id());
        let mut out = format!(
            "<SoftwareIdentity xmlns=\"{SWID}\" xmlns:ns0=\"{SWID}\" xmlns:ns2=\"{XMLENC_SHA384}\" corpus=\"false\" \
             name=\"{product}\" patch=\"false\" supplemental=\"false\" tagId=\"{tag_id}\" tagVersion=\"0\" version=\"1.0\">\n    \
             <ns0:Entity name=\"Hanzo simulated TEE, no hardware\" role=\"softwareCreator tagCreator\"></ns0:Entity>\n    \
             <ns0:Meta xmlns:ns1=\"{RIM_MODEL}\" PayloadType=\"direct\" colloquialVersion=\"{version}\" edition=\"{edition}\" \
             product=\"{product}\" revision=\"r1\" ns1:BindingSpec=\"RIMIM\" ns1:BindingSpecVersion=\"1.01\" \
             ns1:FirmwareManufacturer=\"simulated\" ns1:PlatformModel=\"{product}\"></ns0:Meta>\n    \
             <ns0:Payload xmlns:SHA384=\"{XMLENC_SHA384}\">\n"
        );
        for resource in &self.resources {
            let (index, count) = (resource.index, resource.alternatives.len());
            let _ = writeln!(
                out,
                "        <ns0:Resource active=\"{}\" alternatives=\"{count}\" index=\"{index}\" name=\"Measurement_{index}\" \
                 size=\"48\" type=\"Measurement\"{}></ns0:Resource>",
                active(resource),
                hashes(resource),
            );
        }
        out.push_str("    </ns0:Payload>\n</SoftwareIdentity>");
        out
    }
}

fn active(resource: &RimResource) -> &'static str {
    if resource.active { "True" } else { "False" }
}

fn hashes(resource: &RimResource) -> String {
    let all = resource.alternatives.iter().enumerate();
    all.map(|(i, value)| format!(" ns2:Hash{i}=\"{}\"", hex(value)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Signs reference measurements as NVIDIA does: a signer, two authorities, a root.
pub struct SimulatedRimIssuer {
    /// Signer first, root last.
    authorities: [Authority; 4],
    certificates: [Vec<u8>; 4],
}

impl SimulatedRimIssuer {
    /// Derives keys from `seed` and issues certificates. Keys are the same for the same seed; signatures are not, so a
    /// root must be kept by its bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::with_signer_validity(seed, (NOT_BEFORE, NOT_AFTER))
    }

    /// The issuer of a fixed, public seed. TEST ONLY.
    pub fn for_tests() -> Self {
        Self::from_seed(b"hanzo simulated RIM: TEST ONLY !")
    }

    /// The same with another first and last second of the signer's certificate.
    pub fn with_signer_validity(seed: &[u8; 32], validity: (u64, u64)) -> Self {
        let names = [
            "RIM L4 Signer (simulated)",
            "Reference Value L3 (simulated)",
            "Reference Value CA (simulated)",
            "CoRIM signing Root CA (simulated)",
        ];
        let authorities = [0, 1, 2, 3].map(|i| Authority::derive(seed, &format!("rim {i}"), names[i]));
        let certificates = [0, 1, 2, 3].map(|i| {
            authorities[(i + 1).min(3)].issue(&Subject {
                common_name: names[i],
                serial: SERIALS[i],
                validity: if i == 0 { validity } else { (NOT_BEFORE, NOT_AFTER) },
                spki: authorities[i].spki(),
                extensions: match i {
                    0 => signer_extensions(),
                    1 => ca_extensions(Some(0)),
                    _ => ca_extensions(None),
                },
            })
        });
        Self {
            authorities,
            certificates,
        }
    }

    /// The root certificate (DER): what `Anchors::with_simulator_rim_root` takes.
    pub fn root_der(&self) -> &[u8] {
        &self.certificates[3]
    }

    /// The chain, DER, signer first.
    pub fn certificates(&self) -> &[Vec<u8>; 4] {
        &self.certificates
    }

    /// A RIM file.
    pub fn sign(&self, spec: &RimSpec) -> Vec<u8> {
        let digest_value = base64(digest(&SHA384, spec.canonical().as_bytes()).as_ref());
        let c14n = "http://www.w3.org/2006/12/xml-c14n11";
        let info = |declarations: &str, end: &dyn Fn(&str) -> String| {
            let method = |name: &str, algorithm: &str| {
                let tag = format!("<ds:{name} Algorithm=\"{algorithm}\"");
                format!("{tag}{}", end(name))
            };
            format!(
                "<ds:SignedInfo{declarations}>{}{}<ds:Reference URI=\"\"><ds:Transforms>{}{}</ds:Transforms>{}\
                 <ds:DigestValue>{digest_value}</ds:DigestValue></ds:Reference></ds:SignedInfo>",
                method("CanonicalizationMethod", c14n),
                method("SignatureMethod", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"),
                method("Transform", "http://www.w3.org/2000/09/xmldsig#enveloped-signature"),
                method("Transform", c14n),
                method("DigestMethod", "http://www.w3.org/2001/04/xmldsig-more#sha384"),
            )
        };
        let in_scope =
            format!(" xmlns=\"{SWID}\" xmlns:ds=\"{DSIG}\" xmlns:ns0=\"{SWID}\" xmlns:ns2=\"{XMLENC_SHA384}\"");
        let signed = info(&in_scope, &|name| format!("></ds:{name}>"));
        let signature = base64(&self.authorities[0].key.sign(signed.as_bytes()));
        let certificates: String = self
            .certificates
            .iter()
            .map(|der| format!("<ds:X509Certificate>{}\n</ds:X509Certificate>", lines(&base64(der))))
            .collect();
        let written = info("", &|_| "/>".to_owned());
        format!(
            "{}<ds:Signature xmlns:ds=\"{DSIG}\">{written}<ds:SignatureValue>{signature}</ds:SignatureValue><ds:KeyInfo>\
             <ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature></SoftwareIdentity>\n",
            spec.written()
        )
        .into_bytes()
    }

    /// An OCSP answer about the certificate at `position` (0, the signer's, to 2) of the chain.
    ///
    /// # Panics
    /// For another position.
    pub fn ocsp(&self, position: usize, spec: &OcspSpec) -> Vec<u8> {
        answer(&self.authorities[position + 1], SERIALS[position], spec)
    }

    /// A responder's refusal to answer, by OCSPResponseStatus.
    pub fn ocsp_refusal(&self, status: u8) -> Vec<u8> {
        refusal(status)
    }
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for i in 0..4 {
            if i <= chunk.len() {
                out.push(char::from(LETTERS[(bits >> (18 - 6 * i)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Lines of 64 letters.
fn lines(text: &str) -> String {
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|i| &text[i..(i + 64).min(text.len())])
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_one_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
