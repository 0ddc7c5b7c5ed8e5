use super::*;
use crate::failure::Code;

/// Builds a PDF from its objects, numbered from 1. The first is the catalog.
fn pdf(objects: &[&str]) -> Arc<Vec<u8>> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        offsets.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", i + 1).bytes());
    }
    let start = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for offset in offsets {
        bytes.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let size = objects.len() + 1;
    bytes.extend(format!("trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n").bytes());
    Arc::new(bytes)
}

fn stream(entries: &str, content: &str) -> String {
    format!("<< {entries} /Length {} >>\nstream\n{content}\nendstream", content.len())
}

/// Builds a page with Helvetica as /F and an image as /I.
fn page_with(entries: &str, content: &str) -> Arc<Vec<u8>> {
    let page = format!(
        "<< /Type /Page /Parent 2 0 R {entries} /Contents 4 0 R \
         /Resources << /Font << /F 5 0 R >> /XObject << /I 6 0 R >> >> >>"
    );
    pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        &page,
        &stream("", content),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        &stream(
            "/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8",
            "0",
        ),
    ])
}

const PAPER: &str = "/MediaBox [0 0 600 800]";

fn read_default(bytes: Arc<Vec<u8>>) -> PdfText {
    read(bytes, &Limits::default(), &mut |_| {}).unwrap()
}

fn text(entries: &str, content: &str) -> String {
    read_default(page_with(entries, content)).layout.document.pages[0].text.clone()
}

fn code(bytes: Arc<Vec<u8>>, limits: &Limits) -> Code {
    read(bytes, limits, &mut |_| {}).unwrap_err().code
}

#[test]
fn text_and_positions_are_read() {
    let read = read_default(page_with(PAPER, "BT /F 20 Tf 60 700 Td (Hello) Tj 100 0 Td (World) Tj ET"));
    let page = &read.layout.document.pages[0];
    assert!(
        page.text.split_whitespace().eq(["Hello", "World"]) && page.text.contains("Hello   "),
        "{:?}",
        page.text
    );
    assert_eq!((page.width, page.height), (600.0, 800.0));
    let bbox = page.words[0].bbox;
    assert!((bbox.x - 0.1).abs() < 1e-3, "{bbox:?}");
    // The baseline is 100 points below the top, between ascenders and descenders.
    assert!(bbox.y < 0.125 && bbox.y > 0.1 && bbox.y + bbox.height > 0.125, "{bbox:?}");
    assert_eq!(read.meta, PagesMeta { pdf_type: Some(PdfType::Text), total_pages: 1 });
    assert!(read.image_only_pages.is_empty());
}

#[test]
fn rotation_and_crop_box_determine_the_shown_page() {
    let content = "BT /F 10 Tf 100 700 Td (seen) Tj 0 -600 Td (cut) Tj ET";
    let read = read_default(page_with(&format!("{PAPER} /CropBox [50 400 350 800]"), content));
    let page = &read.layout.document.pages[0];
    assert_eq!((page.text.trim(), page.width, page.height), ("seen", 300.0, 400.0));
    assert!((page.words[0].bbox.x - 50.0 / 300.0).abs() < 1e-3);
    // Text drawn upward on a page that is rotated clockwise reads from left to right.
    let content = "BT /F 10 Tf 0 1 -1 0 500 100 Tm (two words) Tj ET";
    let read = read_default(page_with(&format!("{PAPER} /Rotate 90"), content));
    let page = &read.layout.document.pages[0];
    assert_eq!((page.text.trim(), page.width, page.height), ("two words", 800.0, 600.0));
    let bbox = page.words[0].bbox;
    assert!(
        bbox.width * 800.0 > 1.5 * bbox.height * 600.0 && (bbox.x - 100.0 / 800.0).abs() < 1e-3,
        "{bbox:?}"
    );
}

#[test]
fn invisible_text_and_replacement_text_are_read() {
    assert_eq!(text(PAPER, "BT 3 Tr /F 10 Tf 100 700 Td (scanned) Tj ET"), "scanned\n");
    let content = "BT /F 10 Tf 100 700 Td /Span << /ActualText (fi) >> BDC (X) Tj EMC (sh) Tj ET";
    assert_eq!(text(PAPER, content), "fish\n");
}

#[test]
fn horizontal_scaling_keeps_words_together() {
    let content = "BT /F 10 Tf 60 Tz 100 700 Td (narrow words) Tj ET";
    assert_eq!(text(PAPER, content), "narrow words\n");
    let content = "BT /F 10 Tf 150 Tz 100 700 Td (wide words) Tj ET";
    assert_eq!(text(PAPER, content), "wide words\n");
}

#[test]
fn pages_with_only_an_image_are_scans() {
    let read = read_default(page_with(PAPER, "q 600 0 0 800 0 0 cm /I Do Q"));
    assert_eq!(read.meta.pdf_type, Some(PdfType::Scan));
    assert_eq!(read.image_only_pages, [1]);
    assert_eq!(read.layout.document.pages[0].text, "");
    let image = read.layout.hints.pages[0].images[0];
    assert!((image.width - 1.0).abs() < 1e-3 && (image.height - 1.0).abs() < 1e-3, "{image:?}");
}

