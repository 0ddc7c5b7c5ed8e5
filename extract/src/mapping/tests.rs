//! Tests with pages drawn as text: a character is 6 points wide, a line 12 high.

use serde_json::{Value, json};

use super::*;
use crate::document::{BBox, Page, Word, Zone, ZoneKind};

const WIDTH: f32 = 600.0;
const HEIGHT: f32 = 840.0;

fn page(number: u32, text: &str) -> Page {
    let mut words = Vec::new();
    for (row, line) in text.lines().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let length = chars[at..].iter().take_while(|c| **c != ' ').count();
            if length > 0 {
                let bbox = BBox {
                    x: at as f32 * 6.0 / WIDTH,
                    y: (row as f32 * 12.0 + 2.0) / HEIGHT,
                    width: length as f32 * 6.0 / WIDTH,
                    height: 10.0 / HEIGHT,
                };
                words.push(Word { text: chars[at..at + length].iter().collect(), bbox });
            }
            at += length.max(1);
        }
    }
    Page { number, width: WIDTH, height: HEIGHT, text: text.to_owned(), words }
}

fn taxonomy(data_points: &Value, options: &Value) -> Taxonomy {
    let definition = json!({"name": "t", "options": options, "data_points": data_points});
    Taxonomy::parse(&definition).expect("a sound taxonomy")
}

#[expect(clippy::needless_pass_by_value, reason = "reads better in the tests")]
fn mapped(text: &str, data_points: Value) -> Vec<Finding> {
    let document = TextDocument { pages: vec![page(1, text)] };
    map_document(&document, None, &taxonomy(&data_points, &json!({}))).data_points
}

/// Returns each name with its normalized value.
fn values(text: &str, data_points: Value) -> Vec<(String, Option<String>)> {
    mapped(text, data_points).into_iter().map(|finding| (finding.name, finding.normalized)).collect()
}

fn value(text: &str, kind: &str, labels: &[&str]) -> Option<String> {
    let found = values(text, json!([{"name": "x", "type": kind, "labels": labels}]));
    found.into_iter().next().and_then(|(_, value)| value)
}

