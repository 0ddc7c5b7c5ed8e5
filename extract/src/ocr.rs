//! Reading text from pictures of pages, with the program `tesseract` where it is installed.
//!
//! Pages are rendered in the sandboxed child, one at a time, so that their pictures take no more room on disk than one
//! does; `tesseract` runs within limits of its own and may write to the step's folder only; what it found is put in
//! the text in a sandboxed child again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::child::protocol::{Findings, PICTURE, RECOGNIZED, Task, Unread};
use crate::child::{Context, internal};
use crate::document::Page;
use crate::failure::{Code, Failure};
use crate::operation::{Text, role};

mod languages;
mod tsv;

pub(crate) use tsv::merge;

/// The share of a step that is done when it is known which pages have no text.
pub(crate) const BEFORE: f32 = 0.1;

const PROGRAM: &str = "tesseract";
/// What `tesseract` recommends ("Improving the quality of the output", in its manual).
const DPI: f32 = 300.0;

/// Pixels that the picture of a page should be high.
pub(crate) fn height(page: &Page, least: u32) -> u32 {
    least.max((page.height / 72.0 * DPI).ceil() as u32)
}

/// Reads the pages from their pictures and puts what they say in `text-json`.
///
/// # Errors
/// [`Code::OcrUnavailable`] and [`Code::NoText`], and all that a child ends with.
pub(crate) async fn read(
    context: Context<'_>,
    text: &Text,
    pages: &[Unread],
    inputs: &BTreeMap<String, PathBuf>,
    folder: &Path,
    progress: &mut (dyn FnMut(f32, &str) + Send),
) -> Result<Findings, Failure> {
    if pages.len() > context.limits.ocr_pages {
        return Err(Failure::new(
            Code::DocumentTooComplex,
            format!(
                "{} pages would have to be read from pictures; {} are allowed. Split the document and upload the parts.",
                pages.len(),
                context.limits.ocr_pages
            ),
        ));
    }
    let tesseract = Tesseract::find(context, folder, &text.languages).await?;
    let picture = folder.join(PICTURE);
    let recognized = folder.join(RECOGNIZED);
    let mut file = fs::File::create(&recognized).await.map_err(|error| internal("write for", &error))?;
    let mut message = String::new();
    for (i, page) in pages.iter().enumerate() {
        message.clear();
        // Writing to a string cannot fail.
        let _ = write!(message, "Reading page {} from its picture", page.page);
        progress(BEFORE + (1.0 - BEFORE) * i as f32 / pages.len() as f32, &message);
        let outputs = BTreeMap::from([(PICTURE.to_owned(), picture.clone())]);
        context.run(Task::Render(*page), inputs.clone(), outputs, &mut |_| {}).await?;
        let lines = tesseract.read(&picture).await?;
        let mut entry = tsv::heading(page.page).into_bytes();
        entry.extend(lines);
        file.write_all(&entry).await.map_err(|error| internal("write for", &error))?;
    }
    file.flush().await.map_err(|error| internal("write for", &error))?;
    let before = folder.join(role::TEXT);
    let after = folder.join("merged");
    let inputs = BTreeMap::from([
        (role::TEXT.to_owned(), before.clone()),
        (RECOGNIZED.to_owned(), recognized.clone()),
    ]);
    let outputs = BTreeMap::from([(role::TEXT.to_owned(), after.clone())]);
    let findings = context.run(Task::Merge, inputs, outputs, &mut |_| {}).await?;
    fs::rename(&after, &before).await.map_err(|error| internal("write for", &error))?;
    for path in [picture, recognized] {
        fs::remove_file(&path).await.map_err(|error| internal("clean up after", &error))?;
    }
    Ok(findings)
}

/// The installed program.
struct Tesseract<'c> {
    context: Context<'c>,
    /// The only one that it may write to.
    folder: &'c Path,
    program: PathBuf,
    /// As its `-l` takes them.
    languages: String,
}

impl<'c> Tesseract<'c> {
    async fn find(context: Context<'c>, folder: &'c Path, wanted: &[String]) -> Result<Self, Failure> {
        let program = std::env::var_os("PATH")
            .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|p| p.is_file()))
            .ok_or_else(|| {
                unavailable(
                    "reading text from pictures needs the program tesseract, which is not installed. On Debian and Ubuntu: \
                     apt install tesseract-ocr",
                )
            })?;
        let mut found = Self { context, folder, program, languages: String::new() };
        let listed = found.run(&["--list-langs".as_ref()]).await?;
        found.languages = languages::choose(wanted, &String::from_utf8_lossy(&listed)).ok_or_else(|| {
            unavailable(
                "the program tesseract, which reads text from pictures, has no language installed. On Debian and Ubuntu: apt \
                 install tesseract-ocr-eng",
            )
        })?;
        Ok(found)
    }

    /// What it reads in a picture, as tab separated values.
    async fn read(&self, picture: &Path) -> Result<Vec<u8>, Failure> {
        self.run(&[
            picture.as_os_str(),
            "stdout".as_ref(),
            "-l".as_ref(),
            self.languages.as_ref(),
            "--dpi".as_ref(),
            "300".as_ref(),
            "-c".as_ref(),
            "tessedit_create_tsv=1".as_ref(),
        ])
        .await
    }

    async fn run(&self, arguments: &[&OsStr]) -> Result<Vec<u8>, Failure> {
        let limits = self.context.limits;
        let passed = serde_json::to_string(limits).map_err(|error| internal("prepare", &error.into()))?;
        let mut command = self.context.command("exec", Stdio::null());
        command.arg(passed).arg(self.folder).arg(&self.program).args(arguments).env_clear();
        // Where its data lies is its own setting, and each of its threads would count against the time.
        command.env("OMP_THREAD_LIMIT", "1");
        if let Some(data) = std::env::var_os("TESSDATA_PREFIX") {
            command.env("TESSDATA_PREFIX", data);
        }
        let deadline = Instant::now() + limits.wall(limits.ocr_cpu());
        self.context.exec(command, deadline).await
    }
}

fn unavailable(what: &str) -> Failure {
    Failure::new(Code::OcrUnavailable, format!("The document has pages without text, and {what}."))
}
