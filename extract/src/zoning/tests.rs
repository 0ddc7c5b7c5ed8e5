use super::*;
use crate::document::{BBox, Word};
use crate::layout::{Block, Hints};

const WIDTH: f32 = 600.0;
const HEIGHT: f32 = 800.0;

/// Builds a page from lines of (x, top y, size, text), in points. Characters are half an em wide.
fn page(number: u32, lines: &[(f32, f32, f32, &str)]) -> Page {
    let mut words = Vec::new();
    for (x, y, size, text) in lines {
        let mut x = *x;
        for word in text.split(' ') {
            let width = word.chars().count() as f32 * size * 0.5;
            let bbox =
                BBox { x: x / WIDTH, y: y / HEIGHT, width: width / WIDTH, height: size * 0.97 / HEIGHT };
            words.push(Word { text: word.to_owned(), bbox });
            x += width + size * 0.3;
        }
    }
    Page { number, width: WIDTH, height: HEIGHT, text: String::new(), words }
}

fn find(pages: Vec<Page>, hints: &Hints) -> Vec<(ZoneKind, String)> {
    find_zones(&TextDocument { pages }, hints).zones.into_iter().map(|zone| (zone.kind, zone.text)).collect()
}

fn kinds(pages: Vec<Page>) -> Vec<ZoneKind> {
    find(pages, &Hints::default()).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn headings_tables_and_lists_are_recognized() {
    let page = page(
        1,
        &[
            (50.0, 100.0, 18.0, "Annual report"),
            (50.0, 150.0, 10.0, "This is a paragraph of several words that fills its line."),
            (50.0, 162.0, 10.0, "It goes on in a second line with a few more words, too."),
            (50.0, 200.0, 10.0, "Item"),
            (200.0, 200.0, 10.0, "Amount"),
            (300.0, 200.0, 10.0, "Price"),
            (50.0, 214.0, 10.0, "Pen"),
            (200.0, 214.0, 10.0, "2"),
            (300.0, 214.0, 10.0, "1.00"),
            (50.0, 228.0, 10.0, "Paper"),
            (200.0, 228.0, 10.0, "500"),
            (300.0, 228.0, 10.0, "9.99"),
            (50.0, 270.0, 10.0, "• one thing to do"),
            (50.0, 282.0, 10.0, "• another thing to do"),
        ],
    );
    let found = find(vec![page], &Hints::default());
    let kinds: Vec<ZoneKind> = found.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [ZoneKind::Heading, ZoneKind::Paragraph, ZoneKind::Table, ZoneKind::List]);
    assert_eq!(found[2].1, "Item  Amount  Price\nPen  2  1.00\nPaper  500  9.99");
}

#[test]
fn columns_are_read_one_after_the_other() {
    let mut lines = vec![(50.0, 60.0, 18.0, "A title that runs across both of the columns")];
    for i in 0..8 {
        let y = 120.0 + 12.0 * i as f32;
        lines.push((50.0, y, 10.0, "left words in a row that fill"));
        // The lines of the columns may have different heights.
        lines.push((320.0, y + 4.0, 10.0, "right words in a row that fill"));
    }
    let found = find(vec![page(1, &lines)], &Hints::default());
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].0, ZoneKind::Heading);
    assert!(found[1].1.lines().all(|line| line.starts_with("left")), "{found:?}");
    assert!(found[2].1.lines().all(|line| line.starts_with("right")), "{found:?}");
}

#[test]
fn repeated_lines_are_headers_and_footers() {
    let pages = (1..=3)
        .map(|number| {
            let footer = format!("Page {number} of 3");
            page(
                number,
                &[
                    (50.0, 30.0, 10.0, "ACME Ltd"),
                    (50.0, 300.0, 10.0, &format!("Page {number} says something other than the rest.")),
                    (50.0, 770.0, 10.0, &footer),
                ],
            )
        })
        .collect();
    let kinds = kinds(pages);
    assert_eq!(kinds, [ZoneKind::Header, ZoneKind::Paragraph, ZoneKind::Footer].repeat(3));
}

