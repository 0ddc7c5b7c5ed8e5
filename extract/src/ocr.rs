//! OCR of page images with the program `tesseract`, if it is installed.
//!
//! A sandboxed child process renders one page at a time, so that only one image is on disk. `tesseract` runs within
//! limits of its own and may write to the step's folder only. Another sandboxed child process merges the recognized
//! text into `text-json`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::child::context::{ChildContext, internal_failure};
use crate::child::protocol::{PAGE_IMAGE, PageToRender, RECOGNIZED_TEXT, Task, TaskResult};
use crate::document::Page;
use crate::failure::{Code, Failure};
use crate::operation::{Text, role};

mod languages;
mod tsv;

pub(crate) use tsv::merge;

/// Share of the step that is done when the pages without text are known.
pub(crate) const SHARE_BEFORE_OCR: f32 = 0.1;

const TESSERACT: &str = "tesseract";
/// Resolution that the manual of `tesseract` recommends ("Improving the quality of the output").
const OCR_DPI: f32 = 300.0;

/// Returns the height in pixels of a page's image.
pub(crate) fn image_height(page: &Page, least: u32) -> u32 {
    least.max((page.height / 72.0 * OCR_DPI).ceil() as u32)
}

/// Recognizes the text of pages and merges it into `text-json`.
///
/// # Errors
/// [`Code::OcrUnavailable`], [`Code::NoText`], and the failures of child processes.
pub(crate) async fn recognize_pages(
    context: ChildContext<'_>,
    text: &Text,
    pages: &[PageToRender],
    inputs: &BTreeMap<String, PathBuf>,
    folder: &Path,
    progress: &mut (dyn FnMut(f32, &str) + Send),
) -> Result<TaskResult, Failure> {
    if pages.len() > context.limits.ocr_pages {
        return Err(Failure::new(
            Code::DocumentTooComplex,
            format!(
                "{} pages need OCR; the limit is {}. Split the document and upload the parts.",
                pages.len(),
                context.limits.ocr_pages
            ),
        ));
    }
    let tesseract = Tesseract::find(context, folder, &text.languages).await?;
    let image = folder.join(PAGE_IMAGE);
    let recognized = folder.join(RECOGNIZED_TEXT);
    let mut file =
        fs::File::create(&recognized).await.map_err(|error| internal_failure("write text", &error))?;
    let mut message = String::new();
    for (i, page) in pages.iter().enumerate() {
        message.clear();
        // Writing to a string cannot fail.
        let _ = write!(message, "Recognizing the text of page {}", page.page);
        progress(SHARE_BEFORE_OCR + (1.0 - SHARE_BEFORE_OCR) * i as f32 / pages.len() as f32, &message);
        let outputs = BTreeMap::from([(PAGE_IMAGE.to_owned(), image.clone())]);
        context.run_task(Task::Render(*page), inputs.clone(), outputs, &mut |_| {}).await?;
        let lines = tesseract.recognize(&image).await?;
        let mut entry = tsv::page_line(page.page).into_bytes();
        entry.extend(lines);
        file.write_all(&entry).await.map_err(|error| internal_failure("write text", &error))?;
    }
    file.flush().await.map_err(|error| internal_failure("write text", &error))?;
    let before = folder.join(role::TEXT);
    let after = folder.join("merged");
    let inputs = BTreeMap::from([
        (role::TEXT.to_owned(), before.clone()),
        (RECOGNIZED_TEXT.to_owned(), recognized.clone()),
    ]);
    let outputs = BTreeMap::from([(role::TEXT.to_owned(), after.clone())]);
    let result = context.run_task(Task::Merge, inputs, outputs, &mut |_| {}).await?;
    fs::rename(&after, &before).await.map_err(|error| internal_failure("write text", &error))?;
    for path in [image, recognized] {
        fs::remove_file(&path).await.map_err(|error| internal_failure("remove files", &error))?;
    }
    Ok(result)
}

/// The installed `tesseract`.
struct Tesseract<'c> {
    context: ChildContext<'c>,
    /// The only folder that it may write to.
    folder: &'c Path,
    program: PathBuf,
    /// Languages in the form of the option `-l`.
    languages: String,
}

impl<'c> Tesseract<'c> {
    async fn find(context: ChildContext<'c>, folder: &'c Path, wanted: &[String]) -> Result<Self, Failure> {
        let program = std::env::var_os("PATH")
            .and_then(|path| {
                std::env::split_paths(&path).map(|folder| folder.join(TESSERACT)).find(|p| p.is_file())
            })
            .ok_or_else(|| {
                unavailable(
                    "OCR needs the program tesseract, which is not installed. On Debian and Ubuntu: \
                     apt install tesseract-ocr",
                )
            })?;
        let mut found = Self { context, folder, program, languages: String::new() };
        let listed = found.run(&["--list-langs".as_ref()]).await?;
        found.languages =
            languages::choose_languages(wanted, &String::from_utf8_lossy(&listed)).ok_or_else(|| {
                unavailable(
                    "the program tesseract has no language installed. On Debian and Ubuntu: apt install \
                 tesseract-ocr-eng",
                )
            })?;
        Ok(found)
    }

    /// Returns the text in an image as tab-separated values.
    async fn recognize(&self, image: &Path) -> Result<Vec<u8>, Failure> {
        self.run(&[
            image.as_os_str(),
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
        let passed = serde_json::to_string(limits)
            .map_err(|error| internal_failure("encode limits", &error.into()))?;
        let mut command = self.context.command("exec", Stdio::null());
        command.arg(passed).arg(self.folder).arg(&self.program).args(arguments).env_clear();
        // One thread, because each thread uses up the CPU time.
        command.env("OMP_THREAD_LIMIT", "1");
        if let Some(data) = std::env::var_os("TESSDATA_PREFIX") {
            command.env("TESSDATA_PREFIX", data);
        }
        let deadline = Instant::now() + limits.wall(limits.ocr_cpu());
        self.context.exec_program(command, deadline).await
    }
}

fn unavailable(reason: &str) -> Failure {
    Failure::new(Code::OcrUnavailable, format!("The document has pages without text, and {reason}."))
}
