//! The codes of errors: what programs go by, in every interface.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// Which kind of error it is. Each is described in `docs/errors.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name),*
        }

        impl Code {
            const ALL: &[Self] = &[$(Self::$name),*];

            /// As it is sent.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }
        }
    };
}

codes! {
    /// Nobody has signed in, or their credential is not good.
    Unauthenticated = "UNAUTHENTICATED",
    /// It is seen and may not be done, or not by anybody on this server.
    Forbidden = "FORBIDDEN",
    /// It does not exist, or not for whoever asks.
    NotFound = "NOT_FOUND",
    /// What was given is not acceptable.
    BadInput = "BAD_USER_INPUT",
    /// It is not, or no longer, in a state for that.
    Conflict = "CONFLICT",
    /// It has too many bytes.
    TooLarge = "PAYLOAD_TOO_LARGE",
    /// It is of a type that is not taken.
    UnsupportedMedia = "UNSUPPORTED_MEDIA_TYPE",
    /// There was too much of it in a short time.
    RateLimited = "RATE_LIMITED",
    /// An operation asks for too much.
    TooComplex = "QUERY_TOO_COMPLEX",
    /// It took too long.
    TimedOut = "TIMEOUT",
    /// It cannot be done at this moment.
    Unavailable = "UNAVAILABLE",
    /// It is not a GraphQL document.
    ParseFailed = "GRAPHQL_PARSE_FAILED",
    /// It is one, but no operation can be run.
    ValidationFailed = "GRAPHQL_VALIDATION_FAILED",
    /// It names a document that the server does not have.
    NotPersisted = "PERSISTED_QUERY_NOT_FOUND",
    /// Something is wrong with the server.
    Internal = "INTERNAL_SERVER_ERROR",
}

impl Code {
    /// The one that is sent as this text.
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
    fn every_code_is_found_by_what_is_sent() {
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
