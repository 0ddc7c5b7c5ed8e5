//! `docket demo`, as a client: runs a sample document through a server and shows the result.
//!
//! | module | content |
//! |---|---|
//! | [`samples`] | the sample documents and their taxonomy |
//! | `table` | tables of values |

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use self::table::Table;
use super::submit::describe_outcome;
use crate::client::error::printable;
use crate::client::operations::{self, ContentSource, CreateJobInput, PutTaxonomy, PutTaxonomyInput};
use crate::client::{Client, ClientError, Console, DocumentInfo, Job, JobStatus, Result, Upload, progress};
use crate::config::Secret;

pub(crate) mod samples;
mod start;
mod table;

pub(crate) use start::{DemoArgs, demo};

const JOB_TYPE: &str = "data-point-extraction";
/// The role of the content with the extracted values.
const VALUES: &str = "mapping-json";
/// Maximum size of the extracted values in bytes; far above that of any sample.
const MAX_VALUES_BYTES: u64 = 4 << 20;
/// Bytes of the output that are read for its first lines.
const XML_HEAD_BYTES: u64 = 64 << 10;
/// Lines of the output that are shown.
const XML_LINES: usize = 12;

/// Creates the taxonomy of the demo, or its next version.
pub(crate) async fn put_taxonomy(client: &Client) -> Result<()> {
    let definition: Value = serde_json::from_str(samples::TAXONOMY)
        .map_err(|error| ClientError::Input(format!("the taxonomy of the demo is not valid: {error}")))?;
    let input = PutTaxonomyInput { name: samples::TAXONOMY_NAME.into(), definition };
    client.execute::<PutTaxonomy>(operations::put_taxonomy::Variables { input }).await.map(drop)
}

/// Submits the first sample, and shows its progress and the extracted values. Writes the samples, the taxonomy and the
/// output to `folder`, and prints the token for further requests. Needs the taxonomy of [`put_taxonomy`].
pub(crate) async fn run(
    client: &Client,
    folder: &Path,
    token: &Secret,
    console: &mut Console<'_>,
) -> Result<Job> {
    samples::write_to(folder)?;
    let sample = samples::SAMPLES[0];
    console.print_line(&format!(
        "Docket runs at {}. Submitting {}, {}.",
        client.server(),
        sample.name,
        sample.about
    ))?;
    let upload = Upload::open(&folder.join(sample.name)).await?;
    let progress = console.show_upload(sample.name, upload.size);
    let document = client.upload(upload, progress).await?;
    console.clear();
    let input = CreateJobInput {
        type_: JOB_TYPE.into(),
        input: ContentSource::DocumentId(document.id),
        contents: None,
        metadata: Some(metadata_without_reviews()),
        collaboration: None,
        idempotency_key: None,
        priority: None,
    };
    let created = client.create_job(input).await?;
    let job = client.watch(&created.id, |job| console.show_job(job)).await?;
    console.clear();
    console.print_line(&describe_outcome(&job))?;
    if job.status == JobStatus::Completed {
        show_values(client, &job, console).await?;
        show_output(client, &job, &folder.join(sample.name).with_extension("xml"), console).await?;
    }
    console.print_line(&next_steps(client.server(), folder, token))?;
    Ok(job)
}

/// Returns metadata with thresholds of 0, so that no value opens a review.
fn metadata_without_reviews() -> Map<String, Value> {
    Map::from_iter([
        ("mapping.taxonomy".to_owned(), samples::TAXONOMY_NAME.into()),
        ("mapping.high_confidence_threshold".to_owned(), 0.into()),
        ("zoning.high_confidence_threshold".to_owned(), 0.into()),
    ])
}

async fn show_values(client: &Client, job: &Job, console: &mut Console<'_>) -> Result<()> {
    let missing = || ClientError::Protocol(format!("job {} is completed but has no {VALUES}", job.id));
    let content = client.content(&job.id, VALUES).await?.ok_or_else(missing)?;
    let json = download_bytes(client, &content, MAX_VALUES_BYTES).await?;
    let found: Values = serde_json::from_slice(&json)
        .map_err(|error| ClientError::Protocol(format!("{VALUES} of job {}: {error}", job.id)))?;
    console.print_line(&format!("\n{}", values_table(&found)))?;
    Ok(())
}

