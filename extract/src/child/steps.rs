//! What each task does, in the child.

use std::sync::Arc;

use super::contents::{self, Mapping as MappingContent, Text as TextContent};
use super::inside::Files;
use super::limits::Limits;
use super::pace::Pace;
use super::protocol::{Findings, PICTURE, RECOGNIZED, Task, Unread};
use super::review;
use crate::document::{PagesMeta, TextDocument, Zones};
use crate::failure::{Code, Failure};
use crate::keywords::{self, Keywords};
use crate::layout::Laid;
use crate::mapping;
use crate::operation::{Operation, Output, Scored, Text, role};
use crate::review::ReviewItem;
use crate::taxonomy::Taxonomy;
use crate::{epub, html, ocr, pdf, plain, review as items, sniff, xml, zoning};

/// Does a task.
pub(super) fn perform(
    task: Task,
    mut files: Files,
    limits: &Limits,
    pace: &mut Pace<'_>,
) -> Result<Findings, Failure> {
    let files = &mut files;
    match task {
        Task::Operation(Operation::Text(text)) => read_text(&text, files, limits, pace),
        Task::Operation(Operation::Zoning { threshold }) => find_zones(threshold, files),
        Task::Operation(Operation::Mapping { threshold }) => find_values(threshold, files, limits),
        Task::Operation(Operation::Indexing { threshold }) => find_keywords(threshold, files, limits),
        Task::Operation(Operation::Output(output)) => write_output(output, files, limits),
        Task::Render(page) => render(page, files, limits),
        Task::Merge => merge(files),
    }
}

fn read_text(
    text: &Text,
    files: &mut Files,
    limits: &Limits,
    pace: &mut Pace<'_>,
) -> Result<Findings, Failure> {
    let bytes = Arc::new(files.read(role::INPUT)?);
    let readable = [sniff::PDF, sniff::EPUB, sniff::HTML, sniff::PLAIN].map(str::to_owned);
    let mime = sniff::check(&text.mime, &readable, &bytes[..bytes.len().min(sniff::HEAD)])?;
    let document = &limits.document;
    let mut progress = |share| pace.report(share);
    let (laid, meta, pictures) = match mime.as_str() {
        sniff::PDF => {
            let read = pdf::read(bytes, document, &mut progress)?;
            (read.laid, Some(read.meta), read.pictures_only)
        }
        sniff::EPUB => (epub::read(bytes, document, &mut progress)?, None, Vec::new()),
        sniff::HTML => (html::read(&bytes, document)?, None, Vec::new()),
        _ => (plain::read(&bytes, document)?, None, Vec::new()),
    };
    let Laid { document, hints } = laid;
    let total_pages = document.pages.len() as u32;
    let empty = document.pages.iter().all(|page| page.words.is_empty());
    let is_pdf = meta.is_some();
    if empty && !(text.ocr && is_pdf) {
        return Err(no_text(is_pdf));
    }
    let unread = document
        .pages
        .iter()
        // Where there is no text at all, letters may have been drawn as lines, so that every page is worth a try.
        .filter(|page| text.ocr && is_pdf && (empty || pictures.contains(&page.number)))
        .map(|page| Unread { page: page.number, height: ocr::height(page, text.image_height) })
        .collect();
    let meta = meta.unwrap_or(PagesMeta { pdf_type: None, total_pages });
    let content = TextContent { pages: document.pages, hints, meta: Some(meta) };
    contents::write_json(files, role::TEXT, &content)?;
    Ok(Findings { unread, ..Findings::default() })
}

fn no_text(is_pdf: bool) -> Failure {
    let message = if is_pdf {
        "The document has no text: its pages are pictures or empty. Set text-extraction.ocr to true to read text from \
         pictures."
    } else {
        "The document has no text."
    };
    Failure::new(Code::NoText, message)
}

fn find_zones(threshold: f64, files: &mut Files) -> Result<Findings, Failure> {
    let TextContent { pages, hints, meta } = contents::read_json(files, role::TEXT)?;
    let document = TextDocument { pages };
    let zones = zoning::zones(&document, &hints);
    let total_pages = document.pages.len() as u32;
    let meta = meta.unwrap_or(PagesMeta { pdf_type: None, total_pages });
    contents::write_json(files, role::PAGES_META, &meta)?;
    contents::write_json(files, role::ZONES, &zones)?;
    let everything = items::of_zones(&zones, 1.0);
    Ok(judge(everything, threshold, role::ZONES, |items| {
        review::less_certain(items.len(), "zone", threshold)
    }))
}

