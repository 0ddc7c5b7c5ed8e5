//! The URLs that webhooks may have. A server that sends requests for its users must not lead into its own network. It
//! therefore refuses addresses that are not public, at the creation of a webhook and again for every connection.
//!
//! A name can resolve to another address each time, so the check at connect time decides. [`Targets`] is the resolver
//! of the HTTP client and returns permitted addresses only. HTTP clients do not resolve an IP address in the URL;
//! [`Targets::check`] checks it before each attempt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::{Switch, Webhooks as Settings};
use crate::error::Problem;

/// Timeout of the lookup of a name at the creation of a webhook.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// The rules for targets of webhooks. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Targets(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    allows_http: bool,
    allowed_networks: Vec<IpNet>,
    url_bytes: usize,
}

/// The error for a target that is not permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("webhooks may not be sent to the address of this target")]
pub(crate) struct NotAllowed;

impl Targets {
    /// Creates the rules from the configuration.
    pub(crate) fn new(settings: &Settings) -> Self {
        let allowed_networks = settings.allowed_networks.clone();
        let allows_http = settings.allow_http == Switch::On;
        Self(Arc::new(Rules { allows_http, allowed_networks, url_bytes: settings.url_bytes }))
    }

    /// Returns whether requests may go to an address.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.allowed_networks.iter().any(|network| network.contains(&address)) || is_public(address)
    }

    /// Parses a URL and checks it against the rules, without resolving its name.
    pub(crate) fn check(&self, text: &str) -> Result<Url, Problem> {
        let problem = |code: &str, message: String| Err(Problem::new("/url", code, message));
        if text.len() > self.0.url_bytes {
            return problem("TOO_LONG", format!("A URL has at most {} bytes.", self.0.url_bytes));
        }
        let Ok(url) = Url::parse(text) else {
            return problem("INVALID", "The URL must be absolute, such as https://example.com/hook.".into());
        };
        match url.scheme() {
            "https" => {}
            "http" if self.0.allows_http => {}
            _ => return problem("SCHEME", "The scheme of the URL must be https.".into()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            let message = "The URL must not contain a user name or password. Deliveries are signed instead.";
            return problem("CREDENTIALS", message.into());
        }
        // Other ports below 1024 belong to other protocols. Their servers must not receive our requests.
        if url.port().is_some_and(|port| port < 1024 && port != 80 && port != 443) {
            return problem("PORT", "The port must be 80, 443, or 1024 or higher.".into());
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let literal = host.parse::<IpAddr>();
        if literal.is_ok_and(|address| !self.permits(address)) {
            return Err(not_allowed());
        }
        Ok(url)
    }

    /// Checks a URL as [`Self::check`] does, and the addresses that its name resolves to now. A name that does not
    /// resolve now is accepted, because it may resolve later.
    pub(crate) async fn check_and_resolve(&self, text: &str) -> Result<Url, Problem> {
        let url = self.check(text)?;
        if let Some(name) = url.domain() {
            match tokio::time::timeout(LOOKUP_TIMEOUT, self.lookup(name)).await {
                Ok(Err(LookupError::NotAllowed(_))) => return Err(not_allowed()),
                Ok(Ok(_) | Err(LookupError::Failed(_))) | Err(_) => {}
            }
        }
        Ok(url)
    }

    /// Resolves a name and returns its permitted addresses.
    async fn lookup(&self, name: &str) -> Result<Vec<SocketAddr>, LookupError> {
        let all: Vec<_> = tokio::net::lookup_host((name, 0)).await?.collect();
        let found = all.len();
        let permitted: Vec<_> = all.into_iter().filter(|address| self.permits(address.ip())).collect();
        if permitted.is_empty() && found > 0 { Err(NotAllowed.into()) } else { Ok(permitted) }
    }
}

#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    #[error(transparent)]
    Failed(#[from] std::io::Error),
}

fn not_allowed() -> Problem {
    let message = "The URL must have a public address. This address is private, local or reserved.";
    Problem::new("/url", "TARGET_NOT_ALLOWED", message)
}

impl Resolve for Targets {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.clone();
        Box::pin(async move {
            match targets.lookup(name.as_str()).await {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(LookupError::NotAllowed(refused)) => Err(refused.into()),
                Err(LookupError::Failed(error)) => Err(error.into()),
            }
        })
    }
}

