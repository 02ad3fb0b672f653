//! Certificates and lists in AMD's shape (57230), under names that are not AMD's.

use hanzo_attestation::snp::{Product, SigningKey, TcbVersion};

use crate::encode::{
    IA5_STRING, NULL, OCTET_STRING, PRINTABLE_STRING, SEQUENCE, SET, UTF8_STRING, bit_string, integer, nest, oid, time,
    tlv,
};
use crate::keys::VendorKey;

/// CN of the simulated root. One root serves all products.
pub(crate) const ARK_COMMON_NAME: &str = "ARK-Simulated";
/// 2020-01-01T00:00:00Z.
pub(crate) const NOT_BEFORE: u64 = 1_577_836_800;
/// 2049-12-31T23:59:59Z.
pub(crate) const NOT_AFTER: u64 = 2_524_607_999;

/// What differs between certificates.
pub(crate) struct Subject<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) serial: &'a [u8],
    pub(crate) validity: (u64, u64),
    /// SubjectPublicKeyInfo.
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

/// Issues a certificate.
pub(crate) fn issue(issuer_name: &str, issuer: &VendorKey, subject: &Subject<'_>) -> Vec<u8> {
    let (not_before, not_after) = subject.validity;
    let tbs = nest(
        SEQUENCE,
        &[
            &tlv(0xa0, &integer(&[2])),
            &integer(subject.serial),
            &rsa_pss(),
            &name(issuer_name),
            &nest(SEQUENCE, &[&time(not_before), &time(not_after)]),
            &name(subject.common_name),
            &subject.spki,
            &tlv(0xa3, &tlv(SEQUENCE, &subject.extensions.concat())),
        ],
    );
    nest(SEQUENCE, &[&tbs, &rsa_pss(), &bit_string(&issuer.sign(&tbs))])
}

/// Issues a list that names `serials`; `more` stands behind the list's number among its extensions.
pub(crate) fn revoke(
    ark: &VendorKey,
    (this_update, next_update): (u64, u64),
    serials: &[&[u8]],
    more: &[u8],
) -> Vec<u8> {
    let entries: Vec<u8> = serials
        .iter()
        .flat_map(|serial| nest(SEQUENCE, &[&integer(serial), &time(this_update)]))
        .collect();
    let revoked = if entries.is_empty() {
        Vec::new()
    } else {
        tlv(SEQUENCE, &entries)
    };
    let number = extension(&[2, 5, 29, 20], false, &integer(&[1]));
    let tbs = nest(
        SEQUENCE,
        &[
            &integer(&[1]),
            &rsa_pss(),
            &name(ARK_COMMON_NAME),
            &time(this_update),
            &time(next_update),
            &revoked,
            &tlv(0xa0, &nest(SEQUENCE, &[&number, more])),
        ],
    );
    nest(SEQUENCE, &[&tbs, &rsa_pss(), &bit_string(&ark.sign(&tbs))])
}

/// issuingDistributionPoint, critical: the list is about certificates of users alone, and says nothing of authorities.
pub(crate) fn issuing_distribution_point() -> Vec<u8> {
    extension(&[2, 5, 29, 28], true, &tlv(SEQUENCE, &[0x81, 0x01, 0xff]))
}

/// SubjectPublicKeyInfo of an RSA key.
pub(crate) fn rsa_spki(key: &VendorKey) -> Vec<u8> {
    let algorithm = nest(SEQUENCE, &[&oid(&[1, 2, 840, 113_549, 1, 1, 1]), &tlv(NULL, &[])]);
    nest(SEQUENCE, &[&algorithm, &bit_string(key.public_key())])
}

/// SubjectPublicKeyInfo of a P-384 point.
pub(crate) fn p384_spki(point: &[u8]) -> Vec<u8> {
    let algorithm = nest(SEQUENCE, &[&oid(&[1, 2, 840, 10_045, 2, 1]), &oid(&[1, 3, 132, 0, 34])]);
    nest(SEQUENCE, &[&algorithm, &bit_string(point)])
}

