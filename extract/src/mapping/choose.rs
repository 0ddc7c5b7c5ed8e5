//! Chooses among candidates, and says how sure that is.

use std::collections::HashSet;

use super::candidate::{Candidate, Group, Origin, groups};
use super::sheet::Sheet;
use super::{Finding, Mapping};
use crate::document::{BBox, Zones};
use crate::normalize::Currency;
use crate::taxonomy::{DataPoint, Kind, Taxonomy};

/// What is less likely than this is not reported.
const LEAST: f32 = 0.2;
/// A rival this likely, compared with the winner, makes the winner doubtful.
const CLOSE: f32 = 0.75;
/// The confidence of a winner with a close rival, and of one whose place another data point claims.
const CONTESTED: f32 = 0.65;
const CLAIMED: f32 = 0.5;
/// Nothing is certain.
const MOST: f32 = 0.99;

/// The chosen candidates of each data point with their confidence, in the order of the data points.
///
/// `weigh` sees the groups of all data points before anything is chosen.
pub(super) fn choose(
    candidates: Vec<Vec<Candidate>>,
    taxonomy: &Taxonomy,
    weigh: impl FnOnce(&mut [Vec<Group>]),
) -> Vec<Vec<Candidate>> {
    let points = &taxonomy.data_points;
    let mut chosen: Vec<Vec<Candidate>> = vec![Vec::new(); points.len()];
    let mut grouped = Vec::with_capacity(points.len());
    for (index, (found, point)) in candidates.into_iter().zip(points).enumerate() {
        if point.multiple {
            chosen[index] = occurrences(found);
            grouped.push(Vec::new());
        } else {
            grouped.push(groups(preferred(found), point.kind));
        }
    }
    weigh(&mut grouped);

    // The surest first: it keeps its place on the page, others look further.
    let mut order: Vec<usize> = (0..points.len()).filter(|index| !grouped[*index].is_empty()).collect();
    order.sort_by(|a, b| grouped[*b][0].score.total_cmp(&grouped[*a][0].score));
    let mut taken: Vec<(Kind, Candidate)> = Vec::new();
    for index in order {
        if let Some(winner) = winner(&grouped[index], &points[index], &taken) {
            taken.push((points[index].kind, winner.clone()));
            chosen[index].push(winner);
        }
    }
    chosen
}

/// Patterns come first: what only labels say counts where it agrees.
fn preferred(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let by_pattern = |candidate: &Candidate| candidate.origin == Origin::Pattern && candidate.score > 0.5;
    if !candidates.iter().any(by_pattern) {
        return candidates;
    }
    let said: Vec<String> =
        candidates.iter().filter(|c| c.origin == Origin::Pattern).map(|c| c.key(Kind::String)).collect();
    candidates.into_iter().filter(|candidate| said.contains(&candidate.key(Kind::String))).collect()
}

/// Each place once, in the order of the pages.
fn occurrences(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    if let Some(trusted) = candidates.iter().map(|candidate| candidate.origin).min() {
        candidates.retain(|candidate| candidate.origin == trusted);
    }
    candidates.retain(|candidate| candidate.score >= LEAST);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut taken: HashSet<(usize, usize)> = HashSet::new();
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if !candidate.places().any(|place| taken.contains(&place)) {
            taken.extend(candidate.places());
            kept.push(candidate);
        }
    }
    kept.sort_by(|a, b| {
        (a.sheet.cmp(&b.sheet))
            .then(a.frame.top.total_cmp(&b.frame.top))
            .then(a.frame.left.total_cmp(&b.frame.left))
    });
    kept
}

fn winner(groups: &[Group], point: &DataPoint, taken: &[(Kind, Candidate)]) -> Option<Candidate> {
    let exclusive = |candidate: &Candidate| {
        candidate.origin != Origin::Pattern
            && point.kind != Kind::Amount
            && taken.iter().any(|(kind, other)| {
                // A date or sum that is another's value is no text of its own.
                let typed = candidate.date.is_some() || candidate.number.is_some();
                (*kind == point.kind || point.kind == Kind::String && typed) && other.same_place(candidate)
            })
    };
    let place = |group: &Group| group.candidates.iter().find(|candidate| !exclusive(candidate)).cloned();
    let free = groups.iter().enumerate().find_map(|(at, group)| Some((at, group, place(group)?)));
    let (at, group, candidate, mut score) = match free {
        Some((at, group, candidate)) => (at, group, candidate, group.score),
        None => {
            // What has but its shape to show for itself is the other data point's.
            let group = groups.first().filter(|group| group.best().origin <= Origin::Label)?;
            (0, group, group.best().clone(), group.score * CLAIMED)
        }
    };
    let rival = groups.iter().skip(at + 1).map(|rival| rival.score).fold(0.0, f32::max);
    let sure = group.candidates.iter().any(|candidate| candidate.origin == Origin::Pattern);
    if !sure && rival > CLOSE * group.score || at > 0 {
        score = score.min(CONTESTED);
    }
    (score >= LEAST).then_some(Candidate { score, ..candidate })
}

/// The result in the order of the taxonomy.
pub(super) fn mapping(
    chosen: Vec<Vec<Candidate>>,
    sheets: &[Sheet<'_>],
    zones: Option<&Zones>,
    taxonomy: &Taxonomy,
) -> Mapping {
    let mut data_points = Vec::new();
    for (candidates, point) in chosen.into_iter().zip(&taxonomy.data_points) {
        if candidates.is_empty() && point.required {
            data_points.push(Finding {
                name: point.name.clone(),
                kind: Some(point.kind),
                ..Finding::default()
            });
        }
        for candidate in candidates {
            let sheet = &sheets[candidate.sheet];
            let bbox = sheet.bbox(&candidate.words);
            let printed = candidate.currency.map(Currency::code).map(str::to_owned);
            let currency = printed.or_else(|| taxonomy.options.currency.clone());
            data_points.push(Finding {
                name: point.name.clone(),
                kind: Some(point.kind),
                value: Some(candidate.value),
                normalized: candidate.normalized,
                currency: currency.filter(|_| point.kind == Kind::Amount),
                confidence: (f64::from(candidate.score.clamp(0.0, MOST)) * 1_000.0).round() / 1_000.0,
                page: Some(sheet.page.number),
                bbox,
                zone: bbox.and_then(|bbox| zone(zones?, sheet.page.number, &bbox)),
            });
        }
    }
    Mapping { data_points }
}

/// The smallest zone that holds the middle of a box.
fn zone(zones: &Zones, page: u32, bbox: &BBox) -> Option<String> {
    let (x, y) = (bbox.x + bbox.width / 2.0, bbox.y + bbox.height / 2.0);
    let around = zones.zones.iter().filter(|zone| {
        let b = &zone.bbox;
        zone.page == page && (b.x..=b.x + b.width).contains(&x) && (b.y..=b.y + b.height).contains(&y)
    });
    let smallest =
        around.min_by(|a, b| (a.bbox.width * a.bbox.height).total_cmp(&(b.bbox.width * b.bbox.height)));
    smallest.map(|zone| zone.id.clone())
}
