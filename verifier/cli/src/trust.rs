//! Files on the command line: policy, roots, lists, documents. All bounded.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_client::{ClientConfig, Endpoint};
use hanzo_policy::AppraisalPolicy;
use hanzo_verifier::VerifierContext;

use crate::args::TrustArgs;
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
    /// [`CliError::Io`], [`CliError::Policy`].
    pub fn context(&self) -> Result<VerifierContext, CliError> {
        context(&self.policy, &self.simulator_roots, &self.crls)
    }
}

pub(crate) fn context(policy_path: &Path, roots: &[PathBuf], crls: &[PathBuf]) -> Result<VerifierContext, CliError> {
    let mut anchors = Anchors::vendor();
    for path in roots {
        anchors = anchors.with_simulator_ark(read(path)?);
    }
    let crls = crls.iter().map(|p| read(p)).collect::<Result<_, _>>()?;
    Ok(VerifierContext {
        anchors,
        collateral: Collateral {
            crls,
            ..Collateral::default()
        },
        policy: policy(policy_path)?,
    })
}

/// A client of the guest at `to`, through the proxy of `HTTPS_PROXY` unless `NO_PROXY` or a loopback address says no.
pub(crate) fn client_config(to: &str, trust: &TrustArgs) -> Result<ClientConfig, CliError> {
    let endpoint: Endpoint = to.parse()?;
    let variable = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|n| std::env::var(n).ok())
            .filter(|v| !v.is_empty())
    };
    let proxy = variable(["HTTPS_PROXY", "https_proxy"]);
    let exceptions = variable(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let mut config = ClientConfig::new(endpoint, trust.context()?);
    if let Some(url) = proxy.filter(|_| !is_direct(config.endpoint.host_port().0, &exceptions)) {
        config.proxy = Some(proxy_endpoint(&url)?);
    }
    Ok(config)
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
