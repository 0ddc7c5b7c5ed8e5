//! The cryptography of tokens for `jsonwebtoken`, over *ring*, which rustls uses too.
//!
//! HMAC signs and verifies Docket's own tokens. The public-key algorithms only verify tokens of an OpenID Connect
//! issuer: Docket has no private keys.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{self as public_key, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm};
use ring::{error::Unspecified, hmac};

/// The provider. Docket reads JSON Web Keys but never creates them, so it needs no `KeyUtils`.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: create_signer,
    verifier_factory: create_verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` use this module. Further calls have no effect.
pub(super) fn install_provider() {
    let _ = PROVIDER.install_default();
}

/// A secret that signs and verifies.
struct Secret {
    algorithm: Algorithm,
    key: hmac::Key,
}

impl Secret {
    fn new(algorithm: Algorithm, secret: &[u8]) -> Result<Self, Error> {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
        };
        Ok(Self { algorithm, key: hmac::Key::new(hash, secret) })
    }
}

impl Signer<Vec<u8>> for Secret {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(hmac::sign(&self.key, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Secret {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        hmac::verify(&self.key, message, signature).map_err(to_signature_error)
    }
}

impl JwtSigner for Secret {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl JwtVerifier for Secret {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A public key that verifies with one algorithm.
struct PublicKey {
    algorithm: Algorithm,
    scheme: Scheme,
    key: DecodingKey,
}

/// The parameters of an algorithm, by the form of its keys.
enum Scheme {
    /// The key is a modulus and an exponent.
    Rsa(&'static RsaParameters),
    /// The key is a point of a curve.
    Curve(&'static dyn VerificationAlgorithm),
}

impl PublicKey {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        let scheme = match algorithm {
            Algorithm::RS256 => Scheme::Rsa(&public_key::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Scheme::Rsa(&public_key::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Scheme::Rsa(&public_key::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Scheme::Rsa(&public_key::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Scheme::Rsa(&public_key::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Scheme::Rsa(&public_key::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Scheme::Curve(&public_key::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Scheme::Curve(&public_key::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Scheme::Curve(&public_key::ED25519),
            _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
        };
        Ok(Self { algorithm, scheme, key: key.clone() })
    }
}

impl Verifier<Vec<u8>> for PublicKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let verified = match (&self.scheme, self.key.kind()) {
            (Scheme::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Scheme::Curve(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                algorithm.verify(point.as_slice().into(), message.into(), signature.as_slice().into())
            }
            _ => Err(Unspecified),
        };
        verified.map_err(to_signature_error)
    }
}

impl JwtVerifier for PublicKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn create_signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    if key.family() != AlgorithmFamily::Hmac {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Secret::new(*algorithm, key.as_bytes())?))
}

fn create_verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(match key.family() {
        AlgorithmFamily::Hmac => Box::new(Secret::new(*algorithm, key.try_get_as_bytes()?)?),
        _ => Box::new(PublicKey::new(*algorithm, key)?),
    })
}

/// Removes leading zeros of a big-endian number. RFC 7518 forbids them, *ring* refuses them, and some issuers send
/// one.
fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[first..]
}

fn to_signature_error(_: Unspecified) -> SignatureError {
    SignatureError::new()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use jsonwebtoken::crypto::{sign, verify};
    use jsonwebtoken::jwk::Jwk;
    use ring::rand::SystemRandom;
    use ring::rsa;
    use ring::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding};
    use serde_json::{Value, json};

    use super::*;

    const RSA_KEY: &str = include_str!("../../tests/it/harness/rfc7515-rsa-key.json");
    const CLAIMS: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    fn decode(text: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn public_key(jwk: Value) -> DecodingKey {
        let jwk: Jwk = serde_json::from_value(jwk).unwrap();
        DecodingKey::from_jwk(&jwk).unwrap()
    }

    fn rsa_public_key() -> DecodingKey {
        public_key(serde_json::from_str(RSA_KEY).unwrap())
    }

    /// Returns the RSA key with leading zeros, as some issuers send it.
    fn padded_rsa_public_key() -> DecodingKey {
        let jwk: Value = serde_json::from_str(RSA_KEY).unwrap();
        let modulus = [vec![0], decode(jwk["n"].as_str().unwrap())].concat();
        DecodingKey::from_rsa_raw_components(&modulus, &[0, 1, 0, 1])
    }

    fn verifies(algorithm: Algorithm, key: &DecodingKey, message: &str, signature: &str) -> bool {
        install_provider();
        verify(signature, message.as_bytes(), key, algorithm).is_ok_and(|valid| valid)
    }

    #[test]
    fn published_examples_verify_until_they_are_changed() {
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let rs256 = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5\
                     jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07\
                     Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI\
                     8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let es256 = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let eddsa = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        // RFC 7515, appendices A.1 to A.3, and RFC 8037, appendix A.4.
        for (algorithm, key, header, claims, signature) in [
            (
                Algorithm::HS256,
                DecodingKey::from_secret(&decode(secret)),
                "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
                CLAIMS,
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            ),
            (Algorithm::RS256, rsa_public_key(), "eyJhbGciOiJSUzI1NiJ9", CLAIMS, rs256),
            (Algorithm::RS256, padded_rsa_public_key(), "eyJhbGciOiJSUzI1NiJ9", CLAIMS, rs256),
            (Algorithm::ES256, public_key(ec), "eyJhbGciOiJFUzI1NiJ9", CLAIMS, es256),
            (
                Algorithm::EdDSA,
                public_key(ed),
                "eyJhbGciOiJFZERTQSJ9",
                "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                eddsa,
            ),
        ] {
            let message = format!("{header}.{claims}");
            assert!(verifies(algorithm, &key, &message, signature), "{algorithm:?}");
            assert!(!verifies(algorithm, &key, &format!("{message}x"), signature), "{algorithm:?}");
            assert!(!verifies(algorithm, &key, &message, &format!("AAAA{}", &signature[4..])));
            assert!(!verifies(algorithm, &key, &message, ""), "{algorithm:?}");
        }
    }

    #[test]
    fn each_algorithm_verifies_only_its_own_signatures() {
        let random = SystemRandom::new();
        let message = "header.claims";
        let jwk: Value = serde_json::from_str(RSA_KEY).unwrap();
        let part = |name: &str| decode(jwk[name].as_str().unwrap());
        let pair = rsa::KeyPair::from_components(&rsa::KeyPairComponents {
            public_key: rsa::PublicKeyComponents { n: part("n"), e: part("e") },
            d: part("d"),
            p: part("p"),
            q: part("q"),
            dP: part("dp"),
            dQ: part("dq"),
            qInv: part("qi"),
        })
        .unwrap();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(encoding, &random, message.as_bytes(), &mut signature).unwrap();
            (rsa_public_key(), signature)
        };
        let ec = |algorithm: &'static EcdsaSigningAlgorithm| {
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
            let signature = pair.sign(&random, message.as_bytes()).unwrap();
            (DecodingKey::from_ec_der(pair.public_key().as_ref()), signature.as_ref().to_vec())
        };
        let ed =
            Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        let ed_signature = ed.sign(message.as_bytes()).as_ref().to_vec();
        let signed = [
            (Algorithm::RS256, rsa(&public_key::RSA_PKCS1_SHA256)),
            (Algorithm::RS384, rsa(&public_key::RSA_PKCS1_SHA384)),
            (Algorithm::RS512, rsa(&public_key::RSA_PKCS1_SHA512)),
            (Algorithm::PS256, rsa(&public_key::RSA_PSS_SHA256)),
            (Algorithm::PS384, rsa(&public_key::RSA_PSS_SHA384)),
            (Algorithm::PS512, rsa(&public_key::RSA_PSS_SHA512)),
            (Algorithm::ES256, ec(&public_key::ECDSA_P256_SHA256_FIXED_SIGNING)),
            (Algorithm::ES384, ec(&public_key::ECDSA_P384_SHA384_FIXED_SIGNING)),
            (Algorithm::EdDSA, (DecodingKey::from_ed_der(ed.public_key().as_ref()), ed_signature)),
        ];
        let hmac = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        for (algorithm, (key, signature)) in &signed {
            let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
            for (other, _) in &signed {
                assert_eq!(
                    verifies(*other, key, message, &signature),
                    other == algorithm,
                    "{algorithm:?} {other:?}"
                );
            }
            for other in hmac {
                assert!(!verifies(other, key, message, &signature), "{other:?} with a public key");
            }
        }
        for algorithm in hmac {
            install_provider();
            let signature = sign(message.as_bytes(), &EncodingKey::from_secret(&[7; 32]), algorithm).unwrap();
            for other in hmac {
                let key = DecodingKey::from_secret(&[7; 32]);
                assert_eq!(verifies(other, &key, message, &signature), other == algorithm);
                assert!(!verifies(other, &DecodingKey::from_secret(&[8; 32]), message, &signature));
            }
        }
    }

    #[test]
    fn only_secrets_sign() {
        install_provider();
        for key in [EncodingKey::from_rsa_der(&[1]), EncodingKey::from_ec_der(&[1])] {
            assert!(sign(b"message", &key, Algorithm::RS256).is_err());
            assert!(sign(b"message", &key, Algorithm::HS256).is_err());
        }
        assert!(sign(b"message", &EncodingKey::from_secret(&[7; 32]), Algorithm::RS256).is_err());
    }
}
