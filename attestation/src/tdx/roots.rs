//! Intel's root. Source: <https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer>.
//! SHA-256 is over the DER bytes; a test recomputes it.

use std::sync::{Arc, LazyLock};

use super::certificate::{Certificate, Role};
use super::error::TdxError;
use crate::evidence::{Anchors, UnixTime};
use crate::pinned::decode;

/// CN Intel SGX Root CA, until 2049-12-31.
/// SHA-256 `44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3`,
/// of its SubjectPublicKeyInfo `a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e`.
pub const INTEL_SGX_ROOT_CA: [u8; 659] = decode(
    "\
    MIICjzCCAjSgAwIBAgIUImUM1lqdNInzg7SVUr9QGzknBqwwCgYIKoZIzj0EAwIwaDEaMBgGA1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNV\
    BAoMEUludGVsIENvcnBvcmF0aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJBgNVBAYTAlVTMB4XDTE4MDUyMTEwNDUx\
    MFoXDTQ5MTIzMTIzNTk1OVowaDEaMBgGA1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNVBAoMEUludGVsIENvcnBvcmF0aW9uMRQwEgYDVQQH\
    DAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJBgNVBAYTAlVTMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEC6nEwMDIYZOj/iPWsCzaEKi7\
    1OiOSLRFhWGjbnBVJfVnkY4u3IjkDYYL0MxO4mqsyYjlBalTVYxFP2sJBK5zlKOBuzCBuDAfBgNVHSMEGDAWgBQiZQzWWp00ifODtJVSv1AbOScG\
    rDBSBgNVHR8ESzBJMEegRaBDhkFodHRwczovL2NlcnRpZmljYXRlcy50cnVzdGVkc2VydmljZXMuaW50ZWwuY29tL0ludGVsU0dYUm9vdENBLmRl\
    cjAdBgNVHQ4EFgQUImUM1lqdNInzg7SVUr9QGzknBqwwDgYDVR0PAQH/BAQDAgEGMBIGA1UdEwEB/wQIMAYBAf8CAQEwCgYIKoZIzj0EAwIDSQAw\
    RgIhAOW/5QkR+S9CiSDcNoowLuPRLsWGf/Yi7GSX94BgwTwgAiEA4J0lrHoMs+Xo5o/sX6O9QWxHRAvZUGOdRQ7cvqRXaqI=",
);

/// A root that counts.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) certificate: Certificate,
    pub(super) simulated: bool,
}

/// Intel's root, read once: it is a constant.
static INTEL: LazyLock<Result<Arc<Root>, TdxError>> = LazyLock::new(|| {
    let certificate = Certificate::parse(Role::Root, &INTEL_SGX_ROOT_CA)?;
    Ok(Arc::new(Root {
        certificate,
        simulated: false,
    }))
});

fn intel() -> Result<Arc<Root>, TdxError> {
    INTEL.as_ref().map(Arc::clone).map_err(|_| TdxError::Anchor {
        detail: "the compiled-in root is no certificate",
    })
}

/// The root whose bytes are `der`: Intel's, or one that the caller supplied for simulators. Names decide nothing.
pub(super) fn find(der: &[u8], anchors: &Anchors) -> Result<Arc<Root>, TdxError> {
    if der == INTEL_SGX_ROOT_CA {
        return intel();
    }
    if !anchors.simulator_tdx_roots().iter().any(|root| root == der) {
        let name = Certificate::parse(Role::Root, der).map_or_else(|_| "no certificate".into(), |c| c.common_name());
        return Err(TdxError::Root { got: name });
    }
    let wrong = |detail| TdxError::Anchor { detail };
    let certificate =
        Certificate::parse(Role::Root, der).map_err(|_| wrong("not a root certificate of Intel's form"))?;
    certificate
        .verify_signed_by(&certificate)
        .map_err(|_| wrong("not self-signed"))?;
    if certificate.point() == intel()?.certificate.point() {
        return Err(wrong("it has the key of Intel's root"));
    }
    Ok(Arc::new(Root {
        certificate,
        simulated: true,
    }))
}

impl Root {
    /// True if it counts among `anchors` too: collateral may have been prepared with others.
    pub(super) fn counts(&self, anchors: &Anchors) -> bool {
        let der = self.certificate.der();
        !self.simulated || anchors.simulator_tdx_roots().iter().any(|root| root == der)
    }

    /// Counts among `anchors`, and is alive.
    pub(super) fn check(&self, anchors: &Anchors, now: UnixTime) -> Result<(), TdxError> {
        if !self.counts(anchors) {
            return Err(TdxError::Root {
                got: self.certificate.common_name(),
            });
        }
        self.certificate.check_validity(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest256;

    #[test]
    fn the_pinned_root_is_intels_and_self_signed() {
        let sha256 = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";
        assert_eq!(Digest256::of(&INTEL_SGX_ROOT_CA).to_string(), sha256);
        let root = Certificate::parse(Role::Root, &INTEL_SGX_ROOT_CA).unwrap();
        root.verify_signed_by(&root).unwrap();
        assert_eq!(root.common_name(), "Intel SGX Root CA");
    }

    #[test]
    fn a_simulators_root_may_not_pass_for_intels() {
        let mut forged = INTEL_SGX_ROOT_CA.to_vec();
        let at = forged.len() - 1;
        forged[at] ^= 1;
        let anchors = Anchors::vendor().with_simulator_tdx_root(forged.clone());
        assert_eq!(find(&forged, &anchors).unwrap_err().code(), "tdx.anchor.invalid");
        assert_eq!(find(&forged, &Anchors::vendor()).unwrap_err().code(), "tdx.chain.root");
        assert!(!find(&INTEL_SGX_ROOT_CA, &anchors).unwrap().simulated);
    }
}
