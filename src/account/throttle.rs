//! Limits on attempts to sign in and to sign up (ADR 14).
//!
//! | counted by | limit | purpose |
//! |---|---|---|
//! | address | `rates.sign_in_address_per_minute` | one attacker cannot try many accounts or create many |
//! | account and address | `rates.sign_in_pair_per_minute` | one attacker cannot try many passwords |
//! | account | `rates.sign_in_account_per_hour` | many attackers cannot try many passwords; known networks are exempt |

use std::net::IpAddr;

use crate::config::Rates;
use crate::error::Result;
use crate::limit::Limiter;

#[derive(Debug)]
pub(super) struct AttemptLimits {
    addresses: Limiter<IpAddr>,
    pairs: Limiter<(String, Option<IpAddr>)>,
    accounts: Limiter<String>,
}

impl AttemptLimits {
    pub(super) fn new(rates: &Rates) -> Self {
        Self {
            addresses: Limiter::per_minute(rates.sign_in_address_per_minute),
            pairs: Limiter::per_minute(rates.sign_in_pair_per_minute),
            accounts: Limiter::per_hour(rates.sign_in_account_per_hour),
        }
    }

    /// Counts an attempt from a network, if the network is known.
    pub(super) fn count_network(&self, network: Option<IpAddr>) -> Result<()> {
        network.map_or(Ok(()), |network| self.addresses.take(network, 1))
    }

    /// Counts an attempt on an account from a network. The caller limits the length of the address, which is kept in
    /// memory.
    pub(super) fn count_pair(&self, email: &str, network: Option<IpAddr>) -> Result<()> {
        self.pairs.take((email.to_owned(), network), 1)
    }

    /// Counts an attempt on an account from any network.
    pub(super) fn count_account(&self, email: &str) -> Result<()> {
        self.accounts.take(email.to_owned(), 1)
    }
}
