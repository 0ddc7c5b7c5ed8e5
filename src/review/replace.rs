//! Putting a corrected content in place of the one under review, or adding what a person made for a MANUAL step. Like a
//! patch, it needs the claim; unlike one, it decides nothing.

use bytes::Bytes;
use docket_extract::document::Zones;
use docket_extract::keywords::Keywords;
use docket_extract::mapping::Mapping;
use docket_extract::operation::role;
use docket_extract::review::{ReviewItem, of_keywords, of_mapping, of_zones};
use docket_extract::taxonomy::Taxonomy;
use futures_util::Stream;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::correct::{self, Grade};
use super::decide::{self, Seen};
use super::{claim, name_claimant};
use crate::access::ReviewGrant;
use crate::db::Work;
use crate::document::{Described, Staged};
use crate::entity::{confidence, content, document, review_matter};
use crate::error::{Error, Result};
use crate::id::{ContentId, JobId};
use crate::job::contents::{self, Origin};
use crate::job::decide::{Command, Rejection};
use crate::job::record::{Locked, ReviewSubject, Saved};
use crate::job::state::StepKind;
use crate::job::{Jobs, gone};
use crate::job_type::{INPUT, JobType};
use crate::json::{pointer, without_byte_order_mark};

/// Findings of the check of a content's bytes.
#[derive(Default)]
struct Checked {
    /// Parts of the content that need a decision.
    items: Vec<Value>,
    /// How sure the machine had been of what is different now.
    grades: Vec<Grade>,
}

