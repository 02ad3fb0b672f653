//! From a listed name to a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpStream, lookup_host};

use crate::config::Allowed;
use crate::error::Refusal;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to the listed address, or to the first public address of the name that takes it. The caller bounds the time.
pub(crate) async fn dial(allowed: &Allowed) -> Result<TcpStream, Refusal> {
    let addresses = match allowed.address {
        Some(at) => vec![at],
        None => {
            let found = lookup_host((allowed.name.as_str(), allowed.port)).await;
            public(found.map_err(|_| Refusal::Unresolved)?)
        }
    };
    if addresses.is_empty() {
        return Err(Refusal::Unresolved);
    }
    for at in addresses {
        if let Ok(stream) = TcpStream::connect(at).await
            && stream.set_nodelay(true).is_ok()
        {
            return Ok(stream);
        }
    }
    Err(Refusal::Unreachable)
}

fn public(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    found.filter(|at| is_public(at.ip())).take(ADDRESSES_MAX).collect()
}

/// Whoever owns a name decides what it resolves to, and must not be able to point guests at this machine, its network or a cloud's
/// metadata service. What lies there is listed with its address.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 240
        || shared
        || protocols
        || benchmarks
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast())
}

/// Global unicast (2000::/3) without documentation and without tunnels that end at an IPv4 address of the sender's choice.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let teredo_and_protocols = first == 0x2001 && second < 0x200;
    let documentation = first == 0x2001 && second == 0x0db8;
    let six_to_four = first == 0x2002;
    (0x2000..0x4000).contains(&first) && !teredo_and_protocols && !documentation && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_to_this_machine_or_its_network() {
        for good in [
            "1.1.1.1",
            "93.184.216.34",
            "100.63.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(good.parse().unwrap()), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::a00:1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(bad.parse().unwrap()), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_listed_address_is_dialled_and_a_private_one_that_was_resolved_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut allowed = Allowed {
            name: "localhost.localdomain".into(),
            port: at.port(),
            address: Some(at),
        };
        assert!(dial(&allowed).await.is_ok());
        drop(listener);
        assert_eq!(dial(&allowed).await.unwrap_err(), Refusal::Unreachable);
        // Whether this machine resolves it to a loopback address or not at all.
        allowed.address = None;
        assert_eq!(dial(&allowed).await.unwrap_err(), Refusal::Unresolved);
    }
}
