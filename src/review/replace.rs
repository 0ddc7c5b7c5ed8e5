//! Replaces the content under review with a corrected one, or adds an output of a MANUAL step. Like a patch, a
//! replacement requires the claim; unlike a patch, it does not decide the review.

use bytes::Bytes;
use docket_extract::document::Zones;
use docket_extract::keywords::Keywords;
use docket_extract::mapping::Mapping;
use docket_extract::operation::role;
use docket_extract::review::{ReviewItem, keyword_items, mapping_items, zone_items};
use docket_extract::taxonomy::Taxonomy;
use futures_util::Stream;
use sea_orm::EntityTrait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::decide::{self, Seen};
use super::{add_claimant, claim, correct, json_content};
use crate::access::ReviewGrant;
use crate::document::{Staged, UploadInfo};
use crate::entity::review_items;
use crate::error::{Error, Result};
use crate::id::{ContentId, JobId};
use crate::job::contents::{Grade, Origin};
use crate::job::decide::{Command, Rejection};
use crate::job::record::{self, Reads, ReviewSubject};
use crate::job::state::StepKind;
use crate::job::{Jobs, not_found};
use crate::job_type::{INPUT, JobType};
use crate::json::{is_json, pointer};

/// The result of checking the bytes of a content.
#[derive(Default)]
struct Checked {
    /// Parts of the content that need a decision.
    items: Vec<Value>,
    /// Confidences of the values that have changed.
    grades: Vec<Grade>,
}

