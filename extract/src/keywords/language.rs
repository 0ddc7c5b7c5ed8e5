//! Which language a text is written in, by the stop words that it uses.

use std::collections::HashMap;

/// Short words that are frequent in one language and rare in the others.
const MARKS: [(&str, &[&str]); 8] = [
    (
        "en",
        &[
            "the", "of", "and", "to", "is", "that", "for", "with", "this", "are", "be", "by", "or", "your",
            "from",
        ],
    ),
    (
        "de",
        &[
            "der", "die", "und", "das", "ist", "nicht", "mit", "den", "von", "auf", "ein", "eine", "für",
            "dem", "zu", "wir", "sie",
        ],
    ),
    (
        "fr",
        &[
            "le", "la", "les", "et", "des", "est", "une", "du", "dans", "pour", "que", "vous", "au", "sur",
            "par", "nous",
        ],
    ),
    (
        "nl",
        &[
            "het", "een", "van", "en", "niet", "voor", "met", "zijn", "dat", "op", "aan", "ook", "uw", "je",
            "bij", "wij",
        ],
    ),
    (
        "es",
        &["el", "los", "las", "y", "del", "una", "por", "con", "para", "como", "su", "más", "se", "al", "lo"],
    ),
    (
        "it",
        &[
            "il", "di", "che", "e", "della", "per", "un", "non", "con", "sono", "dei", "nel", "gli", "alla",
            "si",
        ],
    ),
    (
        "pt",
        &["o", "os", "do", "da", "um", "uma", "não", "com", "para", "em", "dos", "as", "pelo", "ao", "são"],
    ),
    (
        "sv",
        &[
            "och", "att", "det", "som", "är", "för", "med", "till", "inte", "ett", "av", "på", "har", "vi",
            "den",
        ],
    ),
];
/// Words that are looked at.
const WORDS: usize = 20_000;
/// Where nothing speaks for any language.
const FALLBACK: &str = "en";

/// The ISO 639-1 code of the likeliest of English, German, French, Dutch, Spanish, Italian, Portuguese and Swedish.
/// English where the text tells nothing.
pub fn detect(text: &str) -> &'static str {
    let mut counts: HashMap<String, u32> = HashMap::new();
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).take(WORDS);
    for word in words {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let score = |marks: &[&str]| marks.iter().filter_map(|mark| counts.get(*mark)).sum::<u32>();
    let scores = MARKS.map(|(language, marks)| (score(marks), language));
    // The first of equals: English before others.
    let best = scores.iter().rev().max_by_key(|(score, _)| *score).filter(|(score, _)| *score > 0);
    best.map_or(FALLBACK, |(_, language)| language)
}
