//! How often somebody may try a password, or make an account: per account and per address.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::error::{Error, Result};

/// Tries per minute for one account, from wherever.
const PER_ACCOUNT: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Tries per minute from one address, for whichever account, those to make one included.
const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// Accounts, or addresses, that are remembered before those are forgotten that have not tried lately.
const MOST_ENTRIES: usize = 10_000;

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
    /// A try from an address, where it is known.
    pub(super) fn count_address(&self, address: Option<IpAddr>) -> Result<()> {
        let Some(address) = address else { return Ok(()) };
        limited(self.addresses.check_key(&address))?;
        // Entries that are as good as new are forgotten, so that made-up addresses don't fill the memory.
        if self.addresses.len() > MOST_ENTRIES {
            self.addresses.retain_recent();
        }
        Ok(())
    }

    /// A try for an account. Who asks has bounded the length of the e-mail address, which is kept.
    pub(super) fn count_account(&self, email: &str) -> Result<()> {
        limited(self.accounts.check_key(&email.to_owned()))?;
        if self.accounts.len() > MOST_ENTRIES {
            self.accounts.retain_recent();
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
        for _ in 0..10 {
            attempts.count_account("ada@example.com").unwrap();
        }
        assert!(matches!(attempts.count_account("ada@example.com"), Err(Error::RateLimited(1..=7))));
        attempts.count_account("bob@example.com").unwrap();
        let refused = (0..60).filter(|_| attempts.count_address(address(200)).is_err()).count();
        attempts.count_address(address(201)).unwrap();
        attempts.count_address(None).unwrap();
        assert_eq!(refused, 30);
    }
}
