//! Rate limits by key, over `governor`.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use sync_core::limits::RATE_KEYS_SWEEP;

use crate::config::Rate;

/// A rate limit for each key.
pub struct Limiter<K: Hash + Eq + Clone>(DefaultKeyedRateLimiter<K>);

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// Every key may do this often.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let every = rate.every.max(Duration::from_nanos(1));
        let quota = Quota::with_period(every).unwrap_or_else(|| Quota::per_second(rate.burst)).allow_burst(rate.burst);
        Self(RateLimiter::keyed(quota))
    }

    /// Counts one more.
    ///
    /// # Errors
    /// How long to wait, where that is too often.
    pub fn check(&self, key: &K) -> Result<(), Duration> {
        if self.0.len() > RATE_KEYS_SWEEP {
            self.0.retain_recent();
        }
        self.0.check_key(key).map_err(|refusal| refusal.wait_time_from(DefaultClock::default().now()))
    }
}

/// The address that stands for a peer: an IPv6 peer commands its whole /64.
#[must_use]
pub fn peer_key(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() >> 64 << 64)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_does_not_use_up_another_ones() {
        let limiter = Limiter::new(Rate::new(2, Duration::from_secs(60)));
        assert!(limiter.check(&"ann").is_ok());
        assert!(limiter.check(&"ann").is_ok());
        let wait = limiter.check(&"ann").unwrap_err();
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
        assert!(limiter.check(&"bob").is_ok());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_peer() {
        let of = |text: &str| peer_key(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
