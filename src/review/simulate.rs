//! What another threshold would have asked people to look at, from what steps were sure of and people corrected.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect};

use crate::access::{self, Actor};
use crate::clock::{self, Timestamp};
use crate::entity::confidence::{self, Column};
use crate::error::{Error, Result};
use crate::job::Jobs;

/// Counts over the past jobs whose step the viewer works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Simulation {
    /// Things that the step found, or missed.
    pub items: i64,
    /// Those that a person looked at then.
    pub reviewed: i64,
    /// Those that a person would look at.
    pub would_review: i64,
    /// Corrections made then that would not be made.
    pub missed_corrections: i64,
}

/// One query over the index of a type's and step's confidences.
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
        let message = format!("The type has no step {step:?}; it has: {}.", names.join(", "));
        return Err(Error::invalid("/step", "UNKNOWN_STEP", message));
    }
    if !(0.0..=1.0).contains(&threshold) {
        return Err(Error::invalid("/threshold", "RANGE", "A threshold lies between 0 and 1."));
    }
    if since.is_some_and(|since| !clock::has_four_digit_year(since)) {
        return Err(Error::invalid("/since", "RANGE", "A time in the years 1 to 9999 is wanted."));
    }
    let looked_at = if threshold <= 0.0 {
        "FALSE".to_owned()
    } else if threshold >= 1.0 {
        "TRUE".to_owned()
    } else {
        // A number between 0 and 1000, so that it can stand in the text of the statement.
        format!("(missing OR thousandths < {})", threshold * 1_000.0)
    };
    let sum = |what: &str| Expr::cust(format!("coalesce(sum({what}), 0)"));
    let counts = confidence::Entity::find()
        .select_only()
        .expr_as(sum("items"), "items")
        .expr_as(sum("reviewed"), "reviewed")
        .expr_as(sum(&format!("CASE WHEN {looked_at} THEN items ELSE 0 END")), "would_review")
        .expr_as(sum(&format!("CASE WHEN {looked_at} THEN 0 ELSE corrected END")), "missed_corrections")
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
