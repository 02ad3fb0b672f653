use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::pipe::{PIPES_PER_WORKER_MAX, Pipe};

/// A client and a guest of this test, and the proxy's sockets between them.
struct Between {
    client: TcpStream,
    guest: TcpStream,
    to_client: Side,
    to_guest: Side,
    carrier: Carrier,
    metrics: std::sync::Arc<Metrics>,
}

fn pair() -> (TcpStream, Side) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let raw = socket2::Socket::from(std::net::TcpListener::try_clone(&listener).unwrap());
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (stream, _) = crate::socket::accept(&raw).unwrap();
    (peer, Side::new(stream))
}

fn between() -> Between {
    let ((client, to_client), (guest, to_guest)) = (pair(), pair());
    Between {
        client,
        guest,
        to_client,
        to_guest,
        carrier: Carrier::new(),
        metrics: Metrics::new(),
    }
}

impl Between {
    fn flow(&mut self) -> Flow {
        Flow::new(0, Vec::new(), false, &mut self.carrier)
    }

    /// As if the kernel had reported everything.
    fn advance(&mut self, flow: &mut Flow) -> Then {
        for side in [&mut self.to_client, &mut self.to_guest] {
            (side.can_read, side.can_write) = (true, true);
        }
        flow.advance(
            &mut self.to_client,
            &mut self.to_guest,
            &mut self.carrier,
            &self.metrics,
        )
    }

    /// Sends all of it from the client and returns what the guest got.
    fn carry(&mut self, flow: &mut Flow, bytes: &[u8]) -> Vec<u8> {
        let (mut sent, mut got) = (0, Vec::new());
        for _ in 0..100_000 {
            if let Ok(n) = self.client.write(&bytes[sent..]) {
                sent += n;
            }
            assert!(!matches!(self.advance(flow), Then::Over(_)));
            let mut piece = [0; 65_536];
            if let Ok(n) = self.guest.read(&mut piece) {
                got.extend_from_slice(&piece[..n]);
            }
            if got.len() >= bytes.len() {
                break;
            }
        }
        got
    }
}

fn limits() -> Limits {
    let of = Duration::from_secs;
    Limits {
        connections_max: 1,
        connections_per_s: 1,
        client_connections_max: 1,
        client_connections_per_s: 1,
        first_bytes: of(1),
        idle: of(60),
        stall: of(5),
        half_closed: of(30),
    }
}

