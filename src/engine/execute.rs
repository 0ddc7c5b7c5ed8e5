//! The built-in executors: which operation a step of a built-in type is, and what it needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use docket_extract::operation::{Operation, Output, Text};
use serde_json::Value;

use crate::job::queue::Claim;
use crate::error::{Error, Result};
use crate::job::Jobs;
use crate::job_type::metadata::lookup;
use crate::job_type::{INPUT, NOOP};

/// What a claimed step asks of the executor; `None` where there is nothing to do.
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
                image_height: height(metadata),
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
        other => return Err(Error::Internal(format!("there is no executor for the step {other}"))),
    }))
}

fn height(metadata: &Value) -> u32 {
    let given = lookup(metadata, "zoning.high_resolution_image_height").and_then(Value::as_u64);
    given.and_then(|height| u32::try_from(height).ok()).unwrap_or(1024)
}

/// The languages that the job's taxonomy names.
async fn languages(jobs: &Jobs, claim: &Claim) -> Result<Vec<String>> {
    for role in ["mapping-taxonomy-json", "indexing-taxonomy-json"] {
        let Some((_, document)) = jobs.current_content(claim.job.id, role).await? else { continue };
        let bytes = jobs.storage.read(&document.storage_key, jobs.limits.taxonomy_bytes as u64 * 2).await?;
        let definition: Value = serde_json::from_slice(&bytes).map_err(Error::internal)?;
        let named = lookup(&definition, "options.languages").and_then(Value::as_array);
        return Ok(named.into_iter().flatten().filter_map(|l| l.as_str().map(str::to_owned)).collect());
    }
    Ok(Vec::new())
}

/// Brings the current contents that an operation reads into a folder.
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
