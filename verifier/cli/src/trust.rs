//! Files on the command line: policy, roots, lists, documents. All bounded.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::bundle::{Base64, TdxCollateral};
use hanzo_attestation::{Anchors, Collateral, Digest256, UnixTime};
use hanzo_client::{ClientConfig, Endpoint, Relay, RelayUrl, SealedConfig};
use hanzo_policy::AppraisalPolicy;
use hanzo_verifier::VerifierContext;
use rustls_pki_types::pem::PemObject as _;

use crate::args::{CollateralArgs, RootArgs, TrustArgs};
use crate::error::CliError;

/// Longest file that is read: a request may be 64 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let fail = |source| CliError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CliError::TooLarge {
            path: path.to_path_buf(),
            limit: FILE_BYTES_MAX,
        });
    }
    Ok(bytes)
}

pub(crate) fn policy(path: &Path) -> Result<AppraisalPolicy, CliError> {
    AppraisalPolicy::from_toml(&read(path)?).map_err(|source| CliError::Policy {
        path: path.to_path_buf(),
        source,
    })
}

impl TrustArgs {
    /// Reads all files.
    ///
    /// # Errors
    /// [`CliError::Io`], [`CliError::Policy`], [`CliError::Usage`].
    pub fn context(&self) -> Result<VerifierContext, CliError> {
        let policy = policy(&self.policy)?;
        let release = match (&self.release, &policy.release) {
            (Some(path), Some(_)) => Some(read(path)?),
            // Whoever gives one and is not heard would believe that it counts.
            (Some(path), None) => {
                return Err(CliError::Usage {
                    option: "--release",
                    expected: "a policy with a table [release]",
                    got: path.display().to_string(),
                });
            }
            (None, _) => None,
        };
        Ok(VerifierContext {
            anchors: self.roots.anchors()?,
            collateral: Collateral {
                release,
                ..self.collateral.read()?
            },
            policy,
        })
    }
}

impl RootArgs {
    pub(crate) fn anchors(&self) -> Result<Anchors, CliError> {
        let mut anchors = Anchors::vendor();
        for path in &self.simulator_roots {
            anchors = anchors.with_simulator_ark(read(path)?);
        }
        for path in &self.simulator_tdx_roots {
            anchors = anchors.with_simulator_tdx_root(read(path)?);
        }
        for path in &self.simulator_gpu_roots {
            anchors = anchors.with_simulator_nvidia_root(read(path)?);
        }
        for path in &self.simulator_rim_roots {
            anchors = anchors.with_simulator_rim_root(read(path)?);
        }
        for path in &self.tpm_roots {
            for der in certificates("--tpm-root", path)? {
                anchors = anchors.with_tpm_root(der);
            }
        }
        for text in &self.tpm_aks {
            anchors = anchors.with_tpm_ak(Digest256::from_hex(text).ok_or_else(|| CliError::Usage {
                option: "--tpm-ak",
                expected: "64 lower-case hex digits",
                got: text.clone(),
            })?);
        }
        Ok(anchors)
    }
}

impl CollateralArgs {
    pub(crate) fn read(&self) -> Result<Collateral, CliError> {
        let all = |paths: &[PathBuf]| paths.iter().map(|p| read(p)).collect::<Result<Vec<_>, _>>();
        Ok(Collateral {
            crls: all(&self.crls)?,
            tdx: self
                .tdx_collateral
                .iter()
                .map(|p| tdx_collateral(p))
                .collect::<Result<_, _>>()?,
            rims: all(&self.rims)?,
            ocsp: all(&self.ocsp)?,
            ..Collateral::default()
        })
    }
}

/// Collateral as `dcap-qvl` writes it: signatures and lists in hex.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct QvlCollateral {
    pck_crl_issuer_chain: String,
    root_ca_crl: String,
    pck_crl: String,
    tcb_info_issuer_chain: String,
    tcb_info: String,
    tcb_info_signature: String,
    qe_identity_issuer_chain: String,
    qe_identity: String,
    qe_identity_signature: String,
    #[serde(default)]
    #[allow(dead_code, reason = "dcap-qvl writes it; the quote carries the chain that counts")]
    pck_certificate_chain: Option<String>,
}

/// Intel's collateral in either spelling.
fn tdx_collateral(path: &Path) -> Result<TdxCollateral, CliError> {
    let bytes = read(path)?;
    let wrong = |got: String| CliError::Usage {
        option: "--tdx-collateral",
        expected: "JSON with pck_crl, root_ca_crl, tcb_info, qe_identity, their signatures and issuer chains",
        got: format!("{}: {got}", path.display()),
    };
    if let Ok(ours) = serde_json::from_slice::<TdxCollateral>(&bytes) {
        return Ok(ours);
    }
    let theirs: QvlCollateral = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    let hex = |name: &str, text: &str| {
        hex::decode(text)
            .map(Base64)
            .map_err(|_| wrong(format!("{name} is not hex")))
    };
    Ok(TdxCollateral {
        pck_crl: hex("pck_crl", &theirs.pck_crl)?,
        root_ca_crl: hex("root_ca_crl", &theirs.root_ca_crl)?,
        tcb_info_signature: hex("tcb_info_signature", &theirs.tcb_info_signature)?,
        qe_identity_signature: hex("qe_identity_signature", &theirs.qe_identity_signature)?,
        pck_crl_issuer_chain: theirs.pck_crl_issuer_chain,
        qe_identity: theirs.qe_identity,
        qe_identity_issuer_chain: theirs.qe_identity_issuer_chain,
        tcb_info: theirs.tcb_info,
        tcb_info_issuer_chain: theirs.tcb_info_issuer_chain,
    })
}

