//! Carries out tasks in the child process.

use std::sync::Arc;

use super::contents::{self, Mapping as MappingContent, Text as TextContent};
use super::files::{TaskFiles, storage_failure};
use super::limits::Limits;
use super::progress::ProgressReporter;
use super::protocol::{PAGE_IMAGE, PageToRender, RECOGNIZED_TEXT, Task, TaskResult};
use super::review;
use crate::document::{PagesMeta, TextDocument, Zones};
use crate::failure::{Code, Failure};
use crate::keywords::{self, Keywords};
use crate::layout::DocumentLayout;
use crate::mapping;
use crate::operation::{ContentScores, Operation, Output, Text, role};
use crate::review::ReviewItem;
use crate::taxonomy::Taxonomy;
use crate::{epub, html, ocr, pdf, plain, review as items, sniff, xml, zoning};

/// Carries out a task.
pub(super) fn run_task(
    task: Task,
    mut files: TaskFiles,
    limits: &Limits,
    progress: &mut ProgressReporter<'_>,
) -> Result<TaskResult, Failure> {
    let files = &mut files;
    match task {
        Task::Operation(Operation::Text(text)) => read_text(&text, files, limits, progress),
        Task::Operation(Operation::Zoning { threshold }) => find_zones(threshold, files),
        Task::Operation(Operation::Mapping { threshold }) => find_values(threshold, files, limits),
        Task::Operation(Operation::Indexing { threshold }) => find_keywords(threshold, files, limits),
        Task::Operation(Operation::Output(output)) => write_output(output, files, limits),
        Task::Render(page) => render_page(page, files, limits),
        Task::Merge => merge_recognized(files),
    }
}

fn read_text(
    text: &Text,
    files: &mut TaskFiles,
    limits: &Limits,
    progress: &mut ProgressReporter<'_>,
) -> Result<TaskResult, Failure> {
    let bytes = Arc::new(files.read(role::INPUT)?);
    let readable = [sniff::PDF, sniff::EPUB, sniff::HTML, sniff::PLAIN].map(str::to_owned);
    let mime = sniff::check_media_type(&text.mime, &readable, &bytes[..bytes.len().min(sniff::HEAD_BYTES)])?;
    let document = &limits.document;
    let mut progress = |share| progress.report(share);
    let (layout, meta, image_only_pages) = match mime.as_str() {
        sniff::PDF => {
            let read = pdf::read(bytes, document, &mut progress)?;
            (read.layout, Some(read.meta), read.image_only_pages)
        }
        sniff::EPUB => (epub::read(bytes, document, &mut progress)?, None, Vec::new()),
        sniff::HTML => (html::read(&bytes, document)?, None, Vec::new()),
        _ => (plain::read(&bytes, document)?, None, Vec::new()),
    };
    let DocumentLayout { document, hints } = layout;
    let total_pages = document.pages.len() as u32;
    let empty = document.pages.iter().all(|page| page.words.is_empty());
    let is_pdf = meta.is_some();
    if empty && !(text.ocr && is_pdf) {
        return Err(no_text_failure(is_pdf));
    }
    let pages_to_recognize = document
        .pages
        .iter()
        // A document without any text may draw its letters as lines, so OCR reads every page of it.
        .filter(|page| text.ocr && is_pdf && (empty || image_only_pages.contains(&page.number)))
        .map(|page| PageToRender { page: page.number, height: ocr::image_height(page, text.image_height) })
        .collect();
    let meta = meta.unwrap_or(PagesMeta { pdf_type: None, total_pages });
    let content = TextContent { pages: document.pages, hints, meta: Some(meta) };
    contents::write_json(files, role::TEXT, &content)?;
    Ok(TaskResult { pages_to_recognize, ..TaskResult::default() })
}

fn no_text_failure(is_pdf: bool) -> Failure {
    let message = if is_pdf {
        "The document has no text: its pages are images or empty. Set text-extraction.ocr to true to read the text of \
         images."
    } else {
        "The document has no text."
    };
    Failure::new(Code::NoText, message)
}

fn find_zones(threshold: f64, files: &mut TaskFiles) -> Result<TaskResult, Failure> {
    let TextContent { pages, hints, meta } = contents::read_json(files, role::TEXT)?;
    let document = TextDocument { pages };
    let zones = zoning::find_zones(&document, &hints);
    let total_pages = document.pages.len() as u32;
    let meta = meta.unwrap_or(PagesMeta { pdf_type: None, total_pages });
    contents::write_json(files, role::PAGES_META, &meta)?;
    contents::write_json(files, role::ZONES, &zones)?;
    let all_items = items::zone_items(&zones, 1.0);
    Ok(build_result(all_items, threshold, role::ZONES, |items| {
        review::less_certain_reason(items.len(), "zone", threshold)
    }))
}

