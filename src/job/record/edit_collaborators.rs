//! Changes of the collaborators of a locked job.

use serde_json::json;
use uuid::Uuid;

use super::collaborators::{CollaboratorChange, ReviewClaimant};
use super::locked::LockedJob;
use super::write_set::AccessWrite;
use crate::access;
use crate::access::policy::{self, Standing, works_on};
use crate::entity::access as rows;
use crate::entity::enums::{EventKind, PrincipalKind};
use crate::error::{Error, Result};
use crate::job::collaborator::Principal;
use crate::job::decide::{Command, ReleaseCause};

impl LockedJob {
    /// Gives a principal access to some steps. The owner keeps access to all of them.
    pub(crate) fn set_collaborator(
        &mut self,
        principal: &Principal,
        steps: &[String],
    ) -> Result<CollaboratorChange> {
        let before = self.collaborators()?.rows.iter().find(|row| row.principal_id == principal.id);
        let change = match before {
            Some(row) if row.kind == PrincipalKind::Owner || access::steps(&row.steps) == steps => {
                return Ok(CollaboratorChange::Unchanged);
            }
            Some(_) => CollaboratorChange::StepsChanged,
            None => CollaboratorChange::Added,
        };
        if change == CollaboratorChange::Added {
            self.add_access(principal.id, principal.kind, steps);
        } else if let Some(row) =
            self.collaborators_mut()?.rows.iter_mut().find(|row| row.principal_id == principal.id)
        {
            row.steps = json!(steps);
            let write = AccessWrite::SetSteps(principal.id, json!(steps));
            self.writes.access.push(write);
        }
        let word = if change == CollaboratorChange::Added { "ADDED" } else { "CHANGED" };
        self.record_collaborator(principal, word, Some(steps));
        Ok(change)
    }

    /// Removes the access of a collaborator. NOT_FOUND if the principal is the owner, or no collaborator.
    pub(crate) fn remove_collaborator(&mut self, id: Uuid) -> Result<()> {
        let of = |row: &rows::Model| row.principal_id == id && row.kind != PrincipalKind::Owner;
        let collaborators = self.collaborators_mut()?;
        let found = collaborators.rows.iter().position(of);
        let found = found.ok_or_else(|| Error::not_found("collaborator of this job"))?;
        collaborators.rows.remove(found);
        let principal = collaborators.principals.get(&id).cloned();
        let principal =
            principal.ok_or_else(|| Error::internal("a collaborator has neither user nor team"))?;
        self.writes.access.push(AccessWrite::Delete(id));
        self.record_collaborator(&principal, "REMOVED", None);
        Ok(())
    }

    /// Returns the kinds and IDs of all collaborators, without the owner.
    pub(crate) fn collaborator_ids(&self) -> Result<Vec<(PrincipalKind, Uuid)>> {
        let rows = self.collaborators()?.rows.iter().filter(|row| row.kind != PrincipalKind::Owner);
        Ok(rows.map(|row| (row.kind, row.principal_id)).collect())
    }

    /// Releases the open review if the reviewer who has claimed it has no access to its step any more.
    pub(crate) fn release_claim_without_access(&mut self) -> Result<()> {
        let Some(step) = self.open_review().map(|review| review.step.clone()) else { return Ok(()) };
        let collaborators = self.collaborators()?;
        let Some(claimant) = &collaborators.claimant else { return Ok(()) };
        if self.standing_of(claimant, &collaborators.rows).is_some_and(|standing| works_on(&standing, &step))
        {
            return Ok(());
        }
        let cause = ReleaseCause::AccessLost(claimant.id);
        Ok(self.perform(Command::ReleaseReview { cause })?)
    }

    fn standing_of(&self, claimant: &ReviewClaimant, rows: &[rows::Model]) -> Option<Standing> {
        let is_admin = claimant.is_admin?;
        let is_owner = self.row().owner_id == claimant.id;
        let mine = |row: &&rows::Model| {
            row.principal_id == claimant.id.0 || claimant.teams.contains(&row.principal_id)
        };
        policy::inherent_standing(is_owner, is_admin)
            .or_else(|| access::standing_of(rows.iter().filter(mine)))
    }

    /// Adds a collaborator to a job that is being created.
    pub(crate) fn add_first_collaborator(&mut self, principal: &Principal, steps: &[String]) {
        debug_assert!(!self.is_stored, "only `set_collaborator` sees the collaborators of a stored job");
        self.add_access(principal.id, principal.kind, steps);
        self.record_collaborator(principal, "ADDED", Some(steps));
    }

    pub(super) fn add_access(&mut self, principal: Uuid, kind: PrincipalKind, steps: &[String]) {
        let (job, now) = (self.row(), self.now());
        let row = rows::Model {
            job_id: job.id,
            principal_id: principal,
            kind,
            steps: json!(steps),
            created_at: job.created_at,
            updated_at: now,
        };
        if let Ok(collaborators) = self.collaborators_mut() {
            collaborators.rows.push(row.clone());
        }
        self.writes.access.push(AccessWrite::Insert(row));
    }

    fn record_collaborator(&mut self, principal: &Principal, change: &str, steps: Option<&[String]>) {
        let mut data = principal.change(change);
        if let Some(steps) = steps {
            data["steps"] = json!(steps);
        }
        self.record(EventKind::CollaborationChanged, None, data);
    }
}