/// Certificates of a file, DER or PEM.
pub(crate) fn certificates(option: &'static str, path: &Path) -> Result<Vec<Vec<u8>>, CliError> {
    let bytes = read(path)?;
    if !bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Ok(vec![bytes]);
    }
    let ders = rustls_pki_types::CertificateDer::pem_slice_iter(&bytes)
        .map(|der| der.map(|der| der.to_vec()))
        .collect::<Result<Vec<_>, _>>();
    match ders {
        Ok(ders) if !ders.is_empty() => Ok(ders),
        _ => Err(CliError::Usage {
            option,
            expected: "certificates in DER or PEM",
            got: path.display().to_string(),
        }),
    }
}

/// The one certificate of a file, DER or PEM.
pub(crate) fn certificate(option: &'static str, path: &Path) -> Result<Vec<u8>, CliError> {
    let mut all = certificates(option, path)?;
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(CliError::Usage {
            option,
            expected: "one certificate",
            got: path.display().to_string(),
        }),
    }
}

pub(crate) fn context(policy_path: &Path, roots: &[PathBuf], crls: &[PathBuf]) -> Result<VerifierContext, CliError> {
    let roots = RootArgs {
        simulator_roots: roots.to_vec(),
        ..RootArgs::default()
    };
    let collateral = CollateralArgs {
        crls: crls.to_vec(),
        ..CollateralArgs::default()
    };
    Ok(VerifierContext {
        anchors: roots.anchors()?,
        collateral: collateral.read()?,
        policy: policy(policy_path)?,
    })
}

/// A client of the guest at `to`, through the proxy that the environment names for it.
pub(crate) fn client_config(to: &str, trust: &TrustArgs) -> Result<ClientConfig, CliError> {
    let endpoint: Endpoint = to.parse()?;
    let proxy = proxy_for(&endpoint)?;
    let mut config = ClientConfig::new(endpoint, trust.context()?);
    config.proxy = proxy;
    Ok(config)
}

/// The same by sealed messages, through `relay` if there is one.
pub(crate) fn sealed_config(to: &str, relay: Option<&str>, trust: &TrustArgs) -> Result<SealedConfig, CliError> {
    let gateway: Endpoint = to.parse()?;
    let proxy = proxy_for(&gateway)?;
    let mut config = SealedConfig::new(gateway, trust.context()?);
    config.proxy = proxy;
    if let Some(relay) = relay {
        let url: RelayUrl = relay.parse()?;
        let proxy = proxy_for(url.endpoint())?;
        config.relay = Some(Relay { url, proxy });
    }
    Ok(config)
}

/// The proxy of `HTTPS_PROXY`, unless `NO_PROXY` or a loopback address says no. Everything is tunnelled, so the one variable
/// counts for all.
fn proxy_for(endpoint: &Endpoint) -> Result<Option<Endpoint>, CliError> {
    let variable = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|n| std::env::var(n).ok())
            .filter(|v| !v.is_empty())
    };
    let proxy = variable(["HTTPS_PROXY", "https_proxy"]);
    let exceptions = variable(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    proxy
        .filter(|_| !is_direct(endpoint.host_port().0, &exceptions))
        .map(|url| proxy_endpoint(&url))
        .transpose()
}

fn proxy_endpoint(url: &str) -> Result<Endpoint, CliError> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let rest = rest.trim_end_matches('/');
    let with_port = if rest.rsplit_once(':').is_some() {
        rest.to_owned()
    } else {
        format!("{rest}:80")
    };
    with_port.parse().map_err(|_| CliError::Usage {
        option: "HTTPS_PROXY",
        expected: "http://host:port without a password (proxies that ask for one are not supported)",
        // A proxy's URL may hold a password.
        got: "another address".into(),
    })
}

fn is_direct(host: &str, exceptions: &str) -> bool {
    let loopback =
        host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback
        || exceptions
            .split(',')
            .map(|e| e.trim().trim_start_matches('.'))
            .any(|e| {
                let suffix = |h: &str| {
                    h.strip_suffix(e)
                        .is_some_and(|front| front.is_empty() || front.ends_with('.'))
                };
                e == "*" || (!e.is_empty() && suffix(host))
            })
}

pub(crate) fn now() -> UnixTime {
    (hanzo_client::system_clock())()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_left_out_for_loopback_and_exceptions_only() {
        for (host, exceptions) in [
            ("localhost", ""),
            ("127.0.0.1", ""),
            ("::1", ""),
            ("a.b", "*"),
            ("a.b", "x, .b"),
            ("b", "b"),
        ] {
            assert!(is_direct(host, exceptions), "{host} {exceptions}");
        }
        for (host, exceptions) in [
            ("a.b", ""),
            ("ab", "b"),
            ("10.0.0.1", "10.0.0.2"),
            ("localhost.evil.example", ""),
        ] {
            assert!(!is_direct(host, exceptions), "{host} {exceptions}");
        }
        assert_eq!(
            proxy_endpoint("http://proxy.lan:3128/").unwrap().to_string(),
            "proxy.lan:3128"
        );
        assert_eq!(proxy_endpoint("proxy.lan").unwrap().to_string(), "proxy.lan:80");
        let e = proxy_endpoint("http://user:CANARY@proxy.lan:3128").unwrap_err();
        assert!(!e.to_string().contains("CANARY"), "{e}");
    }
}
