//! Connections: TLS under a deadline, then HTTP/1.1 with what the connection needs to prove itself.
//!
//! HTTP is set up when a connection has bytes for it: one that proved itself and waits holds no buffers.
//!
//! A connection belongs to the keyset that was in force when it was accepted, for as long as it lives.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hanzo_channel::accept::{Accepted, accept};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use crate::first::{self, Answered};
use crate::options::OperatingLimits;
use crate::stop::Stop;
use crate::transport::{Listener, Wire};
use crate::well_known::{Connection, ProofDesk};

const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
/// Time for the last bytes of a connection.
const PARTING_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, e.g. when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How connections are taken.
#[derive(Clone)]
pub enum Way {
    /// The attested channel.
    Attested {
        /// With the keyset's TLS key.
        tls: Arc<ServerConfig>,
        /// With its channel key.
        proofs: Arc<ProofDesk>,
    },
    /// In clear, for routes that protect themselves.
    Clear,
}

/// What connections of one keyset are served with.
#[derive(Clone)]
pub struct Served {
    /// How they are taken.
    pub way: Way,
    /// Everything that answers.
    pub routes: Router,
    /// Given when the keyset ends.
    pub ends: Stop,
}

/// Serves what is in force until told to stop; then lets requests in flight end until the drain deadline.
pub async fn serve<L: Listener>(
    mut listener: L,
    in_force: watch::Receiver<Served>,
    limits: OperatingLimits,
    mut stop: Stop,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = stop.given() => break,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = stop.given() => break,
        };
        match stream {
            Ok(stream) => {
                let served = in_force.borrow().clone();
                let connection = one_connection(stream, served, limits, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_millis(limits.drain_timeout_ms), drained)
        .await
        .is_err()
    {
        tracing::warn!(
            cut = connections.len(),
            "connections still open at the drain deadline are cut"
        );
    }
}

async fn one_connection<S: Wire>(stream: S, served: Served, limits: OperatingLimits, mut stop: Stop) {
    let Served { way, routes, ends } = served;
    let (tls, proofs) = match way {
        Way::Clear => return speak(stream, TowerToHyperService::new(routes), ends, limits, stop).await,
        Way::Attested { tls, proofs } => (tls, proofs),
    };
    let handshake = accept(&tls, stream, Duration::from_millis(limits.handshake_timeout_ms));
    let accepted = tokio::select! {
        biased;
        accepted = handshake => accepted,
        () = stop.given() => return,
    };
    match accepted {
        Ok(accepted) => attested(accepted, proofs, routes, ends, limits, stop).await,
        Err(error) => tracing::debug!(code = error.code(), "connection turned away"),
    }
}

/// Answers the proof that a connection asks for first, and hands it to HTTP when there is more.
async fn attested<S: Wire>(
    accepted: Accepted<S>,
    proofs: Arc<ProofDesk>,
    routes: Router,
    mut ends: Stop,
    limits: OperatingLimits,
    mut stop: Stop,
) {
    let Accepted { mut stream, exporter } = accepted;
    let connection = Connection::new(exporter);
    if !heard(&mut stream, &mut stop, &mut ends).await {
        return part(stream).await;
    }
    let waiting = stream.get_mut().1.reader().into_first_chunk().unwrap_or_default();
    if let Some(Answered { answer, taken }) = first::answer(waiting, &proofs, &connection) {
        stream.consume(taken);
        let sending = async {
            stream.write_all(&answer).await?;
            stream.flush().await
        };
        let sent = tokio::time::timeout(Duration::from_millis(limits.handshake_timeout_ms), sending).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("connection ended before its proof was sent");
            return;
        }
        if !heard(&mut stream, &mut stop, &mut ends).await {
            return part(stream).await;
        }
    }
    let connection = Arc::new(connection);
    speak(stream, OnConnection { routes, connection }, ends, limits, stop).await;
}

/// Waits until a connection has bytes to read, which stay where they are. False if its peer has gone or takes too long, or if it is
/// to end.
async fn heard<S: Wire>(stream: &mut TlsStream<S>, stop: &mut Stop, ends: &mut Stop) -> bool {
    tokio::select! {
        biased;
        bytes = stream.fill_buf() => bytes.is_ok_and(|bytes| !bytes.is_empty()),
        () = stop.given() => false,
        () = ends.given() => false,
        () = tokio::time::sleep(HEADER_TIMEOUT) => false,
    }
}