/// Stores a stream of bytes as the next version of a role, and makes it the content of the review. If anything fails,
/// nothing changes and the bytes are removed.
pub async fn replace<E: std::fmt::Display>(
    jobs: &Jobs,
    grant: &ReviewGrant,
    role: &str,
    described: UploadInfo,
    bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Seen> {
    let job_type = jobs.types.version(&grant.job().type_id, grant.job().type_version).await?;
    let seen = decide::seen(jobs, grant.review()).await?;
    let before = check_role(&job_type, grant, role, seen.as_ref())?;
    if grant.review().barred_id == Some(grant.actor().user.id) {
        return Err(Rejection::FourEyes.into());
    }
    claim::check_claim(jobs, grant).await?;
    let step = job_type.step(&grant.review().step);
    let keeps_type = step.is_none_or(|step| step.kind == StepKind::Automatic);
    let name_before = before.as_ref().map_or_else(|| role.to_owned(), |(_, document)| document.name.clone());
    let type_before = before.as_ref().filter(|_| keeps_type).map(|(_, document)| document.media_type.clone());
    let described = UploadInfo {
        name: described.name.or(Some(name_before)),
        media_type: type_before.or(described.media_type),
    };
    let staged = jobs.documents.stage(described, bytes).await?;
    let key = staged.key().to_owned();
    let replaced = async {
        let checked = check_bytes(jobs, &job_type, grant, role, &staged, before.as_ref()).await?;
        let content = commit(jobs, grant, role, staged, before, checked).await?;
        let found = decide::content_with_document(jobs, content).await?;
        found.ok_or_else(not_found)
    };
    match replaced.await {
        Ok(replaced) => Ok(replaced),
        Err(error) => {
            if error.is_rolled_back() {
                jobs.documents.discard(&key).await;
            }
            Err(add_claimant(jobs, error).await)
        }
    }
}

/// Returns the content that is replaced: the one under review, or none if a MANUAL step has not created the role yet.
fn check_role(
    job_type: &JobType,
    grant: &ReviewGrant,
    role: &str,
    seen: Option<&Seen>,
) -> Result<Option<Seen>> {
    if let Some(seen) = seen.filter(|(content, _)| content.role == role) {
        return Ok(Some(seen.clone()));
    }
    let step = job_type.step(&grant.review().step);
    let manual = step.filter(|step| step.kind == StepKind::Manual);
    let valid: Vec<&str> = match (manual, seen) {
        (Some(step), _) => {
            step.content_roles.iter().map(String::as_str).filter(|role| *role != INPUT).collect()
        }
        (None, Some((content, _))) => vec![content.role.as_str()],
        (None, None) => Vec::new(),
    };
    if manual.is_some() && valid.contains(&role) {
        return Ok(None);
    }
    let message = match valid.is_empty() {
        true => "This review has no content that could be replaced.".to_owned(),
        false => format!("The role {role:?} is not under review. Valid roles: {}.", valid.join(", ")),
    };
    Err(Error::invalid("/role", "UNKNOWN_ROLE", message))
}

/// Checks JSON like the result of a patch; accepts other bytes unchecked.
async fn check_bytes(
    jobs: &Jobs,
    job_type: &JobType,
    grant: &ReviewGrant,
    role: &str,
    staged: &Staged,
    before: Option<&Seen>,
) -> Result<Checked> {
    let schema = decide::schema(job_type, role);
    if schema.is_none() && !is_json_type(staged.media_type()) {
        return Ok(Checked::default());
    }
    let max_bytes = jobs.review.content_bytes;
    if staged.size() > max_bytes as u64 {
        return Err(Error::TooLarge(format!("A JSON content has at most {max_bytes} bytes.")));
    }
    let size_before = before.map_or(0, |(_, document)| u64::try_from(document.size).unwrap_or_default());
    let _permit = json_content::permit(jobs, staged.size() + size_before).await?;
    let bytes = jobs.storage.read(staged.key(), max_bytes as u64).await?;
    let before = match before {
        Some((_, document)) => Some(jobs.storage.read(&document.storage_key, max_bytes as u64).await?),
        None => None,
    };
    let threshold = job_type.threshold(&grant.review().step, &grant.job().metadata);
    let taxonomy = match (role, &schema) {
        (role::MAPPING, Some(_)) => Some(taxonomy(jobs, grant.job().id).await?),
        _ => None,
    };
    let items_before = match &schema {
        Some(_) => Vec::new(),
        None => current_items(jobs, grant).await?,
    };
    let role = role.to_owned();
    // Megabytes of JSON would delay other requests.
    let checked = tokio::task::spawn_blocking(move || -> Result<Checked> {
        let content = json_content::parse(&bytes, "")?;
        // A previous content that is not JSON cannot be compared.
        let before = before.and_then(|bytes| json_content::parse(&bytes, "").ok());
        let grades =
            correct::check_replacement(before.as_ref(), &content, schema.as_ref()).map_err(Error::Invalid)?;
        let items = match (role.as_str(), taxonomy) {
            _ if schema.is_none() => refresh_items(items_before, &content, max_bytes)?,
            (role::ZONES, _) => to_json(&zone_items(&deserialize::<Zones>(&content)?, threshold))?,
            (role::INDEXING, _) => to_json(&keyword_items(&deserialize::<Keywords>(&content)?, threshold))?,
            (role::MAPPING, Some(taxonomy)) => {
                to_json(&mapping_items(&deserialize::<Mapping>(&content)?, &taxonomy, threshold))?
            }
            _ => Vec::new(),
        };
        Ok(Checked { items, grades })
    });
    checked.await.map_err(Error::internal)?
}

fn is_json_type(media_type: &str) -> bool {
    media_type.parse().is_ok_and(|media_type| is_json(&media_type))
}

fn deserialize<T: DeserializeOwned>(content: &Value) -> Result<T> {
    serde_path_to_error::deserialize(content).map_err(|error| {
        Error::invalid(
            pointer(error.path()),
            "SHAPE",
            format!("The content is malformed: {}.", error.inner()),
        )
    })
}

fn to_json(items: &[ReviewItem]) -> Result<Vec<Value>> {
    items.iter().map(serde_json::to_value).collect::<Result<_, _>>().map_err(Error::internal)
}

/// Returns the items of a worker's review that the new content still has, with their new values. Together, the values
/// have at most `max_bytes` bytes: paths may overlap, and each item has a copy.
fn refresh_items(items: Vec<Value>, content: &Value, max_bytes: usize) -> Result<Vec<Value>> {
    let (mut refreshed, mut size) = (Vec::with_capacity(items.len()), 0);
    for mut item in items {
        let path = item.get("path").and_then(Value::as_str);
        let (Some(found), Some(_)) = (path.and_then(|path| content.pointer(path)), item.as_object()) else {
            continue;
        };
        let value = found.get("value").unwrap_or(found);
        size += value.to_string().len();
        if size > max_bytes {
            let message = format!("The values of the review's items would have more than {max_bytes} bytes.");
            return Err(Error::TooLarge(message));
        }
        item["value"] = value.clone();
        refreshed.push(item);
    }
    Ok(refreshed)
}

async fn current_items(jobs: &Jobs, grant: &ReviewGrant) -> Result<Vec<Value>> {
    let row = review_items::Entity::find_by_id(grant.review().id).one(jobs.db.read()).await?;
    Ok(row.and_then(|row| row.items.as_array().cloned()).unwrap_or_default())
}

/// Returns the copy of the taxonomy that the job was created with.
async fn taxonomy(jobs: &Jobs, job: JobId) -> Result<Taxonomy> {
    let found = jobs.current_content(job, role::MAPPING_TAXONOMY).await?;
    let (_, document) = found.ok_or_else(|| Error::internal("a job without its taxonomy"))?;
    // The taxonomy was checked when it was stored, and has fewer bytes than this.
    let bytes = jobs.storage.read(&document.storage_key, jobs.limits.taxonomy_bytes as u64 * 2).await?;
    let definition: Value = serde_json::from_slice(&bytes).map_err(Error::internal)?;
    Taxonomy::parse(&definition).map_err(|problems| Error::internal(format!("a taxonomy: {problems:?}")))
}

/// Adds the new content under the lock of the job, and makes it the subject of the review. Returns its ID.
async fn commit(
    jobs: &Jobs,
    grant: &ReviewGrant,
    role: &str,
    staged: Staged,
    before: Option<Seen>,
    Checked { items, grades }: Checked,
) -> Result<ContentId> {
    let (step, by, duration) =
        (grant.review().step.clone(), grant.actor().user.id, claim::claim_duration(jobs));
    let role = role.to_owned();
    let replaced = record::change(jobs, grant.clone(), Reads::CONTENTS, move |locked| {
        let until = locked.now() + duration;
        // Refuses callers without the claim.
        locked.perform(Command::RenewReview { by, until })?;
        if let Some((content, document)) = &before {
            decide::check_current(locked, content, document)?;
        }
        let document = staged.into_content_of(locked.row(), locked.now())?;
        let content = locked.add_content(&role, &document, Origin::Made(&step))?;
        locked.add_document(document);
        if let Some((before, _)) = &before {
            // The decision counts the scores of the content that it is about.
            locked.move_scores(before.id, content);
            locked.count_corrections(content, grades);
        }
        locked.replace_review_subject(ReviewSubject { content: Some(content), items });
        Ok(content)
    });
    Ok(replaced.await?.1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn review_items_follow_the_new_content() {
        let items = vec![
            json!({"path": "/a", "value": 1, "label": "a"}),
            json!({"path": "/gone"}),
            json!({"path": "/b/0"}),
        ];
        let content = json!({"a": 2, "b": [{"value": "x", "confidence": 1}]});
        let expected =
            [json!({"path": "/a", "value": 2, "label": "a"}), json!({"path": "/b/0", "value": "x"})];
        assert_eq!(refresh_items(items, &content, 4).unwrap(), expected);
        let overlapping = vec![json!({"path": ""}), json!({"path": ""})];
        assert!(matches!(refresh_items(overlapping, &content, 60), Err(Error::TooLarge(_))));
    }
}
