//! The collaborators of a locked job in memory.

use std::collections::HashMap;

use uuid::Uuid;

use crate::entity::access as rows;
use crate::id::UserId;
use crate::job::collaborator::Principal;

/// Rows of `access` with the names of their principals.
#[derive(Debug)]
pub(super) struct CollaboratorRows {
    pub(super) rows: Vec<rows::Model>,
    pub(super) principals: HashMap<Uuid, Principal>,
    pub(super) claimant: Option<ReviewClaimant>,
}

/// The user who has claimed the open review.
#[derive(Debug)]
pub(super) struct ReviewClaimant {
    pub(super) id: UserId,
    /// `None` if the account does not exist any more.
    pub(super) is_admin: Option<bool>,
    pub(super) teams: Vec<Uuid>,
}

/// The change that adding a collaborator has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollaboratorChange {
    /// The principal was not a collaborator before.
    Added,
    /// The principal was a collaborator with other steps.
    StepsChanged,
    /// Nothing.
    Unchanged,
}
