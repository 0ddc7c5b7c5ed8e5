//! The error codes of every interface.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// The kind of an error. `docs/errors.md` describes each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name),*
        }

        impl Code {
            const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the code as it is sent.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }
        }
    };
}

codes! {
    /// The request has no valid credential.
    Unauthenticated = "UNAUTHENTICATED",
    /// The viewer may see the object but not perform the operation, or the server does not allow it to anyone.
    Forbidden = "FORBIDDEN",
    /// The object does not exist, or the viewer may not know of it.
    NotFound = "NOT_FOUND",
    /// The input is invalid.
    BadInput = "BAD_USER_INPUT",
    /// The operation conflicts with the current state.
    Conflict = "CONFLICT",
    /// The request has too many bytes.
    TooLarge = "PAYLOAD_TOO_LARGE",
    /// The media type is not supported.
    UnsupportedMedia = "UNSUPPORTED_MEDIA_TYPE",
    /// A rate limit was exceeded.
    RateLimited = "RATE_LIMITED",
    /// The operation exceeds a complexity limit.
    TooComplex = "QUERY_TOO_COMPLEX",
    /// The operation exceeded its time limit.
    TimedOut = "TIMEOUT",
    /// The server cannot perform the operation at the moment.
    Unavailable = "UNAVAILABLE",
    /// The text is not a GraphQL document.
    ParseFailed = "GRAPHQL_PARSE_FAILED",
    /// The GraphQL document is not valid, or names no operation to run.
    ValidationFailed = "GRAPHQL_VALIDATION_FAILED",
    /// The server does not have the persisted document that the request names.
    NotPersisted = "PERSISTED_QUERY_NOT_FOUND",
    /// A fault of the server.
    Internal = "INTERNAL_SERVER_ERROR",
}

impl Code {
    /// Returns the code that is sent as this text.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_parses_from_its_text() {
        for code in Code::ALL {
            assert_eq!(Code::named(code.as_str()), Some(*code));
        }
        assert_eq!(Code::named("OK"), None);
    }

    #[test]
    fn every_code_is_documented() {
        let documented = include_str!("../../docs/errors.md");
        for code in Code::ALL {
            assert!(documented.contains(&format!("`{code}`")), "{code}");
        }
    }
}