async fn show_output(client: &Client, job: &Job, path: &Path, console: &mut Console<'_>) -> Result<()> {
    let missing = || ClientError::Protocol(format!("job {} is completed but has no output", job.id));
    let output = &job.output_content.as_ref().ok_or_else(missing)?.document;
    client.save(output, path).await?;
    console.print_line(&format!(
        "The output as XML ({}), in {}:",
        progress::size(output.size),
        path.display()
    ))?;
    console.print_line(&first_lines(path)?).map_err(ClientError::from)
}

fn first_lines(path: &Path) -> Result<String> {
    use std::io::Read;
    let failed = |cause| ClientError::File { path: path.to_owned(), cause };
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(XML_HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
    let head = String::from_utf8_lossy(&head);
    let mut lines: Vec<String> =
        head.lines().take(XML_LINES).map(|line| format!("  {}", printable(line))).collect();
    if head.lines().nth(XML_LINES).is_some() {
        lines.push("  …".into());
    }
    Ok(lines.join("\n"))
}

async fn download_bytes(client: &Client, document: &DocumentInfo, max_bytes: u64) -> Result<Vec<u8>> {
    if document.size > max_bytes {
        let size = progress::size(document.size);
        return Err(ClientError::Protocol(format!(
            "{} has {size}, far more than any sample produces",
            document.name
        )));
    }
    let mut bytes = Vec::new();
    client.download(document, &mut bytes).await?;
    Ok(bytes)
}

fn next_steps(server: &str, folder: &Path, token: &Secret) -> String {
    let folder = folder.display();
    let (german, taxonomy) = (samples::SAMPLES[1].name, samples::TAXONOMY_NAME);
    let token = token.expose();
    format!(
        "\nTo use the API in GraphiQL as the user of the demo, open:\n  {server}/graphiql#token={token}\n\n\
         The samples and the taxonomy are in {folder}. The demo sets thresholds of 0; without them a job waits for a \
         person to review uncertain values. To see such a job, and the reason (the tab JobReview in GraphiQL), run:\n  \
         export DOCKET_TOKEN={token}\n  \
         docket submit '{folder}/{german}' --server {server} --type {JOB_TYPE} --metadata mapping.taxonomy={taxonomy} --watch"
    )
}

/// The part of `mapping-json` that is shown.
#[derive(Debug, Deserialize)]
struct Values {
    data_points: Vec<ExtractedValue>,
}

#[derive(Debug, Deserialize)]
struct ExtractedValue {
    name: String,
    value: Option<String>,
    normalized: Option<String>,
    confidence: f64,
}

fn values_table(found: &Values) -> Table {
    let mut table = Table::new(["Name", "Value", "Normalized", "Confidence"]);
    for ExtractedValue { name, value, normalized, confidence } in &found.data_points {
        let value = value.as_deref().unwrap_or("(not found)");
        let normalized = normalized.as_deref().unwrap_or_default();
        table.row([name, value, normalized, &format!("{confidence:.2}")]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_in_columns() {
        let found: Values = serde_json::from_value(json!({"data_points": [
            {"name": "amount.gross", "value": "£1,380.00", "normalized": "1380.00", "confidence": 0.987, "page": 1},
            {"name": "supplier.name", "value": null, "normalized": null, "confidence": 0},
        ]}))
        .unwrap();
        assert_eq!(
            values_table(&found).to_string(),
            "Name           Value        Normalized  Confidence\n\
             amount.gross   £1,380.00    1380.00     0.99\n\
             supplier.name  (not found)              0.00\n"
        );
    }

    #[test]
    fn next_steps_name_server_and_sample() {
        let text =
            next_steps("http://127.0.0.1:4000", Path::new("/tmp/a b"), &Secret::from("tok".to_owned()));
        assert!(text.contains("\n  http://127.0.0.1:4000/graphiql#token=tok\n"), "{text}");
        assert!(
            text.contains("docket submit '/tmp/a b/rechnung-nordwind.pdf' --server http://127.0.0.1:4000"),
            "{text}"
        );
    }

    #[test]
    fn long_output_is_cut_after_the_first_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "<a>\n  <b/>\n</a>\n").unwrap();
        assert_eq!(first_lines(file.path()).unwrap(), "  <a>\n    <b/>\n  </a>");
        std::fs::write(file.path(), "x\n".repeat(XML_LINES + 1)).unwrap();
        assert!(first_lines(file.path()).unwrap().ends_with("\n  …"));
    }
}