fn find_values(threshold: f64, files: &mut TaskFiles, limits: &Limits) -> Result<TaskResult, Failure> {
    let taxonomy = read_taxonomy(files, role::MAPPING_TAXONOMY, limits)?;
    let document: TextDocument = contents::read_json(files, role::TEXT)?;
    let zones: Option<Zones> = contents::read_optional_json(files, role::ZONES)?;
    let mapping = mapping::map_document(&document, zones.as_ref(), &taxonomy);
    let all_items = items::mapping_items(&mapping, &taxonomy, 1.0);
    contents::write_json(files, role::MAPPING, &MappingContent::from_findings(mapping))?;
    Ok(build_result(all_items, threshold, role::MAPPING, |items| review::values_reason(items, threshold)))
}

fn find_keywords(threshold: f64, files: &mut TaskFiles, limits: &Limits) -> Result<TaskResult, Failure> {
    let taxonomy = read_taxonomy(files, role::INDEXING_TAXONOMY, limits)?;
    let document: TextDocument = contents::read_json(files, role::TEXT)?;
    let keywords = keywords::extract_keywords_within(&document, &taxonomy, &limits.keywords);
    contents::write_json(files, role::INDEXING, &keywords)?;
    let all_items = items::keyword_items(&keywords, 1.0);
    let reason = |items: &[ReviewItem]| review::less_certain_reason(items.len(), "keyword", threshold);
    Ok(build_result(all_items, threshold, role::INDEXING, reason))
}

/// Returns the review and the confidences of everything that the step found.
fn build_result(
    all_items: Vec<ReviewItem>,
    threshold: f64,
    role: &str,
    reason: impl FnOnce(&[ReviewItem]) -> String,
) -> TaskResult {
    let scores = items::count_scores(&all_items, threshold);
    let due = items::due_items(all_items, threshold);
    let reason = reason(&due);
    TaskResult {
        review: review::request_review(due, threshold, role, reason),
        scored: Some(ContentScores { content_role: role.to_owned(), scores }),
        pages_to_recognize: Vec::new(),
    }
}

fn write_output(output: Output, files: &mut TaskFiles, limits: &Limits) -> Result<TaskResult, Failure> {
    let Output { name, sha256, job, created_at } = output;
    let mut source = xml::Source { document: Some(name), sha256, job, created_at, ..xml::Source::default() };
    let mut set_taxonomy = |taxonomy: &Taxonomy| {
        source.taxonomy = Some(taxonomy.name.clone());
        source.taxonomy_version.clone_from(&taxonomy.version);
    };
    let xml = if files.has(role::MAPPING) {
        let content: MappingContent = contents::read_json(files, role::MAPPING)?;
        let taxonomy = read_taxonomy(files, role::MAPPING_TAXONOMY, limits)?;
        set_taxonomy(&taxonomy);
        // The text can be long, and only corrections need it.
        let text =
            if content.is_corrected() { contents::read_optional_json(files, role::TEXT)? } else { None };
        let mapping = content.into_corrected(&taxonomy, &text.unwrap_or_default());
        xml::write_output(xml::Body::Mapping(&mapping), &source)
    } else {
        let keywords: Keywords = contents::read_json(files, role::INDEXING)?;
        set_taxonomy(&read_taxonomy(files, role::INDEXING_TAXONOMY, limits)?);
        xml::write_output(xml::Body::Keywords(&keywords), &source)
    };
    contents::write_bytes(files, role::OUTPUT, &xml.map_err(|error| storage_failure(&error))?)?;
    Ok(TaskResult::default())
}

fn read_taxonomy(files: &mut TaskFiles, role: &str, limits: &Limits) -> Result<Taxonomy, Failure> {
    let definition = contents::read_json(files, role)?;
    Taxonomy::parse_within(&definition, &limits.taxonomy).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(Code::DocumentDamaged, format!("The taxonomy cannot be used: {}", problems.join("; ")))
    })
}

fn render_page(page: PageToRender, files: &mut TaskFiles, limits: &Limits) -> Result<TaskResult, Failure> {
    let bytes = Arc::new(files.read(role::INPUT)?);
    let image = pdf::render_page(bytes, page.page, page.height, &limits.document)?;
    contents::write_bytes(files, PAGE_IMAGE, &image)?;
    Ok(TaskResult::default())
}

fn merge_recognized(files: &mut TaskFiles) -> Result<TaskResult, Failure> {
    let mut text: TextContent = contents::read_json(files, role::TEXT)?;
    let recognized = String::from_utf8_lossy(&files.read(RECOGNIZED_TEXT)?).into_owned();
    ocr::merge(&mut text.pages, &mut text.hints, &recognized);
    if text.pages.iter().all(|page| page.words.is_empty()) {
        return Err(Failure::new(
            Code::NoText,
            "The document has no text, and OCR found none in the images of its pages.",
        ));
    }
    contents::write_json(files, role::TEXT, &text)?;
    Ok(TaskResult::default())
}
