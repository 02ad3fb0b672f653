//! Guests by name: a small name server, and what the proxy makes of its answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use simple_dns::rdata::{A, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::set::{Running, guest, guest_at, scrape, start, until, who};

/// What the server says at the moment.
#[derive(Clone, Default)]
struct Says {
    addresses: Vec<Ipv4Addr>,
    port: u16,
    rcode: Option<RCODE>,
    /// Answers nothing.
    silent: bool,
}

/// Answers A for every name and SRV with hosts of the example; datagrams are cut when more than 8 addresses are named.
struct Server {
    at: SocketAddr,
    says: Arc<Mutex<Says>>,
}

impl Server {
    async fn start() -> Self {
        let stream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = stream.local_addr().unwrap();
        let datagrams = UdpSocket::bind(at).await.unwrap();
        let says = Arc::new(Mutex::new(Says::default()));
        let (one, two) = (says.clone(), says.clone());
        tokio::spawn(async move {
            let mut bytes = [0; 512];
            while let Ok((n, from)) = datagrams.recv_from(&mut bytes).await {
                // Somebody guesses first; then comes the answer.
                let mut guess = reply(
                    &bytes[..n],
                    &Says {
                        addresses: vec![[9, 9, 9, 9].into()],
                        ..Says::default()
                    },
                    true,
                );
                guess[0] ^= 0x55;
                datagrams.send_to(&guess, from).await.ok();
                let says = one.lock().unwrap().clone();
                if !says.silent {
                    datagrams.send_to(&reply(&bytes[..n], &says, true), from).await.ok();
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = stream.accept().await {
                let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut bytes).await.unwrap();
                let says = two.lock().unwrap().clone();
                let answer = reply(&bytes, &says, false);
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        Self { at, says }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

fn reply(query: &[u8], says: &Says, is_datagram: bool) -> Vec<u8> {
    let query = Packet::parse(query).unwrap();
    let asked = &query.questions[0];
    let mut packet = Packet::new_reply(query.id());
    packet.questions.push(asked.clone());
    *packet.rcode_mut() = says.rcode.unwrap_or(RCODE::NoError);
    let record = |data| ResourceRecord::new(asked.qname.clone(), CLASS::IN, 1, data);
    match asked.qtype {
        QTYPE::TYPE(TYPE::A) => {
            packet.answers = says.addresses.iter().map(|&ip| record(RData::A(A::from(ip)))).collect();
        }
        QTYPE::TYPE(TYPE::SRV) => {
            for (priority, target) in [(1, "host.example"), (2, "spare.example")] {
                let target = Name::new(target).unwrap();
                packet.answers.push(record(RData::SRV(SRV {
                    priority,
                    weight: 0,
                    port: says.port,
                    target,
                })));
            }
        }
        _ => {}
    }
    if is_datagram && packet.answers.len() > 8 {
        packet.answers.truncate(1);
        packet.set_flags(PacketFlag::TRUNCATION);
    }
    packet.build_bytes_vec_compressed().unwrap()
}

async fn proxy(metrics: &std::path::Path, discover: &str, server: &Server) -> Running {
    start(&format!(
        r#"
        version = 1
        metrics = "unix:{}"
        [[listen]]
        address = "127.0.0.1:0"
        pool = "p"
        [pool.p]
        deadline_s = 5
        health = {{ interval_s = 60, timeout_s = 1, fall = 3, rise = 1 }}
        [pool.p.discover]
        {discover}
        servers = ["{}"]
        interval_min_s = 0.1
        interval_max_s = 0.1
        keep_s = 1
        "#,
        metrics.display(),
        server.at
    ))
    .await
}

#[tokio::test]
async fn addresses_of_a_name_are_guests_until_they_are_not() {
    let a = guest("a").await;
    let b = guest_at("b", SocketAddr::from(([127, 0, 0, 2], a.at.port()))).await;
    let (one, two) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    let server = Server::start().await;
    let named = |addresses: &[Ipv4Addr]| Says {
        addresses: addresses.to_vec(),
        ..Says::default()
    };
    server.say(named(&[one]));
    let dir = tempfile::tempdir().unwrap();
    let metrics = dir.path().join("m.sock");
    let discover = format!("name = \"guests.example\"\nport = {}", a.at.port());
    let proxy = proxy(&metrics, &discover, &server).await;
    let at = proxy.at[0];
    assert_eq!(who(at).await, "a");
    server.say(named(&[two]));
    until("the other address", || async { who(at).await == "b" }).await;

    // An error, nobody, and silence: the last answer is kept, and the metric says so.
    let kept = |n: u8| format!("hanzo_proxy_discovery_kept{{pool=\"p\"}} {n}");
    let shows = async |what: String| until(&what, || async { scrape(&metrics).await.contains(&what) }).await;
    for says in [
        Says {
            rcode: Some(RCODE::ServerFailure),
            ..named(&[one])
        },
        Says {
            rcode: Some(RCODE::NameError),
            ..named(&[])
        },
        named(&[]),
    ] {
        server.say(says);
        shows(kept(1)).await;
        assert_eq!(who(at).await, "b");
        server.say(named(&[two]));
        shows(kept(0)).await;
    }
    // More than fit a datagram, and more than a pool has places for.
    let many: Vec<_> = (2..=100).map(|n| Ipv4Addr::new(127, 0, 0, n)).collect();
    server.say(named(&many));
    let guests = async || scrape(&metrics).await.matches("hanzo_proxy_guest_up{").count();
    until("64 of 99", || async { guests().await == 64 }).await;
    // Silence for longer than guests are kept.
    server.say(Says {
        silent: true,
        ..named(&[])
    });
    until("no guests", || async { guests().await == 0 }).await;
    drop((a, b));
}

#[tokio::test]
async fn a_service_names_hosts_and_ports() {
    let a = guest("a").await;
    let server = Server::start().await;
    server.say(Says {
        addresses: vec![[127, 0, 0, 1].into()],
        port: a.at.port(),
        ..Says::default()
    });
    let dir = tempfile::tempdir().unwrap();
    let metrics = dir.path().join("m.sock");
    let proxy = proxy(&metrics, "service = \"_sealed._tcp.example\"", &server).await;
    assert_eq!(who(proxy.at[0]).await, "a");
    // A port of zero is nobody's.
    server.say(Says {
        addresses: vec![[127, 0, 0, 1].into()],
        ..Says::default()
    });
    let none = "hanzo_proxy_discoveries_total{pool=\"p\",outcome=\"nobody\"} 0";
    until("nobody is named", || async { !scrape(&metrics).await.contains(none) }).await;
}
