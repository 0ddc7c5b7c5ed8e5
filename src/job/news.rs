//! News for whoever follows many jobs: read once on this node, however many follow.
//!
//! One task takes the hints at what changed, reads the end of the feed (where what other nodes have written comes up, too) and
//! who may see the jobs in question, and tells that to every follower at once. A follower whom no part of it concerns reads
//! nothing; for everybody else what is told is a hint as any other, and they read the rows: once for all followers who are the
//! same person and ask for the same.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver};
use tokio::sync::{OnceCell, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::elsewhere::Elsewhere;
use super::{Jobs, history};
use crate::access::{Actor, Audience};
use crate::clock::Timestamp;
use crate::entity::enums::EventKind;
use crate::entity::{job, job_event, review};
use crate::error::Result;
use crate::events::Batch;
use crate::events::feed::{self, Place};
use crate::id::{JobId, ReviewId, UserId};

/// Between two looks at most this passes. On PostgreSQL other nodes write to the feed, and what this one wrote appears when
/// every older transaction has ended; nobody hints at either.
const EVERY_SHARED: Duration = Duration::from_millis(500);
const EVERY_OWN: Duration = Duration::from_secs(5);
/// Between two looks at least this passes: changes that come within it are told together.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long readings are shared that no news stand before.
const MOMENT: Duration = Duration::from_millis(500);
/// Events of the feed read at once.
const PAGE: u64 = 1_000;
/// Jobs of one piece of news; of more it is only said that there were some.
const MOST_JOBS: usize = 1_000;
/// News that wait for a follower who is slow to take them; one that falls further behind is told so.
const BACKLOG: usize = 64;

/// What has changed since the last news.
#[derive(Debug)]
pub struct News {
    /// There was more than could be told: anything may have changed.
    pub missed: bool,
    changed: Batch,
    feed: Stretch,
    audiences: HashMap<JobId, Audience>,
    /// Jobs that were read after these news, by their IDs.
    pub job_rows: Shared<Vec<job::Model>, BTreeSet<JobId>>,
    /// Reviews that were, by theirs.
    pub review_rows: Shared<Vec<review::Model>, Vec<ReviewId>>,
    /// What waits for workers, as it was read after them.
    pub queue: Shared<Queue>,
    /// Parts of the feed that were, each from where it begins.
    pub parts: Shared<history::Stretch, Place>,
}

/// Who reads, and what they ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reader {
    user: UserId,
    is_admin: bool,
    filter: Arc<str>,
    /// What was read before somebody's access changed is not read again: see [`Hub::shares`].
    ///
    /// [`Hub::shares`]: crate::events::Hub::shares
    pub shares: u64,
}

impl Reader {
    /// A reader with a filter. Two who are equal find the same.
    pub fn new(actor: &Actor, filter: &impl std::fmt::Debug, shares: u64) -> Self {
        let filter = format!("{filter:?}").into();
        Self { user: actor.user.id, is_admin: actor.user.is_admin, filter, shares }
    }
}

type Reading<T> = Arc<OnceCell<Arc<T>>>;

/// Readings that equal readers share: whoever needs one first makes it.
#[derive(Debug)]
pub struct Shared<T, P = ()>(Mutex<HashMap<(Reader, P), Reading<T>>>);

impl<T, P> Default for Shared<T, P> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T, P: Eq + Hash> Shared<T, P> {
    /// What a reader finds at a place, or of some IDs; `read` reads it where nobody has yet.
    pub async fn get<F>(&self, reader: &Reader, place: P, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let reading = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry((reader.clone(), place)).or_default())
        };
        reading.get_or_try_init(|| async { read().await.map(Arc::new) }).await.cloned()
    }
}

/// A stretch of the feed.
#[derive(Debug)]
struct Stretch {
    from: Place,
    to: Place,
    /// Whose events are in it.
    jobs: BTreeSet<JobId>,
}

impl News {
    /// Of them it is only known that there were some.
    fn missed() -> Self {
        let feed = Stretch { from: Place::START, to: Place::START, jobs: BTreeSet::new() };
        Self { missed: true, ..Self::of(Batch::default(), feed, HashMap::new()) }
    }

