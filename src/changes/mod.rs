//! Changes for subscribers of many jobs: read once on each node, however many subscribe.
//!
//! One [`ChangePoller`] for each node takes the wake-ups of this process and reads the end of the feed, which also holds the
//! events of other nodes. It reads who may see the jobs that have changed, and sends all of that to every subscriber by the
//! [`ChangeBroadcast`]. A subscriber that no change concerns reads nothing. All others read the rows: once for all
//! subscribers of the same user with the same filter ([`SharedReads`]).

mod broadcast;
mod poller;
mod remote;
mod shared;

pub use broadcast::Changes;
pub(crate) use broadcast::{ChangeBroadcast, ChangeReceiver};
pub use poller::ChangePoller;
pub(crate) use shared::{Reader, ReaderFilter};
