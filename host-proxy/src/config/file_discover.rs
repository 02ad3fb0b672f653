//! The `discover` table of a pool as it is written, and its checks.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::file::{seconds, within};
use super::{Discover, Dns, Source};
use crate::error::ProxyError;
use crate::sni::is_host_name;

/// As many as resolvers commonly read from `/etc/resolv.conf`.
const SERVERS_MAX: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileDiscover {
    socket: Option<PathBuf>,
    name: Option<String>,
    port: Option<u16>,
    service: Option<String>,
    servers: Option<Vec<SocketAddr>>,
    interval_min_s: Option<f64>,
    interval_max_s: Option<f64>,
    keep_s: Option<f64>,
}

impl FileDiscover {
    /// `key` is the table's place in the file.
    pub(super) fn check(self, key: &str) -> Result<Discover, ProxyError> {
        let keep = seconds(&format!("{key}.keep_s"), self.keep_s.unwrap_or(300.0), 0.05)?;
        let asks_names = self.servers.is_some() || self.interval_min_s.is_some() || self.interval_max_s.is_some();
        let source = match (&self.socket, &self.name, self.port, &self.service) {
            (Some(socket), None, None, None) if !asks_names => match socket.is_absolute() {
                true => Source::Socket(socket.clone()),
                false => {
                    let key = format!("{key}.socket");
                    return Err(ProxyError::value(key, "an absolute path", socket.display()));
                }
            },
            (None, Some(name), Some(port), None) => {
                within(&format!("{key}.port"), port, 1, u16::MAX)?;
                Source::Dns(self.dns(key, name, Some(port))?)
            }
            (None, None, None, Some(service)) => Source::Dns(self.dns(key, service, None)?),
            _ => {
                let expected = "either socket, or name and port, or service; servers and intervals with the latter two";
                return Err(ProxyError::value(key, expected, "another set of keys"));
            }
        };
        Ok(Discover { source, keep })
    }

    fn dns(&self, key: &str, name: &str, port: Option<u16>) -> Result<Dns, ProxyError> {
        // RFC 2782: the first two labels of a service begin with an underscore.
        let (field, is_service) = match port {
            Some(_) => ("name", true),
            None => ("service", name.starts_with('_') && name.contains("._tcp.")),
        };
        if !is_service || !is_host_name(name) || name != name.to_ascii_lowercase() {
            let expected = "a whole DNS name in lower case without a final dot (a service: _NAME._tcp.REST)";
            return Err(ProxyError::value(format!("{key}.{field}"), expected, name));
        }
        let servers = self.servers.clone().unwrap_or_default();
        if self.servers.is_some() {
            within(&format!("{key}.servers"), servers.len(), 1, SERVERS_MAX)?;
        }
        let min = seconds(
            &format!("{key}.interval_min_s"),
            self.interval_min_s.unwrap_or(5.0),
            0.05,
        )?;
        let max_s = self.interval_max_s.unwrap_or(60.0);
        let max = seconds(&format!("{key}.interval_max_s"), max_s, min.as_secs_f64())?;
        Ok(Dns {
            name: name.to_owned(),
            port,
            servers,
            interval_min: min,
            interval_max: max,
        })
    }
}
