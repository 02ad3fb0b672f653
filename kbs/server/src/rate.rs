//! How much one peer may ask for.
//!
//! A peer is an IPv4 address or an IPv6 /64. Per peer and route there is a token bucket, kept as the one time at which it
//! will be full again. The table is bounded: peers for which there is no room share one bucket, so that a flood from ever
//! new addresses costs those addresses and no memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Limits;

/// Most peers with buckets of their own. A peer takes some 100 bytes.
const PEERS_MAX: usize = 32_768;
/// A bucket holds this many seconds' worth.
const BURST_S: u32 = 4;
/// The shared bucket is as large as that of this many peers.
const SHARED_PEERS: u32 = 4;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Auth,
    Attest,
    Release,
    Admin,
}

impl Route {
    pub(crate) const ALL: [Self; 4] = [Self::Auth, Self::Attest, Self::Release, Self::Admin];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Attest => "attest",
            Self::Release => "release",
            Self::Admin => "admin",
        }
    }
}

/// Who asks, as far as limits care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer([u8; 16]);

impl Peer {
    pub(crate) fn of(address: IpAddr) -> Self {
        let v6 = match address.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
            }
        };
        Self(v6.octets())
    }
}

/// When each of a peer's buckets will be full again, since the start.
type Buckets = [Duration; Route::ALL.len()];

/// All buckets.
pub(crate) struct Rates {
    started: Instant,
    per_s: [u32; Route::ALL.len()],
    buckets: Mutex<(HashMap<Peer, Buckets>, Buckets)>,
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            started: Instant::now(),
            per_s: [
                limits.auth_per_s,
                limits.attest_per_s,
                limits.release_per_s,
                limits.admin_per_s,
            ],
            buckets: Mutex::default(),
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// After how long there will be one.
    pub(crate) fn take(&self, peer: Peer, route: Route, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.started);
        let mut guard = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (peers, shared) = &mut *guard;
        if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
            peers.retain(|_, buckets| buckets.iter().any(|full_at| *full_at > now));
        }
        if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
            return self.take_from(shared, SHARED_PEERS, route, now);
        }
        self.take_from(peers.entry(peer).or_default(), 1, route, now)
    }

    fn take_from(&self, buckets: &mut Buckets, times: u32, route: Route, now: Duration) -> Result<(), Duration> {
        let (Some(full_at), Some(per_s)) = (buckets.get_mut(route as usize), self.per_s.get(route as usize)) else {
            return Err(Duration::from_secs(1));
        };
        let one = Duration::from_secs(1) / per_s.saturating_mul(times).max(1);
        let then = (*full_at).max(now).saturating_add(one);
        let over = then.saturating_sub(now.saturating_add(Duration::from_secs(u64::from(BURST_S))));
        if over.is_zero() {
            *full_at = then;
            return Ok(());
        }
        Err(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::of(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_peer_gets_its_burst_then_its_rate_and_takes_nothing_from_others() {
        let limits = Limits {
            auth_per_s: 2,
            ..Limits::default()
        };
        let rates = Rates::new(&limits);
        let start = Instant::now();
        for _ in 0..8 {
            assert_eq!(rates.take(peer(1), Route::Auth, start), Ok(()));
        }
        let wait = rates.take(peer(1), Route::Auth, start).unwrap_err();
        assert!(wait <= Duration::from_millis(500) && !wait.is_zero(), "{wait:?}");
        assert_eq!(rates.take(peer(1), Route::Attest, start), Ok(()), "another route");
        assert_eq!(rates.take(peer(2), Route::Auth, start), Ok(()), "another peer");
        assert_eq!(rates.take(peer(1), Route::Auth, start + wait), Ok(()));
        assert!(rates.take(peer(1), Route::Auth, start + wait).is_err());
    }

    #[test]
    fn one_v6_network_is_one_peer_and_a_mapped_address_is_the_v4_one() {
        let of = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn ever_new_peers_share_one_bucket_once_the_table_is_full() {
        let limits = Limits {
            auth_per_s: 1,
            ..Limits::default()
        };
        let rates = Rates::new(&limits);
        let start = Instant::now();
        let from = |n: u32| Peer::of(IpAddr::from(n.to_be_bytes()));
        let taken = (0..PEERS_MAX as u32 + 100).filter(|n| rates.take(from(*n), Route::Auth, start).is_ok());
        assert_eq!(taken.count(), PEERS_MAX + (SHARED_PEERS * BURST_S) as usize);
        assert_eq!(
            rates.take(from(0), Route::Auth, start),
            Ok(()),
            "who was there before keeps its own"
        );
        // Idle ones make room.
        let later = start + Duration::from_secs(10);
        assert_eq!(rates.take(from(u32::MAX), Route::Auth, later), Ok(()));
        assert_eq!(rates.buckets.lock().unwrap().0.len(), 1);
    }
}
