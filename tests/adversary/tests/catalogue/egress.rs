//! A host that connects a guest to a name outside: it leads elsewhere, cuts, replays and answers by itself. Who sees the outcome is the
//! guest, whose broker of keys that name is: it serves, or ends with a code.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hanzo_tests_adversary::attack::{Attack, Host, Running, run_all};
use hanzo_tests_adversary::outside::{Authority, Front, NAME, OTHER, Outside, PORT};
use hanzo_tests_adversary::role::engine;
use hanzo_tests_adversary::tap::{Act, Piece, Unit, Way};
use rustls::crypto::aws_lc_rs::kx_group;
use tokio::net::TcpListener;

use crate::results;

/// What the guest says first, and what the host's broker answers.
const FIRST: usize = 0;

/// A guest boots while the host does this to what passes. The twin boots too.
fn meddling(field: &Outside, host: Host, script: impl Fn(Piece) -> Act + Send + Sync + 'static) -> Running<'_> {
    if host.attacks() {
        field.tap.script(Unit::Bytes, script);
    }
    Box::pin(async move {
        let saw = field.boot().await;
        field.tap.carry();
        field.tap.cut_all();
        saw
    })
}

/// The host's broker says this in the place of its answer, and nothing more.
fn answering<'a>(field: &'a Outside, host: Host, line: &'static [u8]) -> Running<'a> {
    meddling(field, host, move |piece| match (piece.way, piece.index) {
        (Way::Down, FIRST) => Act::Pass(line.to_vec()),
        _ => Act::Pass(piece.bytes),
    })
}

/// The guest's connection ends at this server.
fn led<'a>(field: &'a Outside, host: Host, front: Front<'static>, foreign: bool) -> Running<'a> {
    Box::pin(async move {
        if !host.attacks() {
            return field.boot().await;
        }
        let own = Authority::default();
        let authority = if foreign { &own } else { &field.authority };
        let at = front.start(authority, field.site.broker.at).await.unwrap();
        to(field, at).await
    })
}

/// The host answers "open" and connects the guest to this address.
async fn to(field: &Outside, target: SocketAddr) -> hanzo_tests_adversary::attack::Saw {
    let own = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = own.local_addr().unwrap();
    let task = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut guest, _)) = own.accept().await {
            tokio::spawn(async move {
                while guest.read_u8().await.is_ok_and(|b| b != b'\n') {}
                let _ = guest.write_all(b"hanzo-egress/1 open\n").await;
                if let Ok(mut there) = tokio::net::TcpStream::connect(target).await {
                    let _ = tokio::io::copy_bidirectional(&mut guest, &mut there).await;
                }
            });
        }
    });
    let saw = match field.site.tries(at).await {
        Ok(()) => hanzo_tests_adversary::attack::Saw::Whole("it served".into()),
        Err(error) => hanzo_tests_adversary::attack::Saw::refused(error.code(), error.to_string()),
    };
    task.abort();
    saw
}

/// Flips a bit of the nth piece from the name, of those behind the broker's answer.
fn flipped(field: &Outside, host: Host, nth: usize) -> Running<'_> {
    meddling(field, host, move |mut piece| {
        if piece.way == Way::Down && piece.index == nth {
            let at = piece.bytes.len() - 1;
            piece.bytes[at] ^= 1;
        }
        Act::Pass(piece.bytes)
    })
}

const ELSEWHERE: &str = "egress: another destination";
const SWAPPED: &str = "egress: a swapped certificate";
const TLS: &[&str] = &["egress.tls"];

macro_rules! attacks {
    ($($name:literal, $host:literal, $after:expr, $expect:expr, $run:expr;)*) => {
        &[$(Attack { name: $name, host: $host, after: $after, expect: $expect, run: $run },)*]
    };
}