/// Stores a stream of bytes as the next version of a role, and makes it the content of the review. Where anything is wrong,
/// nothing changes and the bytes are removed.
pub async fn replace<E: std::fmt::Display>(
    jobs: &Jobs,
    grant: &ReviewGrant,
    role: &str,
    described: Described,
    bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Seen> {
    let job_type = jobs.types.version(&grant.job().type_id, grant.job().type_version).await?;
    let seen = decide::seen(jobs, grant.review()).await?;
    let before = check_role(&job_type, grant, role, seen.as_ref())?;
    if grant.review().barred_id == Some(grant.actor().user.id) {
        return Err(Rejection::FourEyes.into());
    }
    // Checked again under the lock; here so that nobody stores bytes who does not hold the claim.
    if grant.review().claimed_by != Some(grant.actor().user.id) {
        let rejection = grant.review().claimed_by.map_or(Rejection::NotClaimed, Rejection::ClaimedBy);
        return Err(name_claimant(jobs, rejection.into()).await);
    }
    let step = job_type.step(&grant.review().step);
    let keeps_type = step.is_none_or(|step| step.kind == StepKind::Automatic);
    let name_before = before.as_ref().map_or_else(|| role.to_owned(), |(_, document)| document.name.clone());
    let type_before = before.as_ref().filter(|_| keeps_type).map(|(_, document)| document.media_type.clone());
    let described = Described {
        name: described.name.or(Some(name_before)),
        media_type: type_before.or(described.media_type),
    };
    let staged = jobs.documents.stage(described, bytes).await?;
    let key = staged.key().to_owned();
    let replaced = async {
        let checked = check_bytes(jobs, &job_type, grant, role, &staged, before.as_ref()).await?;
        let (saved, content) = commit(jobs, grant, role, staged, before, checked).await?;
        jobs.announce(saved);
        let found = content::Entity::find_by_id(content).find_also_related(document::Entity);
        let found =
            found.one(jobs.db.read()).await?.and_then(|(content, document)| Some((content, document?)));
        found.ok_or_else(gone)
    };
    match replaced.await {
        Ok(replaced) => Ok(replaced),
        Err(error) => {
            if error.nothing_written() {
                jobs.documents.discard(&key).await;
            }
            Err(name_claimant(jobs, error).await)
        }
    }
}

/// Returns the content that is replaced: the one under review, or none where a MANUAL step has not made the role yet.
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

/// Checks JSON as the result of a patch is checked; other bytes are taken as they are.
async fn check_bytes(
    jobs: &Jobs,
    job_type: &JobType,
    grant: &ReviewGrant,
    role: &str,
    staged: &Staged,
    before: Option<&Seen>,
) -> Result<Checked> {
    let schema = decide::schema(job_type, role);
    if schema.is_none() && !is_json(staged.media_type()) {
        return Ok(Checked::default());
    }
    let largest = jobs.review.content_bytes;
    if staged.size() > largest as u64 {
        return Err(Error::TooLarge(format!("A JSON content has at most {largest} bytes.")));
    }
    let size_before = before.map_or(0, |(_, document)| u64::try_from(document.size).unwrap_or_default());
    let kib = u32::try_from((staged.size() + size_before) / 1024).unwrap_or(u32::MAX).max(1);
    let all = u32::try_from(largest / 1024).unwrap_or(u32::MAX).max(1);
    let _room = jobs.correcting.acquire_many(kib.min(all)).await.map_err(Error::internal)?;
    let bytes = jobs.storage.read(staged.key(), largest as u64).await?;
    let before = match before {
        Some((_, document)) => Some(jobs.storage.read(&document.storage_key, largest as u64).await?),
        None => None,
    };
    let threshold = job_type.threshold(&grant.review().step, &grant.job().metadata);
    let taxonomy = match (role, &schema) {
        (role::MAPPING, Some(_)) => Some(taxonomy(jobs, grant.job().id).await?),
        _ => None,
    };
    let known = match &schema {
        Some(_) => Vec::new(),
        None => items_now(jobs, grant).await?,
    };
    let role = role.to_owned();
    // Megabytes of JSON would keep other requests waiting.
    let checked = tokio::task::spawn_blocking(move || -> Result<Checked> {
        if count_values(&bytes) > MAX_VALUES {
            let message = format!("A JSON content has at most {MAX_VALUES} values.");
            return Err(Error::invalid("", "TOO_MANY", message));
        }
        let content: Value = serde_json::from_slice(without_byte_order_mark(&bytes)).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::invalid(
                "",
                "NOT_JSON",
                format!("The content is not JSON: it is wrong or ends at {place}."),
            )
        })?;
        let before = before.map(|bytes| serde_json::from_slice::<Value>(&bytes)).transpose();
        // A content before that was no JSON cannot be compared.
        let before = before.ok().flatten();
        let grades = correct::replace(before.as_ref(), &content, schema.as_ref()).map_err(Error::Invalid)?;
        let items = match (role.as_str(), taxonomy) {
            _ if schema.is_none() => refreshed(known, &content),
            (role::ZONES, _) => as_json(&of_zones(&typed::<Zones>(&content)?, threshold))?,
            (role::INDEXING, _) => as_json(&of_keywords(&typed::<Keywords>(&content)?, threshold))?,
            (role::MAPPING, Some(taxonomy)) => {
                as_json(&of_mapping(&typed::<Mapping>(&content)?, &taxonomy, threshold))?
            }
            _ => Vec::new(),
        };
        Ok(Checked { items, grades })
    });
    checked.await.map_err(Error::internal)?
}

/// Values of a JSON content: each takes many times the two bytes that it may have as text.
const MAX_VALUES: usize = 1_000_000;

/// Returns about how many values a JSON text has, without reading it into memory.
fn count_values(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

fn is_json(media_type: &str) -> bool {
    media_type
        .parse::<mime::Mime>()
        .is_ok_and(|mime| mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON))
}

fn typed<T: DeserializeOwned>(content: &Value) -> Result<T> {
    serde_path_to_error::deserialize(content).map_err(|error| {
        Error::invalid(
            pointer(error.path()),
            "SHAPE",
            format!("The content is malformed: {}.", error.inner()),
        )
    })
}

fn as_json(items: &[ReviewItem]) -> Result<Vec<Value>> {
    items.iter().map(serde_json::to_value).collect::<Result<_, _>>().map_err(Error::internal)
}

/// The items that a worker asked about and that the new content still has, each with its value of now.
fn refreshed(items: Vec<Value>, content: &Value) -> Vec<Value> {
    let refresh = |mut item: Value| {
        let found = content.pointer(item.get("path")?.as_str()?)?;
        let value = found.get("value").unwrap_or(found).clone();
        item.as_object_mut()?.insert("value".to_owned(), value);
        Some(item)
    };
    items.into_iter().filter_map(refresh).collect()
}

