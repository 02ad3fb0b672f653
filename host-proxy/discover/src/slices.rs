//! What EndpointSlices say, as far as it is read (discovery.k8s.io/v1). The API adds fields at will, so unknown ones are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::error::DiscoverError;

/// Slices of one service that are held; each has at most 1000 endpoints.
const SLICES_MAX: usize = 64;
/// As many as a pool of the proxy has.
pub(crate) const GUESTS_MAX: usize = 64;

/// Which port of the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// The one there is.
    Only,
    /// By its name in the service.
    Named(String),
    /// This one.
    Number(u16),
}

#[derive(Debug, Deserialize)]
pub(crate) struct List {
    pub(crate) metadata: ListMeta,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) items: Vec<EndpointSlice>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListMeta {
    pub(crate) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(crate) rest: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: Meta,
    #[serde(default)]
    address_type: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "null_is_empty")]
    ports: Vec<SlicePort>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) resource_version: String,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(default, deserialize_with = "null_is_empty")]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct SlicePort {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    protocol: Option<String>,
}

fn null_is_empty<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

/// The slices of one service.
#[derive(Debug, Default)]
pub(crate) struct Slices(BTreeMap<String, BTreeSet<SocketAddr>>);

impl Slices {
    /// A slice that is new or changed.
    pub(crate) fn put(&mut self, slice: EndpointSlice, port: &Port) -> Result<(), DiscoverError> {
        let ready = slice.ready(port);
        self.0.insert(slice.metadata.name, ready);
        match self.0.len() <= SLICES_MAX {
            true => Ok(()),
            false => Err(DiscoverError::TooLong {
                what: "slices of the service",
                limit: format!("{SLICES_MAX} slices"),
            }),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The ready endpoints of all slices, each once; during a change one may be in two.
    pub(crate) fn guests(&self) -> Vec<SocketAddr> {
        let all: BTreeSet<_> = self.0.values().flatten().copied().collect();
        if all.len() > GUESTS_MAX {
            tracing::warn!(
                ready = all.len(),
                "more than 64 endpoints are ready; the first 64 are used"
            );
        }
        all.into_iter().take(GUESTS_MAX).collect()
    }
}

impl EndpointSlice {
    fn ready(&self, port: &Port) -> BTreeSet<SocketAddr> {
        let Some(port) = self.port(port) else {
            return BTreeSet::new();
        };
        if !matches!(self.address_type.as_str(), "IPv4" | "IPv6") {
            return BTreeSet::new();
        }
        // "A nil value should be interpreted as true". The further addresses of an endpoint are not to be used.
        let ready = self.endpoints.iter().filter(|e| e.conditions.ready.unwrap_or(true));
        let addresses = ready.filter_map(|e| e.addresses.first()?.parse::<IpAddr>().ok());
        addresses.map(|ip| SocketAddr::new(ip, port)).collect()
    }

    fn port(&self, wanted: &Port) -> Option<u16> {
        let tcp = |p: &&SlicePort| p.protocol.as_deref().is_none_or(|p| p == "TCP");
        let mut all = self.ports.iter().filter(tcp);
        match wanted {
            Port::Only => match (all.next(), all.next()) {
                (Some(one), None) => one.port,
                _ => None,
            },
            Port::Named(name) => all.find(|p| p.name.as_deref() == Some(name))?.port,
            Port::Number(number) => all.find(|p| p.port == Some(*number))?.port,
        }
        .filter(|p| *p != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(text: &str) -> EndpointSlice {
        serde_json::from_str(text).unwrap()
    }

    const SLICE: &str = r#"{"metadata":{"name":"guest-x","resourceVersion":"7","labels":{}},"addressType":"IPv4",
        "endpoints":[
            {"addresses":["10.0.0.1","10.0.0.9"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"a"},
            {"addresses":["10.0.0.2"],"conditions":{"ready":false,"serving":true,"terminating":true}},
            {"addresses":["10.0.0.3"],"conditions":{}},
            {"addresses":["10.0.0.4"]},
            {"addresses":["guest"],"conditions":{"ready":true}},
            {"addresses":null}],
        "ports":[{"name":"sealed","port":8443,"protocol":"TCP"},{"name":"sync","port":8443,"protocol":"UDP"}]}"#;

    fn ready(text: &str, port: Port) -> Vec<String> {
        slice(text).ready(&port).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ready_endpoints_count_and_no_others() {
        let all = ["10.0.0.1:8443", "10.0.0.3:8443", "10.0.0.4:8443"];
        assert_eq!(ready(SLICE, Port::Only), all);
        assert_eq!(ready(SLICE, Port::Named("sealed".into())), all);
        assert_eq!(ready(SLICE, Port::Number(8443)), all);
        for other in [Port::Named("sync".into()), Port::Named("http".into()), Port::Number(80)] {
            assert!(ready(SLICE, other).is_empty());
        }
        let names = SLICE.replace("IPv4", "FQDN");
        assert!(ready(&names, Port::Only).is_empty());
        let two = SLICE.replace("UDP", "TCP");
        assert!(ready(&two, Port::Only).is_empty(), "which of the two is not said");
        assert!(ready(&SLICE.replace("8443", "0"), Port::Only).is_empty());
        let none =
            r#"{"metadata":{"name":"x","resourceVersion":"1"},"addressType":"IPv6","endpoints":null,"ports":null}"#;
        assert!(ready(none, Port::Only).is_empty());
    }

    #[test]
    fn slices_are_bounded_and_an_endpoint_in_two_counts_once() {
        let mut slices = Slices::default();
        for n in 0..SLICES_MAX {
            slices
                .put(slice(&SLICE.replace("guest-x", &format!("g{n}"))), &Port::Only)
                .unwrap();
        }
        assert_eq!(slices.guests().len(), 3);
        let error = slices.put(slice(SLICE), &Port::Only).unwrap_err();
        assert_eq!(error.code(), "discover.api.too_long");
        slices.remove("guest-x");
        slices.put(slice(&SLICE.replace("guest-x", "g0")), &Port::Only).unwrap();
        let mut many = Slices::default();
        let endpoints: Vec<_> = (0..200).map(|n| format!(r#"{{"addresses":["10.0.1.{n}"]}}"#)).collect();
        let text = format!(
            r#"{{"metadata":{{"name":"m","resourceVersion":"1"}},"addressType":"IPv4","endpoints":[{}],"ports":[{{"port":1}}]}}"#,
            endpoints.join(",")
        );
        many.put(slice(&text), &Port::Only).unwrap();
        assert_eq!(many.guests().len(), GUESTS_MAX);
    }
}
