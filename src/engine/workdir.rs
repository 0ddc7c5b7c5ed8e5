//! The working folder of an engine's child processes, in the data directory, which the engines of several nodes may
//! share.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// A working folder that belongs to this engine until this value is dropped.
#[derive(Debug)]
pub(super) struct Workdir {
    path: PathBuf,
    _lock: File,
}

impl Workdir {
    /// Creates and locks the folder `name` in `root`. Removes the folders of engines whose processes have ended.
    pub(super) fn open(root: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(root)?;
        // One engine at a time: a lock file that is created but not yet locked looks like that of an ended process.
        let root_lock = lock_file(&root.join("door.lock"))?;
        root_lock.lock()?;
        for entry in std::fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove_if_abandoned(&entry.path())?;
            }
        }
        let path = root.join(name);
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

fn remove_if_abandoned(folder: &Path) -> Result<()> {
    let lock = folder.with_extension("lock");
    match File::options().write(true).open(&lock) {
        Ok(file) => match file.try_lock() {
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
    fn new_workdir_removes_only_folders_of_ended_engines() {
        let root = tempfile::tempdir().unwrap();
        let running = Workdir::open(root.path(), "running").unwrap();
        let ended = Workdir::open(root.path(), "ended").unwrap().path().to_owned();
        std::fs::create_dir(root.path().join("step-of-an-earlier-version")).unwrap();
        std::fs::write(running.path().join("input"), "x").unwrap();
        let third = Workdir::open(root.path(), "third").unwrap();
        assert!(running.path().join("input").exists() && third.path().exists());
        assert!(!ended.exists() && !root.path().join("step-of-an-earlier-version").exists());
    }
}