pub const ATTACKS: &[Attack<Outside>] = attacks! {
    "a way out to another listed name", "asks its broker for another name than the guest did", ELSEWHERE, &["egress.tls.name"], |f, h| meddling(f, h, |piece| {
        match (piece.way, piece.index) {
            (Way::Up, FIRST) => {
                assert_eq!(piece.bytes, format!("hanzo-egress/1 {NAME} {PORT}\n").as_bytes());
                Act::Pass(format!("hanzo-egress/1 {OTHER} {PORT}\n").into_bytes())
            }
            _ => Act::Pass(piece.bytes),
        }
    });
    "a way out to a name that nobody lists", "asks its broker for a name that the operator does not list", ELSEWHERE, &["egress.refused.not_listed"],
        |f, h| meddling(f, h, |piece| match (piece.way, piece.index) {
            (Way::Up, FIRST) => Act::Pass(format!("hanzo-egress/1 evil.example.org {PORT}\n").into_bytes()),
            _ => Act::Pass(piece.bytes),
        });
    "a way out to a server of the host's own", "connects to a server with the right name and an authority of its own", SWAPPED, &["egress.tls.issuer"],
        |f, h| led(f, h, Front::default(), true);
    "a way out to another server of the same authority", "connects to a genuine server of another name", SWAPPED, &["egress.tls.name"],
        |f, h| led(f, h, Front { name: OTHER, ..Front::default() }, false);
    "a way out to a certificate that has ended", "connects to a server with a certificate of years ago", SWAPPED, &["egress.tls.time"],
        |f, h| led(f, h, Front { years: [2020, 2021], ..Front::default() }, false);
    "a way out to a classical key exchange", "connects to a server that offers X25519 alone", "downgrade of the suite", TLS,
        |f, h| led(f, h, Front { group: kx_group::X25519, ..Front::default() }, false);
    "a way out in clear", "connects to the key broker's port without TLS", "downgrade", TLS, |f, h| Box::pin(async move {
        match h {
            Host::Honest => f.boot().await,
            Host::Hostile => to(f, f.site.broker.at).await,
        }
    });
    "a flipped bit in a way out's handshake", "flips a bit of what the server says first", "bit flips at every layer", TLS, |f, h| flipped(f, h, 1);
    "a flipped bit in what a name answers", "flips a bit of an answer's record", "bit flips at every layer", &["kbs.malformed", "egress.tls"], |f, h| flipped(f, h, 2);
    "a way out cut in the handshake", "closes after the server's first bytes", "truncation", TLS, |f, h| meddling(f, h, |piece| match (piece.way, piece.index) {
        (Way::Down, 1) => Act::Close(piece.bytes[..piece.bytes.len() / 2].to_vec()),
        _ => Act::Pass(piece.bytes),
    });
    "a way out cut in an answer", "closes in the middle of what the name answers", "truncation", &["kbs.malformed"], |f, h| meddling(f, h, |piece| match (piece.way, piece.index) {
        (Way::Down, 2) => Act::Close(piece.bytes[..piece.bytes.len() / 2].to_vec()),
        _ => Act::Pass(piece.bytes),
    });
    "a recorded way out played again", "answers with what the name sent to an earlier boot", "replay across boots", TLS, |f, h| Box::pin(async move {
        assert_eq!(f.boot().await.code(), "answered");
        let earlier = f.tap.seen().into_iter().rev().find(|s| s.to_client.len() > 1000).expect("it was kept").to_client;
        meddling(f, h, move |piece| match (piece.way, piece.index) {
            (Way::Down, FIRST) => Act::Pass(earlier.clone()),
            (Way::Down, _) => Act::Pass(Vec::new()),
            _ => Act::Pass(piece.bytes),
        }).await
    });
    "the guest's own words for the broker's answer", "sends the request back", "reflection", &["egress.answer"], |f, h| meddling(f, h, |piece| match (piece.way, piece.index) {
        (Way::Up, FIRST) => Act::Back(piece.bytes),
        _ => Act::Pass(piece.bytes),
    });
    "the guest's own hello for the name's answer", "sends the guest's TLS records back", "reflection", TLS, |f, h| meddling(f, h, |piece| match (piece.way, piece.index) {
        (Way::Up, 1) => Act::Back(piece.bytes),
        _ => Act::Pass(piece.bytes),
    });
    "a refusal of the host's own", "says that the name is not listed", "answers by itself", &["egress.refused.not_listed"],
        |f, h| answering(f, h, b"hanzo-egress/1 refused not-listed\n");
    "a word that the protocol does not have", "refuses for a reason of its own", "answers by itself", &["egress.answer"], |f, h| answering(f, h, b"hanzo-egress/1 refused later\n");
    "another version of the protocol", "answers in version 2", "downgrade", &["egress.answer"], |f, h| answering(f, h, b"hanzo-egress/2 open\n");
    "a broker's answer without end", "answers with a thousand bytes and no newline", "endless frames", &["egress.answer"], |f, h| answering(f, h, &[b'x'; 1000]);
    "bytes before the name's own", "puts a line of its own before what the name says", "splicing", TLS, |f, h| answering(f, h, b"hanzo-egress/1 open\nHTTP/1.1 200 OK\r\n\r\n");
    "a broker that says nothing", "swallows the request", "slowloris", &["egress.timeout"], |f, h| meddling(f, h, |piece| match piece.way {
        Way::Down => Act::Hold(Vec::new(), Arc::new(AtomicBool::new(false)), Vec::new()),
        Way::Up => Act::Pass(piece.bytes),
    });
    "a name that says nothing", "answers open and swallows the rest", "slowloris", &["egress.timeout"], |f, h| meddling(f, h, |piece| match (piece.way, piece.index) {
        (Way::Down, FIRST) => Act::Pass(piece.bytes),
        (Way::Down, _) => Act::Hold(Vec::new(), Arc::new(AtomicBool::new(false)), Vec::new()),
        (Way::Up, _) => Act::Pass(piece.bytes),
    });
};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_connects_a_guest_outside_can_only_refuse() {
    let field = Outside::start(engine()).await;
    run_all(&field, &[("egress", ATTACKS)], results()).await;
}
