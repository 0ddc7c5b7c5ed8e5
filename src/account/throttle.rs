//! How often somebody may try a password: per account and per address.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::error::{Error, Result};

/// Tries per minute for one account, from wherever.
const PER_ACCOUNT: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Tries per minute from one address, for whichever account.
const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(30).unwrap();

#[derive(Debug)]
pub(super) struct Attempts {
    accounts: DefaultKeyedRateLimiter<String>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            accounts: DefaultKeyedRateLimiter::keyed(Quota::per_minute(PER_ACCOUNT)),
            addresses: DefaultKeyedRateLimiter::keyed(Quota::per_minute(PER_ADDRESS)),
        }
    }
}

impl Attempts {
    pub(super) fn check(&self, email: &str, address: Option<IpAddr>) -> Result<()> {
        if let Some(address) = address {
            limited(self.addresses.check_key(&address))?;
        }
        limited(self.accounts.check_key(&email.to_owned()))?;
        // Entries that are as good as new are forgotten, so that made-up addresses don't fill the memory.
        if self.accounts.len() > 10_000 || self.addresses.len() > 10_000 {
            self.accounts.retain_recent();
            self.addresses.retain_recent();
        }
        Ok(())
    }
}

fn limited(outcome: Result<(), governor::NotUntil<governor::clock::QuantaInstant>>) -> Result<()> {
    outcome.map_err(|until| {
        let wait = until.wait_time_from(DefaultClock::default().now());
        Error::RateLimited(wait.as_secs() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_shielded_from_many_addresses_and_an_address_from_many_accounts() {
        let attempts = Attempts::default();
        let address = |n: u8| Some(IpAddr::from([127, 0, 0, n]));
        for n in 0..10 {
            attempts.check("ada@example.com", address(n)).unwrap();
        }
        assert!(matches!(attempts.check("ada@example.com", address(99)), Err(Error::RateLimited(1..=7))));
        attempts.check("bob@example.com", address(99)).unwrap();
        let refused =
            (0..60).filter(|n| attempts.check(&format!("{n}@example.com"), address(200)).is_err()).count();
        assert_eq!(refused, 30);
    }
}