#[test]
fn values_beside_labels_are_found() {
    for (text, kind, label, expected) in [
        ("Invoice no.: R-17", "code", "Invoice No", "R-17"),
        ("Rechnungs-Nr.       4711", "code", "Rechnungsnummer", "4711"),
        ("Nr:4711", "code", "Nr", "4711"),
        ("Total                1.234,50 EUR", "amount", "Total", "1234.50"),
        ("Total (3 items):     99.00", "amount", "Total", "99.00"),
        ("VAT 20 % on 10.00    2.00", "amount", "VAT", "2.00"),
        ("Datum: 1. März 2024", "date", "Datum", "2024-03-01"),
        ("Project:  Blue Whale", "string", "Project", "Blue Whale"),
        ("Urgent: ja", "boolean", "Urgent", "true"),
        ("Items   12 pieces", "number", "Items", "12"),
        ("VAT ID: FR 11 123 456 782", "code", "VAT ID", "FR11123456782"),
    ] {
        assert_eq!(value(text, kind, &[label]).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn values_below_labels_are_found() {
    let table = "\
Invoice        Date            Total
R-17           03.02.2024     120,00 ";
    let points = json!([
        {"name": "number", "type": "code", "labels": ["Invoice"]},
        {"name": "date", "type": "date", "labels": ["Date"]},
        {"name": "sum", "type": "amount", "labels": ["Total"]},
    ]);
    let expected = [("number", "R-17"), ("date", "2024-02-03"), ("sum", "120.00")];
    assert_eq!(values(table, points), expected.map(|(name, value)| (name.into(), Some(value.into()))));
    let shifted = "Order number\n                      4711\nCustomer";
    assert_eq!(value(shifted, "code", &["Order number"]).as_deref(), Some("4711"), "aligned to the right");
    let column = "       Net\n     10.00\n     20.00\n     30.00";
    assert_eq!(value(column, "amount", &["Net"]).as_deref(), Some("30.00"), "the last is the sum");
}

#[test]
fn similar_labels_are_not_confused() {
    assert_eq!(value("Leistungsdatum: 01.02.2024", "date", &["Datum"]), None);
    assert_eq!(value("Delivery: 01.02.2024", "date", &["Date"]), None);
    assert_eq!(value("invoice@acme.example 4711", "code", &["Invoice"]), None);
    assert_eq!(value("Due:\nPaid:  01.02.2024", "date", &["Due"]), None, "the next caption ends the search");
    let text = "Total excl. VAT   100.00\nVAT                20.00\nTotal incl. VAT  120.00";
    let points = json!([
        {"name": "net", "type": "amount", "labels": ["Total excl. VAT"]},
        {"name": "vat", "type": "amount", "labels": ["VAT"]},
        {"name": "total", "type": "amount", "labels": ["Total", "Total incl. VAT"]},
    ]);
    let found = mapped(text, points);
    let shown: Vec<_> = found.iter().map(|f| f.normalized.as_deref().unwrap_or_default()).collect();
    assert_eq!(shown, ["100.00", "20.00", "120.00"]);
    assert!(found.iter().all(|finding| finding.confidence > 0.9), "they prove each other: {found:?}");
}

#[test]
fn patterns_take_precedence_over_labels() {
    let points = json!([{"name": "x", "type": "code", "labels": ["Ref"], "patterns": ["Order (\\d+)"]}]);
    let found = mapped("Ref: 99\nOrder 42", points);
    assert_eq!(found[0].normalized.as_deref(), Some("42"));
    assert!(found[0].confidence > 0.8, "{found:?}");
}

#[test]
fn data_points_with_same_pattern_take_values_in_order() {
    let points = json!([
        {"name": "from", "type": "date", "patterns": ["(\\d\\d/\\d\\d/\\d{4})"]},
        {"name": "to", "type": "date", "patterns": ["(\\d\\d/\\d\\d/\\d{4})"]},
    ]);
    let expected = [("from", "2024-01-13"), ("to", "2024-01-31")];
    assert_eq!(values("13/01/2024 - 31/01/2024", points), expected.map(|(n, v)| (n.into(), Some(v.into()))));
}

#[test]
fn match_of_wrong_type_has_low_confidence() {
    let found =
        mapped("Total: many", json!([{"name": "x", "type": "amount", "patterns": ["Total: (\\w+)"]}]));
    assert_eq!((found[0].value.as_deref(), found[0].normalized.as_deref()), (Some("many"), None));
    assert!(found[0].confidence < 0.5);
}

#[test]
fn pattern_without_group_selects_word_beside_label() {
    let points = json!([{"name": "x", "type": "code", "labels": ["Invoice"], "patterns": ["[A-Z]\\d{4}"]}]);
    let found = mapped("B1234 C1234\nInvoice  for services  A1234", points);
    assert_eq!(found[0].normalized.as_deref(), Some("A1234"));
}

#[test]
fn missing_required_value_has_an_empty_entry() {
    let found = mapped(
        "nothing",
        json!([
            {"name": "a", "type": "date", "labels": ["Date"], "required": true},
            {"name": "b", "type": "date", "labels": ["Date"]},
        ]),
    );
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), &found[0].value, found[0].confidence, found[0].page),
        ("a", &None, 0.0, None)
    );
    let shown = serde_json::to_value(&found[0]).expect("JSON");
    for key in ["name", "value", "normalized", "confidence", "page", "box", "zone"] {
        assert!(shown.get(key).is_some(), "{key}");
    }
}

