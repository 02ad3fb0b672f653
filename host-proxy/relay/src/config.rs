//! What the relay is told to do: a TOML file with unknown keys refused and every bound checked (`SPEC.md` lists the keys).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hanzo_proxy::MetricsAddress;
use serde::Deserialize;

use crate::error::RelayError;

const FILE_BYTES_MAX: u64 = 64 * 1024;
const LISTENERS_MAX: usize = 16;
const SECONDS_MAX: f64 = 86_400.0 * 7.0;

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients come in; at least one.
    pub listeners: Vec<Listen>,
    /// Where messages go.
    pub gateway: GatewayConfig,
    /// Bounds.
    pub limits: Limits,
    /// The path that takes messages and gives the key configuration.
    pub path: String,
    /// Where to serve metrics, if anywhere.
    pub metrics: Option<MetricsAddress>,
    /// How long open requests may go on after the stop signal.
    pub drain: Duration,
}

/// Where clients come in.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Where.
    pub address: SocketAddr,
    /// Certificate and key; without them in clear, for a balancer that ends TLS.
    pub tls: Option<ServerTls>,
}

/// PEM files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where messages go.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// `HOST:PORT` or `IP:PORT`.
    pub address: String,
    /// The `host` that it is told; the same for everybody.
    pub host: String,
    /// How its certificate is checked; without it in clear, for a guest's sealed listener.
    pub tls: Option<ClientTls>,
    /// Connections open at a time.
    pub connections_max: usize,
    /// How long it may take to accept.
    pub connect: Duration,
}

/// How the gateway's certificate is checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    /// Whom it must name.
    pub name: String,
    /// PEM file of the roots that count; the system's do not.
    pub roots: PathBuf,
}

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Clients' connections open at a time.
    pub connections_max: usize,
    /// Requests in flight.
    pub requests_max: usize,
    /// Longest request body in bytes.
    pub request_bytes_max: u64,
    /// Longest answer in bytes.
    pub answer_bytes_max: u64,
    /// TLS handshake, and a request's head.
    pub head: Duration,
    /// A client neither sends nor takes for this long.
    pub stall: Duration,
    /// The gateway sends nothing for this long.
    pub answer: Duration,
    /// A connection takes no new requests after this long.
    pub connection: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    listen: Vec<FileListen>,
    gateway: FileGateway,
    #[serde(default)]
    limits: FileLimits,
    path: Option<String>,
    metrics: Option<String>,
    drain_s: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListen {
    address: SocketAddr,
    tls: Option<ServerTls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGateway {
    address: String,
    host: Option<String>,
    tls: Option<ClientTls>,
    connections_max: Option<usize>,
    connect_s: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileLimits {
    connections_max: Option<usize>,
    requests_max: Option<usize>,
    request_bytes_max: Option<u64>,
    answer_bytes_max: Option<u64>,
    head_s: Option<f64>,
    stall_s: Option<f64>,
    answer_s: Option<f64>,
    connection_s: Option<f64>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`RelayError`] of the `relay.config` codes.
    pub fn load(path: &Path) -> Result<Self, RelayError> {
        let text = read(path, FILE_BYTES_MAX)?;
        Self::parse(&text)
    }

    /// Checks a text.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Self, RelayError> {
        let file: File = toml::from_str(text).map_err(|e| RelayError::Syntax {
            text: e.to_string().trim_end().to_owned(),
        })?;
        file.check()
    }
}

impl File {
    fn check(self) -> Result<Config, RelayError> {
        within("version", self.version, 1, 1)?;
        within("listen", self.listen.len(), 1, LISTENERS_MAX)?;
        let path = self.path.unwrap_or_else(|| "/.well-known/ohttp-gateway".to_owned());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        if !path.starts_with('/') || path.len() > 256 || !path.bytes().all(plain) {
            let expected = "a path of at most 256 characters of A-Z a-z 0-9 - . _ ~ / without a query";
            return Err(RelayError::value("path", expected, path));
        }
        let metrics = self.metrics.as_deref().map(str::parse).transpose()?;
        let listeners = self.listen.into_iter().map(|l| Listen {
            address: l.address,
            tls: l.tls,
        });
        Ok(Config {
            listeners: listeners.collect(),
            gateway: self.gateway.check()?,
            limits: self.limits.check()?,
            path,
            metrics,
            drain: seconds("drain_s", self.drain_s.unwrap_or(30.0))?,
        })
    }
}

