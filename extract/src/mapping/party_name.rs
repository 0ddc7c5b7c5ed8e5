//! Recognizes data points that hold the name of a person or company.

use super::token::tokenize;
use crate::taxonomy::{DataPoint, Kind};

pub(super) const SENDER_WORDS: [&str; 11] = [
    "seller",
    "supplier",
    "vendor",
    "issuer",
    "sender",
    "verkaufer",
    "lieferant",
    "fournisseur",
    "vendeur",
    "emetteur",
    "leverancier",
];
pub(super) const RECIPIENT_WORDS: [&str; 10] = [
    "buyer",
    "customer",
    "client",
    "recipient",
    "kunde",
    "kaufer",
    "empfanger",
    "destinataire",
    "acheteur",
    "klant",
];
const NAME_WORDS: [&str; 4] = ["name", "company", "firma", "nom"];
pub(super) fn is_name_of_party(point: &DataPoint, wanted: &[&str]) -> bool {
    let party = tokenize(&point.name).iter().any(|word| wanted.contains(&word.text.as_str()));
    party && is_party_name(point) && !point.multiple
}

/// Whether a data point holds the name of a person or company, by its own name: `buyer_name`, or `seller` alone.
pub(super) fn is_party_name(point: &DataPoint) -> bool {
    let words = tokenize(&point.name);
    let is = |known: &[&str]| words.last().is_some_and(|last| known.contains(&last.text.as_str()));
    point.kind == Kind::String
        && (is(&NAME_WORDS) || words.len() == 1 && (is(&SENDER_WORDS) || is(&RECIPIENT_WORDS)))
}
