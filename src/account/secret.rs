//! The secrets that tokens and links are signed with: where they are kept, and how one takes the place of another without
//! ending what was signed before.
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
use crate::config::Config;

/// Bytes of a generated secret, and of the shortest that is taken (RFC 7518 section 3.2).
pub const SECRET_BYTES: usize = 32;
/// The file of the generated secret, in the data directory.
const FILE: &str = "jwt.key";
/// What follows its name where it is one from before: until when it verifies, in seconds since 1970.
const UNTIL: &str = ".until-";

/// The secret that signs, and those that still verify.
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
    /// The secret that signs, and those that still verify.
    pub fn new(current: impl Into<Vec<u8>>, previous: Vec<Vec<u8>>) -> Self {
        Self { current: current.into(), previous }
    }

    /// Those of the configuration, or of the data directory, where one is made if there is none. The error names the file
    /// that is no secret.
    pub fn load(config: &Config, now: Timestamp) -> Result<Self, String> {
        let configured = config.jwt_previous_secrets.iter().map(|secret| secret.expose().as_bytes().to_vec());
        let mut previous: Vec<_> = configured.collect();
        let current = match config.jwt_secret.expose() {
            "" => {
                let path = config.data_dir.join(FILE);
                let current = load_or_make(&path).map_err(|error| said(&path, &error))?;
                for (path, until) in kept(&config.data_dir)? {
                    if until > now.timestamp() {
                        previous.push(load(&path).map_err(|error| said(&path, &error))?);
                    }
                }
                current
            }
            secret => secret.as_bytes().to_vec(),
        };
        Ok(Self { current, previous })
    }

    /// What signs.
    pub fn current(&self) -> &[u8] {
        &self.current
    }

    /// What verifies, the one that signs first.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.current()).chain(self.previous.iter().map(Vec::as_slice))
    }
}

/// Makes a new secret in the data directory. The one from before verifies for so long still; those whose time is over are
/// removed. Processes that run go on as they are until they start again.
pub fn rotate(dir: &Path, keep: TimeDelta, now: Timestamp) -> Result<(), String> {
    let path = dir.join(FILE);
    // Whatever is there has to be good: it will verify.
    load(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            format!("there is no signing key {} yet; a server makes one when it first starts", path.display())
        }
        _ => said(&path, &error),
    })?;
    let until = (now + keep).timestamp();
    let old = dir.join(format!("{FILE}{UNTIL}{until}"));
    let changed = || -> std::io::Result<()> {
        std::fs::hard_link(&path, &old)?;
        let draft = draft(&path)?;
        // From here on there is a new one under the name, or still the old one, whatever happens.
        std::fs::rename(&draft, &path)?;
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o600))?;
        std::fs::File::open(dir)?.sync_all()
    };
    changed().map_err(|error| said(&path, &error))?;
    for (path, until) in kept(dir)? {
        if until <= now.timestamp() {
            std::fs::remove_file(&path).map_err(|error| said(&path, &error))?;
        }
    }
    Ok(())
}

fn said(path: &Path, error: &IoError) -> String {
    format!("the signing key {}: {error}", path.display())
}

/// The files of secrets from before, each with the time until which it verifies.
fn kept(dir: &Path) -> Result<Vec<(PathBuf, i64)>, String> {
    let listed = || -> std::io::Result<Vec<_>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let until = name.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(UNTIL));
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
            "it has {} bytes and needs {SECRET_BYTES} or more. Restore it from a backup; or remove it, and a new one is \
             made, with which everybody has to sign in again",
            secret.len()
        )));
    }
    Ok(secret)
}

/// The secret in `path`, made there with mode 0600 where there is none. Of two processes that start at once, one makes
/// it and the other reads it: the file appears under its name only when it is whole.
fn load_or_make(path: &Path) -> std::io::Result<Vec<u8>> {
    match load(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let draft = draft(path)?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => load(path),
    }
}

/// A new secret under a name of this process's own.
fn draft(path: &Path) -> std::io::Result<PathBuf> {
    let secret: [u8; SECRET_BYTES] = rand::random();
    // In containers every process has the same number.
    let draft = path.with_extension(format!("{}.new", Uuid::now_v7().simple()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    Ok(draft)
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
    fn the_secret_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = Secrets::load(&config(dir.path()), at(0)).unwrap();
        assert_eq!(made.current().len(), SECRET_BYTES);
        assert_eq!(Secrets::load(&config(dir.path()), at(0)).unwrap().current(), made.current());
        assert_eq!(mode(&dir.path().join(FILE)), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_that_is_no_secret_is_refused_by_name() {
        for bytes in [&b""[..], &[7; 31]] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(FILE), bytes).unwrap();
            let refused = Secrets::load(&config(dir.path()), at(0)).unwrap_err();
            let words = format!("it has {} bytes and needs 32 or more", bytes.len());
            assert!(refused.contains("jwt.key") && refused.contains(&words), "{refused}");
            assert!(rotate(dir.path(), TimeDelta::hours(1), at(0)).unwrap_err().contains(&words));
            assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), bytes, "nothing is overwritten");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("jwt.key.until-99"), "short").unwrap();
        assert!(Secrets::load(&config(dir.path()), at(0)).unwrap_err().contains("jwt.key.until-99"));
        assert!(Secrets::load(&config(dir.path()), at(99)).is_ok(), "its time is over");
    }

    #[test]
    fn a_rotated_secret_verifies_until_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        assert!(rotate(dir.path(), TimeDelta::hours(1), at(0)).is_err(), "there is none yet");
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
        assert!(!dir.path().join("jwt.key.until-100").exists(), "what verifies nothing is removed");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn configured_secrets_verify_for_as_long_as_they_are_configured() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.jwt_secret = "n".repeat(32).into();
        config.jwt_previous_secrets = vec!["o".repeat(32).into()];
        let secrets = Secrets::load(&config, at(0)).unwrap();
        assert_eq!(secrets.all().collect::<Vec<_>>(), [&[b'n'; 32], &[b'o'; 32]]);
        assert!(!dir.path().join(FILE).exists(), "none is made where one is configured");
        assert!(!format!("{secrets:?}{config:?}").contains("nnnn"));
    }
}