#[test]
fn multiple_value_has_an_entry_for_each_occurrence() {
    let text = "Serial: A-1001\nSerial: A-1002\n\nSerial: A-1003";
    let points = json!([{"name": "s", "type": "code", "labels": ["Serial"], "multiple": true}]);
    let found: Vec<_> = mapped(text, points).into_iter().filter_map(|finding| finding.normalized).collect();
    assert_eq!(found, ["A-1001", "A-1002", "A-1003"]);
    let points = json!([{"name": "s", "type": "amount", "patterns": ["\\d+,\\d\\d"], "multiple": true}]);
    assert_eq!(mapped("1,00 2,00\n1,00", points).len(), 3, "the same value twice is two occurrences");
    let column = "Price\n 1.00\n 2.50\n 1.00";
    let points = json!([{"name": "s", "type": "amount", "labels": ["Price"], "multiple": true}]);
    assert_eq!(mapped(column, points).len(), 3);
}

#[test]
fn enums_take_the_spelling_of_the_taxonomy() {
    let points =
        json!([{"name": "x", "type": "enum", "labels": ["Status"], "values": ["Überfällig", "Bezahlt"]}]);
    assert_eq!(values("Status: BEZAHLT am 1.2.2024", points), [("x".into(), Some("Bezahlt".into()))]);
}

#[test]
fn rival_candidates_lower_the_confidence() {
    let points = || json!([{"name": "x", "type": "code", "labels": ["Order number"]}]);
    let one = mapped("Order number: 4711", points());
    let two = mapped("Order number: 4711\nOrder number: 4712", points());
    assert!(one[0].confidence >= 0.8 && two[0].confidence < 0.8, "{one:?} {two:?}");
    let same = mapped("Order number: 4711\nOrder number: 4711", points());
    assert!(same[0].confidence > one[0].confidence);
}

#[test]
fn finding_has_page_box_and_zone() {
    let zone = |id: &str, height| Zone {
        id: id.into(),
        page: 2,
        bbox: BBox { x: 0.0, y: 0.0, width: 1.0, height },
        kind: ZoneKind::Paragraph,
        text: String::new(),
        confidence: 1.0,
    };
    let zones = Zones { zones: vec![zone("large", 1.0), zone("small", 0.1)] };
    let document = TextDocument { pages: vec![page(1, "nothing"), page(2, "Total:  12,00 EUR")] };
    let taxonomy = taxonomy(&json!([{"name": "x", "type": "amount", "labels": ["Total"]}]), &json!({}));
    let found = &map_document(&document, Some(&zones), &taxonomy).data_points[0];
    assert_eq!(
        (found.page, found.zone.as_deref(), found.currency.as_deref()),
        (Some(2), Some("small"), Some("EUR"))
    );
    let bbox = found.bbox.expect("a box");
    assert!((bbox.x - 48.0 / WIDTH).abs() < 1e-4 && (bbox.width - 30.0 / WIDTH).abs() < 1e-4, "{bbox:?}");
}

#[test]
fn parties_keep_their_own_values() {
    let text = "\
Seller                          Buyer
Acme GmbH                       Widget AG
VAT: DE123456789                VAT: DE987654321";
    let points = json!([
        {"name": "seller_name", "type": "string", "labels": ["Seller"]},
        {"name": "buyer_name", "type": "string", "labels": ["Buyer"]},
        {"name": "seller_vat", "type": "code", "labels": ["VAT"]},
        {"name": "buyer_vat", "type": "code", "labels": ["Customer VAT"]},
    ]);
    let expected = [
        ("seller_name", "Acme GmbH"),
        ("buyer_name", "Widget AG"),
        ("seller_vat", "DE123456789"),
        ("buyer_vat", "DE987654321"),
    ];
    assert_eq!(values(text, points), expected.map(|(name, value)| (name.into(), Some(value.into()))));
}