#[test]
fn address_blocks_side_by_side_stay_whole() {
    let page = page(
        1,
        &[
            (50.0, 150.0, 10.0, "Jane Doe,"),
            (400.0, 150.0, 10.0, "ACME Ltd,"),
            (50.0, 163.0, 10.0, "12 Long Street,"),
            (400.0, 166.0, 10.0, "1 Works Road,"),
            (50.0, 176.0, 10.0, "Springfield, Utah."),
            (400.0, 182.0, 10.0, "Shelbyville, Ohio."),
        ],
    );
    let found = find(vec![page], &Hints::default());
    let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        texts,
        ["Jane Doe,\n12 Long Street,\nSpringfield, Utah.", "ACME Ltd,\n1 Works Road,\nShelbyville, Ohio."]
    );
}

#[test]
fn figures_contain_their_labels() {
    let page = page(
        1,
        &[
            (50.0, 100.0, 10.0, "A line of text above the figure is a paragraph."),
            (120.0, 220.0, 10.0, "label"),
            (50.0, 400.0, 10.0, "A line of text below the figure is one as well."),
        ],
    );
    let image = BBox { x: 0.1, y: 0.2, width: 0.5, height: 0.2 };
    let hints = Hints { pages: vec![PageHints { images: vec![image], ..PageHints::default() }] };
    let found = find(vec![page], &hints);
    let kinds: Vec<ZoneKind> = found.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [ZoneKind::Paragraph, ZoneKind::Figure, ZoneKind::Paragraph]);
    assert_eq!(found[1].1, "label");
}

#[test]
fn blocks_of_the_format_become_zones() {
    let page = page(1, &[(50.0, 100.0, 10.0, "Title"), (50.0, 120.0, 10.0, "Some text.")]);
    let blocks = vec![
        Block { kind: ZoneKind::Heading, words: 0..1 },
        Block { kind: ZoneKind::Paragraph, words: 1..3 },
    ];
    let hints = Hints { pages: vec![PageHints { blocks, ..PageHints::default() }] };
    let zones = find_zones(&TextDocument { pages: vec![page] }, &hints).zones;
    assert_eq!(zones.len(), 2);
    assert_eq!(
        (zones[0].id.as_str(), zones[0].kind, zones[0].text.as_str()),
        ("p1-z1", ZoneKind::Heading, "Title")
    );
    assert_eq!((zones[1].id.as_str(), zones[1].confidence), ("p1-z2", FORMAT_CONFIDENCE));
}

#[test]
fn vertical_text_is_read_from_right_to_left() {
    let column = |x: f32, text: &str| Word {
        text: text.to_owned(),
        bbox: BBox { x, y: 0.1, width: 0.02, height: 0.3 },
    };
    let page = Page {
        number: 1,
        width: WIDTH,
        height: HEIGHT,
        text: String::new(),
        words: vec![
            column(0.80, "いろはにほへと"),
            column(0.777, "ちりぬるを"),
            column(0.40, "わかよたれそ"),
        ],
    };
    let zones = find_zones(&TextDocument { pages: vec![page] }, &Hints::default()).zones;
    assert_eq!(zones[0].text, "いろはにほへと\nちりぬるを");
    assert!(
        (zones[0].bbox.x - 0.777).abs() < 0.01 && (zones[0].bbox.height - 0.3).abs() < 0.01,
        "{:?}",
        zones[0].bbox
    );
    assert_eq!(zones[1].text, "わかよたれそ");
}

#[test]
fn empty_document_has_no_zones() {
    assert!(
        kinds(vec![page(1, &[])].into_iter().map(|page| Page { words: Vec::new(), ..page }).collect())
            .is_empty()
    );
    assert!(kinds(Vec::new()).is_empty());
}
