//! Whom to ask.

use std::fmt;

use crate::error::CollateralError;

/// Scheme, host and path of a service: `https://kdsintf.amd.com`. No user, query or fragment; no slash at the end.
///
/// `http://` is accepted because nothing that is fetched is believed, and tells the network which chips are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Reads the address of `service`.
    ///
    /// # Errors
    /// [`CollateralError::BaseUrl`].
    pub fn new(service: &'static str, text: &str) -> Result<Self, CollateralError> {
        let wrong = || CollateralError::BaseUrl {
            service,
            got: if text.contains('@') {
                "an address with a user".into()
            } else {
                text.to_owned()
            },
        };
        let url = reqwest::Url::parse(text).map_err(|_| wrong())?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.has_host()
            && matches!(url.scheme(), "http" | "https");
        if !plain {
            return Err(wrong());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// This address with `path`, which starts with a slash, after it.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    fn vendor(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who serves Intel's collateral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntelSource {
    /// Intel's own service, which has the root CA's list at another host.
    Pcs {
        /// Provisioning certification service, version 4.
        api: BaseUrl,
        /// The file with the root CA's list, DER.
        root_crl: BaseUrl,
    },
    /// A caching service (PCCS) with the same API, and the root CA's list at `rootcacrl`.
    Pccs(BaseUrl),
}

/// The services. The default is the vendors' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// AMD's key distribution service.
    pub kds: BaseUrl,
    /// Intel's collateral.
    pub intel: IntelSource,
    /// NVIDIA's RIM service.
    pub rim: BaseUrl,
    /// NVIDIA's OCSP responder.
    pub ocsp: BaseUrl,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            kds: BaseUrl::vendor("https://kdsintf.amd.com"),
            intel: IntelSource::Pcs {
                api: BaseUrl::vendor("https://api.trustedservices.intel.com"),
                root_crl: BaseUrl::vendor("https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"),
            },
            rim: BaseUrl::vendor("https://rim.attestation.nvidia.com"),
            ocsp: BaseUrl::vendor("https://ocsp.ndis.nvidia.com"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_or_refused_and_passwords_are_not_repeated() {
        let at = |text| BaseUrl::new("PCCS", text);
        assert_eq!(
            at("https://pccs.lan:8081/").unwrap().join("/x"),
            "https://pccs.lan:8081/x"
        );
        assert_eq!(at("http://10.0.0.1/kds").unwrap().join("/x"), "http://10.0.0.1/kds/x");
        for bad in [
            "",
            "pccs.lan",
            "ftp://pccs.lan",
            "file:///etc",
            "https://a/?b",
            "https://a/#b",
            "https://",
        ] {
            assert_eq!(at(bad).unwrap_err().code(), "collateral.url", "{bad}");
        }
        let refused = at("https://user:CANARY@pccs.lan").unwrap_err();
        assert_eq!(refused.code(), "collateral.url");
        assert!(!refused.to_string().contains("CANARY"), "{refused}");
    }

    #[test]
    fn the_vendors_addresses_are_addresses() {
        let Sources { kds, intel, rim, ocsp } = Sources::default();
        let IntelSource::Pcs { api, root_crl } = intel else {
            panic!("the default is Intel's own")
        };
        for url in [kds, api, root_crl, rim, ocsp] {
            assert_eq!(BaseUrl::new("vendor", &url.to_string()).unwrap(), url);
            assert!(url.to_string().starts_with("https://"));
        }
    }
}