impl FileGateway {
    fn check(self) -> Result<GatewayConfig, RelayError> {
        let has_port = |a: &str| {
            a.rsplit_once(':')
                .is_some_and(|(h, p)| !h.is_empty() && p.parse::<u16>().is_ok())
        };
        if !has_port(&self.address) {
            return Err(RelayError::value("gateway.address", "HOST:PORT", self.address));
        }
        let host = self.host.unwrap_or_else(|| "gateway".to_owned());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
        if !(1..=255).contains(&host.len()) || !host.bytes().all(plain) {
            return Err(RelayError::value("gateway.host", "a host, perhaps with a port", host));
        }
        Ok(GatewayConfig {
            address: self.address,
            host,
            tls: self.tls,
            connections_max: within(
                "gateway.connections_max",
                self.connections_max.unwrap_or(256),
                1,
                65_536,
            )?,
            connect: seconds("gateway.connect_s", self.connect_s.unwrap_or(5.0))?,
        })
    }
}

impl FileLimits {
    fn check(self) -> Result<Limits, RelayError> {
        const MIB: u64 = 1024 * 1024;
        Ok(Limits {
            connections_max: within(
                "limits.connections_max",
                self.connections_max.unwrap_or(4096),
                1,
                1_000_000,
            )?,
            requests_max: within("limits.requests_max", self.requests_max.unwrap_or(1024), 1, 1_000_000)?,
            request_bytes_max: within(
                "limits.request_bytes_max",
                self.request_bytes_max.unwrap_or(8 * MIB),
                1024,
                1024 * MIB,
            )?,
            answer_bytes_max: within(
                "limits.answer_bytes_max",
                self.answer_bytes_max.unwrap_or(64 * MIB),
                1024,
                1024 * MIB,
            )?,
            head: seconds("limits.head_s", self.head_s.unwrap_or(10.0))?,
            stall: seconds("limits.stall_s", self.stall_s.unwrap_or(60.0))?,
            // A guest may work on an answer for an hour before its first byte.
            answer: seconds("limits.answer_s", self.answer_s.unwrap_or(3660.0))?,
            connection: seconds("limits.connection_s", self.connection_s.unwrap_or(3600.0))?,
        })
    }
}

fn within<T: PartialOrd + std::fmt::Display>(key: &'static str, got: T, min: T, max: T) -> Result<T, RelayError> {
    match got >= min && got <= max {
        true => Ok(got),
        false => Err(RelayError::value(key, format!("{min} to {max}"), got)),
    }
}

fn seconds(key: &'static str, got: f64) -> Result<Duration, RelayError> {
    let expected = || format!("0.05 to {SECONDS_MAX} seconds");
    match (0.05..=SECONDS_MAX).contains(&got) {
        true => Duration::try_from_secs_f64(got).map_err(|_| RelayError::value(key, expected(), got)),
        false => Err(RelayError::value(key, expected(), got)),
    }
}

/// Reads a file of at most so many bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<String, RelayError> {
    use std::io::Read as _;
    let failed = |source| RelayError::Read {
        path: path.display().to_string(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = file.take(bytes_max + 1).read_to_string(&mut text).map_err(failed)?;
    match u64::try_from(read).is_ok_and(|n| n <= bytes_max) {
        true => Ok(text),
        false => Err(failed(std::io::ErrorKind::FileTooLarge.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
version = 1
[[listen]]
address = "127.0.0.1:0"
[gateway]
address = "10.0.0.7:8444"
"#;

    #[test]
    fn a_file_that_says_little_gets_the_defaults() {
        let config = Config::parse(GOOD).unwrap();
        assert_eq!(config.path, "/.well-known/ohttp-gateway");
        assert_eq!(
            (config.gateway.host.as_str(), config.limits.requests_max),
            ("gateway", 1024)
        );
        assert!(config.metrics.is_none() && config.listeners[0].tls.is_none());
    }

    #[test]
    fn unknown_keys_and_values_out_of_bounds_are_refused() {
        for (changed, code) in [
            (GOOD.replace("version = 1", "version = 2"), "relay.config.value"),
            (GOOD.replace("version = 1", "versions = 1"), "relay.config.syntax"),
            (GOOD.replace("10.0.0.7:8444", "10.0.0.7"), "relay.config.value"),
            (format!("{GOOD}host = \"a b\"\n"), "relay.config.value"),
            (format!("{GOOD}retry = 1\n"), "relay.config.syntax"),
            (format!("{GOOD}[limits]\nrequests_max = 0\n"), "relay.config.value"),
            (format!("{GOOD}[limits]\nstall_s = 0\n"), "relay.config.value"),
            (
                GOOD.replace("version = 1", "version = 1\npath = \"/a?b\""),
                "relay.config.value",
            ),
            (
                GOOD.replace("version = 1", "version = 1\nmetrics = \"0.0.0.0:1\""),
                "proxy.metrics_not_loopback",
            ),
        ] {
            assert_eq!(Config::parse(&changed).unwrap_err().code(), code, "{changed}");
        }
    }
}
