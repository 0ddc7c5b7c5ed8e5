//! The address of a client behind reverse proxies.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Header to whose end each proxy appends the address of its client.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Returns the address of the client behind a connection.
///
/// It is the last address of `X-Forwarded-For` that is not a trusted proxy. The client may have forged earlier
/// addresses. The header counts only if the peer is a trusted proxy.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut addresses = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    while is_proxy(client) {
        match addresses.next().and_then(parse) {
            Some(previous) => client = previous,
            None => break,
        }
    }
    client
}

/// Parses an address with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let trusted: Vec<_> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_determine_the_client_address() {
        let inner = &["10.0.0.0/8", "fd00::/8"][..];
        for (case, peer, lines, trusted, expected) in [
            ("no trusted proxy", "10.0.0.1", &["192.0.2.7"][..], &[][..], "10.0.0.1"),
            ("an untrusted peer", "198.51.100.1", &["192.0.2.7"], inner, "198.51.100.1"),
            ("one proxy", "10.0.0.1", &["192.0.2.7"], inner, "192.0.2.7"),
            ("two proxies", "10.0.0.1", &["192.0.2.7, 10.0.0.2"], inner, "192.0.2.7"),
            ("two lines", "10.0.0.1", &["192.0.2.7", "10.0.0.2"], inner, "192.0.2.7"),
            ("an address forged by the client", "10.0.0.1", &["203.0.113.9, 192.0.2.7"], inner, "192.0.2.7"),
            (
                "a forged address of a proxy",
                "10.0.0.1",
                &["203.0.113.9, 10.0.0.9, 192.0.2.7"],
                inner,
                "192.0.2.7",
            ),
            ("no header", "10.0.0.1", &[], inner, "10.0.0.1"),
            ("an invalid address", "10.0.0.1", &["192.0.2.7, unknown"], inner, "10.0.0.1"),
            ("only proxies", "10.0.0.1", &["10.0.0.3, 10.0.0.2"], inner, "10.0.0.3"),
            ("with a port", "10.0.0.1", &["192.0.2.7:4711"], inner, "192.0.2.7"),
            ("IPv6", "fd00::1", &["2001:db8::7"], inner, "2001:db8::7"),
            ("IPv6 with a port", "fd00::1", &["[2001:db8::7]:4711"], inner, "2001:db8::7"),
            ("IPv6 in brackets", "fd00::1", &["[2001:db8::7]"], inner, "2001:db8::7"),
            ("IPv4 in IPv6", "::ffff:10.0.0.1", &["::ffff:192.0.2.7"], inner, "192.0.2.7"),
        ] {
            assert_eq!(client(peer, lines, trusted), expected, "{case}");
        }
    }
}