    fn of(batch: Batch, feed: Stretch, audiences: HashMap<JobId, Audience>) -> Self {
        let missed = batch.missed;
        let (job_rows, review_rows) = (Shared::default(), Shared::default());
        let (queue, parts) = (Shared::default(), Shared::default());
        Self { missed, changed: batch, feed, audiences, job_rows, review_rows, queue, parts }
    }

    /// Whether a job is one that somebody may see.
    pub fn concerns(&self, actor: &Actor, job: JobId) -> bool {
        actor.user.is_admin || self.audiences.get(&job).is_some_and(|audience| audience.has(actor))
    }

    /// Jobs that somebody may see with something new in their history, and where they say so those that have got further, said
    /// after a time.
    pub fn jobs(&self, actor: &Actor, after: Instant, progress: bool) -> BTreeSet<JobId> {
        let further = self.changed.progress.iter().filter(|_| progress);
        let news = self.changed.jobs.iter().chain(further).filter(|(_, at)| **at >= after.into_std());
        news.map(|(job, _)| *job).filter(|job| self.concerns(actor, *job)).collect()
    }

    /// Reviews of jobs that somebody may see which opened or changed, said after a time.
    pub fn reviews(&self, actor: &Actor, after: Instant) -> Vec<ReviewId> {
        let news = self.changed.reviews.iter().filter(|(_, (_, at))| *at >= after.into_std());
        news.filter(|(_, (job, _))| self.concerns(actor, *job)).map(|(id, _)| *id).collect()
    }

    /// Where a reader of the feed who has come to `place` goes on; `None` where there may be something to read for them.
    pub fn passed(&self, actor: &Actor, place: Place) -> Option<Place> {
        let nothing = !self.missed
            && place >= self.feed.from
            && !self.feed.jobs.iter().any(|job| self.concerns(actor, *job));
        nothing.then(|| place.max(self.feed.to))
    }
}

/// Steps of a type that wait for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How many, counted up to a thousand.
    pub count: u64,
    /// Since when the newest of these may be taken.
    pub newest: Timestamp,
}

/// What waits for workers, as one reading found it.
#[derive(Debug)]
pub struct Queue {
    /// When the reading began: what is said later is not in it.
    pub began: Instant,
    /// By type; types of which nothing waits are left out.
    pub types: HashMap<String, Waiting>,
}

/// Readings of what nobody hints at, shared by all who look within a moment.
#[derive(Debug)]
pub struct Moment {
    began: Instant,
    /// What waits for workers.
    pub queue: Shared<Queue>,
}

impl Moment {
    fn now() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), queue: Shared::default() })
    }
}

/// Where news are told; clones share it.
#[derive(Debug, Clone)]
pub struct Newsstand {
    news: broadcast::Sender<Arc<News>>,
    moment: Arc<Mutex<Arc<Moment>>>,
    /// Held while the newsroom looks.
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Newsstand {
    fn default() -> Self {
        let moment = Arc::new(Mutex::new(Moment::now()));
        Self { news: broadcast::Sender::new(BACKLOG), moment, looking: Arc::default() }
    }
}

impl Newsstand {
    /// Follows what changes from now on. Follow first, then read.
    pub fn follow(&self) -> Following {
        Following(self.news.subscribe())
    }

    /// Keeps the newsroom from looking while it is held: for tests that count statements.
    pub async fn pause(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.looking).lock_owned().await
    }

    /// The moment, which lasts for half a second.
    pub fn moment(&self) -> Arc<Moment> {
        let mut moment = self.moment.lock().unwrap_or_else(PoisonError::into_inner);
        if moment.began.elapsed() >= MOMENT {
            *moment = Moment::now();
        }
        Arc::clone(&moment)
    }

    fn tell(&self, news: News) {
        // An error says that nobody follows.
        let _followers = self.news.send(Arc::new(news));
    }

    /// How many follow.
    pub fn followers(&self) -> usize {
        self.news.receiver_count()
    }
}

/// A follower of all changes from some time on.
#[derive(Debug)]
pub struct Following(Receiver<Arc<News>>);

