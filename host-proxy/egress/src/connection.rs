//! One connection of one guest: asked, answered, carried.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::carry::carry;
use crate::config::{Allowed, Limits};
use crate::dial::dial;
use crate::error::Refusal;
use crate::metrics::Metrics;
use crate::request::{self, Asked, Unread};

/// What every connection needs.
pub(crate) struct Broker {
    pub(crate) allowed: Vec<Allowed>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
}

impl Broker {
    /// Serves one connection to its end.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut guest: S) {
        let asked = match timeout(self.limits.request, request::read(&mut guest)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(Unread::Gone)) => {
                self.metrics.gone.inc();
                return;
            }
            Ok(Err(Unread::Malformed)) => return self.refuse(guest, Refusal::Malformed).await,
            Err(_) => return self.refuse(guest, Refusal::Timeout).await,
        };
        // A name that is not listed is not logged: it is whatever a guest wrote.
        let Some(allowed) = self.listed(&asked) else {
            return self.refuse(guest, Refusal::NotListed).await;
        };
        let dialled = timeout(self.limits.connect, dial(allowed)).await;
        let name = match dialled.unwrap_or(Err(Refusal::Timeout)) {
            Ok(stream) => stream,
            Err(why) => {
                warn!(
                    name = allowed.name,
                    port = allowed.port,
                    why = why.word(),
                    "not reached"
                );
                return self.refuse(guest, why).await;
            }
        };
        if guest.write_all(request::opened().as_bytes()).await.is_err() {
            self.metrics.gone.inc();
            return;
        }
        info!(name = allowed.name, port = allowed.port, "opened");
        self.metrics.open.inc();
        let how = carry(guest, name, &self.limits, &self.metrics).await;
        self.metrics.open.dec();
        self.metrics.ended(how);
    }

    fn listed(&self, asked: &Asked) -> Option<&Allowed> {
        let mut allowed = self.allowed.iter();
        allowed.find(|a| a.name == asked.name && a.port == asked.port)
    }

    /// Tells a guest no. One that does not listen is not waited for.
    pub(crate) async fn refuse<S: AsyncWrite + Unpin>(&self, mut guest: S, why: Refusal) {
        self.metrics.refused(why);
        let telling = async {
            let _ = guest.write_all(request::refused(why).as_bytes()).await;
            let _ = guest.shutdown().await;
        };
        let _ = timeout(self.limits.request, telling).await;
    }
}
