//! What other nodes change without an event: how far a worker has got, and who belongs to which team.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::entity::{task, team_member};
use crate::error::Result;
use crate::id::JobId;

/// How many memberships there are, and when the newest began: any that begins or ends changes one of the two.
type Memberships = (i64, Option<DateTime<Utc>>);
/// The fence of a running step, how far it is and what it says.
type Progress = (i64, f64, Option<String>);

/// What was last known of it.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    memberships: Option<Memberships>,
    progress: HashMap<JobId, Progress>,
}

/// What is new of it. What this node has changed itself may be among it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Somebody has joined or left a team.
    pub memberships: bool,
    /// Jobs whose running step has got further.
    pub progress: Vec<JobId>,
}

impl Elsewhere {
    /// Looks again. The first look finds nothing new.
    pub(super) async fn look(&mut self, db: &impl ConnectionTrait) -> Result<Difference> {
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
        // A step that has just been claimed said so by an event.
        let further = |(job, now): &(&JobId, &Progress)| {
            self.progress.get(job).is_some_and(|before| before.0 == now.0 && before != *now)
        };
        let difference = Difference {
            memberships: self.memberships.is_some() && self.memberships != memberships,
            progress: progress.iter().filter(further).map(|(job, _)| *job).collect(),
        };
        (self.memberships, self.progress) = (memberships, progress);
        Ok(difference)
    }
}
