use super::*;

/// Sets a text at a position, with glyphs half an em wide.
fn set(x: f32, y: f32, size: f32, text: &str) -> Vec<Glyph> {
    text.chars()
        .enumerate()
        .map(|(i, ch)| Glyph {
            ch,
            origin: (x + i as f32 * size * 0.5, y),
            advance: size * 0.5,
            size,
            direction: Direction::HORIZONTAL,
            bold: false,
        })
        .collect()
}

fn text(glyphs: &[Glyph]) -> String {
    lay_out_page(1, 600.0, 800.0, glyphs).0.text
}

#[test]
fn gaps_separate_words_and_columns() {
    let mut glyphs = set(50.0, 100.0, 10.0, "left");
    glyphs.extend(set(72.0, 100.0, 10.0, "side"));
    glyphs.extend(set(300.0, 100.4, 10.0, "right"));
    glyphs.extend(set(50.0, 112.0, 10.0, "below"));
    let text = text(&glyphs);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("left side    ") && lines[0].ends_with("  right"), "{text}");
    assert_eq!(lines[1], "below");
}

#[test]
fn columns_are_aligned_in_all_lines() {
    let mut glyphs = Vec::new();
    for (y, left) in [(100.0, "a"), (112.0, "several words here"), (124.0, "two words")] {
        glyphs.extend(set(50.0, y, 10.0, left));
        glyphs.extend(set(300.0, y, 10.0, "99,00"));
    }
    let text = text(&glyphs);
    let places: Vec<Option<usize>> = text.lines().map(|line| line.find("99,00")).collect();
    assert!(places[0].is_some() && places.iter().all(|place| *place == places[0]), "{text}");
}

#[test]
fn drawing_order_does_not_matter() {
    let mut glyphs = set(50.0, 112.0, 10.0, "second");
    glyphs.extend(set(80.0, 100.0, 10.0, "line"));
    glyphs.extend(set(50.0, 100.0, 10.0, "first"));
    assert_eq!(text(&glyphs), "first line\nsecond\n");
}

#[test]
fn glyphs_drawn_twice_are_read_once() {
    let mut glyphs = set(50.0, 100.0, 10.0, "Total");
    glyphs.extend(set(50.4, 100.3, 10.0, "Total"));
    assert_eq!(text(&glyphs), "Total\n");
    // Repeated letters side by side are not duplicates.
    assert_eq!(text(&set(50.0, 100.0, 10.0, "Hall 1111")), "Hall 1111\n");
}

#[test]
fn superscripts_stay_with_their_words() {
    let mut glyphs = set(50.0, 100.0, 10.0, "area 5 m");
    glyphs.extend(set(90.0, 96.5, 6.0, "2"));
    assert_eq!(text(&glyphs), "area 5 m2\n");
}

#[test]
fn letter_spacing_does_not_split_words() {
    let mut glyphs = set(50.0, 100.0, 10.0, "INVOICE");
    for (i, glyph) in glyphs.iter_mut().enumerate() {
        glyph.origin.0 += i as f32 * 1.5;
    }
    assert_eq!(text(&glyphs), "INVOICE\n");
}

#[test]
fn right_to_left_text_is_in_logical_order() {
    // Most programs draw from left to right, so the first letter read is drawn last.
    let glyphs = set(50.0, 100.0, 10.0, "םלוע 123 םולש");
    assert_eq!(text(&glyphs), "שלום 123 עולם\n");
}

#[test]
fn rotated_text_is_read_along_its_direction() {
    let down = Direction::from_vector(0.0, 1.0, false);
    let glyphs: Vec<Glyph> = set(0.0, 0.0, 10.0, "two words")
        .into_iter()
        .map(|glyph| Glyph { origin: (300.0, 100.0 + glyph.origin.0), direction: down, ..glyph })
        .collect();
    let (page, _) = lay_out_page(1, 600.0, 800.0, &glyphs);
    assert_eq!(page.text, "two words\n");
    let first = page.words[0].bbox;
    assert!(
        (first.y - 100.0 / 800.0).abs() < 1e-3 && (first.height - 15.0 / 800.0).abs() < 1e-3,
        "{first:?}"
    );
    assert!(first.x < 0.5 && first.x + first.width > 0.5, "{first:?}");
}

#[test]
fn vertical_lines_are_read_from_right_to_left() {
    let vertical = Direction::from_vector(0.0, 1.0, true);
    let column = |x: f32, text: &str| {
        text.chars()
            .enumerate()
            .map(|(i, ch)| Glyph {
                ch,
                origin: (x, 100.0 + i as f32 * 10.0),
                advance: 10.0,
                size: 10.0,
                direction: vertical,
                bold: false,
            })
            .collect::<Vec<Glyph>>()
    };
    let mut glyphs = column(200.0, "二行");
    glyphs.extend(column(215.0, "一行目"));
    assert_eq!(text(&glyphs), "一行目\n二行\n");
}

#[test]
fn extreme_positions_and_sizes_are_harmless() {
    let mut glyphs = set(50.0, 100.0, 1e9, "huge");
    glyphs.extend(set(1e30, -1e30, 1e-9, "far"));
    glyphs.extend(set(50.0, 100.0, 10.0, "fine"));
    assert!(text(&glyphs).contains("fine"));
}
