//! DHCP against an honest server, its nearest dishonest neighbours, and floods.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use hanzo_init::dhcp::{ANSWERS_MAX, Kind, Lease, PACKET_BYTES_MAX, TRIES, Wire, acquire, parse, renew};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const XID: u32 = 0xdead_0000;
const SERVER: [u8; 4] = [10, 0, 2, 2];

/// What a server answers with; each test changes one thing.
#[derive(Clone)]
struct Reply {
    address: [u8; 4],
    options: Vec<(u8, Vec<u8>)>,
    end: bool,
}

fn reply(kind: u8) -> Reply {
    Reply {
        address: [10, 0, 2, 15],
        options: vec![
            (53, vec![kind]),
            (1, vec![255, 255, 255, 0]),
            (3, vec![10, 0, 2, 2, 10, 0, 2, 3]),
            (51, 3600_u32.to_be_bytes().to_vec()),
            (54, SERVER.to_vec()),
        ],
        end: true,
    }
}

impl Reply {
    fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.options.retain(|(c, _)| *c != code);
        self.options.push((code, value.to_vec()));
        self
    }

    fn without(mut self, code: u8) -> Self {
        self.options.retain(|(c, _)| *c != code);
        self
    }

    fn bytes(&self, xid: u32) -> Vec<u8> {
        let mut packet = vec![2, 1, 6, 0];
        packet.extend(xid.to_be_bytes());
        packet.extend([0; 8]);
        packet.extend(self.address);
        packet.extend([0; 8]);
        packet.extend(MAC);
        packet.resize(236, 0);
        packet.extend([99, 130, 83, 99]);
        for (code, value) in &self.options {
            packet.extend([*code, value.len() as u8]);
            packet.extend(value);
        }
        if self.end {
            packet.push(255);
        }
        packet
    }
}

/// A server that answers the n-th request with the n-th list of packets, then falls silent.
#[derive(Default)]
struct Server {
    script: VecDeque<Vec<Reply>>,
    waiting: VecDeque<Vec<u8>>,
    sent: Vec<(Vec<u8>, Ipv4Addr)>,
    received: u32,
}

