//! Ranges of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::ProxyError;

/// `ADDRESS/BITS`, with the bits after the prefix zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address is in it. A mapped IPv4 address counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(a)) => (base.to_bits() ^ a.to_bits()) & high_4(self.bits) == 0,
            (IpAddr::V6(base), IpAddr::V6(a)) => (base.to_bits() ^ a.to_bits()) & high_6(self.bits) == 0,
            _ => false,
        }
    }
}

fn high_4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn high_6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let wrong = || {
            let got = format!("{:?}", text.chars().take(80).collect::<String>());
            ProxyError::value(
                "proxy_header_from",
                "ADDRESS/BITS with no bit set after the prefix (e.g. 10.0.0.0/8)",
                got,
            )
        };
        let (base, bits) = text.split_once('/').ok_or_else(wrong)?;
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let plain = bits == "0" || (!bits.starts_with('0') && bits.bytes().all(|b| b.is_ascii_digit()));
        let bits: u8 = bits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        let fits = match base {
            IpAddr::V4(a) => bits <= 32 && a.to_bits() & !high_4(bits) == 0,
            IpAddr::V6(a) => bits <= 128 && a.to_bits() & !high_6(bits) == 0,
        };
        match fits {
            true => Ok(Self { base, bits }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_network_and_its_neighbour_is_not() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1/128", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for bad in [
            "10.0.0.0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "::1/127",
            "a/8",
            "/8",
        ] {
            assert_eq!(
                bad.parse::<Network>().unwrap_err().code(),
                "proxy.config.value",
                "{bad}"
            );
        }
    }
}
