//! Which of its languages `tesseract` reads with.

/// ISO 639-1 codes with the names that `tesseract` has for them (its manual page, LANGUAGES AND SCRIPTS).
const NAMES: &[(&str, &str)] = &[
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
/// More languages make it slower and no better.
const MOST: usize = 3;

/// The languages that are both wanted and installed, else English, else any, joined as option `-l` takes them. `listed`
/// is the output of `--list-langs`: a heading, then one name per line.
pub(super) fn choose(wanted: &[String], listed: &str) -> Option<String> {
    // `osd` finds the orientation of a page and is no language.
    let installed: Vec<&str> =
        listed.lines().skip(1).map(str::trim).filter(|name| !name.is_empty() && *name != "osd").collect();
    let mut chosen: Vec<&str> = Vec::new();
    for code in wanted {
        let code = code.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let name = NAMES.iter().find(|(short, long)| *short == code || *long == code).map(|(_, name)| *name);
        if let Some(name) = name.filter(|name| installed.contains(name) && !chosen.contains(name)) {
            chosen.push(name);
        }
    }
    chosen.truncate(MOST);
    if chosen.is_empty() {
        chosen.push(installed.iter().find(|name| **name == "eng").or(installed.first())?);
    }
    Some(chosen.join("+"))
}

#[cfg(test)]
mod tests {

    #[test]
    fn what_is_wanted_and_installed_is_taken() {
        let listed = "List of available languages in \"/data\" (3):\ndeu\neng\nosd\n";
        let choose = |codes: &[&str]| {
            super::choose(&codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>(), listed)
        };
        assert_eq!(choose(&["de", "en", "de-AT"]).as_deref(), Some("deu+eng"));
        assert_eq!(choose(&["fr"]).as_deref(), Some("eng"));
        assert_eq!(choose(&[]).as_deref(), Some("eng"));
        assert_eq!(super::choose(&[], "List (1):\nosd\n"), None);
        assert_eq!(super::choose(&[], "List (1):\nfra\n").as_deref(), Some("fra"));
    }
}