/// Says goodbye and closes a connection that has nothing in flight.
async fn part<S: Wire>(mut stream: TlsStream<S>) {
    let (wire, tls) = stream.get_mut();
    tls.send_close_notify();
    let mut last = Vec::new();
    while tls.wants_write() {
        // Into memory: it never fails.
        let _ = tls.write_tls(&mut last);
    }
    let sent = match wire.try_write_last(&last) {
        Ok(sent) if sent == last.len() => return,
        Ok(sent) => sent,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
        Err(_) => return,
    };
    let rest = async {
        wire.write_all(last.get(sent..).unwrap_or_default()).await?;
        wire.shutdown().await
    };
    let _ = tokio::time::timeout(PARTING_TIMEOUT, rest).await;
}

/// Tells every request which connection it came on. A layer around the routes would be built anew for each connection, around
/// each route.
struct OnConnection {
    routes: Router,
    connection: Arc<Connection>,
}

impl hyper::service::Service<Request<Incoming>> for OnConnection {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.connection.clone());
        // A router is always ready.
        tower::Service::call(&mut self.routes.clone(), request)
    }
}

/// HTTP/1.1 until the connection or its keyset ends.
async fn speak<S, R>(stream: S, routes: R, mut ends: Stop, limits: OperatingLimits, mut stop: Stop)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    R: hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), routes);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.given() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = ends.given() => {
            connection.as_mut().graceful_shutdown();
            let drain = Duration::from_millis(limits.drain_timeout_ms);
            match tokio::time::timeout(drain, connection).await {
                Ok(ended) => ended,
                Err(_) => {
                    tracing::warn!("a connection still open after its keyset's end is cut");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::stop_signal;
    use crate::transport::{ListenAddress, Tcp};
    use axum::routing::get;
    use hanzo_attestation::Digest384;
    use hanzo_channel::{ChannelKey, TlsIdentity};
    use rustls::pki_types::ServerName;
    use tokio::io::AsyncReadExt as _;

    #[derive(Debug)]
    struct Anybody(rustls::crypto::CryptoProvider);

    impl rustls::client::danger::ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("TLS 1.2".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    async fn connect(address: ListenAddress) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        let ListenAddress::Tcp(address) = address else {
            panic!("not TCP")
        };
        let provider = hanzo_channel::tls::provider();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::from(address.ip());
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap()
    }

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: guest\r\n\r\n";

    #[tokio::test]
    async fn the_end_of_a_keyset_closes_its_connections_after_what_they_have_in_flight_and_no_others() {
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            "whole"
        };
        let served = |seed| {
            let (end, ends) = stop_signal();
            let tls = hanzo_channel::server_config(&TlsIdentity::from_seed(&[seed; 32]).unwrap()).unwrap();
            let routes = Router::new().route("/", get(slow));
            let proofs = Arc::new(ProofDesk {
                channel: ChannelKey::from_seed(&[seed; 32]).unwrap(),
                keyset_digest: Digest384([seed; 48]),
            });
            let way = Way::Attested { tls, proofs };
            (end, Served { way, routes, ends })
        };
        let (end_of_first, first) = served(1);
        let (_end_of_second, second) = served(2);
        let listener = Tcp::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let (force, in_force) = watch::channel(first);
        let (stop, stopped) = stop_signal();
        let serving = tokio::spawn(serve(listener, in_force, OperatingLimits::default(), stopped));

        let (mut idle, mut busy) = (connect(address).await, connect(address).await);
        force.send_replace(second);
        let mut newer = connect(address).await;
        busy.write_all(ASK).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        end_of_first.give();

        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "nothing was asked");
        busy.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"whole"), "{}", String::from_utf8_lossy(&rest));

        newer.write_all(ASK).await.unwrap();
        let mut begun = [0; 15];
        newer.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200 OK");
        drop(newer);
        stop.give();
        serving.await.unwrap();
    }
}
