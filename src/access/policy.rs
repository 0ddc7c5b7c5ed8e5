//! The access policy, as pure functions.
//!
//! | | owner, admin | collaborator with `*` | collaborator with steps |
//! |---|---|---|---|
//! | view | yes | yes | yes |
//! | contents and reviews of a step | yes | yes | only of their steps |
//! | edit, cancel | yes | yes | no |
//! | share, delete | yes | no | no |

use std::collections::BTreeSet;

/// The wildcard for all steps.
pub(crate) const ALL_STEPS: &str = "*";

/// An actor's access to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Owner of the job.
    Owner,
    /// Admin of the server.
    Admin,
    /// Collaborator with access to all steps.
    AllSteps,
    /// Collaborator with access to these steps.
    Steps(BTreeSet<String>),
}

/// An action on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Seeing the job.
    View,
    /// Changing its metadata and priority.
    Edit,
    /// Canceling, retrying or rewinding it.
    Cancel,
    /// Adding and removing collaborators.
    Share,
    /// Deleting it.
    Delete,
}

/// The decision on an action of an actor who may see the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessDecision {
    /// The action is allowed.
    Allowed,
    /// The action is FORBIDDEN.
    Denied,
}

impl Action {
    /// Returns the verb for messages.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::View => "see",
            Self::Edit => "change",
            Self::Cancel => "cancel, retry or rewind",
            Self::Share => "share",
            Self::Delete => "delete",
        }
    }
}

/// Returns the access that an account has without being a collaborator.
pub fn inherent_standing(is_owner: bool, is_admin: bool) -> Option<Standing> {
    match (is_owner, is_admin) {
        (true, _) => Some(Standing::Owner),
        (false, true) => Some(Standing::Admin),
        (false, false) => None,
    }
}

/// Returns the access that the collaborations of a user and of the user's teams add up to.
pub fn standing(collaborations: impl Iterator<Item = Vec<String>>) -> Option<Standing> {
    let mut union: Option<BTreeSet<String>> = None;
    for steps in collaborations {
        union.get_or_insert_default().extend(steps);
    }
    let steps = union?;
    Some(if steps.contains(ALL_STEPS) { Standing::AllSteps } else { Standing::Steps(steps) })
}

/// Decides whether the policy allows an action.
pub fn permits(standing: &Standing, action: Action) -> AccessDecision {
    match (standing, action) {
        (Standing::Owner | Standing::Admin, _)
        | (Standing::AllSteps, Action::View | Action::Edit | Action::Cancel)
        | (Standing::Steps(_), Action::View) => AccessDecision::Allowed,
        (Standing::AllSteps, Action::Share | Action::Delete) | (Standing::Steps(_), _) => {
            AccessDecision::Denied
        }
    }
}

/// Returns whether the access covers a step: its contents, events and reviews, and running it.
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
    fn policy_matches_its_table() {
        use Action::{Cancel, Delete, Edit, Share, View};
        let mapping = Standing::Steps(["mapping".to_owned()].into());
        for (standing, allowed) in [
            (Standing::Owner, vec![View, Edit, Cancel, Share, Delete]),
            (Standing::Admin, vec![View, Edit, Cancel, Share, Delete]),
            (Standing::AllSteps, vec![View, Edit, Cancel]),
            (mapping.clone(), vec![View]),
        ] {
            for action in [View, Edit, Cancel, Share, Delete] {
                let expected =
                    if allowed.contains(&action) { AccessDecision::Allowed } else { AccessDecision::Denied };
                assert_eq!(permits(&standing, action), expected, "{standing:?} {action:?}");
            }
        }
        assert!(works_on(&mapping, "mapping") && !works_on(&mapping, "zoning"));
        assert!(works_on(&Standing::AllSteps, "zoning"));
    }

    #[test]
    fn collaborations_add_up_to_one_standing() {
        assert_eq!(standing([].into_iter()), None);
        assert_eq!(standing([steps(&[])].into_iter()), Some(Standing::Steps(BTreeSet::new())));
        let two = standing([steps(&["a"]), steps(&["b"])].into_iter());
        assert_eq!(two, Some(Standing::Steps(["a".to_owned(), "b".to_owned()].into())));
        assert_eq!(standing([steps(&["a"]), steps(&["*"])].into_iter()), Some(Standing::AllSteps));
    }
}
