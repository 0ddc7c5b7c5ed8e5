//! The queue of steps: workers [claim](claim) queued steps under leases, [renew](renew) the leases while the steps run, and
//! [complete](complete) them. The [reaper](expire) releases leases that nobody has renewed.
//!
//! The engine of this process and external workers use the same functions. A [`LeaseHolder`] is the proof of a claim: the
//! gate checks it under the lock of the job, so that a result is taken once, and only under the lease that holds.

pub(crate) mod backlog;
pub mod claim;
pub mod complete;
pub mod expire;
pub mod external;
mod lease;
pub mod renew;

pub use claim::Claim;
pub use complete::{Output, OutputDocument, ReviewRequest, StepFailure, StepResult};
pub(crate) use lease::LeaseHolder;
