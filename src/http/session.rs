//! What outlasts a request: how many connections and streams one viewer may have open, and when their credential ends them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::access::Actor;
use crate::app::App;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::graphql::Viewer;
use crate::id::UserId;
use crate::limit::network;

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

/// Whose places they are: a person's, or a network's for all who have not signed in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    User(UserId),
    Network(Option<IpAddr>),
}

/// Places for what one viewer may have open at once; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<Whose, usize>>>,
    most: usize,
    what: &'static str,
}

impl Places {
    /// `what` is the plural of what takes a place.
    pub(super) fn new(most: usize, what: &'static str) -> Self {
        Self { taken: Arc::default(), most, what }
    }

    /// Takes a place, until it is dropped.
    pub(super) fn take(&self, viewer: &Viewer) -> Result<Place> {
        let whose = viewer
            .actor
            .as_ref()
            .map_or(Whose::Network(viewer.address.map(network)), |actor| Whose::User(actor.user.id));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(whose).or_default();
        if *count >= self.most {
            let Self { most, what, .. } = self;
            return Err(Error::Unavailable(format!(
                "You have {most} {what} open, which is the most. Close one first."
            )));
        }
        *count += 1;
        Ok(Place { taken: Arc::clone(&self.taken), whose })
    }
}

/// One that is taken.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<HashMap<Whose, usize>>>,
    whose: Whose,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.whose);
            }
        }
    }
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
}