/// Returns whether an address is public, that is, in no registry of special-purpose addresses (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network; private; loopback; link-local (metadata services of clouds).
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] => true,
        [172, second, ..] => (16..32).contains(&second),
        // Shared by carriers (RFC 6598).
        [100, second, ..] => (64..128).contains(&second),
        // Protocols, documentation, relays of 6to4, benchmarks.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => true,
        [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Multicast, reserved, broadcast.
        [first, ..] => first >= 224,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // A NAT64 translator forwards these to the IPv4 address in their last 32 bits.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocols (Teredo too), documentation, 6to4, documentation again.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast. All other addresses are local, multicast, mapped or unassigned.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};

    fn targets(configure: impl FnOnce(&mut Settings)) -> Targets {
        let mut settings = Config::load(None, &Flags::default()).unwrap().webhooks;
        configure(&mut settings);
        Targets::new(&settings)
    }

    #[test]
    fn only_public_addresses_are_permitted() {
        let targets = targets(|_| {});
        for special in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!targets.permits(special.parse().unwrap()), "{special}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(targets.permits(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn allowed_networks_are_permitted_and_no_other_private_ones() {
        let allow = |settings: &mut Settings| {
            settings.allowed_networks = ["10.20.0.0/16", "::1/128"].map(|net| net.parse().unwrap()).into();
        };
        let targets = targets(allow);
        for (address, permitted) in [
            ("10.20.255.1", true),
            ("::ffff:10.20.0.1", true),
            ("::1", true),
            ("10.21.0.1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(targets.permits(address.parse().unwrap()), permitted, "{address}");
        }
    }

    #[test]
    fn private_address_is_refused_in_every_notation() {
        let targets = targets(|settings| settings.allow_http = Switch::On);
        for (url, code) in [
            ("http://127.0.0.1/", "TARGET_NOT_ALLOWED"),
            ("http://127.1/", "TARGET_NOT_ALLOWED"),
            ("http://2130706433/", "TARGET_NOT_ALLOWED"),
            ("http://0x7f.0.0.1/", "TARGET_NOT_ALLOWED"),
            ("http://0177.0.0.1/", "TARGET_NOT_ALLOWED"),
            ("http://①②⑦.0.0.1/", "TARGET_NOT_ALLOWED"),
            ("https://[::1]/", "TARGET_NOT_ALLOWED"),
            ("https://[::ffff:127.0.0.1]/", "TARGET_NOT_ALLOWED"),
            ("https://169.254.169.254/latest/meta-data", "TARGET_NOT_ALLOWED"),
            ("https://8.8.8.8:25/", "PORT"),
            ("https://ada:secret@example.com/", "CREDENTIALS"),
            ("https://ada@example.com/", "CREDENTIALS"),
            ("ftp://example.com/", "SCHEME"),
            ("file:///etc/passwd", "SCHEME"),
            ("example.com/hook", "INVALID"),
            ("https://", "INVALID"),
            ("", "INVALID"),
        ] {
            assert_eq!(targets.check(url).unwrap_err().code, code, "{url}");
        }
        let long = format!("https://example.com/{}", "a".repeat(2_048));
        assert_eq!(targets.check(&long).unwrap_err().code, "TOO_LONG");
        for good in [
            "https://example.com/",
            "https://8.8.8.8:8443/a?b=c",
            "http://[2606:4700::1111]/",
            "https://example.com:443",
        ] {
            assert!(targets.check(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn http_is_refused_unless_configured() {
        assert_eq!(targets(|_| {}).check("http://example.com/").unwrap_err().code, "SCHEME");
    }

    #[tokio::test]
    async fn name_is_checked_by_its_resolved_addresses() {
        let url = "https://localhost/hook";
        let refused = targets(|_| {}).check_and_resolve(url).await.unwrap_err();
        assert_eq!(refused.code, "TARGET_NOT_ALLOWED");
        let resolved = targets(|_| {}).resolve("localhost".parse().unwrap()).await;
        assert!(resolved.is_err_and(|error| error.is::<NotAllowed>()));
        let all = |settings: &mut Settings| {
            settings.allowed_networks = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).into();
        };
        assert!(targets(all).check_and_resolve(url).await.is_ok());
    }
}
