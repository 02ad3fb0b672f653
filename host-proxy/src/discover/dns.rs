//! Guests by a name of the DNS: its A and AAAA records, or its SRV records and those of the hosts they name.
//!
//! Whoever answers can name wrong guests and so stop service, as a hostile proxy can. Clients verify whom they reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

use super::exchange::{exchange, servers};
use crate::address::Address;
use crate::config::Dns;
use crate::sni::is_host_name;

/// Records looked at in one answer.
const RECORDS_MAX: u16 = 512;
/// Aliases followed within one answer.
const ALIASES_MAX: usize = 8;
/// Hosts of a service that are looked up.
const HOSTS_MAX: usize = 64;

/// Who the guests are, and for how long that holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) guests: Vec<Address>,
    pub(super) lives: Duration,
}

/// Records of one type.
#[derive(Debug, PartialEq, Eq)]
struct Records<T> {
    all: Vec<T>,
    ttl_s: u32,
}

/// One record of a service.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    priority: u16,
    port: u16,
    name: String,
}

/// Asks for the guests.
pub(super) async fn ask(dns: &Dns) -> Result<Answer, &'static str> {
    let servers = match dns.servers.is_empty() {
        true => servers("/etc/resolv.conf").await?,
        false => dns.servers.clone(),
    };
    let mut guests = Vec::new();
    let mut ttl_s = u32::MAX;
    match dns.port {
        Some(port) => {
            let found = addresses(&servers, &dns.name).await?;
            ttl_s = ttl_s.min(found.ttl_s);
            guests.extend(found.all.into_iter().map(|ip| guest(ip, port)));
        }
        None => {
            let hosts = look_up(&servers, &dns.name, TYPE::SRV, host).await?;
            ttl_s = ttl_s.min(hosts.ttl_s);
            // The others are for when these are gone (RFC 2782), which health checks would have to say.
            let first = hosts.all.iter().map(|h| h.priority).min();
            let first = hosts.all.iter().filter(|h| Some(h.priority) == first);
            for host in first.take(HOSTS_MAX) {
                let found = addresses(&servers, &host.name).await?;
                ttl_s = ttl_s.min(found.ttl_s);
                guests.extend(found.all.into_iter().map(|ip| guest(ip, host.port)));
            }
        }
    }
    let lives = Duration::from_secs(ttl_s.into());
    Ok(Answer { guests, lives })
}

fn guest(ip: IpAddr, port: u16) -> Address {
    Address::Tcp(SocketAddr::new(ip, port))
}

/// Both families must be answered: half an answer would take guests away.
async fn addresses(servers: &[SocketAddr], name: &str) -> Result<Records<IpAddr>, &'static str> {
    let four = look_up(servers, name, TYPE::A, address);
    let six = look_up(servers, name, TYPE::AAAA, address);
    let (mut four, six) = tokio::try_join!(four, six)?;
    four.all.extend(six.all);
    four.ttl_s = four.ttl_s.min(six.ttl_s);
    Ok(four)
}

fn address(data: &RData<'_>) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(Ipv4Addr::from_bits(a.address).into()),
        RData::AAAA(a) => Some(Ipv6Addr::from_bits(a.address).into()),
        _ => None,
    }
}

fn host(data: &RData<'_>) -> Option<Host> {
    let RData::SRV(srv) = data else { return None };
    let name = srv.target.to_string();
    // The root as a target says that there is no such service.
    (is_host_name(&name) && srv.port != 0).then_some(Host {
        priority: srv.priority,
        port: srv.port,
        name,
    })
}

async fn look_up<T>(
    servers: &[SocketAddr],
    name: &str,
    kind: TYPE,
    of: impl Fn(&RData<'_>) -> Option<T>,
) -> Result<Records<T>, &'static str> {
    let asked = Name::new(name).map_err(|_| "a name that cannot be asked for")?;
    let mut why = "no name server";
    for server in servers {
        let id = random_id();
        let query = query(id, &asked, kind).ok_or("a name that cannot be asked for")?;
        match exchange(*server, &query, |bytes| check(bytes, id, &asked, kind)).await {
            Ok(bytes) => match read(&bytes, &asked, kind, &of) {
                Ok(records) => return Ok(records),
                Err(reason) => why = reason,
            },
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

fn query(id: u16, name: &Name<'_>, kind: TYPE) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let question = Question::new(name.clone(), QTYPE::TYPE(kind), CLASS::IN.into(), false);
    packet.questions.push(question);
    packet.build_bytes_vec().ok()
}

/// What a datagram or a stream brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// The answer to the question.
    Whole,
    /// Its beginning; the whole comes over a stream.
    Cut,
    /// Something else. Somebody may be guessing: the answer may still come.
    Foreign,
}

fn check(bytes: &[u8], id: u16, asked: &Name<'_>, kind: TYPE) -> Check {
    let Some(packet) = parse(bytes) else {
        return Check::Foreign;
    };
    let is_ours = packet.id() == id
        && packet.has_flags(PacketFlag::RESPONSE)
        && matches!(packet.questions.as_slice(), [q] if q.qname == *asked && q.qtype == QTYPE::TYPE(kind));
    match is_ours {
        false => Check::Foreign,
        true if packet.has_flags(PacketFlag::TRUNCATION) => Check::Cut,
        true => Check::Whole,
    }
}

/// The counts of the header are looked at first: the parser reserves memory for as many records as they promise.
fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let counts = bytes.get(4..12)?.chunks_exact(2);
    let records = counts.map(|c| c.iter().fold(0_u16, |n, b| (n << 8) | u16::from(*b)));
    match records.fold(0_u16, u16::saturating_add) <= RECORDS_MAX {
        true => Packet::parse(bytes).ok(),
        false => None,
    }
}

/// The records of the name, or of what it is an alias of.
fn read<T>(
    bytes: &[u8],
    asked: &Name<'_>,
    kind: TYPE,
    of: impl Fn(&RData<'_>) -> Option<T>,
) -> Result<Records<T>, &'static str> {
    let packet = parse(bytes).ok_or("an answer that is not understood")?;
    match packet.rcode() {
        // Of a name that does not exist there is nobody.
        RCODE::NoError | RCODE::NameError => {}
        _ => return Err("the name server reports an error"),
    }
    let (mut owner, mut ttl_s) = (asked, u32::MAX);
    for _ in 0..=ALIASES_MAX {
        let own = || {
            packet
                .answers
                .iter()
                .filter(|r| r.class == CLASS::IN && r.name == *owner)
        };
        let alias = own().find_map(|r| match &r.rdata {
            RData::CNAME(to) => Some((&to.0, r.ttl)),
            _ => None,
        });
        if let Some((to, ttl)) = alias {
            owner = to;
            ttl_s = ttl_s.min(ttl);
            continue;
        }
        let mut all = Vec::new();
        for record in own().filter(|r| r.rdata.type_code() == kind) {
            ttl_s = ttl_s.min(record.ttl);
            all.extend(of(&record.rdata));
        }
        return Ok(Records { all, ttl_s });
    }
    Err("too many aliases")
}

/// What an answer must repeat, besides the port that it must be sent to. Keys of hash maps come from the system's random source.
fn random_id() -> u16 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish() as u16
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
