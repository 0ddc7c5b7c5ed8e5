//! Collaboration: adding teams and users to a job, step by step, and removing them.

use uuid::Uuid;

use crate::access::{Grant, Share};
use crate::audit::{self, AuditEvent, AuditOrigin};
use crate::entity::enums::{PrincipalKind, ReviewStatus};
use crate::entity::{job, review};
use crate::error::{Error, Result};
use crate::id::{JobId, UserId};
use crate::job::Jobs;
use crate::job::collaborator::{Principal, PrincipalRef, find_principal, normalize_steps, step_problems};
use crate::job::control::CheckedUpdate;
use crate::job::record::{self, CollaboratorChange, LockedJob, Reads, ServerAuthority};
use crate::job::request::refuse;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

/// Adds a collaborator, or changes the steps of one. The owner has access to everything already, so nothing changes.
pub async fn share(
    jobs: &Jobs,
    grant: &Grant<Share>,
    collaborator: &PrincipalRef,
    steps: &[String],
) -> Result<job::Model> {
    let job = grant.job();
    let job_type = jobs.types.version(&job.type_id, job.type_version).await?;
    let problems = step_problems(&job_type, steps, "/steps");
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let principal = find_principal(jobs.db.read(), collaborator).await?;
    let (steps, max) = (normalize_steps(steps), jobs.limits.collaborators);
    change(jobs, grant, move |locked| {
        match locked.set_collaborator(&principal, &steps)? {
            CollaboratorChange::Unchanged => return Ok(Vec::new()),
            CollaboratorChange::StepsChanged => {}
            CollaboratorChange::Added => check_count(locked, max, "/collaborator")?,
        }
        Ok(vec![(AuditEvent::CollaboratorAdded, principal.id)])
    })
    .await
}

/// Removes a collaborator. Their subscriptions to the job end, and a review that they have claimed is released.
pub async fn revoke(jobs: &Jobs, grant: &Grant<Share>, collaborator: &PrincipalRef) -> Result<job::Model> {
    let principal = find_principal(jobs.db.read(), collaborator).await?;
    change(jobs, grant, move |locked| {
        locked.remove_collaborator(principal.id)?;
        Ok(vec![(AuditEvent::CollaboratorRemoved, principal.id)])
    })
    .await
}

/// A new list of collaborators, whose principals exist and whose steps are valid.
#[derive(Debug, Clone)]
pub struct NewCollaborators {
    /// The kinds whose collaborators the list replaces.
    kinds: Vec<PrincipalKind>,
    list: Vec<(Principal, Vec<String>)>,
}

/// Checks a list of teams, of users, or of both, with which [`replace`] replaces the present ones. Reports all problems at
/// once.
pub(crate) async fn new_collaborators(
    jobs: &Jobs,
    grant: &Grant<Share>,
    teams: Option<Vec<(PrincipalRef, Vec<String>)>>,
    users: Option<Vec<(PrincipalRef, Vec<String>)>>,
) -> Result<NewCollaborators> {
    let job = grant.job();
    let job_type = jobs.types.version(&job.type_id, job.type_version).await?;
    let kinds = [(PrincipalKind::Team, teams.is_some()), (PrincipalKind::User, users.is_some())];
    let kinds = kinds.into_iter().filter_map(|(kind, given)| given.then_some(kind)).collect();
    let all: Vec<_> = teams.into_iter().chain(users).flatten().collect();
    let mut problems = Vec::new();
    let list = jobs.collaborators(job.owner_id, &job_type, &all, &mut problems).await?;
    if problems.is_empty() { Ok(NewCollaborators { kinds, list }) } else { Err(refuse(problems)) }
}

/// Replaces the collaborators of some kinds and makes other changes, all in one transaction.
pub async fn replace(
    jobs: &Jobs,
    grant: &Grant<Share>,
    new: NewCollaborators,
    changes: CheckedUpdate,
) -> Result<job::Model> {
    let NewCollaborators { kinds, list } = new;
    let max = jobs.limits.collaborators;
    change(jobs, grant, move |locked| {
        changes.apply(locked)?;
        let mut events = Vec::new();
        for (kind, id) in locked.collaborator_ids()? {
            if kinds.contains(&kind) && !list.iter().any(|(kept, _)| kept.id == id) {
                locked.remove_collaborator(id)?;
                events.push((AuditEvent::CollaboratorRemoved, id));
            }
        }
        for (principal, steps) in &list {
            if locked.set_collaborator(principal, steps)? != CollaboratorChange::Unchanged {
                events.push((AuditEvent::CollaboratorAdded, principal.id));
            }
        }
        check_count(locked, max, "/collaboration")?;
        Ok(events)
    })
    .await
}

fn check_count(locked: &LockedJob, max: usize, path: &str) -> Result<()> {
    if locked.collaborator_ids()?.len() <= max {
        return Ok(());
    }
    Err(Error::invalid(path, "TOO_MANY", format!("A job has at most {max} collaborators.")))
}

/// Reacts to a changed membership of a team: wakes the subscribers of jobs, and releases reviews that the user has claimed
/// and has no access to any more. An error with one review does not keep the others from being released.
pub async fn membership_changed(jobs: &Jobs, user: UserId) -> Result<()> {
    jobs.hub.membership_changed();
    let claimed = review::Entity::find()
        .select_only()
        .column(review::Column::JobId)
        .filter(review::Column::ClaimedBy.eq(user))
        .filter(review::Column::Status.eq(ReviewStatus::Claimed));
    let claimed: Vec<JobId> = claimed.into_tuple().all(jobs.db.read()).await?;
    for job in claimed {
        let release = LockedJob::release_claim_without_access;
        match record::change(jobs, ServerAuthority::membership(job), Reads::COLLABORATORS, release).await {
            // The job was deleted since its review was read.
            Ok(_) | Err(Error::NotFound(_)) => {}
            Err(error) => {
                tracing::error!(job.id = %job, %error, "failed to release the review of a user without access");
            }
        }
    }
    Ok(())
}

/// Changes the collaborators of a job. `change` returns entries for the audit log, with the IDs of teams and users.
async fn change(
    jobs: &Jobs,
    grant: &Grant<Share>,
    change: impl FnOnce(&mut LockedJob) -> Result<Vec<(AuditEvent, Uuid)>> + Send + 'static,
) -> Result<job::Model> {
    let by = AuditOrigin::from(grant.actor());
    let changed = record::change(jobs, grant.clone(), Reads::COLLABORATORS, move |locked| {
        let events = change(locked)?;
        locked.release_claim_without_access()?;
        Ok(events)
    });
    let (job, events) = changed.await?;
    for (event, collaborator) in events {
        audit::record_access_change(event, by, collaborator, job.id);
    }
    Ok(job)
}