fn find_values(threshold: f64, files: &mut Files, limits: &Limits) -> Result<Findings, Failure> {
    let taxonomy = taxonomy(files, role::MAPPING_TAXONOMY, limits)?;
    let document: TextDocument = contents::read_json(files, role::TEXT)?;
    let zones: Option<Zones> = contents::read_json_if_any(files, role::ZONES)?;
    let mapping = mapping::map(&document, zones.as_ref(), &taxonomy);
    let everything = items::of_mapping(&mapping, &taxonomy, 1.0);
    contents::write_json(files, role::MAPPING, &MappingContent::found(mapping))?;
    Ok(judge(everything, threshold, role::MAPPING, |items| review::reason_for_values(items, threshold)))
}

fn find_keywords(threshold: f64, files: &mut Files, limits: &Limits) -> Result<Findings, Failure> {
    let taxonomy = taxonomy(files, role::INDEXING_TAXONOMY, limits)?;
    let document: TextDocument = contents::read_json(files, role::TEXT)?;
    let keywords = keywords::index_within(&document, &taxonomy, &limits.keywords);
    contents::write_json(files, role::INDEXING, &keywords)?;
    let everything = items::of_keywords(&keywords, 1.0);
    let reason = |items: &[ReviewItem]| review::less_certain(items.len(), "keyword", threshold);
    Ok(judge(everything, threshold, role::INDEXING, reason))
}

/// What of everything that was found a person is asked about, and how sure the step is of all of it.
fn judge(
    everything: Vec<ReviewItem>,
    threshold: f64,
    role: &str,
    reason: impl FnOnce(&[ReviewItem]) -> String,
) -> Findings {
    let scores = items::scores(&everything, threshold);
    let due = items::due(everything, threshold);
    let reason = reason(&due);
    Findings {
        review: review::ask(due, threshold, role, reason),
        scored: Some(Scored { content_role: role.to_owned(), scores }),
        unread: Vec::new(),
    }
}

fn write_output(output: Output, files: &mut Files, limits: &Limits) -> Result<Findings, Failure> {
    let Output { name, sha256, job, created_at } = output;
    let mut source = xml::Source { document: Some(name), sha256, job, created_at, ..xml::Source::default() };
    let mut of = |taxonomy: &Taxonomy| {
        source.taxonomy = Some(taxonomy.name.clone());
        source.taxonomy_version.clone_from(&taxonomy.version);
    };
    let written = if files.has(role::MAPPING) {
        let content: MappingContent = contents::read_json(files, role::MAPPING)?;
        let taxonomy = taxonomy(files, role::MAPPING_TAXONOMY, limits)?;
        of(&taxonomy);
        // A text of many pages is read only where what a person typed has to be understood by it.
        let text = if content.is_corrected() { contents::read_json_if_any(files, role::TEXT)? } else { None };
        let mapping = content.settled(&taxonomy, &text.unwrap_or_default());
        xml::output(xml::Body::Mapping(&mapping), &source)
    } else {
        let keywords: Keywords = contents::read_json(files, role::INDEXING)?;
        of(&taxonomy(files, role::INDEXING_TAXONOMY, limits)?);
        xml::output(xml::Body::Keywords(&keywords), &source)
    };
    contents::write(files, role::OUTPUT, &written.map_err(|error| contents::disk(&error))?)?;
    Ok(Findings::default())
}

fn taxonomy(files: &mut Files, role: &str, limits: &Limits) -> Result<Taxonomy, Failure> {
    let definition = contents::read_json(files, role)?;
    Taxonomy::parse_within(&definition, &limits.taxonomy).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(Code::DocumentDamaged, format!("The taxonomy cannot be used: {}", problems.join("; ")))
    })
}

fn render(page: Unread, files: &mut Files, limits: &Limits) -> Result<Findings, Failure> {
    let bytes = Arc::new(files.read(role::INPUT)?);
    let picture = pdf::render_page(bytes, page.page, page.height, &limits.document)?;
    contents::write(files, PICTURE, &picture)?;
    Ok(Findings::default())
}

fn merge(files: &mut Files) -> Result<Findings, Failure> {
    let mut text: TextContent = contents::read_json(files, role::TEXT)?;
    let recognized = String::from_utf8_lossy(&files.read(RECOGNIZED)?).into_owned();
    ocr::merge(&mut text.pages, &mut text.hints, &recognized);
    if text.pages.iter().all(|page| page.words.is_empty()) {
        return Err(Failure::new(
            Code::NoText,
            "The document has no text, and none could be read from the pictures of its pages either.",
        ));
    }
    contents::write_json(files, role::TEXT, &text)?;
    Ok(Findings::default())
}
