//! What outlasts a request: how many connections and streams one viewer may have open, and when their credential ends them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Actor;
use crate::app::App;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::graphql::Viewer;
use crate::id::UserId;
use crate::limit::network;

/// What has not changed is logged again after so long.
const AGAIN: Duration = Duration::from_secs(60);
/// Where another node revokes a key, what it opened here ends within this time.
const CREDENTIAL_CHECK: Duration = Duration::from_secs(30);

/// Resolves when the viewer's credential has expired or was revoked; never for who has none.
pub(super) fn credential_ended(app: &App, viewer: &Viewer) -> impl Future<Output = ()> + Send + use<> {
    let (app, actor) = (app.clone(), viewer.actor.clone());
    async move {
        let Some(actor) = actor else { return std::future::pending().await };
        loop {
            // Waits for news from before it looks, so that none come in between.
            let news = app.accounts.revocation(&actor);
            if !app.accounts.still_good(&actor).await {
                return;
            }
            // Whether it was news or the time that came, it looks again.
            let _news = tokio::time::timeout(left(&app.clock, &actor), news).await;
        }
    }
}

fn left(clock: &Clock, actor: &Actor) -> Duration {
    let until = actor.credential.expires_at.map(|at| (at - clock.now()).to_std().unwrap_or_default());
    let check = until.map_or(CREDENTIAL_CHECK, |left| left.min(CREDENTIAL_CHECK));
    check.max(Duration::from_millis(10))
}

/// Whom something is counted for: a person, or a network for all who have not signed in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    User(UserId),
    Network(Option<IpAddr>),
}

impl From<&Viewer> for Who {
    fn from(viewer: &Viewer) -> Self {
        match &viewer.actor {
            Some(actor) => actor.into(),
            None => Self::Network(viewer.address.map(network)),
        }
    }
}

impl From<&Actor> for Who {
    fn from(actor: &Actor) -> Self {
        Self::User(actor.user.id)
    }
}

impl From<IpAddr> for Who {
    fn from(address: IpAddr) -> Self {
        Self::Network(Some(network(address)))
    }
}

/// Places for what one may have open at once; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<Who, usize>>>,
    most: usize,
    what: &'static str,
}

impl Places {
    /// `what` is the plural of what takes a place.
    pub(super) fn new(most: usize, what: &'static str) -> Self {
        Self { taken: Arc::default(), most, what }
    }

    /// Takes a place, until it is dropped.
    pub(super) fn take(&self, who: impl Into<Who>) -> Result<Place> {
        let who = who.into();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(who).or_default();
        if *count >= self.most {
            let Self { most, what, .. } = self;
            return Err(Error::Unavailable(format!(
                "You have {most} {what} open, which is the most. End one first."
            )));
        }
        *count += 1;
        Ok(Place { taken: Arc::clone(&self.taken), who })
    }
}

/// One that is taken.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<HashMap<Who, usize>>>,
    who: Who,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

/// Places for uploads and downloads, each of which has a file open: one may have some of them, and all together have few
/// enough for the server to go on with its work. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Transfers {
    of_one: Places,
    of_all: Arc<Semaphore>,
    full: Arc<Seldom>,
}

impl Transfers {
    pub(super) fn new(of_one: usize) -> Self {
        let of_all = (open_files() / 8).clamp(1, Semaphore::MAX_PERMITS);
        let of_one = of_one.min(three_quarters(of_all));
        Self {
            of_one: Places::new(of_one, "uploads and downloads"),
            of_all: Arc::new(Semaphore::new(of_all)),
            full: Arc::default(),
        }
    }

    /// Takes a place, until it is dropped.
    pub(super) fn take(&self, who: impl Into<Who>) -> Result<Transfer> {
        let place = self.of_one.take(who)?;
        let busy = |_| {
            self.full
                .say(|| tracing::warn!("as much is up- and downloaded as open files allow; more is refused"));
            Error::Unavailable("Too much is up- and downloaded just now. Try again shortly.".into())
        };
        Ok(Transfer(place, Arc::clone(&self.of_all).try_acquire_owned().map_err(busy)?))
    }
}

/// The place of one.
#[derive(Debug)]
pub(super) struct Transfer(
    #[expect(dead_code, reason = "held")] Place,
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
);

/// Says something once a minute at the most.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    pub(super) fn say(&self, what: impl FnOnce()) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= AGAIN) {
            *said = Some(Instant::now());
            what();
        }
    }
}

/// Of so many, what one may have, so that others have some.
pub(super) fn three_quarters(all: usize) -> usize {
    (all - all.div_ceil(4)).max(1)
}

/// How many files this process may have open.
pub(super) fn open_files() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_each_viewers_own_and_come_back() {
        let places = Places::new(2, "streams");
        let viewer = |last: u8| Viewer { actor: None, address: Some(IpAddr::from([127, 0, 0, last])) };
        let (ada, bob) = (viewer(1), viewer(2));
        let held = [places.take(&ada).unwrap(), places.take(&ada).unwrap()];
        assert!(matches!(places.take(&ada), Err(Error::Unavailable(said)) if said.contains("2 streams")));
        drop(places.take(&bob).unwrap());
        drop(held);
        drop(places.take(&ada).unwrap());
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn all_transfers_together_have_so_many_places() {
        let viewer = |last: u8| Viewer { actor: None, address: Some(IpAddr::from([127, 0, 0, last])) };
        let transfers = Transfers { of_all: Arc::new(Semaphore::new(2)), ..Transfers::new(10) };
        let held = [transfers.take(&viewer(1)).unwrap(), transfers.take(&viewer(2)).unwrap()];
        assert!(matches!(transfers.take(&viewer(3)), Err(Error::Unavailable(_))));
        drop(held);
        drop(transfers.take(&viewer(3)).unwrap());
        assert!(
            transfers.of_one.taken.lock().unwrap().is_empty(),
            "nothing is kept of who was refused either"
        );
    }
}