/// basicConstraints with cA and, for an intermediate, pathLen 0; keyUsage keyCertSign and, for the root, cRLSign.
pub(crate) fn authority_extensions(root: bool) -> Vec<Vec<u8>> {
    let true_ = tlv(0x01, &[0xff]);
    let constraints = if root {
        true_.clone()
    } else {
        [true_, integer(&[0])].concat()
    };
    let usage: &[u8] = if root {
        &[0x03, 0x02, 0x01, 0x06]
    } else {
        &[0x03, 0x02, 0x02, 0x04]
    };
    vec![
        extension(&[2, 5, 29, 19], true, &tlv(SEQUENCE, &constraints)),
        extension(&[2, 5, 29, 15], true, usage),
    ]
}

/// AMD's extensions: structVersion, productName, the SPLs, and hwID (VCEK) or cspID (VLEK).
pub(crate) fn vek_extensions(
    product: Product,
    tcb: TcbVersion,
    key: SigningKey,
    chip_id: &[u8; 64],
    csp_id: &str,
) -> Vec<Vec<u8>> {
    let amd = |arcs: &[u32], value: &[u8]| extension(&[&[1, 3, 6, 1, 4, 1, 3704, 1], arcs].concat(), false, value);
    let stepping = if key == SigningKey::Vcek && product != Product::Turin {
        "-B1"
    } else {
        ""
    };
    let product_name = format!("{}{stepping}", product.name());
    let mut extensions = vec![
        amd(&[1], &integer(&[0])),
        amd(&[2], &tlv(IA5_STRING, product_name.as_bytes())),
    ];
    extensions.extend(tcb.fmc.map(|fmc| amd(&[3, 9], &integer(&[fmc]))));
    for (arc, spl) in [
        (1, tcb.bootloader),
        (2, tcb.tee),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
        (3, tcb.snp),
        (8, tcb.microcode),
    ] {
        extensions.push(amd(&[3, arc], &integer(&[spl])));
    }
    extensions.push(match key {
        // The bytes themselves, without a tag: AMD's older encoding.
        SigningKey::Vcek => amd(&[4], &chip_id[..product.hwid_bytes()]),
        SigningKey::Vlek => amd(&[5], &tlv(IA5_STRING, csp_id.as_bytes())),
    });
    extensions
}

pub(crate) fn extension(arcs: &[u32], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(0x01, &[0xff]) } else { Vec::new() };
    nest(SEQUENCE, &[&oid(arcs), &critical, &tlv(OCTET_STRING, value)])
}

/// Six attributes in AMD's order.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let attribute = |arc, tag, text: &str| {
        tlv(
            SET,
            &nest(SEQUENCE, &[&oid(&[2, 5, 4, arc]), &tlv(tag, text.as_bytes())]),
        )
    };
    nest(
        SEQUENCE,
        &[
            &attribute(11, UTF8_STRING, "Simulation"),
            &attribute(6, PRINTABLE_STRING, "ZZ"),
            &attribute(7, UTF8_STRING, "Nowhere"),
            &attribute(8, UTF8_STRING, "Nowhere"),
            &attribute(10, UTF8_STRING, "Hanzo simulated TEE, no hardware"),
            &attribute(3, UTF8_STRING, common_name),
        ],
    )
}

/// id-RSASSA-PSS: SHA-384, MGF1 with SHA-384, salt 48.
fn rsa_pss() -> Vec<u8> {
    let sha384 = nest(SEQUENCE, &[&oid(&[2, 16, 840, 1, 101, 3, 4, 2, 2]), &tlv(NULL, &[])]);
    let mgf1 = nest(SEQUENCE, &[&oid(&[1, 2, 840, 113_549, 1, 1, 8]), &sha384]);
    let parameters = nest(
        SEQUENCE,
        &[&tlv(0xa0, &sha384), &tlv(0xa1, &mgf1), &tlv(0xa2, &integer(&[48]))],
    );
    nest(SEQUENCE, &[&oid(&[1, 2, 840, 113_549, 1, 1, 10]), &parameters])
}
