//! Interfaces, by rtnetlink (RFC 3549; Linux `rtnetlink(7)`): loopback, and one interface with a measured or leased address.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use hanzo_device::entropy::mixed_seed;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, sendto, socket_with};

use crate::dhcp::{self, DhcpError, Lease, Port};
use crate::error::InitError;
use crate::plan::NetworkPlan;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
/// NLM_F_REQUEST and NLM_F_ACK.
const ANSWERED: u16 = 0x0005;
/// NLM_F_EXCL and NLM_F_CREATE.
const NEW: u16 = 0x0600;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const AF_INET: u8 = 2;
const LOOPBACK_INDEX: u32 = 1;

/// How long the driver may take to show its interface.
const APPEARANCE: Duration = Duration::from_secs(10);

/// Brings loopback and the plan's interface up. Returns the lease that must be kept, if the address is leased.
///
/// # Errors
/// [`InitError::Network`], [`InitError::Dhcp`], [`InitError::CommandLine`] without RDSEED.
pub fn bring_up(plan: &NetworkPlan) -> Result<Option<Leased>, InitError> {
    let kernel = Kernel::open().map_err(failed("rtnetlink"))?;
    kernel.ask(&link_up(LOOPBACK_INDEX)).map_err(failed("loopback"))?;
    let index = kernel
        .wait_for(plan.interface())
        .map_err(failed("the interface did not appear"))?;
    kernel.ask(&link_up(index)).map_err(failed("link"))?;
    match plan {
        NetworkPlan::Static(network) => {
            kernel.place(index, network.address, network.prefix, network.gateway)?;
            Ok(None)
        }
        NetworkPlan::Dhcp(dhcp) => {
            let mac = hardware_address(Path::new("/sys/class/net"), &dhcp.interface)?;
            let mut port = Port::open(&dhcp.interface)?;
            let first_xid = u32::from_ne_bytes(*mixed_seed::<4>()?);
            let lease = dhcp::acquire(&mut port, mac, first_xid)?;
            kernel.place(index, lease.address, lease.prefix, lease.gateway)?;
            Ok(Some(Leased { lease, port, mac }))
        }
    }
}

/// A leased address, and what it is kept with.
#[derive(Debug)]
pub struct Leased {
    /// As the server gave it.
    pub lease: Lease,
    port: Port,
    mac: [u8; 6],
}

impl Leased {
    /// Renews the lease when half of it is over, then every eighth, for as long as the server allows. Returns when the
    /// address is no longer ours.
    pub fn keep(mut self) -> InitError {
        let mut start = Instant::now();
        let mut next = self.lease.time / 2;
        loop {
            sleep(next.saturating_sub(start.elapsed()));
            let xid = match mixed_seed::<4>() {
                Ok(seed) => u32::from_ne_bytes(*seed),
                Err(error) => return error.into(),
            };
            // Counted from the request: the lease ends here no later than there.
            let asked = Instant::now();
            match dhcp::renew(&mut self.port, self.mac, xid, &self.lease) {
                Ok(lease) => {
                    (self.lease, start) = (lease, asked);
                    next = lease.time / 2;
                }
                Err(error) => {
                    let over = start.elapsed() >= self.lease.time;
                    if over || matches!(error, DhcpError::Refused) {
                        return error.into();
                    }
                    next = start.elapsed() + self.lease.time / 8;
                }
            }
        }
    }
}

