//! The secrets that sign tokens and links: where they are stored, and how a new one replaces an old one without
//! invalidating signatures.
//!
//! ```text
//! configured   jwt_secret signs, and each of jwt_previous_secrets still verifies
//! generated    jwt.key signs, and each jwt.key.until-SECONDS still verifies, up to that time
//! ```

use std::io::{Error as IoError, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::config::{Config, SECRET_BYTES};

/// Name of the file with the generated secret, in the data directory.
const KEY_FILE: &str = "jwt.key";
/// Separates the name of a previous secret from the time until which it verifies, in seconds since 1970.
const UNTIL_INFIX: &str = ".until-";

/// The secret that signs, and the previous ones that still verify.
#[derive(Clone)]
pub struct Secrets {
    current: Vec<u8>,
    previous: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("previous", &self.previous.len()).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Creates secrets from the one that signs and the previous ones.
    pub fn new(current: impl Into<Vec<u8>>, previous: Vec<Vec<u8>>) -> Self {
        Self { current: current.into(), previous }
    }

    /// Loads the secrets from the configuration or the data directory, and generates one if none exists. The error
    /// names an invalid file.
    pub fn load(config: &Config, now: Timestamp) -> Result<Self, String> {
        let configured = config.jwt_previous_secrets.iter().map(|secret| secret.expose().as_bytes().to_vec());
        let mut previous: Vec<_> = configured.collect();
        let current = match config.jwt_secret.expose() {
            "" => {
                let path = config.data_dir.join(KEY_FILE);
                let current = load_or_create(&path).map_err(|error| file_error(&path, &error))?;
                for (path, until) in previous_files(&config.data_dir)? {
                    if until > now.timestamp() {
                        previous.push(load(&path).map_err(|error| file_error(&path, &error))?);
                    }
                }
                current
            }
            secret => secret.as_bytes().to_vec(),
        };
        Ok(Self { current, previous })
    }

    /// Returns the secret that signs.
    pub fn current(&self) -> &[u8] {
        &self.current
    }

    /// Returns all secrets that verify, the one that signs first.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.current()).chain(self.previous.iter().map(Vec::as_slice))
    }
}

/// Creates a new secret in the data directory. The previous one verifies for `keep` longer, and expired ones are
/// removed. Running processes use the new one after a restart.
pub fn rotate(dir: &Path, keep: TimeDelta, now: Timestamp) -> Result<(), String> {
    let path = dir.join(KEY_FILE);
    // The old file must be valid, because it stays in use for verification.
    load(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            format!(
                "the signing key {} does not exist yet; a server creates it at its first start",
                path.display()
            )
        }
        _ => file_error(&path, &error),
    })?;
    let until = (now + keep).timestamp();
    let old = dir.join(format!("{KEY_FILE}{UNTIL_INFIX}{until}"));
    let changed = || -> std::io::Result<()> {
        std::fs::hard_link(&path, &old)?;
        let temp_file = create_temp_file(&path)?;
        // The rename is atomic: the name always refers to the new secret or to the old one.
        std::fs::rename(&temp_file, &path)?;
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o600))?;
        std::fs::File::open(dir)?.sync_all()
    };
    changed().map_err(|error| file_error(&path, &error))?;
    for (path, until) in previous_files(dir)? {
        if until <= now.timestamp() {
            std::fs::remove_file(&path).map_err(|error| file_error(&path, &error))?;
        }
    }
    Ok(())
}

fn file_error(path: &Path, error: &IoError) -> String {
    format!("the signing key {}: {error}", path.display())
}

/// Returns the files of previous secrets, each with the time until which it verifies.
fn previous_files(dir: &Path) -> Result<Vec<(PathBuf, i64)>, String> {
    let listed = || -> std::io::Result<Vec<_>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let until = name.strip_prefix(KEY_FILE).and_then(|rest| rest.strip_prefix(UNTIL_INFIX));
            if let Some(until) = until.and_then(|seconds| seconds.parse().ok()) {
                found.push((path, until));
            }
        }
        Ok(found)
    };
    listed().map_err(|error| format!("the data directory {}: {error}", dir.display()))
}

