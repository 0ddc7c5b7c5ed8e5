use serde_json::json;

use super::*;
use crate::document::Page;

fn document(pages: &[&str]) -> TextDocument {
    let page = |(number, text): (u32, &&str)| Page {
        number,
        width: 600.0,
        height: 800.0,
        text: (*text).to_owned(),
        words: Vec::new(),
    };
    TextDocument { pages: (1..).zip(pages).map(page).collect() }
}

fn taxonomy(keywords: &serde_json::Value) -> Taxonomy {
    Taxonomy::parse(&json!({"name": "t", "keywords": keywords})).expect("a taxonomy")
}

const TEXT: &str = "Heat pumps are the heart of the new heating law. A heat pump moves warmth from the ground into a \
    house. Owners of older houses ask whether a heat pump works with their radiators. Installers say that most \
    radiators do. The law\u{2019}s subsidies for heat pumps end next year, and the municipal utility plans a district \
    heating network instead.";

#[test]
fn terms_match_synonyms_without_case_and_accents() {
    let taxonomy = taxonomy(&json!([
        {"term": "Wärmepumpe", "synonyms": ["heat pump", "heat pumps"]},
        {"term": "District  Heating"},
        {"term": "Énergie solaire", "synonyms": ["photovoltaics"]},
    ]));
    let found =
        extract_keywords(&document(&[TEXT, "Die WARMEPUMPE und die Wa\u{308}rmepumpe."]), &taxonomy).keywords;
    let entry = |name: &str| found.iter().find(|keyword| keyword.entry.as_deref() == Some(name));
    let pump = entry("Wärmepumpe").expect("the term");
    assert_eq!((pump.count, pump.term.as_str()), (6, "Heat pumps"));
    assert!(pump.confidence > 0.9, "{pump:?}");
    assert_eq!(entry("District  Heating").map(|keyword| keyword.count), Some(1));
    assert_eq!(entry("Énergie solaire"), None);
}

#[test]
fn statistical_keywords_complement_the_taxonomy() {
    let found = extract_keywords(&document(&[TEXT]), &taxonomy(&json!([]))).keywords;
    assert!(found.iter().any(|keyword| fold(&keyword.term).contains("heat pump")), "{found:?}");
    assert!(
        found.iter().all(|keyword| keyword.entry.is_none() && keyword.confidence < 0.8 && keyword.count >= 1)
    );
    assert!(found.iter().all(|keyword| (0.0..=1.0).contains(&keyword.weight)));
    assert!(found.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
}

#[test]
fn keyword_limits_are_respected() {
    let found =
        |limits: Limits| extract_keywords_within(&document(&[TEXT]), &taxonomy(&json!([])), &limits).keywords;
    let all = Limits::default();
    assert!(found(all).len() > 1 && found(all).iter().any(|keyword| keyword.term.contains(' ')));
    assert_eq!(found(Limits { statistical: 1, ..all }).len(), 1);
    assert!(found(Limits { words: 1, ..all }).iter().all(|keyword| !keyword.term.contains(' ')));
    assert!(found(Limits { chars: 0, ..all }).is_empty());
}

#[test]
fn empty_document_has_no_keywords() {
    assert_eq!(extract_keywords(&document(&[]), &taxonomy(&json!([{"term": "x"}]))), Keywords::default());
    assert_eq!(extract_keywords(&document(&["", " \n "]), &taxonomy(&json!([]))), Keywords::default());
}

#[test]
fn language_is_detected_by_stop_words() {
    for (text, language) in [
        (TEXT, "en"),
        ("Die Rechnung ist mit dem Betrag von zehn Euro zu zahlen", "de"),
        ("Le montant de la facture est dû dans les trente jours", "fr"),
        ("Het bedrag van de factuur is niet voor uw rekening", "nl"),
        ("El importe de los servicios se paga por el cliente", "es"),
        ("Il prezzo della merce non è per il cliente", "it"),
        ("12345", "en"),
    ] {
        assert_eq!(detect_language(text), language, "{text}");
    }
}

#[test]
fn running_headers_are_not_statistical_keywords() {
    let body = |page: usize| TEXT.chars().skip(page * 40).take(150).collect::<String>();
    let pages: Vec<String> = (1..=6).map(|page| format!("Quarterly Gazette\n{}", body(page))).collect();
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let found = extract_keywords(&document(&pages), &taxonomy(&json!([{"term": "gazette"}]))).keywords;
    let gazette: Vec<_> = found.iter().filter(|keyword| fold(&keyword.term).contains("gazette")).collect();
    assert_eq!(gazette.len(), 1, "only the taxonomy's own: {gazette:?}");
    assert_eq!(gazette[0].count, 6);
}