#[test]
fn sender_and_recipient_of_letter_are_guessed() {
    let text = "\
Acme Insurance a.G.

Herrn
Karl Kanister
Ahornweg 5
04321 Neustadt

                                                    7. Mai 2021
Contribution";
    let points = json!([
        {"name": "seller_name", "type": "string", "labels": ["Seller"]},
        {"name": "buyer_name", "type": "string", "labels": ["Buyer"]},
        {"name": "issue_date", "type": "date", "labels": ["Issued"]},
    ]);
    let found = mapped(text, points);
    let shown: Vec<_> = found.iter().filter_map(|finding| finding.normalized.as_deref()).collect();
    assert_eq!(shown, ["Acme Insurance a.G.", "Herrn Karl Kanister", "2021-05-07"]);
    assert!(found.iter().all(|finding| finding.confidence <= 0.5), "guesses: {found:?}");
}

#[test]
fn several_tax_rates_prove_net_and_gross() {
    let text = "\
Total net                    700.00
VAT 7%      300.00            21.00
VAT 19%     400.00            76.00
Grand total                  797.00";
    let points = json!([
        {"name": "net_amount", "type": "amount", "labels": ["Total net"]},
        {"name": "tax_amount", "type": "amount", "labels": ["VAT"]},
        {"name": "total_amount", "type": "amount", "labels": ["Grand total", "Total"]},
        {"name": "amount_due", "type": "amount", "labels": ["Amount due"]},
    ]);
    let found = mapped(text, points);
    assert_eq!(found[0].normalized.as_deref(), Some("700.00"));
    assert_eq!(found[2].normalized.as_deref(), Some("797.00"));
    assert!(found[0].confidence > 0.8 && found[1].confidence < 0.5 && found[2].confidence > 0.8, "{found:?}");
    assert_eq!(
        (found[3].normalized.as_deref(), found[3].confidence),
        (Some("797.00"), 0.5),
        "nothing else is said"
    );
}

#[test]
fn corrected_values_are_normalized_again() {
    let taxonomy = taxonomy(
        &json!([{"name": "sum", "type": "amount"}, {"name": "day", "type": "date"}]),
        &json!({"decimal_separator": ","}),
    );
    let finding = |name: &str, value: &str, normalized: Option<&str>| Finding {
        name: name.into(),
        value: Some(value.into()),
        normalized: normalized.map(Into::into),
        confidence: 0.5,
        ..Finding::default()
    };
    let before =
        Mapping { data_points: vec![finding("sum", "1,00", Some("1.00")), finding("day", "x", None)] };
    let mut after = before.clone();
    after.data_points[0].value = Some("1.234,50".into());
    after.data_points[1].value = Some("31.12.2024".into());
    after.data_points.push(finding("sum", "2", Some("3.00")));
    normalize_corrections(&before, &mut after, &taxonomy, &TextDocument::default());
    let shown: Vec<_> = after.data_points.iter().map(|f| (f.normalized.as_deref(), f.confidence)).collect();
    assert_eq!(shown, [(Some("1234.50"), 1.0), (Some("2024-12-31"), 1.0), (Some("3.00"), 1.0)]);
    let mut untouched = before.clone();
    normalize_corrections(&before, &mut untouched, &taxonomy, &TextDocument::default());
    assert_eq!(untouched, before);
}

#[test]
fn corrections_are_read_in_the_document_format() {
    let taxonomy = taxonomy(
        &json!([
            {"name": "sum", "type": "amount", "labels": ["Total"]},
            {"name": "count", "type": "number", "labels": ["Items"]},
            {"name": "day", "type": "date", "labels": ["Date"]},
        ]),
        &json!({}),
    );
    let european = ("Total: 1.234,56\nItems: 7,5\nDate: 31/01/2024", ["2345", "12.345", "2024-04-03"]);
    let american = ("Total: 1,234.56\nItems: 7.5\nDate: 01/31/2024", ["2.345", "12345", "2024-03-04"]);
    for (text, expected) in [european, american] {
        let document = TextDocument { pages: vec![page(1, text)] };
        let before = map_document(&document, None, &taxonomy);
        let typed = |normalized: [Option<&str>; 3]| {
            let mut after = before.clone();
            let values = ["2.345", "12,345", "03/04/2024"];
            for ((finding, value), normalized) in after.data_points.iter_mut().zip(values).zip(normalized) {
                finding.value = Some(value.into());
                finding.normalized = normalized.map(str::to_owned).or(finding.normalized.take());
            }
            normalize_corrections(&before, &mut after, &taxonomy, &document);
            after.data_points.into_iter().filter_map(|finding| finding.normalized).collect::<Vec<_>>()
        };
        assert_eq!(typed([None; 3]), expected, "{text}");
        let own = ["2.35", "12", "2024-12-24"];
        assert_eq!(typed(own.map(Some)), own, "values that a person normalizes are kept");
    }
}

