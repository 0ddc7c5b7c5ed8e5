//! Where children work: a folder of this engine's own in the data directory, which engines of one PostgreSQL may share.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// A folder that is its engine's for as long as this is held.
#[derive(Debug)]
pub(super) struct Workdir {
    path: PathBuf,
    _lock: File,
}

impl Workdir {
    /// Moves in to a folder `name` in `all`, and removes the folders of engines that are gone: what a killed process was
    /// working on is of no use to anybody.
    pub(super) fn open(all: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(all)?;
        // One at a time looks around and moves in, since a lock that is made and not held yet looks like one of the dead.
        let door = lock_file(&all.join("door.lock"))?;
        door.lock()?;
        for entry in std::fs::read_dir(all)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove_if_left(&entry.path())?;
            }
        }
        let path = all.join(name);
        let lock = lock_file(&path.with_extension("lock"))?;
        lock.lock()?;
        std::fs::create_dir(&path)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn lock_file(path: &Path) -> Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

fn remove_if_left(folder: &Path) -> Result<()> {
    let lock = folder.with_extension("lock");
    match File::options().write(true).open(&lock) {
        Ok(held) => match held.try_lock() {
            Ok(()) => {
                std::fs::remove_dir_all(folder)?;
                std::fs::remove_file(&lock)
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(()),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => std::fs::remove_dir_all(folder),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_leaves_those_that_live_alone_and_clears_up_after_the_dead() {
        let all = tempfile::tempdir().unwrap();
        let living = Workdir::open(all.path(), "living").unwrap();
        let dead = Workdir::open(all.path(), "dead").unwrap().path().to_owned();
        std::fs::create_dir(all.path().join("step-of-an-earlier-version")).unwrap();
        std::fs::write(living.path().join("input"), "x").unwrap();
        let third = Workdir::open(all.path(), "third").unwrap();
        assert!(living.path().join("input").exists() && third.path().exists());
        assert!(!dead.exists() && !all.path().join("step-of-an-earlier-version").exists());
    }
}
