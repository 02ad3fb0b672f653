//! The file as it is written, and the checks that make a [`Config`] of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::file_discover::FileDiscover;
use super::{Balance, Breaker, Config, Dial, Health, Limits, Listen, Log, Pool, Route};
use crate::address::Address;
use crate::error::ProxyError;
use crate::proxy_protocol::Version;
use crate::sni::is_host_name;

/// The only layout there is.
const LAYOUT: u32 = 1;
/// A pool's guests are tracked in the bits of one word.
const GUESTS_MAX: usize = 64;
const SECONDS_MAX: f64 = 86_400.0 * 7.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    version: u32,
    workers: Option<usize>,
    #[serde(default = "thirty")]
    drain_s: f64,
    metrics: Option<String>,
    handover: Option<PathBuf>,
    #[serde(default)]
    log: FileLog,
    #[serde(default)]
    limits: FileLimits,
    listen: Vec<FileListen>,
    pool: BTreeMap<String, FilePool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct FileLog {
    json: bool,
    connections: bool,
    addresses: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileLimits {
    connections_max: usize,
    connections_per_s: u32,
    client_connections_max: u32,
    client_connections_per_s: u32,
    first_bytes_s: f64,
    idle_s: f64,
    stall_s: f64,
    half_closed_s: f64,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connections_per_s: 2_000,
            client_connections_max: 256,
            client_connections_per_s: 100,
            first_bytes_s: 10.0,
            // A guest may work on an answer for an hour before its first byte.
            idle_s: 3660.0,
            stall_s: 120.0,
            half_closed_s: 300.0,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListen {
    address: String,
    pool: Option<String>,
    server_names: Option<BTreeMap<String, String>>,
    unknown_name: Option<String>,
    no_name: Option<String>,
    dial: Option<FileDial>,
    #[serde(default)]
    proxy_header_from: Vec<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum FileDial {
    AtOnce,
    AfterFirstBytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePool {
    #[serde(default)]
    guests: Vec<String>,
    discover: Option<FileDiscover>,
    #[serde(default = "least")]
    balance: FileBalance,
    #[serde(default = "thousand")]
    guest_connections_max: u32,
    #[serde(default = "thousand")]
    queue_max: u32,
    #[serde(default = "ten")]
    deadline_s: f64,
    #[serde(default = "five")]
    connect_s: f64,
    send_proxy_header: Option<FileVersion>,
    #[serde(default)]
    health: FileHealth,
    #[serde(default)]
    breaker: FileBreaker,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FileBalance {
    LeastOutstanding,
    Rendezvous,
}

#[derive(Deserialize)]
enum FileVersion {
    #[serde(rename = "v1")]
    One,
    #[serde(rename = "v2")]
    Two,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileHealth {
    interval_s: f64,
    timeout_s: f64,
    fall: u32,
    rise: u32,
}

impl Default for FileHealth {
    fn default() -> Self {
        Self {
            interval_s: 2.0,
            timeout_s: 1.0,
            fall: 3,
            rise: 2,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileBreaker {
    failures: u32,
    open_s: f64,
}

impl Default for FileBreaker {
    fn default() -> Self {
        Self {
            failures: 3,
            open_s: 10.0,
        }
    }
}

fn five() -> f64 {
    5.0
}

fn ten() -> f64 {
    10.0
}

fn thirty() -> f64 {
    30.0
}

fn thousand() -> u32 {
    1024
}

fn least() -> FileBalance {
    FileBalance::LeastOutstanding
}

impl File {
    pub(super) fn check(self) -> Result<Config, ProxyError> {
        if self.version != LAYOUT {
            return Err(ProxyError::value("version", "1", self.version));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let config = Config {
            workers: within("workers", self.workers.unwrap_or(cores.min(64)), 1, 64)?,
            drain: seconds("drain_s", self.drain_s, 0.0)?,
            metrics: self.metrics.as_deref().map(FromStr::from_str).transpose()?,
            handover: self.handover,
            log: Log {
                json: self.log.json,
                connections: self.log.connections,
                addresses: self.log.addresses,
            },
            limits: self.limits.check()?,
            pools: self
                .pool
                .into_iter()
                .map(|(name, pool)| {
                    let checked = pool.check(&name)?;
                    Ok((name, checked))
                })
                .collect::<Result<_, ProxyError>>()?,
            listeners: Vec::new(),
        };
        if self.listen.is_empty() {
            return Err(ProxyError::value("listen", "at least one [[listen]]", "none"));
        }
        let mut seen = BTreeSet::new();
        let mut used = BTreeSet::new();
        let mut listeners = Vec::new();
        for (at, listen) in self.listen.into_iter().enumerate() {
            let checked = listen.check(at, &config.pools, &mut used)?;
            if !seen.insert(checked.address.to_string()) {
                let key = format!("listen[{at}].address");
                return Err(ProxyError::value(key, "an address of its own", checked.address));
            }
            listeners.push(checked);
        }
        if let Some(idle) = config.pools.keys().find(|name| !used.contains(*name)) {
            return Err(ProxyError::value(
                format!("pool.{idle}"),
                "to be the pool of a [[listen]]; name it in one or delete it",
                "no use of it",
            ));
        }
        Ok(Config { listeners, ..config })
    }
}

impl FileLimits {
    fn check(self) -> Result<Limits, ProxyError> {
        Ok(Limits {
            connections_max: within("limits.connections_max", self.connections_max, 1, 1_000_000)?,
            connections_per_s: within("limits.connections_per_s", self.connections_per_s, 1, 1_000_000)?,
            client_connections_max: within(
                "limits.client_connections_max",
                self.client_connections_max,
                1,
                1_000_000,
            )?,
            client_connections_per_s: within(
                "limits.client_connections_per_s",
                self.client_connections_per_s,
                1,
                1_000_000,
            )?,
            first_bytes: seconds("limits.first_bytes_s", self.first_bytes_s, 0.05)?,
            idle: seconds("limits.idle_s", self.idle_s, 0.05)?,
            stall: seconds("limits.stall_s", self.stall_s, 0.05)?,
            half_closed: seconds("limits.half_closed_s", self.half_closed_s, 0.05)?,
        })
    }
}

impl FileListen {
    fn check(
        self,
        at: usize,
        pools: &BTreeMap<String, Pool>,
        used: &mut BTreeSet<String>,
    ) -> Result<Listen, ProxyError> {
        let key = |name: &str| format!("listen[{at}].{name}");
        let mut known = |name: String, pool: String| match pools.contains_key(&pool) {
            true => {
                used.insert(pool.clone());
                Ok(pool)
            }
            false => Err(ProxyError::value(key(&name), "the name of a [pool.NAME]", pool)),
        };
        let route = match (self.pool, self.server_names) {
            (Some(pool), None) if self.unknown_name.is_none() && self.no_name.is_none() => {
                Route::Pool(known("pool".into(), pool)?)
            }
            (None, Some(table)) if !table.is_empty() => {
                let (mut names, mut below) = (BTreeMap::new(), BTreeMap::new());
                for (name, pool) in table {
                    let (into, bare) = match name.strip_prefix("*.") {
                        Some(bare) => (&mut below, bare),
                        None => (&mut names, name.as_str()),
                    };
                    if !is_host_name(bare) || bare != bare.to_ascii_lowercase() {
                        return Err(ProxyError::value(
                            key("server_names"),
                            "DNS names in lower case, or *.NAME for one more label",
                            name,
                        ));
                    }
                    into.insert(bare.to_owned(), known(format!("server_names.{name}"), pool)?);
                }
                Route::ServerName {
                    names,
                    below,
                    unknown: self.unknown_name.map(|p| known("unknown_name".into(), p)).transpose()?,
                    nameless: self.no_name.map(|p| known("no_name".into(), p)).transpose()?,
                }
            }
            _ => {
                return Err(ProxyError::value(
                    key("pool"),
                    "either pool, or server_names with unknown_name and no_name at will",
                    "neither or both",
                ));
            }
        };
        let dial = match (self.dial, &route) {
            (Some(FileDial::AtOnce), Route::ServerName { .. }) => {
                return Err(ProxyError::value(
                    key("dial"),
                    "after-first-bytes where server_names choose the guest",
                    "at-once",
                ));
            }
            (Some(FileDial::AtOnce), Route::Pool(_)) => Dial::AtOnce,
            _ => Dial::AfterFirstBytes,
        };
        Ok(Listen {
            address: self.address.parse()?,
            dial,
            proxy_header_from: self
                .proxy_header_from
                .iter()
                .map(|n| n.parse())
                .collect::<Result<_, _>>()?,
            route,
        })
    }
}

impl FilePool {
    fn check(self, name: &str) -> Result<Pool, ProxyError> {
        let key = |field: &str| format!("pool.{name}.{field}");
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(ProxyError::value(
                "pool",
                "names of 1 to 64 characters of a-z 0-9 . _ -",
                name,
            ));
        }
        match &self.discover {
            None => drop(within(&key("guests"), self.guests.len(), 1, GUESTS_MAX)?),
            Some(_) if self.guests.is_empty() => {}
            Some(_) => return Err(ProxyError::value(key("discover"), "either guests or discover", "both")),
        }
        let discover = self.discover.map(|d| d.check(&key("discover"))).transpose()?;
        let guests: Vec<Address> = self.guests.iter().map(|g| g.parse()).collect::<Result<_, _>>()?;
        if let Some(twice) = guests
            .iter()
            .enumerate()
            .find(|(i, g)| guests.iter().take(*i).any(|o| o == *g))
        {
            return Err(ProxyError::value(key("guests"), "each guest once", twice.1));
        }
        Ok(Pool {
            guests,
            discover,
            balance: match self.balance {
                FileBalance::LeastOutstanding => Balance::LeastOutstanding,
                FileBalance::Rendezvous => Balance::Rendezvous,
            },
            guest_connections_max: within(&key("guest_connections_max"), self.guest_connections_max, 1, 1_000_000)?,
            queue_max: within(&key("queue_max"), self.queue_max, 0, 1_000_000)?,
            deadline: seconds(&key("deadline_s"), self.deadline_s, 0.05)?,
            connect: seconds(&key("connect_s"), self.connect_s, 0.05)?,
            send_header: self.send_proxy_header.map(|v| match v {
                FileVersion::One => Version::One,
                FileVersion::Two => Version::Two,
            }),
            health: Some(Health {
                interval: seconds(&key("health.interval_s"), self.health.interval_s, 0.05)?,
                timeout: seconds(&key("health.timeout_s"), self.health.timeout_s, 0.05)?,
                fall: within(&key("health.fall"), self.health.fall, 1, 100)?,
                rise: within(&key("health.rise"), self.health.rise, 1, 100)?,
            }),
            breaker: Breaker {
                failures: within(&key("breaker.failures"), self.breaker.failures, 1, 1_000_000)?,
                open: seconds(&key("breaker.open_s"), self.breaker.open_s, 0.05)?,
            },
        })
    }
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(key: &str, got: T, min: T, max: T) -> Result<T, ProxyError> {
    match got >= min && got <= max {
        true => Ok(got),
        false => Err(ProxyError::value(key, format!("{min} to {max}"), got)),
    }
}

pub(super) fn seconds(key: &str, got: f64, min: f64) -> Result<Duration, ProxyError> {
    let expected = || format!("{min} to {SECONDS_MAX} seconds");
    match (min..=SECONDS_MAX).contains(&got) {
        true => Duration::try_from_secs_f64(got).map_err(|_| ProxyError::value(key, expected(), got)),
        false => Err(ProxyError::value(key, expected(), got)),
    }
}
