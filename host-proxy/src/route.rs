//! From the first bytes of a connection to a guest that took it.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::admission::{Client, Place};
use crate::config::{Config, Dial, Limits, Listen, Log, Route};
use crate::metrics::{Metrics, Refused};
use crate::pool::{Lease, Pool};
use crate::proxy_protocol;
use crate::sni::{self, Hello};
use crate::socket::{Peer, Socket};

/// What one listening address does with a connection.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listen: Listen,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    table: Table,
}

#[derive(Debug)]
enum Table {
    Pool(Arc<Pool>),
    ServerName {
        names: HashMap<String, Arc<Pool>>,
        below: HashMap<String, Arc<Pool>>,
        unknown: Option<Arc<Pool>>,
        nameless: Option<Arc<Pool>>,
    },
}

/// A connection that is ready to be forwarded.
pub(crate) struct Routed {
    pub(crate) guest: Socket,
    pub(crate) lease: Lease,
    /// What the guest gets first: a PROXY header if it wants one, then what the client was asked to send first.
    pub(crate) prefix: Vec<u8>,
}

impl Door {
    /// None only if the configuration names a pool that it does not have, which its checks exclude.
    pub(crate) fn new(listen: &Listen, config: &Config, pools: &BTreeMap<String, Arc<Pool>>) -> Option<Arc<Self>> {
        let pool = |name: &String| pools.get(name).cloned();
        let all = |table: &BTreeMap<String, String>| {
            let entries = table.iter().map(|(name, p)| Some((name.clone(), pool(p)?)));
            entries.collect::<Option<HashMap<_, _>>>()
        };
        let table = match &listen.route {
            Route::Pool(name) => Table::Pool(pool(name)?),
            Route::ServerName {
                names,
                below,
                unknown,
                nameless,
            } => Table::ServerName {
                names: all(names)?,
                below: all(below)?,
                unknown: unknown.as_ref().and_then(pool),
                nameless: nameless.as_ref().and_then(pool),
            },
        };
        Some(Arc::new(Self {
            listen: listen.clone(),
            limits: config.limits,
            log: config.log,
            table,
        }))
    }

    /// Whether this peer speaks for others.
    pub(crate) fn is_balancer(&self, peer: &Peer) -> bool {
        let listed = &self.listen.proxy_header_from;
        !listed.is_empty() && peer.ip().is_some_and(|ip| listed.iter().any(|n| n.contains(ip)))
    }

    /// Reads what has to be read, chooses a pool, connects to one of its guests.
    pub(crate) async fn route(
        &self,
        client: &Socket,
        peer: Peer,
        place: &mut Place,
        metrics: &Metrics,
    ) -> Result<Routed, Refused> {
        let deadline = Instant::now() + self.limits.first_bytes;
        let mut first = Vec::new();
        let mut who = Client::from(peer);
        let mut source = match peer {
            Peer::Ip(at) => Some(at),
            Peer::Vsock(_) => None,
        };
        if self.is_balancer(&peer) {
            if let Some(behind) = within(deadline, header(client, &mut first)).await? {
                source = Some(behind);
                who = Client::from(Peer::Ip(behind));
            }
            place.enter_as(who, &self.limits)?;
        }
        let pool = match &self.table {
            Table::Pool(pool) => {
                if self.listen.dial == Dial::AfterFirstBytes && first.is_empty() {
                    let readable = async { client.readable().await.map_err(|_| Refused::ClientGone) };
                    within(deadline, readable).await?;
                }
                pool
            }
            Table::ServerName { .. } => {
                let hello = within(deadline, hello(client, &mut first)).await?;
                self.by_name(hello)?
            }
        };
        let (guest, lease) = pool.connect(who.key(), metrics).await?;
        if let Some(version) = pool.config().send_header {
            let mut header = proxy_protocol::write(version, source, client.local_ip());
            header.append(&mut first);
            first = header;
        }
        Ok(Routed {
            guest,
            lease,
            prefix: first,
        })
    }

    fn by_name(&self, hello: Option<String>) -> Result<&Arc<Pool>, Refused> {
        let Table::ServerName {
            names,
            below,
            unknown,
            nameless,
        } = &self.table
        else {
            return Err(Refused::UnknownName);
        };
        let Some(name) = hello else {
            return nameless.as_ref().ok_or(Refused::NoName);
        };
        let parent = || name.split_once('.').and_then(|(_, parent)| below.get(parent));
        names
            .get(&name)
            .or_else(parent)
            .or(unknown.as_ref())
            .ok_or(Refused::UnknownName)
    }
}

async fn within<T>(deadline: Instant, what: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    timeout_at(deadline, what).await.unwrap_or(Err(Refused::FirstBytes))
}

/// Takes the PROXY header off the front. What follows it stays in `first`.
async fn header(client: &Socket, first: &mut Vec<u8>) -> Result<Option<SocketAddr>, Refused> {
    loop {
        match proxy_protocol::read(first) {
            Ok(Some(header)) => {
                first.drain(..header.length.min(first.len()));
                return Ok(header.source);
            }
            Ok(None) => more(client, first, proxy_protocol::HEADER_BYTES_MAX, Refused::ProxyHeader).await?,
            Err(_) => return Err(Refused::ProxyHeader),
        }
    }
}

/// Reads until the ClientHello is complete; it stays in `first`.
async fn hello(client: &Socket, first: &mut Vec<u8>) -> Result<Option<String>, Refused> {
    loop {
        match sni::read(first) {
            Ok(Hello::Named(name)) => return Ok(Some(name)),
            Ok(Hello::Nameless) => return Ok(None),
            Ok(Hello::Incomplete) => more(client, first, sni::READ_BYTES_MAX, Refused::ClientHello).await?,
            Err(_) => return Err(Refused::ClientHello),
        }
    }
}

/// Bytes that are asked for at a time; most hellos come in one or two segments.
const STEP_BYTES: usize = 4096;

async fn more(client: &Socket, first: &mut Vec<u8>, max: usize, over: Refused) -> Result<(), Refused> {
    let had = first.len();
    if had >= max {
        return Err(over);
    }
    first.resize(had + STEP_BYTES, 0);
    let read = poll_fn(|cx| client.poll_read(cx, first.get_mut(had..).unwrap_or_default())).await;
    let n = read.map_err(|_| Refused::ClientGone)?;
    first.truncate(had + n);
    match n {
        0 => Err(Refused::ClientGone),
        _ => Ok(()),
    }
}
