//! AMD's key distribution service (57230, section 4).

use hanzo_attestation::AttestationError;
use hanzo_attestation::snp::{CERTIFICATE_BYTES_MAX, CRL_BYTES_MAX, Product, SigningKey, TcbVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::error::CollateralError;
use crate::http::{Http, Request};
use crate::key::Key;
use crate::sources::BaseUrl;

/// Two certificates in PEM, with room.
const CHAIN_BYTES_MAX: usize = 4 * CERTIFICATE_BYTES_MAX;

/// `.../vcek/v1/Genoa/<128 hex digits>?blSPL=..&teeSPL=..&snpSPL=..&ucodeSPL=..`; Turin has 16 hex digits and `fmcSPL` in
/// front. Numbers are decimal, two digits at least.
pub fn vcek_url(kds: &BaseUrl, product: Product, chip_id: &[u8], tcb: TcbVersion) -> String {
    let fmc = match product {
        Product::Turin => format!("fmcSPL={:02}&", tcb.fmc.unwrap_or(0)),
        Product::Milan | Product::Genoa => String::new(),
    };
    kds.join(&format!(
        "/vcek/v1/{}/{}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
        product.name(),
        hex::encode(chip_id),
        tcb.bootloader,
        tcb.tee,
        tcb.snp,
        tcb.microcode,
    ))
}

/// `.../vcek/v1/Genoa/cert_chain` for the ASK, `.../vlek/v1/Genoa/cert_chain` for the ASVK.
pub fn chain_url(kds: &BaseUrl, product: Product, key: SigningKey) -> String {
    let kind = match key {
        SigningKey::Vcek => "vcek",
        SigningKey::Vlek => "vlek",
    };
    kds.join(&format!("/{kind}/v1/{}/cert_chain", product.name()))
}

/// `.../vcek/v1/Genoa/crl`.
pub fn crl_url(kds: &BaseUrl, product: Product) -> String {
    kds.join(&format!("/vcek/v1/{}/crl", product.name()))
}

fn request(key: &Key, url: String, bytes_max: usize) -> Request {
    Request {
        what: key.describe(),
        url,
        post: None,
        accept: "*/*",
        bytes_max,
    }
}

pub(crate) async fn vcek(
    http: &Http,
    kds: &BaseUrl,
    key: &Key,
    product: Product,
    chip_id: &[u8],
    tcb: [u8; 8],
) -> Result<Vec<u8>, CollateralError> {
    let tcb = TcbVersion::from_bytes(product, "REPORTED_TCB", 0x180, tcb).map_err(AttestationError::from)?;
    let url = vcek_url(kds, product, chip_id, tcb);
    Ok(http.fetch(&request(key, url, CERTIFICATE_BYTES_MAX)).await?.body)
}

pub(crate) async fn crl(http: &Http, kds: &BaseUrl, key: &Key, product: Product) -> Result<Vec<u8>, CollateralError> {
    Ok(http
        .fetch(&request(key, crl_url(kds, product), CRL_BYTES_MAX))
        .await?
        .body)
}

/// The ASK or ASVK: the first certificate of the chain. The second is a root, and roots are compiled in.
pub(crate) async fn intermediate(
    http: &Http,
    kds: &BaseUrl,
    key: &Key,
    product: Product,
    signing: SigningKey,
) -> Result<Vec<u8>, CollateralError> {
    let answer = http
        .fetch(&request(key, chain_url(kds, product, signing), CHAIN_BYTES_MAX))
        .await?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&answer.body)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    match chain.as_slice() {
        [ask, _ark] => Ok(ask.to_vec()),
        _ => Err(CollateralError::Answer {
            what: key.describe(),
            field: "body",
            expected: "two certificates in PEM, ASK or ASVK and ARK",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_the_form_of_each_product() {
        let kds = BaseUrl::new("KDS", "https://kdsintf.amd.com").unwrap();
        let tcb = TcbVersion {
            fmc: None,
            bootloader: 3,
            tee: 0,
            snp: 8,
            microcode: 115,
        };
        let chip = [0xab; 64];
        assert_eq!(
            vcek_url(&kds, Product::Milan, &chip, tcb),
            format!(
                "https://kdsintf.amd.com/vcek/v1/Milan/{}?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115",
                "ab".repeat(64)
            )
        );
        assert_eq!(
            vcek_url(&kds, Product::Turin, &chip[..8], TcbVersion { fmc: Some(1), ..tcb }),
            "https://kdsintf.amd.com/vcek/v1/Turin/abababababababab?fmcSPL=01&blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115"
        );
        assert_eq!(
            [SigningKey::Vcek, SigningKey::Vlek].map(|k| chain_url(&kds, Product::Genoa, k)),
            [
                "https://kdsintf.amd.com/vcek/v1/Genoa/cert_chain",
                "https://kdsintf.amd.com/vlek/v1/Genoa/cert_chain"
            ]
        );
        assert_eq!(
            crl_url(&kds, Product::Genoa),
            "https://kdsintf.amd.com/vcek/v1/Genoa/crl"
        );
    }
}
