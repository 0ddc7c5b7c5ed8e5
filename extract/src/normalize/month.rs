//! Names of months in German, French, English, Dutch, Spanish and Italian.

use super::text::fold;

/// January to December. Names have no diacritics, and each row follows the order of the languages above.
const MONTHS: [&[&str]; 12] = [
    &["januar", "janner", "janvier", "january", "januari", "enero", "gennaio"],
    &["februar", "feber", "fevrier", "february", "februari", "febrero", "febbraio"],
    &["marz", "maerz", "mars", "march", "maart", "mrt", "marzo"],
    &["april", "avril", "abril", "aprile"],
    &["mai", "may", "mei", "mayo", "maggio"],
    &["juni", "juin", "june", "junio", "giugno"],
    &["juli", "juillet", "july", "julio", "luglio"],
    &["august", "aout", "augustus", "agosto"],
    &["september", "septembre", "septiembre", "setiembre", "settembre"],
    &["oktober", "octobre", "october", "octubre", "ottobre"],
    &["november", "novembre", "noviembre"],
    &["dezember", "decembre", "december", "diciembre", "dicembre"],
];

/// Returns the number of a month from its name, or from an unambiguous abbreviation of three or more letters.
pub(super) fn month_number(name: &str) -> Option<u32> {
    let name = fold(name.trim_end_matches('.'));
    if name.len() < 3 {
        return None;
    }
    let mut found = None;
    for (number, names) in (1..).zip(MONTHS) {
        if names.contains(&name.as_str()) {
            return Some(number);
        }
        if names.iter().any(|full| full.starts_with(&name)) {
            match found {
                None => found = Some(number),
                Some(_) => return None,
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::month_number;

    #[test]
    fn month_names_and_abbreviations_are_recognized() {
        for (name, number) in [
            ("März", 3),
            ("Mrz", 0),
            ("mrt.", 3),
            ("août", 8),
            ("Sept.", 9),
            ("DÉC", 12),
            ("ene", 1),
            ("giugno", 6),
            ("juin", 6),
            ("jui", 0),
            ("mei", 5),
            ("of", 0),
            ("Seite", 0),
        ] {
            assert_eq!(month_number(name).unwrap_or(0), number, "{name}");
        }
    }
}