fn noise(n: usize) -> Vec<u8> {
    (0..n as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

#[test]
fn what_the_kernel_does_not_splice_is_copied() {
    let mut between = between();
    let mut flow = between.flow();
    Pipe::spoil_next();
    let sent = noise(4 << 20);
    assert!(between.carry(&mut flow, &sent) == sent, "bytes pass unchanged");
    assert!(flow.up.is_copy_only(), "splicing was tried and refused");
    assert_eq!(Pipe::in_use(), 0);
}

#[test]
fn a_stream_that_has_become_small_gives_its_pipe_back() {
    let mut between = between();
    let mut flow = between.flow();
    let sent = noise(4 << 20);
    assert!(between.carry(&mut flow, &sent) == sent);
    assert!(flow.up.is_splicing() && !flow.up.is_copy_only());
    for _ in 0..8 {
        assert_eq!(between.carry(&mut flow, b"small"), b"small");
        assert_eq!(Pipe::in_use(), 0, "nothing is under way");
    }
    assert!(!flow.up.is_splicing());
}

#[test]
fn a_pipe_whose_reader_stalls_is_given_back_after_a_while_and_nothing_is_lost() {
    let mut between = between();
    let mut flow = between.flow();
    let sent = noise(32 << 20);
    let mut at = 0;
    // Nobody reads at the guest: both sockets fill, then the pipe.
    for _ in 0..200 {
        at += between.client.write(&sent[at..]).unwrap_or(0);
        between.advance(&mut flow);
    }
    assert_eq!((Pipe::in_use(), flow.up.is_holding()), (1, true));
    assert_eq!(flow.next_look(&limits()), QUIET_MS);
    between.carrier.now_ms += QUIET_MS;
    flow.rest(&between.carrier).unwrap();
    assert_eq!(Pipe::in_use(), 1, "twin: there are enough for others");
    let others: Vec<_> = (0..PIPES_PER_WORKER_MAX / 2).map(|_| Pipe::take().unwrap()).collect();
    flow.rest(&between.carrier).unwrap();
    assert_eq!(
        (Pipe::in_use(), flow.up.is_holding()),
        (others.len(), true),
        "its bytes are in memory now"
    );
    let mut got = Vec::new();
    while got.len() < at {
        between.advance(&mut flow);
        let mut piece = [0; 65_536];
        if let Ok(n) = between.guest.read(&mut piece) {
            got.extend_from_slice(&piece[..n]);
        }
    }
    assert!(got == sent[..at], "bytes pass unchanged");
}

#[test]
fn a_client_that_says_nothing_is_silent_whatever_the_proxy_says_first() {
    let mut between = between();
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\r\n".len();
    let mut flow = Flow::new(header, Vec::new(), false, &mut between.carrier);
    assert_eq!(flow.limit(&limits()), (1_000, Ended::Silent));
    between.client.write_all(b"x").unwrap();
    std::thread::sleep(Duration::from_millis(5));
    between.advance(&mut flow);
    assert_eq!(flow.limit(&limits()), (60_000, Ended::Idle), "twin: it has spoken");
    let carried = flow.carried();
    assert_eq!(carried.to_guest, header as u64 + 1);
}

#[test]
fn a_direction_that_moves_says_nothing_about_one_that_stands_still() {
    let mut between = between();
    let mut flow = between.flow();
    let sent = noise(32 << 20);
    let mut at = 0;
    // Long quiet before: its time does not count. What the guest says can carry news of its window, which lets more pass:
    // then it is tried again.
    let stood_still = (1..20).any(|time| {
        let start = time * 50_000;
        between.carrier.now_ms = start;
        let (mut before, mut quiet) = (flow.carried().to_guest, 0);
        let mut has_moved = false;
        while quiet < 30 {
            at += between.client.write(&sent[at..]).unwrap_or(0);
            between.advance(&mut flow);
            std::thread::sleep(Duration::from_millis(1));
            let carried = flow.carried().to_guest;
            has_moved |= carried != before;
            quiet = if carried == before { quiet + 1 } else { 0 };
            before = carried;
        }
        let limit = flow.limit(&limits());
        assert!(!has_moved || limit == (start + 5_000, Ended::Stalled));
        between.carrier.now_ms = start + 4_000;
        let heard = flow.carried().to_client;
        between.guest.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(5));
        between.advance(&mut flow);
        assert_eq!(flow.carried().to_client, heard + 1);
        flow.carried().to_guest == before && {
            assert_eq!(flow.limit(&limits()), limit, "a byte the other way");
            assert!(flow.next_look(&limits()) <= start + 1_000, "nor does it keep the pipe");
            true
        }
    });
    assert!(stood_still);
    let mut piece = vec![0; 8 << 20];
    while between.guest.read(&mut piece).is_ok() {}
    between.advance(&mut flow);
    let now = between.carrier.now_ms;
    assert!(flow.limit(&limits()).0 >= now + 5_000, "twin: what it holds moved");
}

#[test]
fn an_answer_comes_whole_from_a_guest_that_has_stopped_reading() {
    let mut between = between();
    let mut flow = between.flow();
    assert_eq!(between.carry(&mut flow, b"asked"), b"asked");
    let answer = noise(2 << 20);
    let mut got = Vec::new();
    let mut sent = 0;
    while sent < answer.len() {
        sent += between.guest.write(&answer[sent..]).unwrap_or(0);
        between.advance(&mut flow);
        let mut piece = [0; 65_536];
        got.extend(
            between
                .client
                .read(&mut piece)
                .map(|n| piece[..n].to_vec())
                .unwrap_or_default(),
        );
    }
    between.guest.shutdown(std::net::Shutdown::Write).unwrap();
    // As from a socket of the guest's that takes nothing more.
    between.to_guest.stream.end().unwrap();
    between.client.write_all(b"and another thing").unwrap();
    let mut ended = false;
    for _ in 0..1_000 {
        assert!(
            !matches!(between.advance(&mut flow), Then::Over(_)),
            "the client still sends"
        );
        let mut piece = [0; 65_536];
        match between.client.read(&mut piece) {
            Ok(0) => {
                ended = true;
                break;
            }
            Ok(n) => got.extend_from_slice(&piece[..n]),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    assert!(ended && got == answer);
    between.client.shutdown(std::net::Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(between.advance(&mut flow), Then::Over(Ended::Closed));
}

#[test]
fn urgent_data_neither_stops_a_stream_nor_ends_it() {
    let mut between = between();
    let mut flow = between.flow();
    let sent = noise(4 << 20);
    assert!(between.carry(&mut flow, &sent) == sent);
    assert!(flow.up.is_splicing());
    socket2::SockRef::from(&between.client).send_out_of_band(b"!").unwrap();
    assert!(
        between.carry(&mut flow, &sent) == sent,
        "what follows passes; the urgent byte is nobody's"
    );
}

#[test]
fn a_half_closed_connection_has_its_time_from_then_on() {
    let mut between = between();
    let mut flow = between.flow();
    assert_eq!(between.carry(&mut flow, b"asked"), b"asked");
    between.carrier.now_ms = 50_000;
    between.client.shutdown(std::net::Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    between.advance(&mut flow);
    assert_eq!(flow.limit(&limits()), (80_000, Ended::HalfClosed));
}

#[test]
fn a_side_that_was_cut_is_told_apart_from_one_that_ended() {
    let mut between = between();
    let mut flow = between.flow();
    between.client.write_all(b"x").unwrap();
    let raw = socket2::SockRef::from(&between.client);
    raw.set_linger(Some(Duration::ZERO)).unwrap();
    let client = std::mem::replace(&mut between.client, pair().0);
    drop(client);
    between.to_client.is_broken = true;
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(between.advance(&mut flow), Then::Over(Ended::ClientBroken));
}

#[test]
fn what_is_gathered_is_written_in_the_second_part_of_the_turn_and_to_whom_it_belongs() {
    let (mut one, mut two) = (between(), between());
    let (mut flow_one, mut flow_two) = (one.flow(), two.flow());
    one.client.write_all(b"one").unwrap();
    two.client.write_all(b"number two").unwrap();
    std::thread::sleep(Duration::from_millis(5));
    // Both connections are one worker's.
    one.carrier.gather();
    assert_eq!(one.advance(&mut flow_one), Then::Write);
    std::mem::swap(&mut one.carrier, &mut two.carrier);
    assert_eq!(two.advance(&mut flow_two), Then::Write);
    let mut got = [0; 64];
    assert!(
        one.guest.read(&mut got).is_err() && two.guest.read(&mut got).is_err(),
        "not yet"
    );
    two.carrier.spread();
    assert_eq!(two.advance(&mut flow_two), Then::Wait);
    std::mem::swap(&mut one.carrier, &mut two.carrier);
    assert_eq!(one.advance(&mut flow_one), Then::Wait);
    std::thread::sleep(Duration::from_millis(5));
    let n = one.guest.read(&mut got).unwrap();
    assert_eq!(&got[..n], b"one");
    let n = two.guest.read(&mut got).unwrap();
    assert_eq!(&got[..n], b"number two");
}

#[test]
fn what_is_gathered_for_a_guest_that_takes_nothing_is_kept() {
    let mut between = between();
    let mut flow = between.flow();
    // Nobody reads at the guest.
    let mut sent = 0;
    for _ in 0..2_000 {
        between.carrier.gather();
        sent += between.client.write(&[5; 4_000]).unwrap_or(0);
        if between.advance(&mut flow) == Then::Write {
            between.carrier.spread();
            assert_eq!(between.advance(&mut flow), Then::Wait);
        }
    }
    assert!(flow.up.is_holding());
    // What the worker gathers for others next does not change it.
    between.carrier.gathered.fill(9);
    between.carrier.spread();
    let mut got = Vec::new();
    while got.len() < sent {
        between.advance(&mut flow);
        let mut piece = [0; 65_536];
        if let Ok(n) = between.guest.read(&mut piece) {
            got.extend_from_slice(&piece[..n]);
        }
    }
    assert!(got.iter().all(|b| *b == 5));
}
