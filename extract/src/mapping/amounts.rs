//! Scores amounts by arithmetic: net and tax add up to gross.

use rust_decimal::Decimal;

use super::candidate::{Candidate, CandidateGroup, Origin};
use super::formats::Formats;
use super::page_grid::{PageGrid, TextRun};
use super::role::Roles;

/// Values of each role that are combined.
const MAX_TRIED: usize = 8;
/// Scores of amounts that add up, with strong and with weak labels.
const PROVEN_SCORE: f32 = 0.96;
const WEAK_PROOF_SCORE: f32 = 0.86;
/// Score of net and gross if their difference consists of printed taxes.
const SUPPORTED_SCORE: f32 = 0.9;
/// Factor for an unproven amount, which may be a subtotal.
const UNPROVEN_FACTOR: f32 = 0.92;
/// Score of a printed amount that follows from two others.
const DERIVED_SCORE: f32 = 0.75;
/// Score of the total as the amount to pay, if no other is found.
const SAME_AS_TOTAL_SCORE: f32 = 0.5;

/// Scores the groups of net, tax, gross and payable amounts by each other.
pub(super) fn score_amounts(
    groups: &mut [Vec<CandidateGroup>],
    roles: &Roles,
    grids: &[PageGrid<'_>],
    formats: &Formats,
) {
    if let (Some(net), Some(tax), Some(gross)) = (roles.net, roles.tax, roles.gross) {
        let proven = prove_sum(groups, net, tax, gross)
            || derive_missing(groups, [net, tax, gross], grids, formats)
            || prove_by_tax_rates(groups, net, tax, gross);
        if !proven {
            lower_unproven(groups, &[net, tax, gross]);
        }
    }
    if let (Some(payable), Some(gross)) = (roles.payable, roles.gross) {
        confirm_payable(groups, payable, gross);
    }
}

fn amount_of(group: &CandidateGroup) -> Option<Decimal> {
    group.best().number
}

/// Moves a group to the front with at least this score.
fn promote(groups: &mut Vec<CandidateGroup>, at: usize, score: f32) {
    let mut group = groups.remove(at);
    group.score = group.score.max(score);
    groups.insert(0, group);
}

fn prove_sum(groups: &mut [Vec<CandidateGroup>], net: usize, tax: usize, gross: usize) -> bool {
    let mut best: Option<(f32, [usize; 3])> = None;
    for (n, net_group) in groups[net].iter().enumerate().take(MAX_TRIED) {
        for (t, tax_group) in groups[tax].iter().enumerate().take(MAX_TRIED) {
            for (g, gross_group) in groups[gross].iter().enumerate().take(MAX_TRIED) {
                let (Some(a), Some(b), Some(c)) =
                    (amount_of(net_group), amount_of(tax_group), amount_of(gross_group))
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
    let score = if weight > 0.1 { PROVEN_SCORE } else { WEAK_PROOF_SCORE };
    for (point, at) in [net, tax, gross].into_iter().zip(places) {
        promote(&mut groups[point], at, score);
    }
    true
}

/// Derives a missing amount from the other two, if it is printed.
fn derive_missing(
    groups: &mut [Vec<CandidateGroup>],
    [net, tax, gross]: [usize; 3],
    grids: &[PageGrid<'_>],
    formats: &Formats,
) -> bool {
    let known = |point: usize| {
        let group =
            groups[point].first().filter(|group| group.score > 0.6 || group.best().origin == Origin::Pattern);
        group.and_then(amount_of).map(|number| number.abs())
    };
    let (missing, wanted) = match (known(net), known(tax), known(gross)) {
        (Some(n), _, Some(g)) if g > n && groups[tax].is_empty() => (tax, g.checked_sub(n)),
        (Some(n), Some(t), None) => (gross, n.checked_add(t)),
        (None, Some(t), Some(g)) if g > t => (net, g.checked_sub(t)),
        _ => return false,
    };
    let Some(candidate) = wanted.and_then(|wanted| find_printed(wanted, grids, formats)) else {
        return false;
    };
    let key = candidate.key(crate::taxonomy::Kind::Amount);
    groups[missing].insert(0, CandidateGroup { key, score: DERIVED_SCORE, candidates: vec![candidate] });
    true
}

/// Finds the first printed occurrence of an amount.
fn find_printed(wanted: Decimal, grids: &[PageGrid<'_>], formats: &Formats) -> Option<Candidate> {
    grids.iter().enumerate().find_map(|(index, grid)| {
        let cells = grid.rows.iter().flat_map(|row| &row.cells);
        cells.into_iter().find_map(|cell| {
            let value = formats
                .amounts(&cell.text)
                .into_iter()
                .find(|value| value.number.is_some_and(|n| n.abs() == wanted))?;
            let mut run = TextRun::default();
            run.push(cell, 0, usize::MAX);
            let words = run.words(&value.span);
            Some(Candidate::new(Origin::Inference, (index, grid), words, &run.text, &value, DERIVED_SCORE))
        })
    })
}

/// Proves net and gross by several printed taxes of different rates.
fn prove_by_tax_rates(groups: &mut [Vec<CandidateGroup>], net: usize, tax: usize, gross: usize) -> bool {
    let (Some(n), Some(g)) =
        (groups[net].first().and_then(amount_of), groups[gross].first().and_then(amount_of))
    else {
        return false;
    };
    let Some(difference) = g.abs().checked_sub(n.abs()).filter(|difference| *difference > Decimal::ZERO)
    else {
        return false;
    };
    let taxes: Vec<Decimal> =
        groups[tax].iter().take(MAX_TRIED).filter_map(amount_of).map(|tax| tax.abs()).collect();
    let made_of_taxes = (0_u32..1 << taxes.len()).filter(|set| set.count_ones() > 1).any(|set| {
        let chosen = taxes.iter().enumerate().filter(|(index, _)| set & (1 << index) != 0);
        chosen.map(|(_, tax)| *tax).sum::<Decimal>() == difference
    });
    if made_of_taxes {
        promote(&mut groups[net], 0, SUPPORTED_SCORE);
        promote(&mut groups[gross], 0, SUPPORTED_SCORE);
        // Each tax is only a part.
        groups[tax].iter_mut().for_each(|group| group.score = group.score.min(0.4));
    }
    made_of_taxes
}

/// Lowers the scores of unproven amounts. A label alone can mean a subtotal, but patterns are written for the document.
fn lower_unproven(groups: &mut [Vec<CandidateGroup>], points: &[usize]) {
    for point in points {
        for group in &mut groups[*point] {
            if group.candidates.iter().all(|candidate| candidate.origin != Origin::Pattern) {
                group.score *= UNPROVEN_FACTOR;
            }
        }
    }
}

fn confirm_payable(groups: &mut [Vec<CandidateGroup>], payable: usize, gross: usize) {
    let Some(total) = groups[gross].first().cloned() else { return };
    if let Some(group) = groups[payable].first_mut() {
        if amount_of(group) == amount_of(&total) {
            group.score = group.score.max(0.75 * total.score + 0.25 * group.score);
        }
        return;
    }
    let candidate = Candidate { origin: Origin::Inference, ..total.best().clone() };
    let score = SAME_AS_TOTAL_SCORE.min(total.score);
    groups[payable].push(CandidateGroup { key: total.key, score, candidates: vec![candidate] });
}
