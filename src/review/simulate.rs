//! Simulates the effect of another threshold on past reviews, from the confidences of steps and the corrections of
//! reviewers.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect};

use crate::access::{self, Actor};
use crate::clock::{self, Timestamp};
use crate::entity::confidence::{self, Column};
use crate::error::{Error, Result};
use crate::job::Jobs;

/// Counts over past jobs, limited to those whose step the viewer has access to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Simulation {
    /// Number of items that the step found or missed.
    pub items: i64,
    /// Number of items that a person reviewed.
    pub reviewed: i64,
    /// Number of items that a person would review with the threshold.
    pub would_review: i64,
    /// Number of corrections that would not be made with the threshold.
    pub(crate) missed_corrections: i64,
}

/// Counts the reviews and corrections with another threshold, by one query that an index answers.
pub async fn simulate(
    jobs: &Jobs,
    actor: &Actor,
    (type_id, step): (&str, &str),
    threshold: f64,
    since: Option<Timestamp>,
) -> Result<Simulation> {
    let job_type = jobs.types.newest(type_id).await?.ok_or_else(|| Error::not_found("job type"))?;
    if job_type.step(step).is_none() {
        let names: Vec<_> = job_type.steps.iter().map(|step| step.name.as_str()).collect();
        let valid = names.join(", ");
        let message = format!("Unknown step {step:?} for job type {type_id}. Valid steps: {valid}.");
        return Err(Error::invalid("/step", "UNKNOWN_STEP", message));
    }
    if !(0.0..=1.0).contains(&threshold) {
        return Err(Error::invalid("/threshold", "RANGE", "A threshold is a number from 0 to 1."));
    }
    if since.is_some_and(|since| !clock::has_four_digit_year(since)) {
        return Err(Error::invalid("/since", "RANGE", "The time must be in the years 1 to 9999."));
    }
    let needs_review = if threshold <= 0.0 {
        "FALSE".to_owned()
    } else if threshold >= 1.0 {
        "TRUE".to_owned()
    } else {
        // A number from 0 to 1000 is safe in the text of the statement.
        format!("(missing OR thousandths < {})", threshold * 1_000.0)
    };
    let sum = |value: &str| Expr::cust(format!("coalesce(sum({value}), 0)"));
    let counts = confidence::Entity::find()
        .select_only()
        .expr_as(sum("items"), "items")
        .expr_as(sum("reviewed"), "reviewed")
        .expr_as(sum(&format!("CASE WHEN {needs_review} THEN items ELSE 0 END")), "would_review")
        .expr_as(sum(&format!("CASE WHEN {needs_review} THEN 0 ELSE corrected END")), "missed_corrections")
        .filter(Column::TypeId.eq(type_id))
        .filter(Column::Step.eq(step))
        .filter(access::accessible_step_rows(actor, jobs.db.backend(), "confidence"));
    let counts = match since {
        Some(since) => counts.filter(Column::At.gte(since)),
        None => counts,
    };
    let counted = counts.into_model::<Simulation>().one(jobs.db.read()).await?;
    counted.ok_or_else(|| Error::internal("a sum without a row"))
}
