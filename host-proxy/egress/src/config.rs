//! What the broker is told to do: a TOML file with unknown keys refused and every bound checked (`SPEC.md` lists the keys).

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hanzo_proxy::{Address, MetricsAddress};
use serde::Deserialize;

use crate::error::EgressError;
use crate::request::is_name;

const FILE_BYTES_MAX: u64 = 64 * 1024;
const LISTENERS_MAX: usize = 16;
const ALLOWED_MAX: usize = 1024;
const SECONDS_MAX: f64 = 86_400.0;

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where guests ask; at least one.
    pub listeners: Vec<Address>,
    /// What guests may reach.
    pub allowed: Vec<Allowed>,
    /// Bounds.
    pub limits: Limits,
    /// Where to serve metrics, if anywhere.
    pub metrics: Option<MetricsAddress>,
    /// How long open connections may go on after the stop signal.
    pub drain: Duration,
}

/// A name that guests may reach.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Whole, in lower case.
    pub name: String,
    /// At this port.
    pub port: u16,
    /// Where it is. Without it the system's resolver is asked, and only public addresses count.
    pub address: Option<SocketAddr>,
}

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open at a time.
    pub connections_max: usize,
    /// Of one guest: an IP address or a context identifier.
    pub guest_connections_max: usize,
    /// Each way on one connection.
    pub bytes_max: u64,
    /// Until a guest has asked.
    pub request: Duration,
    /// Until the name has taken the connection, resolving included.
    pub connect: Duration,
    /// Nothing moves for this long; noticed after twice that at the latest.
    pub idle: Duration,
    /// A connection ends after this long.
    pub connection: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    listen: Vec<FileListen>,
    allow: Vec<Allowed>,
    #[serde(default)]
    limits: FileLimits,
    metrics: Option<String>,
    drain_s: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListen {
    address: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileLimits {
    connections_max: Option<usize>,
    guest_connections_max: Option<usize>,
    bytes_max: Option<u64>,
    request_s: Option<f64>,
    connect_s: Option<f64>,
    idle_s: Option<f64>,
    connection_s: Option<f64>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`EgressError`] of the `egress.config` codes, and `proxy.address`.
    pub fn load(path: &Path) -> Result<Self, EgressError> {
        let failed = |source| EgressError::Read {
            path: path.display().to_string(),
            source,
        };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        match u64::try_from(text.len()).is_ok_and(|n| n <= FILE_BYTES_MAX) {
            true => Self::parse(&text),
            false => Err(failed(std::io::ErrorKind::FileTooLarge.into())),
        }
    }

    /// Checks a text.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Self, EgressError> {
        let file: File = toml::from_str(text).map_err(|e| EgressError::Syntax {
            text: e.to_string().trim_end().to_owned(),
        })?;
        file.check()
    }
}

impl File {
    fn check(self) -> Result<Config, EgressError> {
        within("version", self.version, 1, 1)?;
        within("listen", self.listen.len(), 1, LISTENERS_MAX)?;
        // An empty list is a broker that refuses everybody, which is a way to switch it off.
        within("allow", self.allow.len(), 0, ALLOWED_MAX)?;
        for (at, allowed) in self.allow.iter().enumerate() {
            if !is_name(&allowed.name) {
                let expected = "a whole DNS name in lower case: no wildcard, no address, no final dot";
                return Err(EgressError::value("allow.name", expected, &allowed.name));
            }
            within("allow.port", allowed.port, 1, u16::MAX)?;
            let is_same = |other: &Allowed| other.name == allowed.name && other.port == allowed.port;
            if self.allow.iter().take(at).any(is_same) {
                let got = format!("{} {} twice", allowed.name, allowed.port);
                return Err(EgressError::value("allow", "each name and port once", got));
            }
            if allowed.address.is_some_and(|at| at.port() == 0) {
                return Err(EgressError::value(
                    "allow.address",
                    "a port other than 0",
                    &allowed.name,
                ));
            }
        }
        let listeners = self.listen.iter().map(|l| l.address.parse());
        Ok(Config {
            listeners: listeners.collect::<Result<_, _>>()?,
            allowed: self.allow,
            limits: self.limits.check()?,
            metrics: self.metrics.as_deref().map(str::parse).transpose()?,
            drain: seconds("drain_s", self.drain_s, 30.0)?,
        })
    }
}