#[test]
fn ruled_lines_are_recorded() {
    let read = read_default(page_with(PAPER, "60 700 m 540 700 l S 60 600 100 50 re S"));
    assert_eq!(read.layout.hints.pages[0].rules.len(), 5);
}

#[test]
fn pdf_limits_are_enforced() {
    let page = || page_with(PAPER, "BT /F 10 Tf 100 700 Td (more than ten glyphs) Tj ET");
    let defaults = Limits::default();
    assert_eq!(code(page(), &Limits { glyphs_per_page: 10, ..defaults }), Code::DocumentTooComplex);
    assert_eq!(code(page(), &Limits { chars: 10, ..defaults }), Code::DocumentTooComplex);
    assert_eq!(code(page(), &Limits { pages: 0, ..defaults }), Code::DocumentTooComplex);
}

#[test]
fn decompression_bombs_are_refused() {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    let bomb: String = encoder.finish().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let limit = Limits { stream_bytes: 1 << 16, ..Limits::default() };
    // The hexadecimal digits are decoded here, because layers inside another filter are not measured.
    let raw: Vec<u8> =
        (0..bomb.len()).step_by(2).map(|i| u8::from_str_radix(&bomb[i..i + 2], 16).unwrap()).collect();
    let mut bytes = b"%PDF-1.7\n1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj\n\
        2 0 obj << /Type /Pages /Kids [3 0 R] /Count 1 >> endobj\n\
        3 0 obj << /Type /Page /Parent 2 0 R /Contents 4 0 R >> endobj\n"
        .to_vec();
    bytes.extend(format!("4 0 obj << /Filter /FlateDecode /Length {} >> stream\n", raw.len()).bytes());
    bytes.extend(raw);
    bytes.extend(b"\nendstream endobj\ntrailer << /Size 5 /Root 1 0 R >>\n");
    let bytes = Arc::new(bytes);
    assert!(read(Arc::clone(&bytes), &Limits::default(), &mut |_| {}).is_ok());
    assert_eq!(code(bytes, &limit), Code::DocumentTooComplex);
}

#[test]
fn endlessly_nested_forms_are_refused() {
    let form = |child: usize, content: &str| {
        stream(
            &format!("/Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /I {child} 0 R >> >>"),
            content,
        )
    };
    let document = |forms: &[String]| {
        let mut objects = vec![
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
            "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /XObject << /I 5 0 R >> >> >>"
                .to_owned(),
            stream("", "/I Do"),
        ];
        objects.extend_from_slice(forms);
        pdf(&objects.iter().map(String::as_str).collect::<Vec<&str>>())
    };
    let fan: Vec<String> = (6..26).map(|child| form(child, &"/I Do ".repeat(10))).collect();
    assert_eq!(code(document(&fan), &Limits::default()), Code::DocumentTooComplex);
    // A form that draws itself twice is refused; one that draws itself once ends at the depth limit.
    assert_eq!(code(document(&[form(5, "/I Do /I Do")]), &Limits::default()), Code::DocumentTooComplex);
    assert!(read(document(&[form(5, "/I Do")]), &Limits::default(), &mut |_| {}).is_ok());
}

#[test]
fn invalid_pdfs_have_distinct_codes() {
    let limits = Limits::default();
    assert_eq!(code(Arc::new(Vec::new()), &limits), Code::DocumentEmpty);
    assert_eq!(code(Arc::new(b"PK\x03\x04 something".to_vec()), &limits), Code::DocumentTypeUnsupported);
    assert_eq!(code(Arc::new(b"%PDF-1.7".to_vec()), &limits), Code::DocumentDamaged);
}

#[test]
fn pages_are_rendered_within_limits() {
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n";
    let size = |png: &[u8]| {
        let number = |at: usize| u32::from_be_bytes([png[at], png[at + 1], png[at + 2], png[at + 3]]);
        (number(16), number(20))
    };
    let content = "BT /F 20 Tf 60 700 Td (Hello) Tj ET";
    let limits = Limits::default();
    let png = render_page(page_with(PAPER, content), 1, 400, &limits).unwrap();
    assert!(png.starts_with(SIGNATURE));
    assert_eq!(size(&png), (300, 400));
    let small = Limits { pixels: 10_000, ..limits };
    let (width, height) = size(&render_page(page_with(PAPER, content), 1, 400, &small).unwrap());
    assert!(width * height <= 10_200 && width > 80, "{width} x {height}");
    let huge = page_with("/MediaBox [0 0 1000000000 1000000000]", content);
    let (width, height) = size(&render_page(huge, 1, 500, &limits).unwrap());
    assert!((499..=501).contains(&width) && (499..=501).contains(&height), "{width} x {height}");
    assert_eq!(render_page(page_with(PAPER, content), 2, 400, &limits).unwrap_err().code, Code::Internal);
}

#[test]
fn images_with_huge_sizes_are_not_decoded() {
    let bytes = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /XObject << /I 5 0 R >> >> >>",
        &stream("", "q 600 0 0 800 0 0 cm /I Do Q"),
        &stream("/Subtype /Image /Width 60000 /Height 60000 /ColorSpace /DeviceRGB /BitsPerComponent 8", "0"),
    ]);
    let failure = render_page(bytes, 1, 400, &Limits::default()).unwrap_err();
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("3600 million pixels"), "{failure}");
}
