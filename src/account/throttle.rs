//! How often somebody may try a password, or make an account (ADR 14).
//!
//! | counted by | limit | so that |
//! |---|---|---|
//! | address | `rates.sign_in_address_per_minute` | one attacker cannot try many accounts, nor make many |
//! | account and address | `rates.sign_in_pair_per_minute` | one attacker cannot try many passwords |
//! | account | `rates.sign_in_account_per_hour` | many attackers cannot either; does not hold where somebody has signed in to it lately |

use std::net::IpAddr;

use crate::config::Rates;
use crate::error::Result;
use crate::limit::Limiter;

#[derive(Debug)]
pub(super) struct Attempts {
    addresses: Limiter<IpAddr>,
    pairs: Limiter<(String, Option<IpAddr>)>,
    accounts: Limiter<String>,
}

impl Attempts {
    pub(super) fn new(rates: &Rates) -> Self {
        Self {
            addresses: Limiter::per_minute(rates.sign_in_address_per_minute),
            pairs: Limiter::per_minute(rates.sign_in_pair_per_minute),
            accounts: Limiter::per_hour(rates.sign_in_account_per_hour),
        }
    }

    /// A try from a network, where it is known.
    pub(super) fn from(&self, network: Option<IpAddr>) -> Result<()> {
        network.map_or(Ok(()), |network| self.addresses.take(network, 1))
    }

    /// A try for an account from a network. Who asks has bounded the length of the e-mail address, which is kept.
    pub(super) fn pair(&self, email: &str, network: Option<IpAddr>) -> Result<()> {
        self.pairs.take((email.to_owned(), network), 1)
    }

    /// A try for an account from anywhere.
    pub(super) fn account(&self, email: &str) -> Result<()> {
        self.accounts.take(email.to_owned(), 1)
    }
}
