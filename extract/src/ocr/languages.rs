//! Chooses the languages of `tesseract`.

/// ISO 639-1 codes and their names in `tesseract` (its manual page, LANGUAGES AND SCRIPTS).
const TESSERACT_LANGUAGES: &[(&str, &str)] = &[
    ("ar", "ara"),
    ("bg", "bul"),
    ("ca", "cat"),
    ("cs", "ces"),
    ("da", "dan"),
    ("de", "deu"),
    ("el", "ell"),
    ("en", "eng"),
    ("es", "spa"),
    ("et", "est"),
    ("fa", "fas"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("ga", "gle"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hr", "hrv"),
    ("hu", "hun"),
    ("id", "ind"),
    ("is", "isl"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("ko", "kor"),
    ("lb", "ltz"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("mt", "mlt"),
    ("nb", "nor"),
    ("nl", "nld"),
    ("nn", "nor"),
    ("no", "nor"),
    ("pl", "pol"),
    ("pt", "por"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sq", "sqi"),
    ("sr", "srp"),
    ("sv", "swe"),
    ("th", "tha"),
    ("tr", "tur"),
    ("uk", "ukr"),
    ("vi", "vie"),
    ("zh", "chi_sim"),
];
/// More languages make `tesseract` slower and no better.
const MAX_LANGUAGES: usize = 3;

/// Returns the wanted languages that are installed, else English, else any, in the form of the option `-l`. `listed` is
/// the output of `--list-langs`: a heading, then one name a line.
pub(super) fn choose_languages(wanted: &[String], listed: &str) -> Option<String> {
    // `osd` detects the orientation of a page and is not a language.
    let installed: Vec<&str> =
        listed.lines().skip(1).map(str::trim).filter(|name| !name.is_empty() && *name != "osd").collect();
    let mut chosen: Vec<&str> = Vec::new();
    for code in wanted {
        let code = code.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let name = TESSERACT_LANGUAGES
            .iter()
            .find(|(short, long)| *short == code || *long == code)
            .map(|(_, name)| *name);
        if let Some(name) = name.filter(|name| installed.contains(name) && !chosen.contains(name)) {
            chosen.push(name);
        }
    }
    chosen.truncate(MAX_LANGUAGES);
    if chosen.is_empty() {
        chosen.push(installed.iter().find(|name| **name == "eng").or(installed.first())?);
    }
    Some(chosen.join("+"))
}

#[cfg(test)]
mod tests {

    #[test]
    fn wanted_and_installed_languages_are_chosen() {
        let listed = "List of available languages in \"/data\" (3):\ndeu\neng\nosd\n";
        let choose = |codes: &[&str]| {
            super::choose_languages(&codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>(), listed)
        };
        assert_eq!(choose(&["de", "en", "de-AT"]).as_deref(), Some("deu+eng"));
        assert_eq!(choose(&["fr"]).as_deref(), Some("eng"));
        assert_eq!(choose(&[]).as_deref(), Some("eng"));
        assert_eq!(super::choose_languages(&[], "List (1):\nosd\n"), None);
        assert_eq!(super::choose_languages(&[], "List (1):\nfra\n").as_deref(), Some("fra"));
    }
}
