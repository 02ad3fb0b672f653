//! A host that wants less: older TLS, a classical key exchange, older HTTP, fewer headers.

use hanzo_tests_adversary::attack::{Attack, Host, Running, Saw, run_all};
use hanzo_tests_adversary::door::ask_attested;
use hanzo_tests_adversary::downgrade::{Speech, answering, client, client_of_1_2, server, server_of_1_2};
use hanzo_tests_adversary::set::Set;
use hanzo_tests_adversary::tap::{Act, Unit, Way};
use rustls::crypto::aws_lc_rs::kx_group;

use crate::results;

const SUITE: &str = "downgrade of the suite";
const VERSION: &str = "downgrade of the TLS version";
const HTTP: &str = "downgrade of the HTTP version";

/// A server of the host's own in the guest's place.
fn server_of(set: &Set, host: Host, speech: Speech) -> Running<'_> {
    Box::pin(async move {
        let at = match host {
            Host::Hostile => server(speech).await.unwrap(),
            Host::Honest => set.door.tls,
        };
        ask_attested(&set.door.attested_at(at), "asked").await
    })
}

/// The host is a client of the guest and offers less.
fn client_of(set: &Set, host: Host, speech: Speech) -> Running<'_> {
    Box::pin(async move {
        if host == Host::Honest {
            return ask_attested(&set.door.attested(), "asked").await;
        }
        match client(set.guest_at[0], speech).await {
            Ok(()) => Saw::Whole("the guest took it".into()),
            Err(error) => Saw::refused("tls.handshake", error.to_string()),
        }
    })
}

/// Rewrites bytes of the ClientHello.
fn hello<'a>(set: &'a Set, host: Host, from: &'static [u8], to: &'static [u8]) -> Running<'a> {
    if host.attacks() {
        set.tls.script(Unit::Records, move |piece| {
            let mut bytes = piece.bytes;
            if piece.way == Way::Up && piece.index == 0 {
                let found: Vec<usize> = (0..bytes.len() - from.len())
                    .filter(|at| bytes[*at..].starts_with(from))
                    .collect();
                assert!(!found.is_empty(), "the hello has it");
                for at in found {
                    bytes[at..at + to.len()].copy_from_slice(to);
                }
            }
            Act::Pass(bytes)
        });
    }
    Box::pin(async move {
        let saw = ask_attested(&set.door.attested(), "hello").await;
        set.tls.carry();
        saw
    })
}

pub const ATTACKS: &[Attack<Set>] = &[
    Attack {
        name: "a server of TLS 1.2",
        host: "answers in TLS 1.2 with a certificate of its own",
        after: VERSION,
        expect: &["tls.handshake"],
        run: |s, h| {
            Box::pin(async move {
                let at = if h.attacks() {
                    server_of_1_2().await.unwrap()
                } else {
                    s.door.tls
                };
                ask_attested(&s.door.attested_at(at), "asked").await
            })
        },
    },
    Attack {
        name: "a server of a classical key exchange",
        host: "answers in TLS 1.3 with X25519 alone",
        after: SUITE,
        expect: &["tls.handshake"],
        run: |s, h| {
            let speech = Speech {
                group: kx_group::X25519,
                answer: b"",
            };
            server_of(s, h, speech)
        },
    },
    Attack {
        name: "a server of another curve",
        host: "answers in TLS 1.3 with P-256 alone",
        after: SUITE,
        expect: &["tls.handshake"],
        run: |s, h| {
            let speech = Speech {
                group: kx_group::SECP256R1,
                answer: b"",
            };
            server_of(s, h, speech)
        },
    },
    Attack {
        name: "the group taken out of the hello",
        host: "writes X25519 where the client offers X25519MLKEM768",
        after: SUITE,
        expect: &["tls.handshake"],
        run: |s, h| hello(s, h, &[0x11, 0xec], &[0x00, 0x1d]),
    },
    Attack {
        name: "the version taken out of the hello",
        host: "writes TLS 1.2 where the client offers TLS 1.3",
        after: VERSION,
        expect: &["tls.handshake"],
        // supported_versions: extension 43 with one entry.
        run: |s, h| hello(s, h, &[0, 43, 0, 3, 2, 3, 4], &[0, 43, 0, 3, 2, 3, 3]),
    },
    Attack {
        name: "a client of TLS 1.2",
        host: "asks the guest in TLS 1.2",
        after: VERSION,
        expect: &["tls.alert"],
        run: |s, h| {
            Box::pin(async move {
                if h == Host::Honest {
                    return ask_attested(&s.door.attested(), "asked").await;
                }
                match client_of_1_2(s.guest_at[0]).await.unwrap().first() {
                    Some(21) => Saw::refused("tls.alert", "the guest refuses the version"),
                    other => Saw::Whole(format!("{other:?}")),
                }
            })
        },
    },
    Attack {
        name: "a client of a classical key exchange",
        host: "asks the guest with X25519 alone",
        after: SUITE,
        expect: &["tls.handshake"],
        run: |s, h| {
            let speech = Speech {
                group: kx_group::X25519,
                answer: b"",
            };
            client_of(s, h, speech)
        },
    },
    Attack {
        name: "an answer of HTTP/0.9",
        host: "ends TLS itself and answers without a status line",
        after: HTTP,
        expect: &["attestation.answer"],
        run: |s, h| server_of(s, h, answering(b"{\"keyset\":{}}")),
    },
    Attack {
        name: "an answer of HTTP/1.0",
        host: "ends TLS itself and answers without a length, up to the end of the connection",
        after: HTTP,
        expect: &["bundle.malformed"],
        run: |s, h| server_of(s, h, answering(b"HTTP/1.0 200 OK\r\n\r\n{\"keyset\":{}}")),
    },
    Attack {
        name: "an answer of HTTP/2",
        host: "ends TLS itself and answers in frames nobody asked for",
        after: HTTP,
        expect: &["attestation.answer"],
        run: |s, h| server_of(s, h, answering(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64")),
    },
    Attack {
        name: "a redirect to the host",
        host: "ends TLS itself and answers with another address",
        after: "key substitution at each discovery step",
        expect: &["attestation.answer"],
        run: |s, h| {
            let answer = b"HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n";
            server_of(s, h, answering(answer))
        },
    },
    Attack {
        name: "two lengths for one answer",
        host: "ends TLS itself and answers with two different lengths",
        after: "header smuggling",
        expect: &["attestation.answer"],
        run: |s, h| {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ";
            server_of(s, h, answering(answer))
        },
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_offers_or_asks_for_less_gets_nothing() {
    let set = Set::start().await;
    run_all(&set, &[("handshake", ATTACKS)], results()).await;
}
