//! Detects the language of a text by its stop words.

use std::collections::HashMap;

/// Short words that are frequent in one language and rare in the others.
const STOP_WORDS: [(&str, &[&str]); 8] = [
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
/// Words of a text that are counted.
const MAX_WORDS: usize = 20_000;
/// The language of a text without any stop word.
const FALLBACK_LANGUAGE: &str = "en";

/// Returns the ISO 639-1 code of the most likely language: English, German, French, Dutch, Spanish, Italian, Portuguese
/// or Swedish. English is the default.
pub(super) fn detect_language(text: &str) -> &'static str {
    let mut counts: HashMap<String, u32> = HashMap::new();
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).take(MAX_WORDS);
    for word in words {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let score = |stop_words: &[&str]| stop_words.iter().filter_map(|word| counts.get(*word)).sum::<u32>();
    let scores = STOP_WORDS.map(|(language, stop_words)| (score(stop_words), language));
    // If scores are equal, the first language wins.
    let best = scores.iter().rev().max_by_key(|(score, _)| *score).filter(|(score, _)| *score > 0);
    best.map_or(FALLBACK_LANGUAGE, |(_, language)| language)
}
