//! Rate limits for each of many keys, as token buckets (GCRA) in bounded memory; and quotas on the number of things
//! that an account may own.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use moka::sync::Cache;
use sea_orm::sea_query::LockType;
use sea_orm::{DatabaseTransaction, EntityTrait, PaginatorTrait, QuerySelect, Select};

use crate::entity::account;
use crate::error::{Error, Result};
use crate::id::UserId;

/// Maximum number of keys that one limiter remembers. Beyond it the least used keys are evicted and start afresh.
const MAX_KEYS: u64 = 100_000;

/// A rate limiter with a token bucket for each key.
pub(crate) struct Limiter<K> {
    quota: Quota,
    keys: Cache<K, Arc<DefaultDirectRateLimiter>>,
}

impl<K> std::fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("quota", &self.quota).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Limiter<K> {
    /// Creates a limiter that refills `max` points a minute.
    pub(crate) fn per_minute(max: NonZeroU32) -> Self {
        Self::new(Quota::per_minute(max))
    }

    /// Creates a limiter that refills `max` points an hour.
    pub(crate) fn per_hour(max: NonZeroU32) -> Self {
        Self::new(Quota::per_hour(max))
    }

    fn new(quota: Quota) -> Self {
        // After this time without use a bucket is full again, so that its eviction loses nothing.
        let refill_time = quota.burst_size_replenished_in();
        Self { quota, keys: Cache::builder().max_capacity(MAX_KEYS).time_to_idle(refill_time).build() }
    }

    /// Takes points from a key, at least one and at most the size of the bucket. If too few are left, takes none and
    /// returns RATE_LIMITED.
    pub(crate) fn take(&self, key: K, points: u64) -> Result<()> {
        let max = self.quota.burst_size();
        let points = u32::try_from(points.max(1)).ok().and_then(NonZeroU32::new).map_or(max, |n| n.min(max));
        let bucket = self.keys.get_with(key, || Arc::new(DefaultDirectRateLimiter::direct(self.quota)));
        match bucket.check_n(points) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Err(Error::RateLimited(wait.as_secs() + 1))
            }
            Err(capacity) => Err(Error::internal(capacity)),
        }
    }
}

/// Locks an account for this transaction, so that concurrent transactions check its quotas one after another.
pub(crate) async fn lock_account(tx: &DatabaseTransaction, owner: UserId) -> Result<()> {
    account::Entity::find_by_id(owner).lock(LockType::NoKeyUpdate).one(tx).await?;
    Ok(())
}

/// Returns `TOO_MANY` with `message` if `rows` already has `max` rows.
pub(crate) async fn check_quota<E>(
    tx: &DatabaseTransaction,
    rows: Select<E>,
    max: u64,
    message: String,
) -> Result<()>
where
    E: EntityTrait<Model: Send + Sync>,
{
    if rows.count(tx).await? < max { Ok(()) } else { Err(Error::invalid("", "TOO_MANY", message)) }
}

/// Returns the network of an address: an IPv4 address itself, or the /64 of an IPv6 address, which one household owns.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_bucket() {
        let limiter = Limiter::per_hour(NonZeroU32::new(10).unwrap());
        limiter.take("ada", 4).unwrap();
        limiter.take("ada", 6).unwrap();
        assert!(matches!(limiter.take("ada", 1), Err(Error::RateLimited(1..=361))));
        limiter.take("bob", 1).unwrap();
    }

    #[test]
    fn a_cost_above_the_bucket_takes_all_of_it() {
        let limiter = Limiter::per_hour(NonZeroU32::new(10).unwrap());
        limiter.take("ada", u64::MAX).unwrap();
        assert!(matches!(limiter.take("ada", 1), Err(Error::RateLimited(_))));
        assert!(matches!(limiter.take("ada", u64::MAX), Err(Error::RateLimited(3_000..=3_601))));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::per_minute(NonZeroU32::new(10).unwrap());
        for key in 0..3 * MAX_KEYS {
            limiter.take(key, 1).unwrap();
        }
        limiter.keys.run_pending_tasks();
        assert!(limiter.keys.entry_count() <= MAX_KEYS);
    }

    #[test]
    fn ipv6_addresses_of_one_household_share_a_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