impl FileLimits {
    fn check(self) -> Result<Limits, EgressError> {
        let (connections, of_one) = (self.connections_max, self.guest_connections_max);
        Ok(Limits {
            connections_max: within("limits.connections_max", connections.unwrap_or(256), 1, 65_536)?,
            guest_connections_max: within("limits.guest_connections_max", of_one.unwrap_or(32), 1, 65_536)?,
            bytes_max: within("limits.bytes_max", self.bytes_max.unwrap_or(64 << 20), 1024, 1 << 40)?,
            request: seconds("limits.request_s", self.request_s, 5.0)?,
            connect: seconds("limits.connect_s", self.connect_s, 10.0)?,
            idle: seconds("limits.idle_s", self.idle_s, 60.0)?,
            connection: seconds("limits.connection_s", self.connection_s, 600.0)?,
        })
    }
}

fn within<T: PartialOrd + std::fmt::Display>(key: &'static str, got: T, min: T, max: T) -> Result<T, EgressError> {
    match got >= min && got <= max {
        true => Ok(got),
        false => Err(EgressError::value(key, format!("{min} to {max}"), got)),
    }
}

fn seconds(key: &'static str, got: Option<f64>, default: f64) -> Result<Duration, EgressError> {
    let got = got.unwrap_or(default);
    let wrong = || EgressError::value(key, format!("0.05 to {SECONDS_MAX} seconds"), got);
    match (0.05..=SECONDS_MAX).contains(&got) {
        true => Duration::try_from_secs_f64(got).map_err(|_| wrong()),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
version = 1
[[listen]]
address = "vsock:2:7000"
[[listen]]
address = "127.0.0.1:7000"
[[allow]]
name = "kbs.example.org"
port = 8443
[[allow]]
name = "kbs.example.org"
port = 8444
address = "10.0.0.7:443"
"#;

    #[test]
    fn a_file_that_says_little_gets_the_defaults() {
        let config = Config::parse(GOOD).unwrap();
        assert_eq!((config.listeners.len(), config.allowed.len()), (2, 2));
        assert_eq!(config.limits.guest_connections_max, 32);
        let none = "version = 1\nallow = []\n[[listen]]\naddress = \"127.0.0.1:7000\"\n";
        assert!(Config::parse(none).unwrap().allowed.is_empty());
    }

    #[test]
    fn unknown_keys_and_values_out_of_bounds_are_refused() {
        for (from, to, code) in [
            ("version = 1", "version = 2", "egress.config.value"),
            ("version = 1", "versions = 1", "egress.config.syntax"),
            ("vsock:2:7000", "vsock:7000", "proxy.address"),
            (
                "\"kbs.example.org\"\nport = 8443",
                "\"*.example.org\"\nport = 8443",
                "egress.config.value",
            ),
            (
                "\"kbs.example.org\"\nport = 8443",
                "\"10.0.0.1\"\nport = 8443",
                "egress.config.value",
            ),
            (
                "\"kbs.example.org\"\nport = 8443",
                "\"KBS.example.org\"\nport = 8443",
                "egress.config.value",
            ),
            ("port = 8443", "port = 0", "egress.config.value"),
            ("port = 8443", "port = 8444", "egress.config.value"),
            ("port = 8443", "", "egress.config.syntax"),
            ("10.0.0.7:443", "10.0.0.7:0", "egress.config.value"),
            ("10.0.0.7:443", "elsewhere:443", "egress.config.syntax"),
            (
                "version = 1",
                "version = 1\nmetrics = \"0.0.0.0:1\"",
                "proxy.metrics_not_loopback",
            ),
            ("version = 1", "version = 1\ndrain_s = 0", "egress.config.value"),
        ] {
            let changed = GOOD.replacen(from, to, 1);
            assert_ne!(changed, GOOD);
            assert_eq!(Config::parse(&changed).unwrap_err().code(), code, "{to}");
        }
        for limit in [
            "connections_max = 0",
            "bytes_max = 1",
            "idle_s = 0",
            "request_s = 100000",
            "retries = 1",
        ] {
            assert!(Config::parse(&format!("{GOOD}[limits]\n{limit}\n")).is_err(), "{limit}");
        }
    }
}
