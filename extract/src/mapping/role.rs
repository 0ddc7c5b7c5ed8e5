//! Derives the roles of data points from their names: net, tax and gross; date of issue and due date.

use super::label::{Inclusion, LabelOccurrence};
use super::token::tokenize;
use crate::taxonomy::{DataPoint, Kind, Taxonomy};

const NET: [&str; 9] = ["net", "netto", "untaxed", "subtotal", "excl", "exclusive", "ht", "taxable", "base"];
const TAX: [&str; 10] = ["tax", "taxe", "vat", "tva", "mwst", "ust", "btw", "iva", "gst", "steuer"];
const DUE: [&str; 8] =
    ["due", "payable", "pay", "outstanding", "balance", "falligkeit", "zahlbetrag", "echeance"];
const GROSS: [&str; 9] = ["total", "gross", "brutto", "ttc", "incl", "inclusive", "amount", "grand", "sum"];
const ISSUE: [&str; 10] =
    ["date", "issue", "issued", "invoice", "document", "datum", "rechnung", "facture", "factuur", "beleg"];

/// Indices of the data points with a role.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roles {
    pub(super) net: Option<usize>,
    pub(super) tax: Option<usize>,
    pub(super) gross: Option<usize>,
    /// The amount to pay.
    pub(super) payable: Option<usize>,
    pub(super) issued: Option<usize>,
    pub(super) due: Option<usize>,
}

impl Roles {
    /// Returns the data point that a label means: `excl. VAT` means net, `incl. VAT` gross.
    pub(super) fn data_point_for(&self, label: &LabelOccurrence) -> Option<usize> {
        match label.inclusion {
            Some(Inclusion::With) if self.tax == Some(label.point) => self.gross,
            Some(Inclusion::Without) if self.tax == Some(label.point) => self.net,
            _ => Some(label.point),
        }
    }

    /// Derives the roles from the names. A role that several data points claim stays empty.
    pub(super) fn new(taxonomy: &Taxonomy) -> Self {
        let data_point_with = |wanted: Role| {
            let mut points =
                taxonomy.data_points.iter().enumerate().filter(|(_, point)| role_of(point) == Some(wanted));
            let first = points.next().map(|(index, _)| index);
            first.filter(|_| points.next().is_none())
        };
        Self {
            net: data_point_with(Role::Net),
            tax: data_point_with(Role::Tax),
            gross: data_point_with(Role::Gross),
            payable: data_point_with(Role::Payable),
            issued: data_point_with(Role::Issued),
            due: data_point_with(Role::Due),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Net,
    Tax,
    Gross,
    Payable,
    Issued,
    Due,
}

fn role_of(point: &DataPoint) -> Option<Role> {
    if point.multiple {
        return None;
    }
    let words: Vec<String> = tokenize(&point.name).into_iter().map(|token| token.text).collect();
    let any = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let all = |known: &[&str]| words.iter().all(|word| known.contains(&word.as_str()) || word == "invoice");
    match point.kind {
        Kind::Amount if any(&NET) => Some(Role::Net),
        Kind::Amount if any(&DUE) => Some(Role::Payable),
        Kind::Amount if any(&TAX) => Some(Role::Tax),
        Kind::Amount if all(&GROSS) => Some(Role::Gross),
        Kind::Date if any(&DUE) => Some(Role::Due),
        Kind::Date if all(&ISSUE) => Some(Role::Issued),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_from_names() {
        let taxonomy = |names: &[(&str, &str)]| {
            let points: Vec<_> =
                names.iter().map(|(name, kind)| serde_json::json!({"name": name, "type": kind})).collect();
            Taxonomy::parse(&serde_json::json!({"name": "t", "data_points": points})).expect("a taxonomy")
        };
        let amounts = [("amount_untaxed", "amount"), ("amount_tax", "amount"), ("amount", "amount")];
        let roles = Roles::new(&taxonomy(&amounts));
        assert_eq!((roles.net, roles.tax, roles.gross), (Some(0), Some(1), Some(2)));
        let dotted = [
            ("invoice.total", "amount"),
            ("due_date", "date"),
            ("issue_date", "date"),
            ("total.due", "amount"),
        ];
        let roles = Roles::new(&taxonomy(&dotted));
        assert_eq!(
            (roles.gross, roles.due, roles.issued, roles.payable),
            (Some(0), Some(1), Some(2), Some(3))
        );
        assert_eq!(
            Roles::new(&taxonomy(&[("vat_a", "amount"), ("vat_b", "amount"), ("rent", "amount")])),
            Roles::default()
        );
    }
}