#[test]
fn strings_may_consist_of_digits() {
    for (text, label, expected) in [
        ("Invoice No: 4711", "Invoice No", "4711"),
        ("Invoice No       A-4711-B", "Invoice No", "A-4711-B"),
        ("Postal code: 04321\nNeustadt", "Postal code", "04321"),
        ("Postal code:  1012 AB", "Postal code", "1012 AB"),
        ("Phone: +49 (0)30 1234-56", "Phone", "+49 (0)30 1234-56"),
        ("Customer No       Date\n471100            24.12.2025", "Customer No", "471100"),
    ] {
        let found =
            mapped(text, json!([{"name": "x", "type": "string", "labels": [label], "required": true}]));
        assert_eq!(found[0].normalized.as_deref(), Some(expected), "{text}");
        assert!(found[0].confidence > 0.6, "{text}: {found:?}");
    }
    let sure = |text: &str| {
        mapped(text, json!([{"name": "x", "type": "string", "labels": ["Order No"]}]))[0].confidence
    };
    assert!(sure("Order No: 4711") > 0.8 && sure("Order No: 47 11 12") < 0.8 && sure("Order No: 4") < 0.5);
    assert_eq!(value("Invoice No 4711", "string", &["Invoice No"]), None, "there is neither colon nor gap");
}

#[test]
fn strings_prefer_words_to_dates_and_amounts() {
    for aside in ["24.12.2025", "1.234,56 EUR", "1234.56", "20 %"] {
        let text = format!("Contact:  {aside}\nKarl Kanister");
        assert_eq!(value(&text, "string", &["Contact"]).as_deref(), Some("Karl Kanister"), "{text}");
        let alone = mapped(
            &format!("Contact:  {aside}"),
            json!([{"name": "x", "type": "string", "labels": ["Contact"]}]),
        );
        assert!(alone.iter().all(|finding| finding.confidence < 0.3), "{alone:?}");
    }
    let text = "Date      Contact\n          24.12.2025";
    let points = json!([
        {"name": "date", "type": "date", "patterns": ["\\d+\\.\\d+\\.\\d+"]},
        {"name": "contact", "type": "string", "labels": ["Contact"]},
    ]);
    let beside = "Contact:  24.12.2025";
    for text in [text, beside] {
        assert_eq!(values(text, points.clone()), [("date".into(), Some("2025-12-24".into()))], "{text}");
    }
    let names = "Seller: 471100\nAcme GmbH";
    let found = values(names, json!([{"name": "seller_name", "type": "string", "labels": ["Seller"]}]));
    assert_eq!(found, [("seller_name".into(), Some("Acme GmbH".into()))], "names are words");
}

#[test]
fn mapping_time_is_linear_in_pages() {
    let line = "Total 12.00 Total net 13.00 VAT 1.00 Date 01.02.2024 Order number 4711 ";
    let text = vec![line; 60].join("\n");
    let document = TextDocument { pages: (1..=100).map(|number| page(number, &text)).collect() };
    let points = json!([
        {"name": "total", "type": "amount", "labels": ["Total"]},
        {"name": "order", "type": "code", "labels": ["Order number"], "patterns": ["\\d{4}"], "multiple": true},
        {"name": "date", "type": "date", "labels": ["Date"]},
    ]);
    let found = map_document(&document, None, &taxonomy(&points, &json!({}))).data_points;
    assert_eq!(found.len(), 6_002);
}
