//! Serving what was booted, until told to stop or until something ends that everything depends on.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_device::{Attester, entropy::mixed_seed};
use hanzo_inference::{ServingOptions, ServingState};

use crate::boot::{Booted, boot};
use crate::clock::GrantClock;
use crate::error::GuestError;
use crate::options::GuestOptions;
use crate::serve::serve;
use crate::stop::stop_signal;
use crate::transport::{ListenAddress, Listener, Tcp, Vsock};
use crate::well_known::{self, WellKnown};

/// Longest sleep before the clock is asked again.
const CLOCK_STEP: Duration = Duration::from_secs(30);

/// A guest that serves.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where, with the port that the kernel chose.
    pub address: ListenAddress,
    /// What evidence proves about it.
    pub keyset: Keyset,
    /// SHA-384 of its canonical form.
    pub keyset_digest: Digest384,
}

/// Boots, calls `on_ready`, and serves until `shutdown` ends.
///
/// The keyset is not renewed in place: when its `not_after` has passed, listeners close and this returns
/// [`GuestError::KeysetExpired`], so that the next boot makes new keys, new grants and a new keyset.
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
    let booted = tokio::select! {
        booted = boot(&options, Arc::from(attester)) => booted?,
        () = &mut shutdown => return Ok(()),
    };
    let Booted {
        config,
        clock,
        sealed,
        desk,
        channel,
        tls,
        receipts,
        endpoints,
        mut engines,
        runtime,
    } = booted;
    let serving = ServingState::new(ServingOptions {
        receipts,
        engines: endpoints,
        limits: config.limits,
        clock: Arc::new(move || clock.now()),
        random: Arc::new(fill_mixed),
    })?;
    let well_known = Arc::new(WellKnown {
        desk,
        channel,
        sealed: sealed.clone(),
    });
    let routes: Router = well_known::router(well_known).fallback_service(hanzo_inference::router(serving));

    let ready = Ready {
        address: listener.address(),
        keyset: sealed.keyset.clone(),
        keyset_digest: sealed.keyset_digest,
    };
    tracing::info!(address = %ready.address, keyset = %ready.keyset_digest, tier = ready.keyset.tier,
        simulated = ready.keyset.simulated, "serving");
    let (stop, stopped) = stop_signal();
    let mut serving = tokio::task::JoinSet::new();
    if let Some(beside) = beside {
        let (tls, routes, stopped) = (tls.clone(), routes.clone(), stopped.clone());
        serving.spawn(serve(beside, tls, routes, options.limits, stopped));
    }
    match listener {
        Bound::Tcp(listener) => serving.spawn(serve(listener, tls, routes, options.limits, stopped)),
        Bound::Vsock(listener) => serving.spawn(serve(listener, tls, routes, options.limits, stopped)),
    };
    on_ready(&ready);

    let not_after = ready.keyset.not_after;
    let outcome = tokio::select! {
        () = &mut shutdown => Ok(()),
        error = engines.failed() => Err(error.into()),
        () = life_over(clock, UnixTime(not_after)) => Err(GuestError::KeysetExpired { not_after }),
    };
    stop.give();
    let mut drained = Ok(());
    while let Some(ended) = serving.join_next().await {
        drained = drained.and(ended);
    }
    engines.stop().await;
    drop(runtime);
    drained.map_err(|_| GuestError::TaskEnded { what: "serving" })?;
    outcome
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

/// Returns when the last second of `not_after` is over.
async fn life_over(clock: GrantClock, not_after: UnixTime) {
    loop {
        let left = clock.until_after(not_after);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(CLOCK_STEP)).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use hanzo_device::clock::Moment;

    #[tokio::test]
    async fn a_life_ends_after_its_last_second_and_not_before() {
        let clock = GrantClock::new(UnixTime(100), Moment::now());
        life_over(clock, UnixTime(99)).await;
        let early = tokio::time::timeout(Duration::from_millis(50), life_over(clock, UnixTime(100))).await;
        assert!(early.is_err(), "the last second still counts");
    }
}
