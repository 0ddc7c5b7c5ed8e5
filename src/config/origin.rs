//! Origins of pages that may call the server from a browser.

/// Returns the problem of an origin in the configuration, if it has one.
pub(super) fn origin_problem(origin: &str) -> Option<String> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let is_origin = origin == "*"
        || host.is_some_and(|host| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        });
    (!is_origin).then(|| {
        format!("{origin:?} is not an origin; use one such as \"https://app.example.com\", without a path, or \"*\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_without_a_path_are_valid() {
        for good in ["*", "https://app.example.com", "http://localhost:3000", "http://[::1]:8080"] {
            assert_eq!(origin_problem(good), None);
        }
        for bad in [
            "",
            "app.example.com",
            "https://",
            "https://a.example/",
            "https://a.example/b",
            "null",
            "https://a b",
        ] {
            assert!(origin_problem(bad).is_some(), "{bad}");
        }
    }
}
