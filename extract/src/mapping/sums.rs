//! Sums that prove each other: net and tax make gross.

use rust_decimal::Decimal;

use super::candidate::{Candidate, Group, Origin};
use super::role::Roles;
use super::sheet::{Run, Sheet};
use super::value::Reading;

/// Values of each role that are tried with each other.
const TRIED: usize = 8;
/// What a sum that works out is worth, where labels say the same and where they are weak.
const PROVEN: f32 = 0.96;
const LIKELY: f32 = 0.86;
/// What two sums are worth whose difference is made of printed taxes.
const SUPPORTED: f32 = 0.9;
/// A sum that nothing has proven may still be a subtotal.
const UNPROVEN: f32 = 0.92;
/// A sum that follows from two others and is printed somewhere.
const FOLLOWS: f32 = 0.75;
/// What is to be paid is the total where nothing else is said.
const SAME_AS_TOTAL: f32 = 0.5;

/// Weighs the groups of net, tax, gross and payable sums by each other.
pub(super) fn weigh(groups: &mut [Vec<Group>], roles: &Roles, sheets: &[Sheet<'_>], reading: &Reading) {
    if let (Some(net), Some(tax), Some(gross)) = (roles.net, roles.tax, roles.gross) {
        let proven = prove(groups, net, tax, gross)
            || complete(groups, [net, tax, gross], sheets, reading)
            || support(groups, net, tax, gross);
        if !proven {
            doubt(groups, &[net, tax, gross]);
        }
    }
    if let (Some(payable), Some(gross)) = (roles.payable, roles.gross) {
        confirm_payable(groups, payable, gross);
    }
}

fn number(group: &Group) -> Option<Decimal> {
    group.best().number
}

/// Puts a group first with at least this score.
fn lift(groups: &mut Vec<Group>, at: usize, score: f32) {
    let mut group = groups.remove(at);
    group.score = group.score.max(score);
    groups.insert(0, group);
}

fn prove(groups: &mut [Vec<Group>], net: usize, tax: usize, gross: usize) -> bool {
    let mut best: Option<(f32, [usize; 3])> = None;
    for (n, net_group) in groups[net].iter().enumerate().take(TRIED) {
        for (t, tax_group) in groups[tax].iter().enumerate().take(TRIED) {
            for (g, gross_group) in groups[gross].iter().enumerate().take(TRIED) {
                let (Some(a), Some(b), Some(c)) = (number(net_group), number(tax_group), number(gross_group))
                else {
                    continue;
                };
                let adds_up = a.abs().checked_add(b.abs()) == Some(c.abs());
                let weight = net_group.score * tax_group.score * gross_group.score;
                if adds_up && !a.is_zero() && !b.is_zero() && best.is_none_or(|(known, _)| weight > known) {
                    best = Some((weight, [n, t, g]));
                }
            }
        }
    }
    let Some((weight, places)) = best else { return false };
    let score = if weight > 0.1 { PROVEN } else { LIKELY };
    for (point, at) in [net, tax, gross].into_iter().zip(places) {
        lift(&mut groups[point], at, score);
    }
    true
}

/// Where two of three are known, looks for the third among all printed sums.
fn complete(
    groups: &mut [Vec<Group>],
    [net, tax, gross]: [usize; 3],
    sheets: &[Sheet<'_>],
    reading: &Reading,
) -> bool {
    let known = |point: usize| {
        let group =
            groups[point].first().filter(|group| group.score > 0.6 || group.best().origin == Origin::Pattern);
        group.and_then(number).map(|number| number.abs())
    };
    let (missing, wanted) = match (known(net), known(tax), known(gross)) {
        (Some(n), _, Some(g)) if g > n && groups[tax].is_empty() => (tax, g.checked_sub(n)),
        (Some(n), Some(t), None) => (gross, n.checked_add(t)),
        (None, Some(t), Some(g)) if g > t => (net, g.checked_sub(t)),
        _ => return false,
    };
    let Some(candidate) = wanted.and_then(|wanted| printed(wanted, sheets, reading)) else { return false };
    let key = candidate.key(crate::taxonomy::Kind::Amount);
    groups[missing].insert(0, Group { key, score: FOLLOWS, candidates: vec![candidate] });
    true
}

/// The first place where a sum is printed.
fn printed(wanted: Decimal, sheets: &[Sheet<'_>], reading: &Reading) -> Option<Candidate> {
    sheets.iter().enumerate().find_map(|(index, sheet)| {
        let cells = sheet.rows.iter().flat_map(|row| &row.cells);
        cells.into_iter().find_map(|cell| {
            let value = reading
                .amounts(&cell.text)
                .into_iter()
                .find(|value| value.number.is_some_and(|n| n.abs() == wanted))?;
            let mut run = Run::default();
            run.push(cell, 0, usize::MAX);
            let words = run.words(&value.span);
            Some(Candidate::new(Origin::Inference, (index, sheet), words, &run.text, &value, FOLLOWS))
        })
    })
}

/// Several taxes of different rates may be printed instead of their sum.
fn support(groups: &mut [Vec<Group>], net: usize, tax: usize, gross: usize) -> bool {
    let (Some(n), Some(g)) = (groups[net].first().and_then(number), groups[gross].first().and_then(number))
    else {
        return false;
    };
    let Some(difference) = g.abs().checked_sub(n.abs()).filter(|difference| *difference > Decimal::ZERO)
    else {
        return false;
    };
    let taxes: Vec<Decimal> =
        groups[tax].iter().take(TRIED).filter_map(number).map(|tax| tax.abs()).collect();
    let made_of_taxes = (0_u32..1 << taxes.len()).filter(|set| set.count_ones() > 1).any(|set| {
        let chosen = taxes.iter().enumerate().filter(|(index, _)| set & (1 << index) != 0);
        chosen.map(|(_, tax)| *tax).sum::<Decimal>() == difference
    });
    if made_of_taxes {
        lift(&mut groups[net], 0, SUPPORTED);
        lift(&mut groups[gross], 0, SUPPORTED);
        // Each is only a part.
        groups[tax].iter_mut().for_each(|group| group.score = group.score.min(0.4));
    }
    made_of_taxes
}

/// Labels alone can mean a subtotal; patterns were written for the document.
fn doubt(groups: &mut [Vec<Group>], points: &[usize]) {
    for point in points {
        for group in &mut groups[*point] {
            if group.candidates.iter().all(|candidate| candidate.origin != Origin::Pattern) {
                group.score *= UNPROVEN;
            }
        }
    }
}

fn confirm_payable(groups: &mut [Vec<Group>], payable: usize, gross: usize) {
    let Some(total) = groups[gross].first().cloned() else { return };
    if let Some(group) = groups[payable].first_mut() {
        if number(group) == number(&total) {
            group.score = group.score.max(0.75 * total.score + 0.25 * group.score);
        }
        return;
    }
    let candidate = Candidate { origin: Origin::Inference, ..total.best().clone() };
    let score = SAME_AS_TOTAL.min(total.score);
    groups[payable].push(Group { key: total.key, score, candidates: vec![candidate] });
}
