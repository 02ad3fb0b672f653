//! Discover, offer, request, acknowledgement; and the request that keeps an address.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::message::{Kind, accept, discover, keep, parse};
use super::{Answer, DhcpError, Lease};

/// Rounds before giving up.
pub const TRIES: u32 = 4;
/// Packets read in one round; a flood costs no more.
pub const ANSWERS_MAX: u32 = 64;
/// Patience of the first round; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// Where requests go and answers come from.
pub trait Wire {
    /// Sends a packet to a server, or to all of them.
    ///
    /// # Errors
    /// What the kernel said.
    fn send(&mut self, packet: &[u8], to: Ipv4Addr) -> io::Result<()>;

    /// The next packet, or `None` when `wait` is over.
    ///
    /// # Errors
    /// What the kernel said.
    fn receive(&mut self, wait: Duration) -> io::Result<Option<Vec<u8>>>;
}

/// One exchange: `first_xid` and the numbers after it name its requests; it should not be guessable.
struct Exchange<'a> {
    wire: &'a mut dyn Wire,
    mac: [u8; 6],
    last: String,
}

/// Gets an address.
///
/// # Errors
/// [`DhcpError::NoAnswer`] after [`TRIES`] rounds, [`DhcpError::Socket`].
pub fn acquire(wire: &mut dyn Wire, mac: [u8; 6], first_xid: u32) -> Result<Lease, DhcpError> {
    let mut exchange = Exchange {
        wire,
        mac,
        last: "none".into(),
    };
    for round in 0..TRIES {
        let xid = first_xid.wrapping_add(round);
        let wait = FIRST_WAIT.saturating_mul(1 << round);
        exchange.send(&discover(xid, mac), Ipv4Addr::BROADCAST)?;
        let Some(offer) = exchange.hear(xid, wait, |answer| offered(answer))? else {
            continue;
        };
        exchange.send(&accept(xid, mac, &offer), Ipv4Addr::BROADCAST)?;
        // What is acknowledged must be what was offered, by the one who offered it.
        let acknowledged = |answer: &Answer| match answer.kind {
            Kind::Nak if answer.server == Some(offer.server) => Some(Err(DhcpError::Refused)),
            Kind::Ack if answer.server == Some(offer.server) => Some(same_place(Lease::of(answer), &offer)),
            _ => None,
        };
        if let Some(lease) = exchange.hear(xid, wait, acknowledged)? {
            return Ok(lease);
        }
    }
    Err(DhcpError::NoAnswer { last: exchange.last })
}

/// Asks once to keep `lease`.
///
/// # Errors
/// [`DhcpError::Refused`] if the server takes it back, [`DhcpError::NoAnswer`] otherwise: the lease goes on until it ends.
pub fn renew(wire: &mut dyn Wire, mac: [u8; 6], xid: u32, lease: &Lease) -> Result<Lease, DhcpError> {
    let mut exchange = Exchange {
        wire,
        mac,
        last: "none".into(),
    };
    exchange.send(&keep(xid, mac, lease.address), lease.server)?;
    let mut taken_back = false;
    let kept = |answer: &Answer| match answer.kind {
        Kind::Nak if answer.server == Some(lease.server) => Some(Err(DhcpError::Refused)),
        Kind::Ack if answer.server == Some(lease.server) => Some(same_place(Lease::of(answer), lease)),
        _ => None,
    };
    let heard = exchange.hear(xid, FIRST_WAIT, |answer| {
        let outcome = kept(answer);
        taken_back |= matches!(outcome, Some(Err(DhcpError::Refused)));
        outcome
    })?;
    match heard {
        Some(lease) => Ok(lease),
        None if taken_back => Err(DhcpError::Refused),
        None => Err(DhcpError::NoAnswer { last: exchange.last }),
    }
}

fn offered(answer: &Answer) -> Option<Result<Lease, DhcpError>> {
    (answer.kind == Kind::Offer).then(|| Lease::of(answer))
}

fn same_place(lease: Result<Lease, DhcpError>, expected: &Lease) -> Result<Lease, DhcpError> {
    let lease = lease?;
    if (lease.address, lease.prefix, lease.gateway) == (expected.address, expected.prefix, expected.gateway) {
        return Ok(lease);
    }
    Err(DhcpError::Value {
        field: "acknowledgement",
        expected: "address, mask and router as before",
        got: format!("{}/{} by {:?}", lease.address, lease.prefix, lease.gateway),
    })
}

impl Exchange<'_> {
    fn send(&mut self, packet: &[u8], to: Ipv4Addr) -> Result<(), DhcpError> {
        self.wire.send(packet, to).map_err(|source| DhcpError::Socket {
            what: "sending",
            source,
        })
    }

    /// The first answer that `wanted` takes. Unusable ones are noted; a NAK ends the round.
    fn hear(
        &mut self,
        xid: u32,
        wait: Duration,
        mut wanted: impl FnMut(&Answer) -> Option<Result<Lease, DhcpError>>,
    ) -> Result<Option<Lease>, DhcpError> {
        let start = Instant::now();
        for _ in 0..ANSWERS_MAX {
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            let received = self.wire.receive(left).map_err(|source| DhcpError::Socket {
                what: "receiving",
                source,
            })?;
            let Some(packet) = received else { break };
            let outcome = match parse(&packet, xid, self.mac) {
                Ok(answer) => wanted(&answer),
                Err(error) => Some(Err(error)),
            };
            match outcome {
                Some(Ok(lease)) => return Ok(Some(lease)),
                Some(Err(error)) => {
                    let refused = matches!(error, DhcpError::Refused);
                    self.last = format!("{error} [{}]", error.code());
                    if refused {
                        break;
                    }
                }
                None => {}
            }
        }
        Ok(None)
    }
}
