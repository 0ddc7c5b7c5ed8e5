//! `docket demo`, as a client: gives a running server a document of the demo's own, and shows what comes of it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`samples`] | the documents, and the taxonomy that they are read with |
//! | `table` | values in columns |

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::table::Table;
use super::submit::outcome;
use crate::client::error::printable;
use crate::client::job::Source;
use crate::client::{
    Client, ClientError, Console, DocumentInfo, Job, JobStatus, NewJob, Result, Upload, progress,
};
use crate::config::Secret;

pub mod samples;
mod start;
mod table;

pub use start::{DemoArgs, demo};

const JOB_TYPE: &str = "data-point-extraction";
/// The content that holds the values.
const VALUES: &str = "mapping-json";
/// Bytes of the values that are taken: far above what a sample has.
const LARGEST_VALUES: u64 = 4 << 20;
/// Bytes of the output that are looked at for its first lines.
const XML_HEAD: u64 = 64 << 10;
/// Lines of the output that are shown.
const XML_LINES: usize = 12;

/// Makes the demo's taxonomy, or the next version of it.
pub async fn put_taxonomy(client: &Client) -> Result<()> {
    const PUT: &str =
        "mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name } } }";
    let definition: Value = serde_json::from_str(samples::TAXONOMY)
        .map_err(|error| ClientError::Input(format!("the demo's own taxonomy: {error}")))?;
    let input = json!({"name": samples::TAXONOMY_NAME, "definition": definition});
    client.graphql(PUT, json!({"input": input})).await.map(drop)
}

/// Submits the first sample and shows how it goes and what is found. The folder gets the samples, the taxonomy and the
/// output. The server has the demo's taxonomy ([`put_taxonomy`]); the token is shown, so that people can go on with it.
pub async fn run(client: &Client, folder: &Path, token: &Secret, console: &mut Console<'_>) -> Result<Job> {
    samples::write_to(folder)?;
    let sample = samples::SAMPLES[0];
    console.say(&format!(
        "Docket runs at {}. It is given {}, {}.",
        client.server(),
        sample.name,
        sample.about
    ))?;
    let upload = Upload::open(&folder.join(sample.name)).await?;
    let progress = console.upload(sample.name, upload.size);
    let document = client.upload(upload, progress).await?;
    console.clear();
    let new = NewJob {
        job_type: JOB_TYPE.into(),
        input: Source { document_id: document.id },
        metadata: metadata_without_reviews(),
        collaboration: Vec::new(),
        idempotency_key: None,
        priority: None,
    };
    let created = client.create_job(&new).await?;
    let job = client.watch(&created.id, |job| console.job(job)).await?;
    console.clear();
    console.say(&outcome(&job))?;
    if job.status == JobStatus::Completed {
        show_values(client, &job, console).await?;
        show_output(client, &job, &folder.join(sample.name).with_extension("xml"), console).await?;
    }
    console.say(&next_steps(client.server(), folder, token))?;
    Ok(job)
}

/// A threshold of 0: nobody is asked, however unsure a value is.
fn metadata_without_reviews() -> Map<String, Value> {
    Map::from_iter([
        ("mapping.taxonomy".to_owned(), samples::TAXONOMY_NAME.into()),
        ("mapping.high_confidence_threshold".to_owned(), 0.into()),
        ("zoning.high_confidence_threshold".to_owned(), 0.into()),
    ])
}

async fn show_values(client: &Client, job: &Job, console: &mut Console<'_>) -> Result<()> {
    let missing = || ClientError::Protocol(format!("job {} is completed and has no {VALUES}", job.id));
    let content = client.content(&job.id, VALUES).await?.ok_or_else(missing)?;
    let json = bytes_of(client, &content, LARGEST_VALUES).await?;
    let found: Found = serde_json::from_slice(&json)
        .map_err(|error| ClientError::Protocol(format!("{VALUES} of job {}: {error}", job.id)))?;
    console.say(&format!("\n{}", values_table(&found)))?;
    Ok(())
}

async fn show_output(client: &Client, job: &Job, path: &Path, console: &mut Console<'_>) -> Result<()> {
    let missing = || ClientError::Protocol(format!("job {} is completed and has no output", job.id));
    let output = &job.output_content.as_ref().ok_or_else(missing)?.document;
    client.save(output, path).await?;
    console.say(&format!("The same as XML ({}), in {}:", progress::size(output.size), path.display()))?;
    console.say(&first_lines(path)?).map_err(ClientError::from)
}

fn first_lines(path: &Path) -> Result<String> {
    use std::io::Read;
    let failed = |cause| ClientError::File { path: path.to_owned(), cause };
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(XML_HEAD).read_to_end(&mut head).map_err(failed)?;
    let head = String::from_utf8_lossy(&head);
    let mut lines: Vec<String> =
        head.lines().take(XML_LINES).map(|line| format!("  {}", printable(line))).collect();
    if head.lines().nth(XML_LINES).is_some() {
        lines.push("  …".into());
    }
    Ok(lines.join("\n"))
}

async fn bytes_of(client: &Client, document: &DocumentInfo, largest: u64) -> Result<Vec<u8>> {
    if document.size > largest {
        let size = progress::size(document.size);
        return Err(ClientError::Protocol(format!(
            "{} has {size}, far more than a sample gives",
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
        "\nAsk the API yourself, in GraphiQL, signed in as the demo's user:\n  {server}/graphiql#token={token}\n\n\
         Samples and taxonomy are in {folder}. Without the thresholds of 0 that the demo sets, a job waits until a \
         person has looked. To see one wait, and why (the tab JobReview in GraphiQL), run:\n  \
         export DOCKET_TOKEN={token}\n  \
         docket submit '{folder}/{german}' --server {server} --type {JOB_TYPE} --metadata mapping.taxonomy={taxonomy} --watch"
    )
}

/// `mapping-json`, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Found {
    data_points: Vec<FoundValue>,
}

#[derive(Debug, Deserialize)]
struct FoundValue {
    name: String,
    value: Option<String>,
    normalized: Option<String>,
    confidence: f64,
}

fn values_table(found: &Found) -> Table {
    let mut table = Table::new(["Name", "Value", "Normalized", "Confidence"]);
    for FoundValue { name, value, normalized, confidence } in &found.data_points {
        let value = value.as_deref().unwrap_or("(not found)");
        let normalized = normalized.as_deref().unwrap_or_default();
        table.row([name, value, normalized, &format!("{confidence:.2}")]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_columns() {
        let found: Found = serde_json::from_value(json!({"data_points": [
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
    fn people_are_told_how_to_go_on() {
        let text =
            next_steps("http://127.0.0.1:4000", Path::new("/tmp/a b"), &Secret::from("tok".to_owned()));
        assert!(text.contains("\n  http://127.0.0.1:4000/graphiql#token=tok\n"), "{text}");
        assert!(
            text.contains("docket submit '/tmp/a b/rechnung-nordwind.pdf' --server http://127.0.0.1:4000"),
            "{text}"
        );
    }

    #[test]
    fn only_the_first_lines_are_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "<a>\n  <b/>\n</a>\n").unwrap();
        assert_eq!(first_lines(file.path()).unwrap(), "  <a>\n    <b/>\n  </a>");
        std::fs::write(file.path(), "x\n".repeat(XML_LINES + 1)).unwrap();
        assert!(first_lines(file.path()).unwrap().ends_with("\n  …"));
    }
}
