//! From the first bytes of a connection to the pool that takes it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::admission::{Client, Place};
use crate::config::{Config, Dial, Limits, Listen, Log, Route};
use crate::metrics::Refused;
use crate::pool::Pool;
use crate::proxy_protocol;
use crate::sni::{self, Hello};
use crate::socket::{Peer, Stream};

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

/// What is known about a connection before it has a guest.
#[derive(Debug)]
pub(crate) struct Opening {
    /// What the client has sent. The guest gets it first.
    pub(crate) first: Vec<u8>,
    /// Whom the connection counts for.
    pub(crate) who: Client,
    /// What a PROXY header tells the guest.
    source: Option<SocketAddr>,
    /// A PROXY header has to come before anything else.
    is_header_due: bool,
}

/// What the bytes so far say.
pub(crate) enum Routing<'a> {
    To(&'a Arc<Pool>),
    /// Not enough.
    More,
}

impl Opening {
    /// Whether the client has sent something itself.
    pub(crate) fn has_spoken(&self) -> bool {
        !self.first.is_empty()
    }

    /// What the guest gets first: a PROXY header if it wants one, then what the client has sent.
    pub(crate) fn for_guest(&mut self, pool: &Pool, client: &Stream) -> Vec<u8> {
        let mut first = std::mem::take(&mut self.first);
        let Some(version) = pool.config().send_header else {
            return first;
        };
        let mut header = proxy_protocol::write(version, self.source, client.local_ip());
        header.append(&mut first);
        header
    }
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

    pub(crate) fn opening(&self, peer: Peer) -> Opening {
        Opening {
            first: Vec::new(),
            who: Client::from(peer),
            source: match peer {
                Peer::Ip(at) => Some(at),
                Peer::Vsock(_) => None,
            },
            is_header_due: self.is_balancer(&peer),
        }
    }

    /// Where a connection goes, as soon as its first bytes say so. `place` learns for whom a balancer speaks.
    pub(crate) fn route(&self, opening: &mut Opening, place: &mut Place) -> Result<Routing<'_>, Refused> {
        if opening.is_header_due {
            let read = proxy_protocol::read(&opening.first).map_err(|_| Refused::ProxyHeader)?;
            let Some(header) = read else {
                return more(opening, proxy_protocol::HEADER_BYTES_MAX, Refused::ProxyHeader);
            };
            opening.first.drain(..header.length.min(opening.first.len()));
            opening.is_header_due = false;
            if let Some(behind) = header.source {
                opening.source = Some(behind);
                opening.who = Client::from(Peer::Ip(behind));
            }
            place.enter_as(opening.who, &self.limits)?;
        }
        match &self.table {
            Table::Pool(_) if self.listen.dial == Dial::AfterFirstBytes && opening.first.is_empty() => {
                Ok(Routing::More)
            }
            Table::Pool(pool) => Ok(Routing::To(pool)),
            Table::ServerName { .. } => match sni::read(&opening.first) {
                Ok(Hello::Named(name)) => self.by_name(Some(name)).map(Routing::To),
                Ok(Hello::Nameless) => self.by_name(None).map(Routing::To),
                Ok(Hello::Incomplete) => more(opening, sni::READ_BYTES_MAX, Refused::ClientHello),
                Err(_) => Err(Refused::ClientHello),
            },
        }
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

fn more<'a>(opening: &Opening, max: usize, over: Refused) -> Result<Routing<'a>, Refused> {
    match opening.first.len() < max {
        true => Ok(Routing::More),
        false => Err(over),
    }
}
