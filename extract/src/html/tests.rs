use super::*;
use crate::document::ZoneKind;

fn read_str(html: &str) -> DocumentLayout {
    read(html.as_bytes(), &Limits::default()).unwrap()
}

fn kinds(layout: &DocumentLayout) -> Vec<ZoneKind> {
    layout.hints.pages.iter().flat_map(|page| &page.blocks).map(|block| block.kind).collect()
}

#[test]
fn block_kinds_are_recognized() {
    let layout = read_str(
        "<!DOCTYPE html><title>not shown</title><style>p { color: red }</style><script>if (1 < 2) { x('</p>') }</script>\
         <h1>Invoice &amp; receipt</h1><p>One   <b>bold</b>\nword<p>Two<ul><li>a<li><p>b</p></ul>\
         <table><tr><th>Item<th>Price<tr><td>Pen<td>1,00</table><pre>x\n  y</pre>",
    );
    use ZoneKind::{Heading, List, Paragraph, Table};
    assert_eq!(kinds(&layout), [Heading, Paragraph, Paragraph, List, Table, Paragraph]);
    let text = &layout.document.pages[0].text;
    assert!(text.starts_with("Invoice & receipt\n\nOne bold word\n\nTwo\n\n"), "{text}");
    assert!(text.contains("• a\n• b\n"), "{text}");
    assert!(text.contains("x\n  y\n"), "{text}");
    let row = text.lines().find(|line| line.starts_with("Pen")).unwrap();
    assert!(row.split_whitespace().eq(["Pen", "1,00"]) && row.contains("   "), "{row:?}");
}

#[test]
fn cells_of_a_column_are_aligned() {
    let layout = read_str("<table><tr><td>Item<td>Price<tr><td>Fountain pen<td>1,00</table>");
    let words = &layout.document.pages[0].words;
    let x = |text: &str| words.iter().find(|word| word.text == text).unwrap().bbox.x;
    assert_eq!(x("Price"), x("1,00"));
}

#[test]
fn deep_and_unclosed_nesting_is_read() {
    let deep = format!("{}text{}", "<div>".repeat(100_000), "</div>".repeat(100_000));
    assert_eq!(read_str(&deep).document.pages[0].text, "text\n");
    let unclosed = "<b><table><tr><td><ul><li>x".repeat(20_000);
    let pages = read_str(&unclosed).document.pages;
    assert_eq!(pages.iter().map(|page| page.text.matches('x').count()).sum::<usize>(), 20_000);
}

#[test]
fn encodings_are_detected() {
    let utf16: Vec<u8> = "<p>Größe".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read(&utf16, &Limits::default()).unwrap().document.pages[0].text, "Größe\n");
    let latin = b"<meta http-equiv=Content-Type content='text/html; charset=iso-8859-1'><p>Gr\xF6\xDFe";
    assert_eq!(read(latin, &Limits::default()).unwrap().document.pages[0].text, "Größe\n");
}

#[test]
fn html_above_limits_is_refused() {
    let limits = Limits { chars: 10, ..Limits::default() };
    assert_eq!(read(b"<p>more than ten characters", &limits).unwrap_err().code, Code::DocumentTooComplex);
    let limits = Limits { markup_bytes: 10, ..Limits::default() };
    assert_eq!(read(b"<p>more than ten bytes", &limits).unwrap_err().code, Code::DocumentTooComplex);
    assert_eq!(read(b"", &limits).unwrap_err().code, Code::DocumentEmpty);
}
