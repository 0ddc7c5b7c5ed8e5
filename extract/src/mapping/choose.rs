//! Chooses the values among the candidates and sets their confidence.

use std::collections::HashSet;

use super::candidate::{Candidate, CandidateGroup, Origin, group_candidates};
use super::finding::{Finding, Mapping};
use super::page_grid::PageGrid;
use crate::document::{BBox, Zones};
use crate::normalize::Currency;
use crate::taxonomy::{DataPoint, Kind, Taxonomy};

/// Candidates with a lower score are not reported.
const MIN_SCORE: f32 = 0.2;
/// A rival with at least this share of the winner's score makes the winner doubtful.
const CLOSE_RIVAL_RATIO: f32 = 0.75;
/// Highest confidence of a winner with a close rival, and factor for one whose words belong to another data point.
const CONTESTED_SCORE: f32 = 0.65;
const CLAIMED_FACTOR: f32 = 0.5;
/// Highest confidence.
const MAX_CONFIDENCE: f32 = 0.99;

/// Chooses the candidates of each data point and sets their confidence, in the order of the data points.
///
/// `weigh` may change the groups of all data points before the choice.
pub(super) fn choose_candidates(
    candidates: Vec<Vec<Candidate>>,
    taxonomy: &Taxonomy,
    weigh: impl FnOnce(&mut [Vec<CandidateGroup>]),
) -> Vec<Vec<Candidate>> {
    let points = &taxonomy.data_points;
    let mut chosen: Vec<Vec<Candidate>> = vec![Vec::new(); points.len()];
    let mut grouped = Vec::with_capacity(points.len());
    for (index, (found, point)) in candidates.into_iter().zip(points).enumerate() {
        if point.multiple {
            chosen[index] = choose_occurrences(found);
            grouped.push(Vec::new());
        } else {
            grouped.push(group_candidates(prefer_patterns(found), point.kind));
        }
    }
    weigh(&mut grouped);

    // The highest score wins its words; other data points use their next candidates.
    let mut order: Vec<usize> = (0..points.len()).filter(|index| !grouped[*index].is_empty()).collect();
    order.sort_by(|a, b| grouped[*b][0].score.total_cmp(&grouped[*a][0].score));
    let mut taken: Vec<(Kind, Candidate)> = Vec::new();
    for index in order {
        if let Some(winner) = choose_winner(&grouped[index], &points[index], &taken) {
            taken.push((points[index].kind, winner.clone()));
            chosen[index].push(winner);
        }
    }
    chosen
}

/// Prefers patterns: candidates of labels count only if a pattern found the same value.
fn prefer_patterns(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let by_pattern = |candidate: &Candidate| candidate.origin == Origin::Pattern && candidate.score > 0.5;
    if !candidates.iter().any(by_pattern) {
        return candidates;
    }
    let pattern_keys: Vec<String> =
        candidates.iter().filter(|c| c.origin == Origin::Pattern).map(|c| c.key(Kind::String)).collect();
    candidates.into_iter().filter(|candidate| pattern_keys.contains(&candidate.key(Kind::String))).collect()
}

/// Keeps one candidate for each position, in page order.
fn choose_occurrences(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    if let Some(trusted) = candidates.iter().map(|candidate| candidate.origin).min() {
        candidates.retain(|candidate| candidate.origin == trusted);
    }
    candidates.retain(|candidate| candidate.score >= MIN_SCORE);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut taken: HashSet<(usize, usize)> = HashSet::new();
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if !candidate.word_positions().any(|position| taken.contains(&position)) {
            taken.extend(candidate.word_positions());
            kept.push(candidate);
        }
    }
    kept.sort_by(|a, b| {
        (a.page_index.cmp(&b.page_index))
            .then(a.area.top.total_cmp(&b.area.top))
            .then(a.area.left.total_cmp(&b.area.left))
    });
    kept
}

fn choose_winner(
    groups: &[CandidateGroup],
    point: &DataPoint,
    taken: &[(Kind, Candidate)],
) -> Option<Candidate> {
    let is_claimed = |candidate: &Candidate| {
        candidate.origin != Origin::Pattern
            && point.kind != Kind::Amount
            && taken.iter().any(|(kind, other)| {
                // A date or amount of another data point is not a text of its own.
                let typed = candidate.date.is_some() || candidate.number.is_some();
                (*kind == point.kind || point.kind == Kind::String && typed) && other.shares_word(candidate)
            })
    };
    let unclaimed =
        |group: &CandidateGroup| group.candidates.iter().find(|candidate| !is_claimed(candidate)).cloned();
    let free = groups.iter().enumerate().find_map(|(at, group)| Some((at, group, unclaimed(group)?)));
    let (at, group, candidate, mut score) = match free {
        Some((at, group, candidate)) => (at, group, candidate, group.score),
        None => {
            // A candidate found only by its shape belongs to the other data point.
            let group = groups.first().filter(|group| group.best().origin <= Origin::Label)?;
            (0, group, group.best().clone(), group.score * CLAIMED_FACTOR)
        }
    };
    let rival = groups.iter().skip(at + 1).map(|rival| rival.score).fold(0.0, f32::max);
    let by_pattern = group.candidates.iter().any(|candidate| candidate.origin == Origin::Pattern);
    if !by_pattern && rival > CLOSE_RIVAL_RATIO * group.score || at > 0 {
        score = score.min(CONTESTED_SCORE);
    }
    (score >= MIN_SCORE).then_some(Candidate { score, ..candidate })
}

/// Builds the result in the order of the taxonomy.
pub(super) fn build_mapping(
    chosen: Vec<Vec<Candidate>>,
    grids: &[PageGrid<'_>],
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
            let grid = &grids[candidate.page_index];
            let bbox = grid.bbox(&candidate.words);
            let printed = candidate.currency.map(Currency::code).map(str::to_owned);
            let currency = printed.or_else(|| taxonomy.options.currency.clone());
            data_points.push(Finding {
                name: point.name.clone(),
                kind: Some(point.kind),
                value: Some(candidate.value),
                normalized: candidate.normalized,
                currency: currency.filter(|_| point.kind == Kind::Amount),
                confidence: (f64::from(candidate.score.clamp(0.0, MAX_CONFIDENCE)) * 1_000.0).round()
                    / 1_000.0,
                page: Some(grid.page.number),
                bbox,
                zone: bbox.and_then(|bbox| zone_around(zones?, grid.page.number, &bbox)),
            });
        }
    }
    Mapping { data_points }
}

/// Returns the ID of the smallest zone around the center of a box.
fn zone_around(zones: &Zones, page: u32, bbox: &BBox) -> Option<String> {
    let (x, y) = (bbox.x + bbox.width / 2.0, bbox.y + bbox.height / 2.0);
    let around = zones.zones.iter().filter(|zone| {
        let b = &zone.bbox;
        zone.page == page && (b.x..=b.x + b.width).contains(&x) && (b.y..=b.y + b.height).contains(&y)
    });
    let smallest =
        around.min_by(|a, b| (a.bbox.width * a.bbox.height).total_cmp(&(b.bbox.width * b.bbox.height)));
    smallest.map(|zone| zone.id.clone())
}
