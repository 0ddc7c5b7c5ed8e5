//! The operations of the built-in job types, and their inputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use docket_extract::operation::{Operation, Output, Text};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::job::Jobs;
use crate::job::queue::Claim;
use crate::job_type::metadata::lookup;
use crate::job_type::{INPUT, NOOP};

/// Default height of page images, in pixels.
const DEFAULT_IMAGE_HEIGHT: u32 = 1024;

/// Returns the operation of a claimed step; `None` if the step does nothing.
pub(super) async fn operation(jobs: &Jobs, claim: &Claim) -> Result<Option<Operation>> {
    let metadata = &claim.job.metadata;
    if claim.job.type_id == NOOP {
        return Ok(None);
    }
    let job_type = jobs.types.version(&claim.job.type_id, claim.job.type_version).await?;
    let threshold = job_type.threshold(&claim.step, metadata);
    Ok(Some(match claim.step.as_str() {
        "text-extraction" => {
            let (_, input) = jobs
                .current_content(claim.job.id, INPUT)
                .await?
                .ok_or_else(|| Error::internal("a job without input"))?;
            Operation::Text(Text {
                mime: input.media_type,
                ocr: lookup(metadata, "text-extraction.ocr").and_then(Value::as_bool).unwrap_or(false),
                languages: languages(jobs, claim).await?,
                image_height: image_height(metadata),
            })
        }
        "zoning" => Operation::Zoning { threshold },
        "mapping" => Operation::Mapping { threshold },
        "indexing" => Operation::Indexing { threshold },
        "output" => {
            let (_, input) = jobs
                .current_content(claim.job.id, INPUT)
                .await?
                .ok_or_else(|| Error::internal("a job without input"))?;
            Operation::Output(Output {
                name: input.name,
                sha256: Some(input.sha256),
                job: Some(claim.job.id.to_string()),
                created_at: Some(jobs.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
            })
        }
        step => return Err(Error::Internal(format!("no operation for step {step:?}"))),
    }))
}

fn image_height(metadata: &Value) -> u32 {
    let given = lookup(metadata, "zoning.high_resolution_image_height").and_then(Value::as_u64);
    given.and_then(|height| u32::try_from(height).ok()).unwrap_or(DEFAULT_IMAGE_HEIGHT)
}

/// Returns the languages in the job's copy of its taxonomy.
async fn languages(jobs: &Jobs, claim: &Claim) -> Result<Vec<String>> {
    for role in ["mapping-taxonomy-json", "indexing-taxonomy-json"] {
        let Some((_, document)) = jobs.current_content(claim.job.id, role).await? else { continue };
        let bytes = jobs.storage.read(&document.storage_key, jobs.limits.taxonomy_bytes as u64 * 2).await?;
        let definition: Value = serde_json::from_slice(&bytes).map_err(Error::internal)?;
        let languages = lookup(&definition, "options.languages").and_then(Value::as_array);
        return Ok(languages.into_iter().flatten().filter_map(|l| l.as_str().map(str::to_owned)).collect());
    }
    Ok(Vec::new())
}

/// Copies the current contents that an operation reads into a folder. Returns their paths by role.
pub(super) async fn inputs(
    jobs: &Jobs,
    claim: &Claim,
    operation: &Operation,
    folder: &Path,
) -> Result<BTreeMap<String, PathBuf>> {
    let mut inputs = BTreeMap::new();
    for role in operation.inputs() {
        if let Some((_, document)) = jobs.current_content(claim.job.id, role).await? {
            let path = folder.join(format!("in-{role}"));
            jobs.storage.copy_to(&document.storage_key, &path).await?;
            inputs.insert((*role).to_owned(), path);
        }
    }
    Ok(inputs)
}
