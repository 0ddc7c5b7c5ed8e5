//! The table of who may do what, as a pure function.
//!
//! | | owner, admin | collaborator with `*` | collaborator with steps |
//! |---|---|---|---|
//! | view | yes | yes | yes |
//! | contents and reviews of a step | yes | yes | of their steps |
//! | edit, cancel | yes | yes | no |
//! | share, delete | yes | no | no |

use std::collections::BTreeSet;

/// Stands for every step.
pub const ALL_STEPS: &str = "*";

/// What somebody is to a job that they may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Made it.
    Owner,
    /// Operates the server.
    Admin,
    /// Let in to every step.
    AllSteps,
    /// Let in to these.
    Steps(BTreeSet<String>),
}

/// What can be done to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See it.
    View,
    /// Change its metadata and priority.
    Edit,
    /// Cancel, retry or rewind it.
    Cancel,
    /// Let others in.
    Share,
    /// Remove it.
    Delete,
}

/// The answer for somebody who may see the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Yes,
    /// FORBIDDEN.
    No,
}

impl Action {
    /// For messages.
    pub fn verb(self) -> &'static str {
        match self {
            Self::View => "see",
            Self::Edit => "change",
            Self::Cancel => "cancel, retry or rewind",
            Self::Share => "share",
            Self::Delete => "delete",
        }
    }
}

/// The standing that somebody has without being let in.
pub fn by_itself(is_owner: bool, is_admin: bool) -> Option<Standing> {
    match (is_owner, is_admin) {
        (true, _) => Some(Standing::Owner),
        (false, true) => Some(Standing::Admin),
        (false, false) => None,
    }
}

/// The standing that an actor's collaborations, their own and their teams', add up to.
pub fn standing(collaborations: impl Iterator<Item = Vec<String>>) -> Option<Standing> {
    let mut sum: Option<BTreeSet<String>> = None;
    for steps in collaborations {
        sum.get_or_insert_default().extend(steps);
    }
    let steps = sum?;
    Some(if steps.contains(ALL_STEPS) { Standing::AllSteps } else { Standing::Steps(steps) })
}

/// Whether somebody of that standing may do it.
pub fn permits(standing: &Standing, action: Action) -> Verdict {
    match (standing, action) {
        (Standing::Owner | Standing::Admin, _)
        | (Standing::AllSteps, Action::View | Action::Edit | Action::Cancel)
        | (Standing::Steps(_), Action::View) => Verdict::Yes,
        (Standing::AllSteps, Action::Share | Action::Delete) | (Standing::Steps(_), _) => Verdict::No,
    }
}

/// Whether somebody of that standing works on a step: sees its contents, events and reviews, and does its work.
pub fn works_on(standing: &Standing, step: &str) -> bool {
    match standing {
        Standing::Owner | Standing::Admin | Standing::AllSteps => true,
        Standing::Steps(steps) => steps.contains(step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table() {
        use Action::{Cancel, Delete, Edit, Share, View};
        let mapping = Standing::Steps(["mapping".to_owned()].into());
        for (standing, allowed) in [
            (Standing::Owner, vec![View, Edit, Cancel, Share, Delete]),
            (Standing::Admin, vec![View, Edit, Cancel, Share, Delete]),
            (Standing::AllSteps, vec![View, Edit, Cancel]),
            (mapping.clone(), vec![View]),
        ] {
            for action in [View, Edit, Cancel, Share, Delete] {
                let expected = if allowed.contains(&action) { Verdict::Yes } else { Verdict::No };
                assert_eq!(permits(&standing, action), expected, "{standing:?} {action:?}");
            }
        }
        assert!(works_on(&mapping, "mapping") && !works_on(&mapping, "zoning"));
        assert!(works_on(&Standing::AllSteps, "zoning"));
    }

    #[test]
    fn collaborations_add_up() {
        assert_eq!(standing([].into_iter()), None);
        assert_eq!(standing([steps(&[])].into_iter()), Some(Standing::Steps(BTreeSet::new())));
        let two = standing([steps(&["a"]), steps(&["b"])].into_iter());
        assert_eq!(two, Some(Standing::Steps(["a".to_owned(), "b".to_owned()].into())));
        assert_eq!(standing([steps(&["a"]), steps(&["*"])].into_iter()), Some(Standing::AllSteps));
    }
}