async fn items_now(jobs: &Jobs, grant: &ReviewGrant) -> Result<Vec<Value>> {
    let matter = review_matter::Entity::find_by_id(grant.review().id).one(jobs.db.read()).await?;
    Ok(matter.and_then(|matter| matter.items.as_array().cloned()).unwrap_or_default())
}

/// The taxonomy as it was when the job was created.
async fn taxonomy(jobs: &Jobs, job: JobId) -> Result<Taxonomy> {
    let found = jobs.current(job, role::MAPPING_TAXONOMY).await?;
    let (_, document) = found.ok_or_else(|| Error::internal("a job without its taxonomy"))?;
    // It was checked when it was stored, in fewer bytes than this.
    let bytes = jobs.storage.read(&document.storage_key, jobs.limits.taxonomy_bytes as u64 * 2).await?;
    let definition: Value = serde_json::from_slice(&bytes).map_err(Error::internal)?;
    Taxonomy::parse(&definition).map_err(|problems| Error::internal(format!("a taxonomy: {problems:?}")))
}

async fn commit(
    jobs: &Jobs,
    grant: &ReviewGrant,
    role: &str,
    staged: Staged,
    before: Option<Seen>,
    Checked { items, grades }: Checked,
) -> Result<(Saved, ContentId)> {
    let (job, id, step) = (grant.job().id, grant.review().id, grant.review().step.clone());
    let (clock, by, grant, lasts) =
        (jobs.clock.clone(), grant.actor().user.id, grant.clone(), claim::lasts(jobs));
    let role = role.to_owned();
    jobs.db
        .write(move |tx| -> Work<'_, (Saved, ContentId)> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, job, &clock).await?.ok_or_else(gone)?;
                grant.still_holds(tx, locked.row()).await?;
                claim::is_open(&locked, id)?;
                let until = locked.now() + lasts;
                // Refuses whoever does not hold the claim, before anything is written.
                locked.perform(Command::RenewReview { by, until }, Some(by))?;
                if let Some((content, document)) = &before {
                    decide::still_current(tx, content, document).await?;
                }
                let document = staged.into_content_of(locked.row(), locked.now())?;
                let document = document.into_active_model().reset_all().insert(tx).await?;
                let origin = Origin::Made(&step);
                let content = contents::add(tx, &mut locked, &role, &document, origin, Some(by)).await?;
                if let Some((before, _)) = &before {
                    carry_scores(tx, before.id, content, &grades).await?;
                }
                locked.replace_review_subject(ReviewSubject { content: Some(content), items });
                Ok((locked.save(tx).await?, content))
            })
        })
        .await
}

/// Moves the scores of the content before to the one that replaces it, so that the decision counts them, with what was
/// corrected.
async fn carry_scores(
    tx: &impl ConnectionTrait,
    before: ContentId,
    now: ContentId,
    grades: &[Grade],
) -> Result<()> {
    use confidence::Column;

    let moved = confidence::Entity::update_many().col_expr(Column::ContentId, Expr::value(now));
    moved.filter(Column::ContentId.eq(before)).exec(tx).await?;
    decide::count_corrections(tx, now, grades).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        assert_eq!(count_values(br#"{"a": ["x,[{\",", 2, {}], "b": null}"#), 7, "about");
        assert_eq!(count_values(b"7"), 1);
    }

    #[test]
    fn items_of_a_worker_keep_to_what_the_new_content_has() {
        let items = vec![
            json!({"path": "/a", "value": 1, "label": "a"}),
            json!({"path": "/gone"}),
            json!({"path": "/b/0"}),
        ];
        let content = json!({"a": 2, "b": [{"value": "x", "confidence": 1}]});
        let expected =
            [json!({"path": "/a", "value": 2, "label": "a"}), json!({"path": "/b/0", "value": "x"})];
        assert_eq!(refreshed(items, &content), expected);
    }
}
