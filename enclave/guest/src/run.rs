//! Serving what was booted, until told to stop or until something ends that everything depends on.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use hanzo_attestation::config::Auth;
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_device::{Attester, entropy::mixed_seed};
use hanzo_inference::{AccessOptions, ServingOptions, ServingState};
use hanzo_receipts::Accounts;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::boot::{Booted, boot};
use crate::error::GuestError;
use crate::fence::{FenceError, Fenced};
use crate::options::{GuestOptions, OperatingLimits};
use crate::padding;
use crate::rotation::{Current, Epoch, Retired, Sealer, life_over};
use crate::sealed::{Gateway, GatewayOptions, clear_routes, routes_beside};
use crate::serve::{Served, Way, serve};
use crate::stop::{StopSignal, stop_signal};
use crate::transport::{ListenAddress, Listener, Tcp, Vsock};
use crate::well_known::{self, ProofDesk, WellKnown};

/// A guest that serves.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where, with the port that the kernel chose.
    pub address: ListenAddress,
    /// Where sealed messages are taken without TLS, if they are.
    pub sealed_address: Option<ListenAddress>,
    /// What evidence proves about it.
    pub keyset: Keyset,
    /// SHA-384 of its canonical form.
    pub keyset_digest: Digest384,
}

/// Boots, calls `on_ready`, and serves until `shutdown` ends.
///
/// Keysets follow each other within the boot (see `rotation`), for a day at most: then listeners close and this returns
/// [`GuestError::KeysetExpired`], so that the next boot gets new grants.
///
/// # Errors
/// [`GuestError`]: the first step of the boot that failed, or why serving ended. Plaintext files are gone and engines
/// ended by then.
pub async fn run(
    options: GuestOptions,
    attester: Box<dyn Attester>,
    shutdown: impl Future<Output = ()> + Send,
    on_ready: impl FnOnce(&Ready) + Send,
) -> Result<(), GuestError> {
    tokio::pin!(shutdown);
    // Taken first: a port in use should not cost grants.
    let listener = Bound::open(options.listen).await?;
    let beside = options.vsock.map(Vsock::bind).transpose()?;
    let clear = match options.sealed {
        Some(address) => Some(Bound::open(address).await?),
        None => None,
    };
    let booted = tokio::select! {
        booted = boot(&options, Arc::from(attester)) => booted?,
        () = &mut shutdown => return Ok(()),
    };
    let Booted {
        sealer,
        first,
        endpoints,
        mut engines,
        pool,
        runtime,
        mut fenced,
    } = booted;
    let clock = sealer.clock;
    let booted = Instant::now();
    let running = engines.door();
    let (opens, started) = (pool.door(), pool.door());
    let serving = ServingState::new(ServingOptions {
        receipts: first.receipts.clone(),
        aci: first.aci.clone(),
        engines: endpoints,
        open: Arc::new(move |model, class| opens.open(model, class)),
        limits: sealer.config.limits.clone(),
        queue: sealer.config.queue,
        access: access(&sealer),
        administrators: sealer.config.admin_keys.clone(),
        operator: sealer.config.operator.clone(),
        order_engines: Arc::new(move |model, order| {
            running.order(model.as_str(), order);
            started.order(model, order);
        }),
        uptime: Arc::new(move || booted.elapsed()),
        clock: Arc::new(move || clock.now()),
        random: Arc::new(fill_mixed),
    })?;
    let ready = Ready {
        address: listener.address(),
        sealed_address: clear.as_ref().map(Bound::address),
        keyset: first.sealed.keyset.clone(),
        keyset_digest: first.sealed.keyset_digest,
    };
    tracing::info!(address = %ready.address, keyset = %ready.keyset_digest, tier = ready.keyset.tier,
        simulated = ready.keyset.simulated, "serving");
    let (stop, stopped) = stop_signal();
    let (current, served) = InForce::new(first, serving.clone(), &sealer, &options.limits, None);
    let (attested, in_force) = watch::channel(served.attested);
    let (in_clear, clear_in_force) = watch::channel(served.in_clear);
    let force = Force { attested, in_clear };
    let mut listening = JoinSet::new();
    if let Some(beside) = beside {
        listening.spawn(serve(beside, in_force.clone(), options.limits, stopped.clone()));
    }
    for (listener, in_force) in [(Some(listener), in_force), (clear, clear_in_force)] {
        let (limits, stopped) = (options.limits, stopped.clone());
        match listener {
            None => continue,
            Some(Bound::Tcp(listener)) => listening.spawn(serve(listener, in_force, limits, stopped)),
            Some(Bound::Vsock(listener)) => listening.spawn(serve(listener, in_force, limits, stopped)),
        };
    }
    drop(stopped);
    on_ready(&ready);

    let rotating = rotate(&sealer, current, serving, &force, &options.limits);
    let outcome = tokio::select! {
        () = &mut shutdown => Ok(()),
        error = engines.failed() => Err(error.into()),
        error = rotating => Err(error),
        error = lease_over(&mut fenced) => Err(error.into()),
    };
    stop.give();
    let mut drained = Ok(());
    while let Some(ended) = listening.join_next().await {
        drained = drained.and(ended);
    }
    engines.stop().await;
    pool.stop().await;
    drop(runtime);
    // The last receipt is in the log by now.
    if let Some(fenced) = fenced {
        match &outcome {
            Err(GuestError::Fence(_)) => drop(fenced),
            _ => fenced.finish().await,
        }
    }
    drained.map_err(|_| GuestError::TaskEnded { what: "serving" })?;
    outcome
}