fn load(path: &Path) -> std::io::Result<Vec<u8>> {
    let secret = std::fs::read(path)?;
    if secret.len() < SECRET_BYTES {
        return Err(IoError::other(format!(
            "it has {} bytes and needs {SECRET_BYTES} or more. Restore it from a backup. Or remove it: the server then \
             creates a new one, and all users must sign in again",
            secret.len()
        )));
    }
    Ok(secret)
}

/// Returns the secret in `path`, and creates it with mode 0600 if it does not exist. If two processes start at once,
/// one creates it and the other reads it, because the complete file appears under its name atomically.
fn load_or_create(path: &Path) -> std::io::Result<Vec<u8>> {
    match load(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let temp_file = create_temp_file(path)?;
    let linked = std::fs::hard_link(&temp_file, path);
    std::fs::remove_file(&temp_file)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => load(path),
    }
}

/// Writes a new secret to a temporary file that no other process uses.
fn create_temp_file(path: &Path) -> std::io::Result<PathBuf> {
    let secret: [u8; SECRET_BYTES] = rand::random();
    // In containers every process may have the same process ID.
    let temp_file = path.with_extension(format!("{}.new", Uuid::now_v7().simple()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp_file)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    Ok(temp_file)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::config::Flags;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn config(dir: &Path) -> Config {
        Config::load(None, &Flags { data_dir: Some(dir.into()), ..Flags::default() }).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secret_is_generated_once_and_readable_only_by_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let made = Secrets::load(&config(dir.path()), at(0)).unwrap();
        assert_eq!(made.current().len(), SECRET_BYTES);
        assert_eq!(Secrets::load(&config(dir.path()), at(0)).unwrap().current(), made.current());
        assert_eq!(mode(&dir.path().join(KEY_FILE)), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file remains");
    }

    #[test]
    fn invalid_secret_file_is_refused_by_name() {
        for bytes in [&b""[..], &[7; 31]] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(KEY_FILE), bytes).unwrap();
            let refused = Secrets::load(&config(dir.path()), at(0)).unwrap_err();
            let words = format!("it has {} bytes and needs 32 or more", bytes.len());
            assert!(refused.contains("jwt.key") && refused.contains(&words), "{refused}");
            assert!(rotate(dir.path(), TimeDelta::hours(1), at(0)).unwrap_err().contains(&words));
            assert_eq!(std::fs::read(dir.path().join(KEY_FILE)).unwrap(), bytes, "nothing is overwritten");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("jwt.key.until-99"), "short").unwrap();
        assert!(Secrets::load(&config(dir.path()), at(0)).unwrap_err().contains("jwt.key.until-99"));
        assert!(Secrets::load(&config(dir.path()), at(99)).is_ok(), "it has expired");
    }

    #[test]
    fn rotated_secret_verifies_until_it_expires() {
        let dir = tempfile::tempdir().unwrap();
        assert!(rotate(dir.path(), TimeDelta::hours(1), at(0)).is_err(), "no secret exists yet");
        let first = Secrets::load(&config(dir.path()), at(0)).unwrap();
        rotate(dir.path(), TimeDelta::seconds(100), at(0)).unwrap();
        rotate(dir.path(), TimeDelta::seconds(100), at(50)).unwrap();
        let all = |now| {
            let secrets = Secrets::load(&config(dir.path()), at(now)).unwrap();
            secrets.all().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let loaded = all(60);
        assert_eq!(loaded.len(), 3);
        assert_ne!(loaded[0], first.current());
        assert!(loaded.contains(&first.current().to_vec()));
        assert_eq!(mode(&dir.path().join("jwt.key.until-100")), 0o600);
        assert!(!all(100).contains(&first.current().to_vec()));
        rotate(dir.path(), TimeDelta::seconds(100), at(200)).unwrap();
        assert!(!dir.path().join("jwt.key.until-100").exists(), "expired secrets are removed");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn configured_secrets_replace_the_generated_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.jwt_secret = "n".repeat(32).into();
        config.jwt_previous_secrets = vec!["o".repeat(32).into()];
        let secrets = Secrets::load(&config, at(0)).unwrap();
        assert_eq!(secrets.all().collect::<Vec<_>>(), [&[b'n'; 32], &[b'o'; 32]]);
        assert!(!dir.path().join(KEY_FILE).exists(), "no file is created if a secret is configured");
        assert!(!format!("{secrets:?}{config:?}").contains("nnnn"));
    }
}