impl Server {
    fn new(script: impl IntoIterator<Item = Vec<Reply>>) -> Self {
        Self {
            script: script.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Wire for Server {
    fn send(&mut self, packet: &[u8], to: Ipv4Addr) -> io::Result<()> {
        let xid = u32::from_be_bytes(packet[4..8].try_into().unwrap());
        let replies = self.script.pop_front().unwrap_or_default();
        self.waiting = replies.iter().map(|reply| reply.bytes(xid)).collect();
        self.sent.push((packet.to_vec(), to));
        Ok(())
    }

    fn receive(&mut self, _wait: Duration) -> io::Result<Option<Vec<u8>>> {
        let packet = self.waiting.pop_front();
        self.received += u32::from(packet.is_some());
        Ok(packet)
    }
}

fn outcome(script: impl IntoIterator<Item = Vec<Reply>>) -> Result<Lease, String> {
    acquire(&mut Server::new(script), MAC, XID).map_err(|e| format!("{e} [{}]", e.code()))
}

#[test]
fn an_honest_server_gives_an_address_and_nothing_else_is_taken() {
    let everything_else = |kind| {
        let mut reply = reply(kind);
        // Name servers, host name, domain, NTP, routes, boot file, vendor options, overload, PXE, agent information.
        for code in [6, 12, 15, 42, 43, 66, 67, 119, 121, 224, 249, 252, 82] {
            reply.options.insert(0, (code, b"10.9.9.9".to_vec()));
        }
        reply.options.insert(0, (52, vec![3]));
        reply
    };
    let plain = outcome([vec![reply(2)], vec![reply(5)]]).unwrap();
    assert_eq!(
        plain,
        Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
            time: Duration::from_secs(3600),
            server: SERVER.into(),
        }
    );
    assert_eq!(outcome([vec![everything_else(2)], vec![everything_else(5)]]), Ok(plain));
    let alone = outcome([vec![reply(2).without(3)], vec![reply(5).without(3)]]).unwrap();
    assert_eq!(alone.gateway, None);
    let for_ever = || reply(2).with(51, &[255; 4]);
    let long = outcome([vec![for_ever()], vec![for_ever().with(53, &[5])]]).unwrap();
    assert_eq!(long.time, Duration::from_secs(24 * 3600));
}

#[test]
fn requests_ask_for_no_more_than_is_taken() {
    let mut server = Server::new([vec![reply(2)], vec![reply(5)]]);
    acquire(&mut server, MAC, XID).unwrap();
    let [(discover, to), (request, _)] = server.sent.as_slice() else {
        panic!("{} packets", server.sent.len())
    };
    assert_eq!(*to, Ipv4Addr::BROADCAST);
    assert_eq!(discover[..4], [1, 1, 6, 0]);
    assert_eq!(discover[10..12], [0x80, 0]);
    assert_eq!(discover[28..34], MAC);
    assert_eq!(discover[240..249], [53, 1, 1, 55, 3, 1, 3, 51, 255]);
    assert_eq!(request[240..255], [53, 1, 3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]);
    assert!(server.sent.iter().all(|(packet, _)| packet.len() == 300));
}

#[test]
fn each_dishonest_answer_is_refused_by_what_is_wrong_with_it() {
    let cases: [(Reply, &str); 21] = [
        (
            reply(2).with(1, &[255, 0, 255, 0]),
            "subnet mask (1): expected a network",
        ),
        (
            reply(2).with(1, &[255, 255, 255, 255]),
            "subnet mask (1): expected a network",
        ),
        (reply(2).with(1, &[0, 0, 0, 0]), "subnet mask (1): expected a network"),
        (
            reply(2).with(1, &[255, 255, 255]),
            "subnet mask (1): expected 4 bytes, got 3",
        ),
        (reply(2).without(1), "subnet mask (1): expected the option once"),
        (reply(2).with(3, &[10, 0, 3, 2]), "router (3): expected another host"),
        (reply(2).with(3, &[10, 0, 2, 15]), "router (3): expected another host"),
        (reply(2).with(3, &[10, 0, 2, 255]), "router (3): expected another host"),
        (
            reply(2).with(3, &[10, 0, 2, 2, 10]),
            "router (3): expected 4 bytes, got 5",
        ),
        (reply(2).with(3, &[]), "router (3): expected 4 bytes, got 0"),
        (
            reply(2).with(51, &[0, 0, 0, 59]),
            "lease time (51): expected at least 60 s, got 59",
        ),
        (reply(2).with(51, &[1]), "lease time (51): expected 4 bytes, got 1"),
        (reply(2).without(51), "lease time (51): expected the option once"),
        (reply(2).without(54), "server identifier (54): expected the option once"),
        (reply(2).without(53), "message type (53): expected 2, 5 or 6"),
        (reply(2).with(53, &[1]), "message type (53): expected 2, 5 or 6"),
        (reply(2).with(53, &[2, 2]), "message type (53): expected 2, 5 or 6"),
        (
            Reply { end: false, ..reply(2) },
            "options: expected whole options and an end",
        ),
        (
            Reply {
                address: [10, 0, 2, 0],
                ..reply(2)
            },
            "yiaddr: expected a host",
        ),
        (
            Reply {
                address: [127, 0, 0, 1],
                ..reply(2)
            },
            "yiaddr: expected a host",
        ),
        (
            Reply {
                address: [224, 0, 0, 5],
                ..reply(2)
            },
            "yiaddr: expected a host",
        ),
    ];
    for (offer, text) in cases {
        let error = outcome(vec![vec![offer]; TRIES as usize]).unwrap_err();
        assert!(error.contains(text), "expected {text}: {error}");
        assert!(error.ends_with("[init.dhcp.no_answer]"), "{error}");
    }
    let mut twice = reply(2);
    twice.options.push((54, vec![10, 0, 2, 3]));
    let error = outcome([vec![twice]]).unwrap_err();
    assert!(error.contains("options: expected each once, got 54"), "{error}");
}

#[test]
fn the_acknowledgement_is_of_the_offer_that_was_taken() {
    let offer = || vec![reply(2)];
    let elsewhere = Reply {
        address: [10, 0, 2, 16],
        ..reply(5)
    };
    let error = outcome([offer(), vec![elsewhere]]).unwrap_err();
    assert!(error.contains("address, mask and router as before"), "{error}");
    // Another server's word does not count, the right one's after it does; a second offer is no acknowledgement.
    let intruder = reply(5).with(54, &[10, 0, 2, 9]);
    assert!(outcome([offer(), vec![intruder, reply(2), reply(5)]]).is_ok());
    // Refused once, granted in the next round.
    assert!(outcome([offer(), vec![reply(6)], offer(), vec![reply(5)]]).is_ok());
    let error = outcome([offer(), vec![reply(6)]]).unwrap_err();
    assert!(error.contains("[init.dhcp.refused]"), "{error}");
}

#[test]
fn floods_and_silence_end() {
    let flood = vec![reply(2).without(1); 10 * ANSWERS_MAX as usize];
    let mut server = Server::new(vec![flood; TRIES as usize + 5]);
    assert_eq!(
        acquire(&mut server, MAC, XID).unwrap_err().code(),
        "init.dhcp.no_answer"
    );
    assert_eq!(server.received, TRIES * ANSWERS_MAX);
    let mut silent = Server::default();
    let error = acquire(&mut silent, MAC, XID).unwrap_err();
    assert!(error.to_string().ends_with("the last unusable one: none"), "{error}");
    assert_eq!(silent.sent.len(), TRIES as usize);
    assert_ne!(
        silent.sent[0].0[4..8],
        silent.sent[1].0[4..8],
        "each round has a number of its own"
    );
}

#[test]
fn only_packets_for_us_are_read_and_none_panics() {
    let good = reply(2).bytes(XID);
    assert_eq!(parse(&good, XID, MAC).unwrap().kind, Kind::Offer);
    for (at, name) in [
        (0, "op"),
        (1, "htype"),
        (2, "hlen"),
        (4, "xid"),
        (28, "chaddr"),
        (236, "cookie"),
    ] {
        let mut other = good.clone();
        other[at] ^= 0x10;
        assert_eq!(
            parse(&other, XID, MAC).unwrap_err().code(),
            "init.dhcp.malformed",
            "{name}"
        );
    }
    for length in 0..good.len() {
        assert!(parse(&good[..length], XID, MAC).is_err(), "cut at {length}");
    }
    let mut long = good.clone();
    long.resize(PACKET_BYTES_MAX + 1, 0);
    assert!(parse(&long, XID, MAC).is_err());
    long.pop();
    assert!(parse(&long, XID, MAC).is_ok(), "what follows the end is not read");
    // Every byte of the options with every value: an answer or an error, never a panic, and never a bad lease.
    for at in 236..good.len() {
        for value in 0..=255 {
            let mut other = good.clone();
            other[at] = value;
            if let Ok(lease) = parse(&other, XID, MAC).and_then(|answer| Lease::of(&answer)) {
                assert!((8..=30).contains(&lease.prefix) && lease.time >= Duration::from_secs(60));
            }
        }
    }
}

#[test]
fn a_lease_is_kept_by_its_server_alone() {
    let lease = outcome([vec![reply(2)], vec![reply(5)]]).unwrap();
    let mut server = Server::new([vec![reply(5).with(51, &[0, 0, 0, 120])]]);
    let kept = renew(&mut server, MAC, XID, &lease).unwrap();
    assert_eq!((kept.address, kept.time), (lease.address, Duration::from_secs(120)));
    let (request, to) = &server.sent[0];
    assert_eq!((*to, &request[12..16]), (Ipv4Addr::from(SERVER), &[10, 0, 2, 15][..]));
    let code = |script: Vec<Reply>| renew(&mut Server::new([script]), MAC, XID, &lease).map_err(|e| e.code());
    assert_eq!(code(vec![reply(6)]), Err("init.dhcp.refused"));
    assert_eq!(
        code(vec![reply(6).with(54, &[10, 0, 2, 9])]),
        Err("init.dhcp.no_answer")
    );
    let moved = Reply {
        address: [10, 0, 2, 77],
        ..reply(5)
    };
    assert_eq!(code(vec![moved]), Err("init.dhcp.no_answer"));
    assert_eq!(code(vec![]), Err("init.dhcp.no_answer"));
}
