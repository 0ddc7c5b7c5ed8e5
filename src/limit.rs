//! How often something may happen, for each of many keys: token buckets (GCRA) in bounded memory; and how many of something
//! an account may have.

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

/// Keys that one limiter remembers. Past it those that are seen least are forgotten, and begin anew.
const MOST_KEYS: u64 = 100_000;

/// Gives each key so many points in a time, all of them at once or one by one.
pub struct Limiter<K> {
    quota: Quota,
    keys: Cache<K, Arc<DefaultDirectRateLimiter>>,
}

impl<K> std::fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("quota", &self.quota).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Limiter<K> {
    /// So many points a minute.
    pub fn per_minute(most: NonZeroU32) -> Self {
        Self::new(Quota::per_minute(most))
    }

    /// So many points an hour.
    pub fn per_hour(most: NonZeroU32) -> Self {
        Self::new(Quota::per_hour(most))
    }

    fn new(quota: Quota) -> Self {
        // Whoever took nothing for so long has all points again, so that nothing is lost with them.
        let whole = quota.burst_size_replenished_in();
        Self { quota, keys: Cache::builder().max_capacity(MOST_KEYS).time_to_idle(whole).build() }
    }

    /// Takes points of a key, one at the least and all that there are at the most; RATE_LIMITED, and takes none, where they
    /// are not there now.
    pub fn take(&self, key: K, points: u64) -> Result<()> {
        let most = self.quota.burst_size();
        let points =
            u32::try_from(points.max(1)).ok().and_then(NonZeroU32::new).map_or(most, |n| n.min(most));
        let left = self.keys.get_with(key, || Arc::new(DefaultDirectRateLimiter::direct(self.quota)));
        match left.check_n(points) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Err(Error::RateLimited(wait.as_secs() + 1))
            }
            Err(capacity) => Err(Error::internal(capacity)),
        }
    }
}

/// Lets one transaction after the other make what an account has a number of: of two that are made at once, the second
/// counts the first.
pub async fn in_turn(tx: &DatabaseTransaction, owner: UserId) -> Result<()> {
    account::Entity::find_by_id(owner).lock(LockType::NoKeyUpdate).one(tx).await?;
    Ok(())
}

/// Refuses one more where there are `most` of these; `full` says so to people.
pub async fn one_more<E>(tx: &DatabaseTransaction, these: Select<E>, most: u64, full: String) -> Result<()>
where
    E: EntityTrait<Model: Send + Sync>,
{
    if these.count(tx).await? < most { Ok(()) } else { Err(Error::invalid("", "TOO_MANY", full)) }
}

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 address, all of which one household has.
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
    fn each_key_has_its_own_points() {
        let limiter = Limiter::per_hour(NonZeroU32::new(10).unwrap());
        limiter.take("ada", 4).unwrap();
        limiter.take("ada", 6).unwrap();
        assert!(matches!(limiter.take("ada", 1), Err(Error::RateLimited(1..=361))));
        limiter.take("bob", 1).unwrap();
    }

    #[test]
    fn more_than_there_are_takes_all() {
        let limiter = Limiter::per_hour(NonZeroU32::new(10).unwrap());
        limiter.take("ada", u64::MAX).unwrap();
        assert!(matches!(limiter.take("ada", 1), Err(Error::RateLimited(_))));
        assert!(matches!(limiter.take("ada", u64::MAX), Err(Error::RateLimited(3_000..=3_601))));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::per_minute(NonZeroU32::new(10).unwrap());
        for key in 0..3 * MOST_KEYS {
            limiter.take(key, 1).unwrap();
        }
        limiter.keys.run_pending_tasks();
        assert!(limiter.keys.entry_count() <= MOST_KEYS);
    }

    #[test]
    fn a_household_is_one_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
