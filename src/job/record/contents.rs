//! The contents of a locked job in memory, and their differences to the stored rows.

use std::collections::HashSet;

use crate::entity::{content, document};
use crate::error::{Error, Result};
use crate::id::ContentId;

/// Contents of a job, as they stand in this transaction: for each role at least the current version and the newest one.
#[derive(Debug, Default)]
pub(super) struct Contents {
    all: Vec<Held>,
    /// Whether all versions that could become current again were read.
    is_restorable: bool,
}

/// A content, with its stored flags.
#[derive(Debug)]
struct Held {
    row: content::Model,
    document: Option<document::Model>,
    /// `current` and `undone` as they are stored; `None` for a new content.
    stored: Option<(bool, bool)>,
}

/// The differences between the contents in memory and those that are stored.
#[derive(Debug, Default)]
pub(super) struct ContentWrites {
    /// No longer the newest of their role.
    pub(super) superseded: Vec<ContentId>,
    /// Taken back with the step that made them.
    pub(super) undone: Vec<ContentId>,
    /// The newest of their role again.
    pub(super) restored: Vec<ContentId>,
    pub(super) new: Vec<content::Model>,
}

impl Contents {
    pub(super) fn stored(rows: Vec<(content::Model, Option<document::Model>)>, is_restorable: bool) -> Self {
        let held = |(row, document): (content::Model, _)| Held {
            stored: Some((row.current, row.undone)),
            row,
            document,
        };
        Self { all: rows.into_iter().map(held).collect(), is_restorable }
    }

    /// Returns the newest content of a role, with its document.
    pub(super) fn current(&self, role: &str) -> Option<(&content::Model, Option<&document::Model>)> {
        let current = self.all.iter().find(|held| held.row.current && held.row.role == role);
        current.map(|held| (&held.row, held.document.as_ref()))
    }

    /// Adds the next version of a role, and returns its number.
    pub(super) fn add(&mut self, mut row: content::Model, document: document::Model) -> i32 {
        let of_role = self.all.iter_mut().filter(|held| held.row.role == row.role);
        let mut version = 1;
        for held in of_role {
            version = version.max(held.row.version + 1);
            held.row.current = false;
        }
        row.version = version;
        self.all.push(Held { row, document: Some(document), stored: None });
        version
    }

    /// Takes back what some steps have made. In each of its roles, the newest content that is left becomes current again,
    /// whether it was given or made by an earlier step.
    pub(super) fn undo(&mut self, steps: &[&str]) -> Result<()> {
        if !self.is_restorable {
            return Err(Error::internal("a change undoes contents without reading all of them"));
        }
        let mut roles = HashSet::new();
        for Held { row, .. } in &mut self.all {
            let made_by_one = row.step.as_deref().is_some_and(|step| steps.contains(&step));
            if row.made && !row.undone && made_by_one {
                (row.undone, row.current) = (true, false);
                roles.insert(row.role.clone());
            }
        }
        for role in roles {
            let left = self.all.iter_mut().filter(|held| held.row.role == role && !held.row.undone);
            if let Some(newest) = left.max_by_key(|held| held.row.version) {
                newest.row.current = true;
            }
        }
        Ok(())
    }

    pub(super) fn into_writes(self) -> ContentWrites {
        let mut writes = ContentWrites::default();
        for Held { row, stored, .. } in self.all {
            match stored {
                None => writes.new.push(row),
                Some((_, false)) if row.undone => writes.undone.push(row.id),
                Some((true, _)) if !row.current => writes.superseded.push(row.id),
                Some((false, _)) if row.current => writes.restored.push(row.id),
                Some(_) => {}
            }
        }
        writes
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::entity::enums::Mode;
    use crate::id::{DocumentId, JobId, UserId};

    fn row(role: &str, version: i32, step: Option<&str>, made: bool, current: bool) -> content::Model {
        content::Model {
            id: ContentId::new(),
            job_id: JobId::new(),
            role: role.into(),
            version,
            document_id: DocumentId::new(),
            step: step.map(str::to_owned),
            current,
            made,
            undone: false,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    fn document() -> document::Model {
        document::Model {
            id: DocumentId::new(),
            name: String::new(),
            media_type: String::new(),
            size: 0,
            sha256: String::new(),
            storage_key: String::new(),
            owner_id: UserId::new(),
            job_id: None,
            mode: Mode::Live,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_new_version_supersedes_only_its_role() {
        let (before, other) = (row("a", 3, None, false, true), row("b", 1, None, false, true));
        let mut contents = Contents::stored(vec![(before.clone(), None), (other, None)], false);
        assert_eq!(contents.add(row("a", 1, Some("s"), true, true), document()), 4);
        let writes = contents.into_writes();
        assert_eq!((writes.superseded, writes.new.len()), (vec![before.id], 1));
        assert_eq!((writes.undone.len(), writes.restored.len()), (0, 0));
    }

    #[test]
    fn undoing_a_step_restores_the_newest_version_before_it() {
        let given = row("a", 1, None, false, false);
        let made = row("a", 2, Some("s"), true, true);
        let elsewhere = row("b", 1, Some("earlier"), true, true);
        let rows = [&given, &made, &elsewhere].map(|row| (row.clone(), None)).to_vec();
        let mut contents = Contents::stored(rows, true);
        contents.undo(&["s"]).unwrap();
        let writes = contents.into_writes();
        assert_eq!((writes.undone, writes.restored), (vec![made.id], vec![given.id]));
        assert!(writes.superseded.is_empty() && writes.new.is_empty());
    }
}