impl Following {
    /// The next news.
    pub async fn next(&mut self) -> Arc<News> {
        match self.0.recv().await {
            Ok(news) => news,
            Err(RecvError::Lagged(_)) => Arc::new(News::missed()),
            // The sender lives with the jobs that whoever holds this came from.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Makes the news of this node.
#[derive(Debug)]
pub struct Newsroom {
    jobs: Jobs,
    /// What was read of the feed; `None` while nobody wants to know.
    from: Option<Place>,
    elsewhere: Elsewhere,
}

impl Jobs {
    /// Begins to look: what changes from now on will be told by [`Newsroom::run`]. Before subscriptions are taken.
    pub async fn newsroom(&self) -> Result<Newsroom> {
        let from = Place::before(feed::horizon(&self.db).await?);
        Ok(Newsroom { from: Some(from), ..Newsroom::anew(self) })
    }
}

impl Newsroom {
    /// One that begins with its first look.
    pub fn anew(jobs: &Jobs) -> Self {
        Self { jobs: jobs.clone(), from: None, elsewhere: Elsewhere::default() }
    }

    /// Tells what changes, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.from.is_none() {
            // Another may have broken with what it had taken to tell.
            self.jobs.news.tell(News::missed());
        }
        let look_on = async {
            loop {
                let looked = Instant::now();
                let every = match self.look().await {
                    Looked::Lagging => TOGETHER,
                    Looked::Whole if self.is_shared() => EVERY_SHARED,
                    Looked::Whole => EVERY_OWN,
                };
                sleep_until(looked + TOGETHER).await;
                // Whether it was hinted at or not, the next look is due.
                let _hint = timeout_at(looked + every, self.jobs.hub.any_change()).await;
            }
        };
        stop.run_until_cancelled(look_on).await;
    }

    /// Whether other nodes write, too.
    fn is_shared(&self) -> bool {
        self.jobs.db.backend() == DbBackend::Postgres
    }

    async fn look(&mut self) -> Looked {
        let stand = self.jobs.news.clone();
        let _looking = stand.pause().await;
        let batch = self.jobs.hub.take();
        if stand.followers() == 0 && !self.is_shared() {
            self.from = None;
            return Looked::Whole;
        }
        match self.read(batch).await {
            Ok((news, looked)) => {
                if let Some(news) = news {
                    stand.tell(news);
                }
                looked
            }
            Err(error) => {
                tracing::warn!(%error, "what has changed could not be read");
                stand.tell(News::missed());
                Looked::Whole
            }
        }
    }

    /// The news that there are, where somebody follows.
    async fn read(&mut self, mut batch: Batch) -> Result<(Option<News>, Looked)> {
        let db = &self.jobs.db;
        let horizon = Place::before(feed::horizon(db).await?);
        let from = self.from.unwrap_or(horizon);
        let hinted: BTreeSet<JobId> = batch.jobs.keys().copied().collect();
        let fed = self.hear(from, horizon, &mut batch).await?;
        let to = horizon.max(from);
        // Where nothing was found the next stretch begins where this one did: each follower's place is in it.
        self.from = Some(if fed.is_empty() { from } else { to });
        if self.is_shared() {
            let new = self.elsewhere.look(db.read()).await?;
            if new.memberships {
                self.jobs.hub.membership_changed();
            }
            new.progress.iter().for_each(|job| self.jobs.hub.wake(*job));
            let now = std::time::Instant::now();
            batch.progress.extend(new.progress.into_iter().map(|job| (job, now)));
        }
        let looked = if hinted.is_subset(&fed) { Looked::Whole } else { Looked::Lagging };
        if self.jobs.news.followers() == 0 {
            return Ok((None, looked));
        }
        let reviewed = batch.reviews.values().map(|(job, _)| job);
        let hinted = batch.jobs.keys().chain(batch.progress.keys()).chain(reviewed);
        let all: BTreeSet<JobId> = hinted.chain(&fed).copied().collect();
        if batch.missed || all.len() > MOST_JOBS {
            return Ok((Some(News::missed()), looked));
        }
        if all.is_empty() {
            return Ok((None, looked));
        }
        let audiences = Audience::of(db.read(), all).await?;
        let feed = Stretch { from, to, jobs: fed };
        Ok((Some(News::of(batch, feed, audiences)), looked))
    }

    /// Reads a stretch of the feed: whose events are in it. What another node has written becomes a hint of this one.
    async fn hear(&self, mut from: Place, to: Place, batch: &mut Batch) -> Result<BTreeSet<JobId>> {
        let Jobs { db, hub, .. } = &self.jobs;
        let mut fed = BTreeSet::new();
        while from < to {
            // Without the data of events, which may be large.
            let rows = job_event::Entity::find()
                .select_only()
                .column(job_event::Column::Position)
                .column(job_event::Column::JobId)
                .column(job_event::Column::Sequence)
                .column(job_event::Column::Kind)
                .expr_as(Expr::cust("data->>'reviewId'"), "review")
                .filter(feed::after(from))
                .filter(job_event::Column::Position.lt(to.position))
                .order_by_asc(job_event::Column::Position)
                .order_by_asc(job_event::Column::JobId)
                .order_by_asc(job_event::Column::Sequence)
                .limit(PAGE);
            let rows: Vec<(i64, JobId, i64, EventKind, Option<String>)> =
                rows.into_tuple().all(db.read()).await?;
            for (_, job, sequence, kind, review) in &rows {
                fed.insert(*job);
                if hub.has_announced(*job, *sequence) {
                    continue;
                }
                if *kind == EventKind::CollaborationChanged {
                    hub.share_changed();
                }
                hub.wake(*job);
                batch.jobs.insert(*job, std::time::Instant::now());
                let review = review.as_deref().and_then(ReviewId::parse);
                batch.reviews.extend(review.map(|review| (review, (*job, std::time::Instant::now()))));
            }
            match rows.last() {
                Some((position, job, sequence, ..)) if rows.len() as u64 == PAGE => {
                    from = Place { position: *position, job: *job, sequence: *sequence };
                }
                _ => break,
            }
        }
        Ok(fed)
    }
}

/// What a look came to.
enum Looked {
    /// All that was hinted at is in the feed.
    Whole,
    /// Some of it is behind an older transaction, which will end soon.
    Lagging,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{actor, new_job, open, upload};
    use crate::job::state::Mode;

