//! The wire format (RFC 2131 section 2, RFC 2132): a fixed head of 236 bytes, a cookie, options of type, length and value.

use std::net::Ipv4Addr;

use super::{DhcpError, Lease};

/// Longest packet that is read: one Ethernet frame.
pub const PACKET_BYTES_MAX: usize = 1500;
const HEAD_BYTES: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
/// Ethernet, addresses of six bytes.
const HARDWARE: [u8; 2] = [1, 6];
/// "Answer by broadcast": we have no address to answer to yet.
const BROADCAST: [u8; 2] = [0x80, 0];
/// RFC 2131 section 2: every client takes packets of 576 bytes, and no server sends longer ones without being told to.
const REQUEST_BYTES: usize = 300;

const PAD: u8 = 0;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER_ID: u8 = 54;
const PARAMETERS: u8 = 55;
const END: u8 = 255;

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK.
    Ack,
    /// DHCPNAK.
    Nak,
}

/// An answer to us, with the options that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub kind: Kind,
    /// `yiaddr`.
    pub address: Ipv4Addr,
    /// Option 1.
    pub mask: Option<Ipv4Addr>,
    /// The first of option 3.
    pub router: Option<Ipv4Addr>,
    /// Option 51, in seconds.
    pub lease_s: Option<u32>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
}

/// Reads an answer to the request `xid` of the interface `mac`.
///
/// # Errors
/// [`DhcpError::Malformed`]: another's, cut, without an end, or an option that is taken stands twice or has another length.
pub fn parse(packet: &[u8], xid: u32, mac: [u8; 6]) -> Result<Answer, DhcpError> {
    let wrong = |field, expected, got| Err(DhcpError::Malformed { field, expected, got });
    if packet.len() > PACKET_BYTES_MAX {
        return wrong("packet", "at most 1500 bytes", packet.len() as u64);
    }
    let head = packet.get(..HEAD_BYTES).ok_or(DhcpError::Malformed {
        field: "packet",
        expected: "at least 240 bytes",
        got: packet.len() as u64,
    })?;
    let field = |from: usize, to: usize| head.get(from..to).unwrap_or_default();
    if field(0, 1) != [BOOT_REPLY] {
        return wrong("op", "2", field(0, 1).first().copied().unwrap_or_default().into());
    }
    if field(1, 3) != HARDWARE {
        return wrong("htype and hlen", "1 and 6", 0);
    }
    if field(4, 8) != xid.to_be_bytes() {
        return wrong("xid", "that of our request", 0);
    }
    if field(28, 34) != mac {
        return wrong("chaddr", "our own", 0);
    }
    let options = packet
        .get(HEAD_BYTES..)
        .and_then(|rest| rest.strip_prefix(&COOKIE))
        .ok_or(DhcpError::Malformed {
            field: "cookie",
            expected: "99.130.83.99",
            got: 0,
        })?;
    let address = ipv4(field(16, 20)).unwrap_or(Ipv4Addr::UNSPECIFIED);
    Options::read(options)?.answer(address)
}

/// The values of the options that are taken.
#[derive(Default)]
struct Options<'a> {
    kind: Option<&'a [u8]>,
    mask: Option<&'a [u8]>,
    router: Option<&'a [u8]>,
    lease: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn read(mut rest: &'a [u8]) -> Result<Self, DhcpError> {
        let cut = DhcpError::Malformed {
            field: "options",
            expected: "whole options and an end (255)",
            got: rest.len() as u64,
        };
        let mut options = Self::default();
        loop {
            let Some((&code, after)) = rest.split_first() else {
                return Err(cut);
            };
            match code {
                PAD => {
                    rest = after;
                    continue;
                }
                END => return Ok(options),
                _ => {}
            }
            let Some((&length, after)) = after.split_first() else {
                return Err(cut);
            };
            let Some((value, after)) = after.split_at_checked(length.into()) else {
                return Err(cut);
            };
            rest = after;
            let place = match code {
                MESSAGE_TYPE => &mut options.kind,
                SUBNET_MASK => &mut options.mask,
                ROUTER => &mut options.router,
                LEASE_TIME => &mut options.lease,
                SERVER_ID => &mut options.server,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(DhcpError::Malformed {
                    field: "options",
                    expected: "each once",
                    got: code.into(),
                });
            }
        }
    }

    fn answer(&self, address: Ipv4Addr) -> Result<Answer, DhcpError> {
        let kind = match self.kind {
            Some([2]) => Kind::Offer,
            Some([5]) => Kind::Ack,
            Some([6]) => Kind::Nak,
            other => {
                return Err(DhcpError::Malformed {
                    field: "message type (53)",
                    expected: "2, 5 or 6 in one byte",
                    got: other
                        .and_then(|value| value.first())
                        .copied()
                        .unwrap_or_default()
                        .into(),
                });
            }
        };
        let router = match self.router {
            // A list of addresses, in the order of preference.
            Some(list) if list.len() % 4 == 0 => Some(of_four("router (3)", list.get(..4).unwrap_or_default())?),
            Some(list) => Some(of_four("router (3)", list)?),
            None => None,
        };
        let four = |field, value: Option<&[u8]>| value.map(|value| of_four(field, value)).transpose();
        Ok(Answer {
            kind,
            address,
            mask: four("subnet mask (1)", self.mask)?,
            router,
            lease_s: four("lease time (51)", self.lease)?.map(u32::from),
            server: four("server identifier (54)", self.server)?,
        })
    }
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn of_four(field: &'static str, value: &[u8]) -> Result<Ipv4Addr, DhcpError> {
    ipv4(value).ok_or(DhcpError::Malformed {
        field,
        expected: "4 bytes",
        got: value.len() as u64,
    })
}

/// "Who gives addresses?"
pub(super) fn discover(xid: u32, mac: [u8; 6]) -> Vec<u8> {
    request(xid, mac, Ipv4Addr::UNSPECIFIED, BROADCAST, &[&[MESSAGE_TYPE, 1, 1]])
}

/// "I take this offer."
pub(super) fn accept(xid: u32, mac: [u8; 6], offer: &Lease) -> Vec<u8> {
    let address = option_of(REQUESTED_ADDRESS, offer.address);
    let server = option_of(SERVER_ID, offer.server);
    let options: [&[u8]; 3] = [&[MESSAGE_TYPE, 1, 3], &address, &server];
    request(xid, mac, Ipv4Addr::UNSPECIFIED, BROADCAST, &options)
}

/// "I keep it": neither requested address nor server identifier (RFC 2131 section 4.3.6).
pub(super) fn keep(xid: u32, mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    request(xid, mac, address, [0, 0], &[&[MESSAGE_TYPE, 1, 3]])
}

fn option_of(code: u8, address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [code, 4, a, b, c, d]
}

fn request(xid: u32, mac: [u8; 6], address: Ipv4Addr, flags: [u8; 2], options: &[&[u8]]) -> Vec<u8> {
    let mut packet = vec![BOOT_REQUEST];
    packet.extend(HARDWARE);
    packet.push(0);
    packet.extend(xid.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(flags);
    packet.extend(address.octets());
    // yiaddr, siaddr, giaddr.
    packet.extend([0; 12]);
    packet.extend(mac);
    packet.resize(HEAD_BYTES, 0);
    packet.extend(COOKIE);
    packet.extend(options.concat());
    packet.extend([PARAMETERS, 3, SUBNET_MASK, ROUTER, LEASE_TIME, END]);
    packet.resize(packet.len().max(REQUEST_BYTES), PAD);
    packet
}