/// Who may ask, as the configuration says: no `access` beside `auth = "required"` was refused when it was read.
fn access(sealer: &Sealer) -> AccessOptions {
    match (sealer.config.auth, sealer.config.access.clone()) {
        (Auth::None, _) => AccessOptions::Anybody,
        (Auth::Required, access) => AccessOptions::Callers {
            access,
            operator: sealer.config.operator.clone(),
            accounts: Accounts::new(sealer.store.clone()),
        },
    }
}

/// Why the lease of the store is over; never returns where there is none.
async fn lease_over(fenced: &mut Option<Fenced>) -> FenceError {
    match fenced {
        Some(fenced) => fenced.lost().await,
        None => std::future::pending().await,
    }
}

/// The keyset in force, as the loop over keysets holds it.
struct InForce {
    keyset: Keyset,
    gateway: Arc<Gateway>,
    retired: Retired,
    ends: StopSignal,
}

/// What one keyset serves, on either kind of listener.
struct Ways {
    attested: Served,
    in_clear: Served,
}

/// Where listeners look for it.
struct Force {
    attested: watch::Sender<Served>,
    in_clear: watch::Sender<Served>,
}

impl InForce {
    fn new(
        epoch: Epoch,
        serving: ServingState,
        sealer: &Sealer,
        limits: &OperatingLimits,
        before: Option<&Gateway>,
    ) -> (Self, Ways) {
        let (ends, ended) = stop_signal();
        let clock = sealer.clock;
        let padding = sealer.config.padding;
        let keyset = epoch.sealed.keyset.clone();
        let gateway = GatewayOptions {
            keys: epoch.messages,
            last_second: Current::last_message(&keyset),
            messages_max: limits.sealed_messages_max,
            clock: Arc::new(move || clock.now()),
            body_bytes_max: sealer.config.limits.body_bytes_max,
            concurrent_requests: sealer.config.limits.concurrent_requests,
            padding,
            api: hanzo_inference::router(serving.clone()),
        };
        let in_force = Self {
            keyset,
            gateway: Arc::new(Gateway::new(gateway, before)),
            retired: Retired::default(),
            ends,
        };
        let proofs = Arc::new(ProofDesk {
            channel: epoch.channel,
            keyset_digest: epoch.sealed.keyset_digest,
        });
        let well_known = Arc::new(WellKnown {
            desk: epoch.desk,
            proofs: proofs.clone(),
        });
        let retired = in_force.retired.clone();
        // Not on the guest's own routes: a connection that asked for evidence still has to prove itself.
        let api = hanzo_inference::router(serving).layer(axum::middleware::map_response(move |answer| {
            std::future::ready(last_if_retired(&retired, answer))
        }));
        let api = padding::layer(api, padding);
        let gateway = in_force.gateway.clone();
        let in_clear = Served {
            way: Way::Clear,
            routes: clear_routes(gateway.clone()).merge(well_known::evidence(well_known.clone())),
            ends: ended.clone(),
        };
        let attested = Served {
            way: Way::Attested { tls: epoch.tls, proofs },
            routes: well_known::router(well_known).merge(routes_beside(gateway, api)),
            ends: ended,
        };
        (in_force, Ways { attested, in_clear })
    }
}

/// Under a keyset that another has followed, an answer is its connection's last: the next one is made under the new
/// keyset. Nothing is closed while a client may be writing, so no request is lost.
fn last_if_retired(retired: &Retired, mut answer: Response) -> Response {
    if retired.is_retired() {
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Puts one keyset after the other in force; ends with the boot's life.
async fn rotate(
    sealer: &Sealer,
    mut current: InForce,
    mut serving: ServingState,
    force: &Force,
    limits: &OperatingLimits,
) -> GuestError {
    let mut ending = JoinSet::new();
    loop {
        let in_force = Current {
            keyset: &current.keyset,
            gateway: &current.gateway,
        };
        let next = match sealer.next(in_force, limits).await {
            Ok(next) => next,
            Err(error) => return error,
        };
        serving = match serving.succeeded_by(next.receipts.clone(), next.aci.clone()) {
            Ok(serving) => serving,
            Err(error) => return error.into(),
        };
        tracing::info!(keyset = %next.sealed.keyset_digest, "the next keyset serves");
        let (next, served) = InForce::new(next, serving.clone(), sealer, limits, Some(&current.gateway));
        force.attested.send_replace(served.attested);
        force.in_clear.send_replace(served.in_clear);
        let old = std::mem::replace(&mut current, next);
        old.retired.retire();
        let clock = sealer.clock;
        ending.spawn(async move {
            life_over(clock, Current::last_message(&old.keyset)).await;
            old.gateway.end();
            life_over(clock, UnixTime(old.keyset.not_after)).await;
            old.ends.give();
        });
    }
}

/// The first listener, of either kind.
enum Bound {
    Tcp(Tcp),
    Vsock(Vsock),
}

impl Bound {
    async fn open(address: ListenAddress) -> Result<Self, GuestError> {
        Ok(match address {
            ListenAddress::Tcp(_) => Self::Tcp(Tcp::bind(address).await?),
            ListenAddress::Vsock { .. } => Self::Vsock(Vsock::bind(address)?),
        })
    }

    fn address(&self) -> ListenAddress {
        match self {
            Self::Tcp(listener) => listener.address(),
            Self::Vsock(listener) => listener.address(),
        }
    }
}

/// Random bytes with RDSEED mixed in.
fn fill_mixed(out: &mut [u8]) -> bool {
    out.chunks_mut(64).all(|chunk| match mixed_seed::<64>() {
        Ok(seed) => {
            for (to, from) in chunk.iter_mut().zip(seed.iter()) {
                *to = *from;
            }
            true
        }
        Err(_) => false,
    })
}
