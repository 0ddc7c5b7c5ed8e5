//! Messages to webhooks: the part of an event that the owner of the webhook may see now.

use sea_orm::EntityTrait;
use serde_json::{Value, json};

use super::Webhooks;
use super::queue::ClaimedDelivery;
use crate::access;
use crate::entity::{account, job, job_event};
use crate::error::{Error, Result};
use crate::events::feed::FeedPosition;
use crate::job::history::redact_event;

impl Webhooks {
    /// Returns the body of a delivery (Standard Webhooks specification), or `None` if the owner of the webhook no
    /// longer sees the job.
    pub(super) async fn build_message(&self, claim: &ClaimedDelivery) -> Result<Option<String>> {
        let (db, delivery) = (self.jobs.db.read(), &claim.delivery);
        let Some(job) = job::Entity::find_by_id(delivery.job_id).one(db).await? else { return Ok(None) };
        let owner = account::Entity::find_by_id(claim.webhook.account_id).one(db).await?;
        let Some(owner) = owner else { return Ok(None) };
        let Some(standing) = access::standing_of_account(db, &owner, &job).await? else { return Ok(None) };
        let event = job_event::Entity::find_by_id((job.id, delivery.sequence)).one(db).await?;
        let Some(event) = event else { return Ok(None) };
        let job_type = self.jobs.types.version(&job.type_id, job.type_version).await?;
        let event = redact_event(&standing, &job_type, event);
        let body = body(&job, &event, &event.data)?;
        if body.len() <= self.settings.message_bytes {
            return Ok(Some(body));
        }
        body_without_data(&job, &event).map(Some)
    }
}

fn body_without_data(job: &job::Model, event: &job_event::Model) -> Result<String> {
    body(job, event, &json!({"omitted": true}))
}

fn body(job: &job::Model, event: &job_event::Model, data: &Value) -> Result<String> {
    let message = json!({
        "type": format!("job.{}", event.kind.as_str().to_lowercase()),
        "timestamp": event.at,
        "data": {
            "jobId": event.job_id,
            "jobType": job.type_id,
            "mode": job.mode,
            "sequence": event.sequence,
            "cursor": FeedPosition::of(event).encode(),
            "kind": event.kind,
            "actorId": event.actor_id,
            "data": data,
        },
    });
    serde_json::to_string(&message).map_err(Error::internal)
}
