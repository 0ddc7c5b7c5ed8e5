//! Finds changes of other nodes that create no events: the progress of steps, and memberships of teams.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::entity::{task, team_member};
use crate::error::Result;
use crate::id::JobId;

/// The number of memberships, and the start of the newest: every change of a membership changes one of the two.
type Memberships = (i64, Option<DateTime<Utc>>);
/// The fence of a running step, its fraction and its message.
type Progress = (i64, f64, Option<String>);

/// The values of the last poll.
#[derive(Debug, Default)]
pub(super) struct RemoteState {
    memberships: Option<Memberships>,
    progress: HashMap<JobId, Progress>,
}

/// The differences between two polls. Changes of this node can be among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RemoteDiff {
    /// Whether a user has joined or left a team.
    pub(crate) memberships: bool,
    /// Jobs whose running step has made progress.
    pub progress: Vec<JobId>,
}

impl RemoteState {
    /// Polls the database, and returns the differences since the last poll. The first poll finds none.
    pub(super) async fn poll(&mut self, db: &impl ConnectionTrait) -> Result<RemoteDiff> {
        let memberships = team_member::Entity::find()
            .select_only()
            .column_as(team_member::Column::TeamId.count(), "number")
            .column_as(team_member::Column::CreatedAt.max(), "newest")
            .into_tuple::<Memberships>();
        let memberships = memberships.one(db).await?;
        let running = task::Entity::find()
            .filter(task::Column::LeaseUntil.is_not_null())
            .select_only()
            .columns([
                task::Column::JobId,
                task::Column::Fence,
                task::Column::Fraction,
                task::Column::Message,
            ])
            .into_tuple::<(JobId, i64, f64, Option<String>)>();
        let running = running.all(db).await?.into_iter();
        let progress: HashMap<JobId, Progress> =
            running.map(|(job, fence, fraction, message)| (job, (fence, fraction, message))).collect();
        // A new claim has another fence, and an event of its own.
        let has_progressed = |(job, now): &(&JobId, &Progress)| {
            self.progress.get(job).is_some_and(|before| before.0 == now.0 && before != *now)
        };
        let diff = RemoteDiff {
            memberships: self.memberships.is_some() && self.memberships != memberships,
            progress: progress.iter().filter(has_progressed).map(|(job, _)| *job).collect(),
        };
        (self.memberships, self.progress) = (memberships, progress);
        Ok(diff)
    }
}