/// Six pairs of hex digits, as the kernel shows them.
fn hardware_address(class: &Path, interface: &str) -> Result<[u8; 6], InitError> {
    let path = class.join(interface).join("address");
    let text = fs::read_to_string(&path).map_err(|source| InitError::File {
        path: path.clone(),
        source,
    })?;
    let mut mac = [0; 6];
    let mut pairs = text.trim().split(':');
    for byte in &mut mac {
        let pair = pairs.next().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        *byte = pair.ok_or_else(|| failed("hardware address")(io::ErrorKind::InvalidData.into()))?;
    }
    match pairs.next() {
        None => Ok(mac),
        Some(_) => Err(failed("hardware address")(io::ErrorKind::InvalidData.into())),
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> InitError {
    move |source| InitError::Network { what, source }
}

struct Kernel(OwnedFd);

impl Kernel {
    fn open() -> io::Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self(socket))
    }

    fn ask(&self, message: &[u8]) -> io::Result<()> {
        sendto(&self.0, message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = [0; 512];
        let (bytes, _) = recv(&self.0, answer.as_mut_slice(), RecvFlags::empty())?;
        acknowledged(answer.get(..bytes).unwrap_or_default())
    }

    /// Gives the interface its address, and the machine its way out.
    fn place(&self, index: u32, address: Ipv4Addr, prefix: u8, gateway: Option<Ipv4Addr>) -> Result<(), InitError> {
        self.ask(&new_address(index, address, prefix))
            .map_err(failed("address"))?;
        match gateway {
            Some(gateway) => self
                .ask(&default_route(index, gateway))
                .map_err(failed("default route")),
            None => Ok(()),
        }
    }

    fn wait_for(&self, interface: &str) -> io::Result<u32> {
        let start = Instant::now();
        loop {
            match netdevice::name_to_index(&self.0, interface) {
                Ok(index) => return Ok(index),
                Err(error) if start.elapsed() > APPEARANCE => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// Reads `struct nlmsghdr` and the error number behind it; 0 is success.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let malformed = || io::Error::other("an answer that is no acknowledgement");
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer
        .get(16..20)
        .and_then(|b| b.try_into().ok())
        .map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        _ => Err(malformed()),
    }
}

/// `struct nlmsghdr` (length, type, flags, sequence, port) before `body`.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend((16 + body.len() as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// `struct rtattr` with four bytes of value, which need no padding.
fn attribute(kind: u16, value: [u8; 4]) -> [u8; 8] {
    let mut bytes = [0; 8];
    let (head, tail) = bytes.split_at_mut(4);
    let (length, number) = head.split_at_mut(2);
    length.copy_from_slice(&8_u16.to_ne_bytes());
    number.copy_from_slice(&kind.to_ne_bytes());
    tail.copy_from_slice(&value);
    bytes
}

/// `struct ifinfomsg`: family, padding, type, index, flags, mask of flags to change.
fn link_up(index: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    message(RTM_NEWLINK, ANSWERED, &body)
}

/// `struct ifaddrmsg`: family, prefix, flags, scope, index; then the address twice.
fn new_address(index: u32, address: Ipv4Addr, prefix: u8) -> Vec<u8> {
    let mut body = vec![AF_INET, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(attribute(IFA_LOCAL, address.octets()));
    body.extend(attribute(IFA_ADDRESS, address.octets()));
    message(RTM_NEWADDR, ANSWERED | NEW, &body)
}

/// `struct rtmsg`: family, prefixes, service, table (main), protocol (static), scope (universe), type (unicast), flags.
fn default_route(index: u32, gateway: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![AF_INET, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    body.extend(attribute(RTA_GATEWAY, gateway.octets()));
    body.extend(attribute(RTA_OIF, index.to_ne_bytes()));
    message(RTM_NEWROUTE, ANSWERED | NEW, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_kernels_layout() {
        let link = link_up(2);
        assert_eq!(link.len(), 32);
        assert_eq!(link[..8], [32, 0, 0, 0, 16, 0, 5, 0]);
        let address = new_address(2, Ipv4Addr::new(10, 0, 2, 15), 24);
        assert_eq!(address[16..24], [2, 24, 0, 0, 2, 0, 0, 0]);
        assert_eq!(address[24..32], [8, 0, 2, 0, 10, 0, 2, 15]);
        let route = default_route(2, Ipv4Addr::new(10, 0, 2, 2));
        assert_eq!(route[28..36], [8, 0, 5, 0, 10, 0, 2, 2]);
    }

    #[test]
    fn a_hardware_address_has_six_bytes() {
        let class = tempfile::tempdir().unwrap();
        fs::create_dir(class.path().join("eth0")).unwrap();
        let address = |text: &str| {
            fs::write(class.path().join("eth0/address"), text).unwrap();
            hardware_address(class.path(), "eth0").map_err(|e| e.code())
        };
        assert_eq!(address("52:54:00:12:34:56\n"), Ok([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        for bad in ["52:54:00:12:34", "52:54:00:12:34:56:78", "x", ""] {
            assert_eq!(address(bad), Err("init.network"), "{bad}");
        }
        assert_eq!(hardware_address(class.path(), "eth1").unwrap_err().code(), "init.file");
    }

    #[test]
    fn only_an_acknowledgement_without_error_counts() {
        let answer = |kind: u16, error: i32| {
            let mut bytes = message(kind, 0, &error.to_ne_bytes());
            bytes.extend([0; 16]);
            bytes
        };
        assert!(acknowledged(&answer(NLMSG_ERROR, 0)).is_ok());
        let refused = acknowledged(&answer(NLMSG_ERROR, -1)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(1));
        assert!(acknowledged(&answer(RTM_NEWLINK, 0)).is_err());
        assert!(acknowledged(&answer(NLMSG_ERROR, 0)[..18]).is_err());
    }
}
