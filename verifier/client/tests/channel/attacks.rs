//! Each impostor is refused with its named error, and not a byte of a request reaches it. The accepted twin of each is in
//! `channel.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hanzo_attestation::Nonce;
use hanzo_client::{ClientError, ReceiptStatus};

use crate::guest::*;

async fn refused(client: &hanzo_client::AttestedClient, impostor: &Guest) -> (&'static str, u8) {
    let e = client.chat_once(&chat(false)).await.expect_err("accepted");
    assert_eq!(impostor.heard(), "", "bytes of the request left");
    (e.code(), e.exit_code())
}

async fn alone(impostor: Guest) -> (&'static str, u8) {
    let impostor = Arc::new(impostor);
    let network = Network::to(&impostor).await;
    refused(&client(network.at, None).0, &impostor).await
}

/// Recorded from `guest` for an impostor that serves it: the client's challenge is passed on.
struct PassingOn {
    network: Network,
    impostor: Arc<Guest>,
}

/// An impostor with TLS seed `tls_seed` that relays attestations and proofs of `genuine` in real time.
async fn passing_on(genuine: &Arc<Guest>, tls_seed: u8) -> PassingOn {
    let proofs = Network::to(genuine).await;
    let mut impostor = Guest::with(
        9,
        tls_seed,
        Knobs {
            proofs_from: Some(proofs.at),
            ..Knobs::default()
        },
    );
    // Relaying the bundle is the same as making it: the impostor answers with the genuine keyset.
    impostor.keyset = genuine.keyset.clone();
    let impostor = Arc::new(impostor);
    let network = Network::to(&impostor).await;
    std::mem::forget(proofs);
    PassingOn { network, impostor }
}

#[tokio::test]
async fn a_host_that_ends_tls_with_its_own_key_and_relays_the_rest() {
    let attack = passing_on(&Guest::boot(1), 66).await;
    let got = refused(&client(attack.network.at, None).0, &attack.impostor).await;
    assert_eq!(got, ("channel.spki_mismatch", 30));
    assert_eq!(attack.impostor.proofs.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_relayed_proof_fails_even_with_the_guest_s_tls_key() {
    let attack = passing_on(&Guest::boot(1), 1).await;
    let got = refused(&client(attack.network.at, None).0, &attack.impostor).await;
    assert_eq!(got, ("channel.proof_mismatch", 30));
    assert_eq!(
        attack.impostor.proofs.load(Ordering::SeqCst),
        1,
        "the proof was relayed"
    );
}

#[tokio::test]
async fn another_boot_s_keyset() {
    let mut impostor = Guest::with(2, 2, Knobs::default());
    impostor.keyset = Guest::boot(1).keyset.clone();
    assert_eq!(alone(impostor).await, ("channel.spki_mismatch", 30));
    // With the stolen TLS key of that boot, its channel key is still missing.
    let mut impostor = Guest::with(2, 1, Knobs::default());
    impostor.keyset = Guest::boot(1).keyset.clone();
    assert_eq!(alone(impostor).await, ("channel.proof_mismatch", 30));
}

#[tokio::test]
async fn a_replayed_bundle_and_one_that_answers_nobody() {
    let recorded = Guest::boot(1).bundle(Nonce([0x77; 32]));
    let knobs = Knobs {
        recorded_bundle: Some(recorded),
        ..Knobs::default()
    };
    assert_eq!(
        alone(Guest::with(1, 1, knobs)).await,
        ("freshness.foreign_challenge", 30)
    );
    let knobs = Knobs {
        unchallenged: true,
        ..Knobs::default()
    };
    assert_eq!(alone(Guest::with(1, 1, knobs)).await, ("freshness.none", 30));
    let knobs = Knobs {
        recorded_bundle: Some(b"<html>".to_vec()),
        ..Knobs::default()
    };
    assert_eq!(alone(Guest::with(1, 1, knobs)).await, ("bundle.malformed", 10));
    let knobs = Knobs {
        recorded_bundle: Some(vec![b' '; (2 << 20) + 1]),
        ..Knobs::default()
    };
    assert_eq!(alone(Guest::with(1, 1, knobs)).await, ("bundle.too_large", 10));
}

#[tokio::test]
async fn an_expired_keyset_and_a_guest_in_debug_mode() {
    let mut impostor = Guest::with(1, 1, Knobs::default());
    impostor.keyset.not_after = now() - 1;
    assert_eq!(alone(impostor).await, ("keyset.expired", 30));
    let knobs = Knobs {
        debug: true,
        ..Knobs::default()
    };
    assert_eq!(alone(Guest::with(1, 1, knobs)).await, ("snp.debug", 40));
}

#[tokio::test]
async fn a_backend_swapped_under_a_pooled_connection() {
    let genuine = Guest::boot(1);
    let network = Network::to(&genuine).await;
    let (client, _) = client(network.at, None);
    client.chat_once(&chat(false)).await.unwrap();
    assert_eq!(client.idle_connections(), 1);

    let attack = passing_on(&genuine, 66).await;
    network.divert(&attack.impostor);
    client.chat_once(&chat(false)).await.unwrap();
    network.sever().await;
    assert_eq!(refused(&client, &attack.impostor).await, ("channel.spki_mismatch", 30));

    let attack = passing_on(&genuine, 1).await;
    network.divert(&attack.impostor);
    assert_eq!(refused(&client, &attack.impostor).await, ("channel.proof_mismatch", 30));

    // The genuine guest is welcome again, without anybody's help.
    network.divert(&genuine);
    let answer = client.chat_once(&chat(false)).await.unwrap();
    assert!(matches!(answer.receipt, ReceiptStatus::Verified { .. }));
}

#[tokio::test]
async fn many_reconnects_at_once_to_a_swapped_backend_send_nothing() {
    let genuine = Guest::boot(1);
    let network = Network::to(&genuine).await;
    let (client, _) = client(network.at, None);
    client.chat_once(&chat(false)).await.unwrap();
    let attack = passing_on(&genuine, 66).await;
    network.divert(&attack.impostor);
    network.sever().await;
    let race: Vec<_> = (0..6)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.chat_once(&chat(false)).await.err().unwrap().code() })
        })
        .collect();
    for one in race {
        assert_eq!(one.await.unwrap(), "channel.spki_mismatch");
    }
    assert_eq!(attack.impostor.heard(), "");
}

#[tokio::test]
async fn a_classical_server_is_refused_in_the_handshake() {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    // No certificate is needed: the groups are negotiated first.
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = acceptor.accept(tcp).await;
        }
    });
    let e = client(at, None).0.verdict().await.err().unwrap();
    assert!(matches!(e, ClientError::Tls { .. }));
    assert_eq!((e.code(), e.exit_code()), ("tls.handshake", 20));
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::server::ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
}
