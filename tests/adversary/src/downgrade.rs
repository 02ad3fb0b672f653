//! Peers that speak TLS or HTTP as it was, and clients that do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::impostor::{OwnCertificate, blind, own_certificate};

/// What is spoken.
#[derive(Clone, Copy)]
pub struct Speech {
    /// Key exchange.
    pub group: &'static dyn SupportedKxGroup,
    /// What is answered to whatever is asked.
    pub answer: &'static [u8],
}

/// As a guest speaks, answering this.
pub fn answering(answer: &'static [u8]) -> Speech {
    Speech {
        group: aws_lc_rs::kx_group::X25519MLKEM768,
        answer,
    }
}

fn provider(group: &'static dyn SupportedKxGroup) -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    }
}

/// A server that speaks like this.
///
/// # Errors
/// If it cannot listen.
pub async fn server(speech: Speech) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let OwnCertificate { der, key } = own_certificate(None)?;
    let config = ServerConfig::builder_with_provider(Arc::new(provider(speech.group)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(
            vec![der.into()],
            rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else {
                    return;
                };
                let _ = tls.read(&mut [0; 4096]).await;
                let _ = tls.write_all(speech.answer).await;
                let _ = tls.shutdown().await;
            });
        }
    });
    Ok(at)
}

/// A client that speaks like this. What the guest says to it, if it takes the handshake at all.
///
/// # Errors
/// If it does not.
pub async fn client(guest: SocketAddr, speech: Speech) -> io::Result<()> {
    let provider = Arc::new(provider(speech.group));
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(blind(provider))
        .with_no_client_auth();
    let stream = TcpStream::connect(guest).await?;
    let tls = TlsConnector::from(Arc::new(config)).connect(ServerName::from(guest.ip()), stream);
    tls.await.map(drop)
}

/// A handshake message in a record.
fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let (len, inner) = ((body.len() as u16).to_be_bytes(), (body.len() as u16 + 4).to_be_bytes());
    [&[22, 3, 3, inner[0], inner[1], kind, 0, len[0], len[1]], body].concat()
}

/// A server that answers any hello in TLS 1.2 (RFC 5246 section 7.4.1.3): no extension says otherwise.
///
/// # Errors
/// If it cannot listen.
pub async fn server_of_1_2() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let hello = handshake(2, &[&[3, 3][..], &[7; 32], &[0, 0xc0, 0x2b, 0]].concat());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&hello).await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    Ok(at)
}

/// What a guest answers to a hello of TLS 1.2 (RFC 5246 section 7.4.1.2) with ECDHE, ECDSA and AES-128-GCM.
///
/// # Errors
/// If the guest cannot be reached.
pub async fn client_of_1_2(guest: SocketAddr) -> io::Result<Vec<u8>> {
    let groups = [0, 10, 0, 4, 0, 2, 0, 29];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let start = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 16]].concat();
    let mut stream = TcpStream::connect(guest).await?;
    stream
        .write_all(&handshake(1, &[&start, &groups[..], &signatures].concat()))
        .await?;
    let mut answer = vec![0; 4096];
    let n = stream.read(&mut answer).await?;
    answer.truncate(n);
    Ok(answer)
}
