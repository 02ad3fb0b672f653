//! Connections to the gateway, shared by all clients so that none of them stands for one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::warn;

use crate::config::GatewayConfig;
use crate::error::RelayError;
use crate::metrics::Metrics;
use crate::refused::Refused;
use crate::tls;
use crate::upload::Upload;

/// A connection on which nothing was asked for this long is closed, before the gateway does so while a request is on its way.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// What is read from the gateway at a time.
const READ_BYTES: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
/// How long a connection may take to be done with an answer whose end was read.
const SETTLE: Duration = Duration::from_secs(1);

/// The one gateway.
pub(crate) struct Gateway {
    pub(crate) host: String,
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connect: Duration,
    places: Arc<Semaphore>,
    /// Last used last.
    idle: Mutex<Vec<Idle>>,
    metrics: Arc<Metrics>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: SendRequest<Upload>,
    _place: OwnedSemaphorePermit,
}

/// An answer that began, and the connection that it comes on.
pub(crate) struct Exchange {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Used,
}

/// A connection with an answer under way. Dropped, it is closed.
pub(crate) struct Used {
    connection: Connection,
    gateway: Arc<Gateway>,
}

impl Used {
    /// Its answer was read to the end: others may use it.
    pub(crate) fn keep(mut self) {
        tokio::spawn(async move {
            if let Ok(Ok(())) = timeout(SETTLE, self.connection.sender.ready()).await {
                let since = Instant::now();
                let connection = self.connection;
                self.gateway.idle().push(Idle { connection, since });
            }
        });
    }
}

impl Gateway {
    pub(crate) fn new(config: &GatewayConfig, metrics: Arc<Metrics>) -> Result<Arc<Self>, RelayError> {
        let tls = match &config.tls {
            None => None,
            Some(tls) => {
                let name = ServerName::try_from(tls.name.clone())
                    .map_err(|_| RelayError::value("gateway.tls.name", "a DNS name or IP address", &tls.name))?;
                Some((TlsConnector::from(tls::client(&tls.roots)?), name))
            }
        };
        Ok(Arc::new(Self {
            host: config.host.clone(),
            address: config.address.clone(),
            tls,
            connect: config.connect,
            places: Arc::new(Semaphore::new(config.connections_max)),
            idle: Mutex::default(),
            metrics,
        }))
    }

    /// Sends a request and waits for the answer's head. A request of which a byte may have been written is never sent again: the
    /// gateway takes a sealed message once, and whether it did is not known here.
    pub(crate) async fn send(self: &Arc<Self>, mut request: Request<Upload>) -> Result<Exchange, Refused> {
        while let Some(mut connection) = self.take_idle() {
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok(self.exchange(response, connection)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.failed()),
                },
            }
        }
        let mut connection = self.open().await?;
        match connection.sender.send_request(request).await {
            Ok(response) => Ok(self.exchange(response, connection)),
            Err(_) => Err(self.failed()),
        }
    }

    fn exchange(self: &Arc<Self>, response: Response<Incoming>, connection: Connection) -> Exchange {
        let gateway = self.clone();
        let connection = Used { connection, gateway };
        Exchange { response, connection }
    }

    async fn open(&self) -> Result<Connection, Refused> {
        let opening = async {
            let place = self.places.clone().acquire_owned().await.map_err(|_| Refused::Busy)?;
            let failed = || self.failed();
            let stream = TcpStream::connect(&self.address).await.map_err(|_| failed())?;
            stream.set_nodelay(true).map_err(|_| failed())?;
            let mut http = http1::Builder::new();
            http.max_buf_size(READ_BYTES).max_headers(HEADERS_MAX);
            let sender = match &self.tls {
                None => {
                    let (sender, driver) = http.handshake(TokioIo::new(stream)).await.map_err(|_| failed())?;
                    tokio::spawn(driver);
                    sender
                }
                Some((tls, name)) => {
                    let connected = tls.connect(name.clone(), stream).await;
                    let stream = connected.map_err(|error| self.not_the_gateway(&error))?;
                    let (sender, driver) = http.handshake(TokioIo::new(stream)).await.map_err(|_| failed())?;
                    tokio::spawn(driver);
                    sender
                }
            };
            Ok(Connection { sender, _place: place })
        };
        let connection = timeout(self.connect, opening)
            .await
            .map_err(|_| Refused::GatewaySlow)??;
        self.metrics.gateway_connections.inc();
        Ok(connection)
    }

    fn failed(&self) -> Refused {
        self.metrics.gateway_failures.inc();
        Refused::Gateway
    }

    /// Nothing was sent. The reason is the operator's to read; a client learns the code alone.
    fn not_the_gateway(&self, error: &std::io::Error) -> Refused {
        warn!(%error, "TLS to the gateway");
        self.metrics.gateway_failures.inc();
        Refused::GatewayTls
    }

    /// The one used last, so that the others grow old and are closed.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|i| i.since.elapsed() < IDLE_MAX && !i.connection.sender.is_closed());
        idle.pop().map(|i| i.connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
