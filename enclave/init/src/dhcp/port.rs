//! The client's UDP port on one interface.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use hanzo_device::machine::bind_to_interface;

use super::message::PACKET_BYTES_MAX;
use super::{DhcpError, Wire};

const CLIENT: u16 = 68;
const SERVER: u16 = 67;

/// Port 68 of one interface, which needs no address.
#[derive(Debug)]
pub struct Port(UdpSocket);

impl Port {
    /// Opens it.
    ///
    /// # Errors
    /// [`DhcpError::Socket`].
    pub fn open(interface: &str) -> Result<Self, DhcpError> {
        let failed = |what| move |source| DhcpError::Socket { what, source };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, CLIENT)).map_err(failed("port 68"))?;
        bind_to_interface(&socket, interface).map_err(failed("SO_BINDTODEVICE"))?;
        socket.set_broadcast(true).map_err(failed("SO_BROADCAST"))?;
        Ok(Self(socket))
    }
}

impl Wire for Port {
    fn send(&mut self, packet: &[u8], to: Ipv4Addr) -> io::Result<()> {
        self.0.send_to(packet, (to, SERVER)).map(|_| ())
    }

    fn receive(&mut self, wait: Duration) -> io::Result<Option<Vec<u8>>> {
        self.0.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        // One byte more than is accepted, so that longer packets are seen as such.
        let mut packet = vec![0; PACKET_BYTES_MAX + 1];
        match self.0.recv_from(&mut packet) {
            Ok((bytes, _)) => {
                packet.truncate(bytes);
                Ok(Some(packet))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
            // An ICMP error of an earlier packet; the deadline bounds how often.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(Some(Vec::new()))
            }
            Err(error) => Err(error),
        }
    }
}
