//! Where a client is, when reverse proxies stand in between.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Each proxy adds, at the end, whom it was asked by.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client behind a connection: the last one of `X-Forwarded-For` that is no trusted proxy's, for as long as
/// trusted proxies say it. What stands before it, anybody may have written.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut said = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    while is_proxy(client) {
        match said.next().and_then(parse) {
            Some(before) => client = before,
            None => break,
        }
    }
    client
}

/// An address, with a port or without.
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
    fn only_trusted_proxies_say_where_a_client_is() {
        let inner = &["10.0.0.0/8", "fd00::/8"][..];
        for (what, peer, lines, trusted, expected) in [
            ("nobody is trusted", "10.0.0.1", &["192.0.2.7"][..], &[][..], "10.0.0.1"),
            ("a client of its own", "198.51.100.1", &["192.0.2.7"], inner, "198.51.100.1"),
            ("one proxy", "10.0.0.1", &["192.0.2.7"], inner, "192.0.2.7"),
            ("two proxies", "10.0.0.1", &["192.0.2.7, 10.0.0.2"], inner, "192.0.2.7"),
            ("two lines", "10.0.0.1", &["192.0.2.7", "10.0.0.2"], inner, "192.0.2.7"),
            ("what the client wrote", "10.0.0.1", &["203.0.113.9, 192.0.2.7"], inner, "192.0.2.7"),
            (
                "what it wrote in the proxies' name",
                "10.0.0.1",
                &["203.0.113.9, 10.0.0.9, 192.0.2.7"],
                inner,
                "192.0.2.7",
            ),
            ("nothing", "10.0.0.1", &[], inner, "10.0.0.1"),
            ("nonsense", "10.0.0.1", &["192.0.2.7, unknown"], inner, "10.0.0.1"),
            ("proxies all the way", "10.0.0.1", &["10.0.0.3, 10.0.0.2"], inner, "10.0.0.3"),
            ("with a port", "10.0.0.1", &["192.0.2.7:4711"], inner, "192.0.2.7"),
            ("IPv6", "fd00::1", &["2001:db8::7"], inner, "2001:db8::7"),
            ("IPv6 with a port", "fd00::1", &["[2001:db8::7]:4711"], inner, "2001:db8::7"),
            ("IPv6 in brackets", "fd00::1", &["[2001:db8::7]"], inner, "2001:db8::7"),
            ("IPv4 in IPv6", "::ffff:10.0.0.1", &["::ffff:192.0.2.7"], inner, "192.0.2.7"),
        ] {
            assert_eq!(client(peer, lines, trusted), expected, "{what}");
        }
    }
}
