//! The one way out: a stream to a name that the measured configuration lists, through the host's broker, with TLS that ends here.
//!
//! The guest has no resolver and no route that it believes. It asks the host for `NAME PORT` and gets bytes; that they come from the
//! name is what TLS proves, under the roots that the configuration lists for it and no others. The host learns names, ports, sizes and
//! times; it can refuse, delay and cut. Without an entry in the configuration nothing here dials, and the keyset's capabilities say so.
//!
//! `enclave/guest/EGRESS.md` has the protocol.

mod ask;
mod error;
mod tls;
mod wire;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hanzo_attestation::UnixTime;
use hanzo_attestation::config::{EgressEntry, EgressUse, HostName};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use error::{EgressError, Refusal};
pub use tls::Validity;

use crate::transport::ListenAddress;
use ask::Answer;
use wire::Bounded;

/// Bounds of connections outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EgressLimits {
    /// Open at a time.
    pub connections_max: usize,
    /// Each way on one connection, TLS included.
    pub bytes_max: u64,
    /// From the first step to the end of the handshake, each.
    pub step: Duration,
    /// A connection ends after this long.
    pub life: Duration,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            connections_max: 16,
            bytes_max: 16 << 20,
            step: Duration::from_secs(15),
            life: Duration::from_secs(300),
        }
    }
}

/// The names that may be reached, and through whom.
pub struct Egress {
    names: Vec<Listed>,
    limits: EgressLimits,
    places: Arc<Semaphore>,
}

struct Listed {
    entry: EgressEntry,
    roots: Arc<RootCertStore>,
    broker: ListenAddress,
}

/// A connection with a name outside. Reading and writing are inside TLS.
pub struct EgressStream {
    tls: TlsStream<Bounded>,
    validity: Validity,
    _place: OwnedSemaphorePermit,
}

impl Egress {
    /// For the configuration's list, through the broker at `broker`.
    ///
    /// # Errors
    /// [`EgressError::NoBroker`] for a list without a broker, [`EgressError::Roots`] for roots that are none.
    pub fn new(
        entries: &[EgressEntry],
        broker: Option<ListenAddress>,
        limits: EgressLimits,
    ) -> Result<Self, EgressError> {
        let listed = entries.iter().map(|entry| {
            Ok(Listed {
                entry: entry.clone(),
                roots: tls::roots(entry)?,
                broker: broker.ok_or(EgressError::NoBroker { names: entries.len() })?,
            })
        });
        Ok(Self {
            names: listed.collect::<Result<_, _>>()?,
            limits,
            places: Arc::new(Semaphore::new(limits.connections_max)),
        })
    }

    /// The names listed for a use, in the configuration's order.
    pub fn names_for(&self, purpose: EgressUse) -> impl Iterator<Item = (&HostName, u16)> {
        let of_use = self.names.iter().filter(move |listed| listed.entry.purpose == purpose);
        of_use.map(|listed| (&listed.entry.name, listed.entry.port))
    }

    /// Opens a stream to a listed name. `now` is the guest's clock; before its first grant there is none, and then the caller holds
    /// [`EgressStream::validity`] against the clock as soon as there is.
    ///
    /// # Establishes
    /// Whoever is at the other end has the key of a certificate for this name, issued under a root that the configuration lists for it,
    /// and valid at `now`.
    ///
    /// # Does not establish
    /// That the certificate was not revoked: no list and no OCSP answer is asked for. A root of the configuration should be one whose
    /// owner answers for that, best of the name's owner alone.
    ///
    /// # Errors
    /// [`EgressError`]. The list is looked at before anybody is told anything.
    pub async fn open(
        &self,
        purpose: EgressUse,
        host: &HostName,
        port: u16,
        now: Option<UnixTime>,
    ) -> Result<EgressStream, EgressError> {
        let host_of = || host.clone();
        if self.names.is_empty() {
            return Err(EgressError::Off { host: host_of(), port });
        }
        let is_asked = |e: &EgressEntry| e.name == *host && e.port == port && e.purpose == purpose;
        let listed = self
            .names
            .iter()
            .find(|listed| is_asked(&listed.entry))
            .ok_or_else(|| EgressError::NotListed { host: host_of(), port })?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| EgressError::Busy {
            host: host_of(),
            port,
            limit: self.limits.connections_max,
        })?;

        let late = |what| EgressError::Timeout {
            host: host_of(),
            port,
            what,
            limit_ms: self.limits.step.as_millis(),
        };
        let step = self.limits.step;
        let broken = |what| {
            move |source| EgressError::Broker {
                at: listed.broker.to_string(),
                what,
                source,
            }
        };
        let what = "connect to the broker";
        let dialling = wire::dial(listed.broker, self.limits.bytes_max, self.limits.life);
        let mut stream = timeout(step, dialling)
            .await
            .map_err(|_| late(what))?
            .map_err(broken(what))?;
        let what = "the broker's answer";
        let asked = timeout(step, ask::ask(&mut stream, host, port)).await;
        match asked.map_err(|_| late(what))?.map_err(broken(what))? {
            Answer::Open => {}
            Answer::Refused(why) => {
                return Err(EgressError::Refused {
                    host: host_of(),
                    port,
                    why,
                });
            }
            Answer::Unknown => {
                return Err(EgressError::Answer {
                    at: listed.broker.to_string(),
                });
            }
        }

        let (config, judge) = tls::client(host, &listed.roots, now)?;
        let unusable = |detail: &str| EgressError::Tls {
            host: host_of(),
            detail: detail.to_owned(),
        };
        let name = ServerName::try_from(host.as_str().to_owned()).map_err(|_| unusable("not a server name"))?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let shaken = timeout(step, connecting).await.map_err(|_| late("TLS handshake"))?;
        let tls = shaken.map_err(|error| failed(host, &error, judge.validity(), now))?;
        let validity = judge.validity().ok_or_else(|| unusable("no certificate was shown"))?;
        tracing::info!(name = %host, port, "reached outside");
        Ok(EgressStream {
            tls,
            validity,
            _place: place,
        })
    }
}

/// What a handshake ended with: TLS's own reason if there is one.
fn failed(host: &HostName, error: &io::Error, seen: Option<Validity>, now: Option<UnixTime>) -> EgressError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => tls::refused(host, inner, seen, now),
        None => EgressError::Tls {
            host: host.clone(),
            detail: format!("the connection broke off in the handshake: {:?}", error.kind()),
        },
    }
}

impl EgressStream {
    /// From when to when the server's certificates are valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl AsyncRead for EgressStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for EgressStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}
