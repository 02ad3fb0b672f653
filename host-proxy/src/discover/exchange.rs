//! One question to one name server: a datagram, sent twice if need be, then a stream if the answer does not fit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::dns::Check;

/// How long each attempt waits.
const ATTEMPT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 2;
/// Without extensions no answer over UDP is longer (RFC 1035, section 2.3.4); some servers do not care.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Datagrams that are no answer, before the server is given up.
const FOREIGN_MAX: u32 = 64;
/// A configuration file of resolvers is not longer.
const RESOLV_CONF_BYTES_MAX: u64 = 64 * 1024;
const SERVERS_MAX: usize = 3;
const DNS_PORT: u16 = 53;

/// The answer, as it was checked.
pub(super) async fn exchange(
    server: SocketAddr,
    query: &[u8],
    check: impl Fn(&[u8]) -> Check,
) -> Result<Vec<u8>, &'static str> {
    match by_datagram(server, query, &check).await? {
        Some(answer) => Ok(answer),
        None => by_stream(server, query, &check).await,
    }
}

/// None: the answer does not fit.
async fn by_datagram(
    server: SocketAddr,
    query: &[u8],
    check: impl Fn(&[u8]) -> Check,
) -> Result<Option<Vec<u8>>, &'static str> {
    const SILENT: &str = "the name server does not answer";
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own for every question; connected, so that the kernel drops what comes from elsewhere.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))
        .await
        .map_err(|_| "no socket")?;
    socket.connect(server).await.map_err(|_| SILENT)?;
    let mut bytes = [0; DATAGRAM_BYTES_MAX];
    let mut foreign = 0;
    for _ in 0..ATTEMPTS {
        let until = Instant::now() + ATTEMPT;
        socket.send(query).await.map_err(|_| SILENT)?;
        while let Ok(received) = timeout_at(until, socket.recv(&mut bytes)).await {
            let got = received.ok().and_then(|n| bytes.get(..n)).ok_or(SILENT)?;
            match check(got) {
                Check::Whole => return Ok(Some(got.to_vec())),
                Check::Cut => return Ok(None),
                Check::Foreign => foreign += 1,
            }
            if foreign > FOREIGN_MAX {
                return Err("too many answers to no question");
            }
        }
    }
    Err(SILENT)
}

async fn by_stream(server: SocketAddr, query: &[u8], check: impl Fn(&[u8]) -> Check) -> Result<Vec<u8>, &'static str> {
    const BROKEN: &str = "the name server does not answer over TCP";
    let whole = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
        let framed = [&length.to_be_bytes(), query].concat();
        stream.write_all(&framed).await?;
        let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut bytes).await?;
        std::io::Result::Ok(bytes)
    };
    let until = Instant::now() + 2 * ATTEMPT;
    let bytes = timeout_at(until, whole)
        .await
        .map_err(|_| BROKEN)?
        .map_err(|_| BROKEN)?;
    match check(&bytes) {
        Check::Whole => Ok(bytes),
        Check::Cut | Check::Foreign => Err("an answer to another question"),
    }
}

/// The name servers of a resolv.conf(5); its other lines are not used.
pub(super) async fn servers(path: &str) -> Result<Vec<SocketAddr>, &'static str> {
    const UNREADABLE: &str = "/etc/resolv.conf cannot be read";
    let file = tokio::fs::File::open(path).await.map_err(|_| UNREADABLE)?;
    let mut text = String::new();
    let mut bounded = file.take(RESOLV_CONF_BYTES_MAX);
    bounded.read_to_string(&mut text).await.map_err(|_| UNREADABLE)?;
    let servers = listed(&text);
    match servers.is_empty() {
        true => Err("/etc/resolv.conf names no name server"),
        false => Ok(servers),
    }
}

fn listed(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(ip)) => ip.parse::<IpAddr>().ok(),
            _ => None,
        }
    });
    named
        .map(|ip| SocketAddr::new(ip, DNS_PORT))
        .take(SERVERS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_and_no_more_than_three() {
        let text =
            "# nameserver 192.0.2.9\nsearch a.example\nnameserver 192.0.2.1\noptions ndots:5\nnameserver\t::1 x\n";
        assert_eq!(
            listed(text),
            ["192.0.2.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]
        );
        assert_eq!(listed(&"nameserver 192.0.2.1\n".repeat(5)).len(), 3);
        assert!(listed("nameserver guest.example\n").is_empty());
    }
}