    #[tokio::test]
    async fn news_concern_whoever_may_see_the_job_and_lead_everybody_else_on() {
        let (app, _dir) = open(|config| config.noop_type = crate::config::Switch::On).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let eve = actor(&app, "eve", Mode::Live).await;
        let place = Place::before(feed::horizon(&app.db).await.unwrap());
        let before = Instant::now();
        let mut newsroom = app.jobs.newsroom().await.unwrap();
        let mut following = app.jobs.news.follow();
        let input = upload(&app, &ada, "text").await;
        let job = app.jobs.create(&ada, new_job("noop", &input)).await.unwrap().id;
        newsroom.look().await;
        let news = following.next().await;
        let began = Instant::now();
        assert_eq!(news.jobs(&ada, before, false).into_iter().collect::<Vec<_>>(), [job]);
        assert!(news.jobs(&ada, began, true).is_empty(), "whoever follows from now on has seen it");
        assert!(news.concerns(&ada, job) && !news.concerns(&eve, job));
        assert_eq!(news.passed(&ada, place), None);
        let passed = news.passed(&eve, place).unwrap();
        assert!(passed > place && news.passed(&eve, passed) == Some(passed));
        assert_eq!(news.passed(&eve, Place::START), None, "what is before the stretch is not known");
        assert_eq!(app.jobs.feed(&ada, &Default::default(), passed, 1).await.unwrap().events.len(), 0);
    }

    #[tokio::test]
    async fn who_falls_behind_is_told_that_something_was_missed() {
        let (app, _dir) = open(|_| {}).await;
        let eve = actor(&app, "eve", Mode::Live).await;
        let mut following = app.jobs.news.follow();
        for _ in 0..=BACKLOG {
            app.jobs.news.tell(News { missed: false, ..News::missed() });
        }
        let news = following.next().await;
        assert!(news.missed && news.passed(&eve, Place::START).is_none());
    }
}
