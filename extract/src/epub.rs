//! Lays out the chapters of an ePub on virtual pages. Each chapter starts a page.
//!
//! No file is unpacked to disk, so paths in the archive cannot escape. Only the entities of HTML are expanded.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use rbook::Epub;
use zip::ZipArchive;

use crate::failure::{Code, Failure};
use crate::html::{self, Dialect};
use crate::layout::DocumentLayout;
use crate::layout::typeset::Typesetter;
use crate::limits::Limits;

/// Every ePub has this file (EPUB 3.3, section 4.2.6.3.1).
const CONTAINER_FILE: &str = "META-INF/container.xml";
/// Files that mark encrypted chapters: Adobe ADEPT, Readium LCP, Apple FairPlay.
const DRM_FILES: [&str; 3] = ["META-INF/rights.xml", "META-INF/license.lcpl", "META-INF/sinf.xml"];

/// Reads the text of an ePub. `progress` receives the share of finished chapters, 0 to 1.
///
/// # Errors
/// [`Code::DocumentEmpty`], [`Code::DocumentEncrypted`], [`Code::DocumentDamaged`], [`Code::DocumentTypeUnsupported`]
/// and [`Code::DocumentTooComplex`].
pub fn read(
    bytes: Arc<Vec<u8>>,
    limits: &Limits,
    progress: &mut dyn FnMut(f32),
) -> Result<DocumentLayout, Failure> {
    if bytes.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "The file is empty."));
    }
    let cursor = Cursor::new(SharedBytes(bytes));
    check_archive(cursor.clone(), limits)?;
    let epub = Epub::options()
        .skip_toc(true)
        .skip_metadata(true)
        .read(cursor)
        .map_err(|_| Failure::damaged("The ePub is damaged: its table of contents cannot be read."))?;
    let mut typesetter = Typesetter::new(limits);
    let spine = epub.spine();
    let total = spine.len();
    let mut chapters = 0;
    for (i, entry) in spine.iter().enumerate() {
        let chapter = entry.manifest_entry().and_then(|entry| entry.read_bytes().ok());
        // Like other readers, skip chapters that are listed but missing.
        if let Some(chapter) = chapter {
            typesetter.page_break();
            typesetter = html::typeset_markup(&chapter, Dialect::Xhtml, typesetter, limits)?;
            chapters += 1;
        }
        progress((i + 1) as f32 / total as f32);
    }
    if chapters == 0 {
        return Err(Failure::damaged("The ePub is damaged: none of its chapters can be found."));
    }
    typesetter.finish()
}

/// Bytes shared by several readers.
#[derive(Clone)]
struct SharedBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Checks that the archive is an ePub within limits. Inflates every entry once, because declared sizes may be false.
fn check_archive(cursor: Cursor<SharedBytes>, limits: &Limits) -> Result<(), Failure> {
    let looks_like_zip = cursor.get_ref().as_ref().starts_with(b"PK");
    let mut archive = ZipArchive::new(cursor).map_err(|_| {
        if looks_like_zip {
            Failure::damaged("The ePub is damaged: its archive cannot be opened. It may be incomplete.")
        } else {
            Failure::new(Code::DocumentTypeUnsupported, "The file is declared as an ePub but is not one.")
        }
    })?;
    if archive.len() > limits.archive_entries {
        return Err(Failure::new(
            Code::DocumentTooComplex,
            format!("The ePub contains {} files; the limit is {}.", archive.len(), limits.archive_entries),
        ));
    }
    if DRM_FILES.iter().any(|name| archive.index_for_name(name).is_some()) {
        return Err(Failure::new(
            Code::DocumentEncrypted,
            "The ePub is copy-protected. Upload a copy without protection.",
        ));
    }
    if archive.index_for_name(CONTAINER_FILE).is_none() {
        return Err(Failure::damaged(
            "The ePub is damaged: META-INF/container.xml, which lists its contents, is missing.",
        ));
    }
    let mut inflated = 0;
    for i in 0..archive.len() {
        // A damaged entry is reported when it is read.
        let Ok(entry) = archive.by_index(i) else { continue };
        let left = limits.archive_bytes - inflated;
        inflated += io::copy(&mut entry.take(left + 1), &mut io::sink()).unwrap_or(0);
        if inflated > limits.archive_bytes {
            return Err(Failure::new(
                Code::DocumentTooComplex,
                format!(
                    "The ePub inflates to more than {} MiB. It is damaged or was made to overload programs.",
                    limits.archive_bytes >> 20
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const CONTAINER_XML: &str = r#"<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
        <rootfiles><rootfile full-path="book/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"#;
    const PACKAGE: &str = r#"<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><manifest>
        <item id="b" href="two.xhtml" media-type="application/xhtml+xml"/>
        <item id="a" href="one.xhtml" media-type="application/xhtml+xml"/></manifest>
        <spine><itemref idref="a"/><itemref idref="b"/></spine></package>"#;

    fn archive(entries: &[(&str, &str)]) -> Arc<Vec<u8>> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        Arc::new(writer.finish().unwrap().into_inner())
    }

    fn code(bytes: Arc<Vec<u8>>, limits: &Limits) -> Code {
        read(bytes, limits, &mut |_| {}).unwrap_err().code
    }

    #[test]
    fn chapters_follow_spine_order() {
        let book = archive(&[
            ("mimetype", "application/epub+zip"),
            (CONTAINER_FILE, CONTAINER_XML),
            ("book/book.opf", PACKAGE),
            ("book/two.xhtml", "<html><head><title/></head><body><p>second</p></body></html>"),
            ("book/one.xhtml", "<html><body><h1>first</h1><script/><p>text</p></body></html>"),
        ]);
        let mut seen = Vec::new();
        let layout = read(book, &Limits::default(), &mut |share| seen.push(share)).unwrap();
        let text: Vec<&str> = layout.document.pages.iter().map(|page| page.text.as_str()).collect();
        assert_eq!(text, ["first\n\ntext\n", "second\n"]);
        assert_eq!(seen, [0.5, 1.0]);
    }

    #[test]
    fn decompression_bombs_are_refused() {
        let zeros = "0".repeat(1 << 20);
        let bomb = archive(&[(CONTAINER_FILE, CONTAINER_XML), ("a", &zeros), ("b", &zeros)]);
        assert!(bomb.len() < 1 << 14);
        let limits = Limits { archive_bytes: 1 << 20, ..Limits::default() };
        assert_eq!(code(bomb, &limits), Code::DocumentTooComplex);
        let many = archive(&[(CONTAINER_FILE, CONTAINER_XML), ("a", ""), ("b", "")]);
        let limits = Limits { archive_entries: 2, ..Limits::default() };
        assert_eq!(code(many, &limits), Code::DocumentTooComplex);
    }

    #[test]
    fn invalid_epubs_have_distinct_codes() {
        let limits = Limits::default();
        assert_eq!(code(Arc::new(Vec::new()), &limits), Code::DocumentEmpty);
        assert_eq!(code(Arc::new(b"plain text".to_vec()), &limits), Code::DocumentTypeUnsupported);
        assert_eq!(code(archive(&[("a", "b")]), &limits), Code::DocumentDamaged);
        assert_eq!(code(archive(&[(CONTAINER_FILE, "<container/>")]), &limits), Code::DocumentDamaged);
        let protected = archive(&[(CONTAINER_FILE, CONTAINER_XML), ("META-INF/rights.xml", "")]);
        assert_eq!(code(protected, &limits), Code::DocumentEncrypted);
    }
}
