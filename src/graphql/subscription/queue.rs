//! Wake-ups for workers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, SimpleObject};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use tokio::time::Instant;

use super::super::context::RequestContext;
use super::while_good;
use crate::access::Actor;
use crate::app::App;
use crate::error::{Error, Result};
use crate::job::news::{self, Following, News, Reader, Waiting};

/// Changes within this time are looked up together.
const TOGETHER: Duration = Duration::from_millis(250);
/// Interval at which the queue is read without a wake-up: other nodes queue steps too, and retries become due.
const POLL: Duration = Duration::from_secs(1);
/// Interval at which waiting steps are announced again, in case a worker missed the announcement.
const AGAIN: Duration = Duration::from_secs(10);

/// Steps of one job type that a worker can claim.
#[derive(SimpleObject)]
pub(in crate::graphql) struct StepsQueued {
    /// Slug of the job type.
    #[graphql(name = "type")]
    job_type: ID,
    /// Number of waiting steps, counted up to 1,000.
    count: i32,
}

#[derive(Default)]
pub(in crate::graphql) struct QueueSubscription;

#[async_graphql::Subscription]
impl QueueSubscription {
    /// Wakes a worker when steps that it can claim are queued, once for each job type.
    /// Steps that already wait are announced immediately. Steps that continue to wait are announced again every ten
    /// seconds. Fails with BAD_USER_INPUT if a job type does not exist.
    async fn steps_queued(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Slugs of the job types whose steps the worker can do, 1 to 20.")] types: Vec<ID>,
    ) -> Result<impl Stream<Item = Result<StepsQueued>> + use<>> {
        let (app, actor) = (ctx.app()?.clone(), ctx.actor()?.clone());
        let types: Vec<String> = types.into_iter().map(|id| id.0).collect();
        let problems = app.jobs.types_problems(&types).await?;
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let following = app.jobs.news.follow();
        // A TEST key sees other steps than an access token of the same user.
        let reader = Reader::new(&actor, &(&types, actor.mode), app.jobs.hub.shares());
        let (said, pending) = (HashMap::new(), VecDeque::new());
        let queue = Queue { app, actor, following, types, reader, said, pending, read: None };
        Ok(try_unfold(queue, |mut queue| async move {
            loop {
                if let Some(news) = queue.pending.pop_front() {
                    return Ok(Some((news, queue)));
                }
                let news = queue.wait().await?;
                queue.read(news).await?;
            }
        }))
    }
}

/// The subscription of one worker to the queue.
struct Queue {
    app: App,
    actor: Actor,
    following: Following,
    types: Vec<String>,
    reader: Reader,
    /// The last announcement of each type, and its time.
    said: HashMap<String, (Waiting, Instant)>,
    pending: VecDeque<StepsQueued>,
    /// Time when the queue was last read, and when the reading started; another subscriber may have started it earlier.
    read: Option<(Instant, Instant)>,
}

impl Queue {
    /// Waits until the queue is to be read. Returns the broadcast that caused the read, if there is one.
    async fn wait(&mut self) -> Result<Option<Arc<News>>> {
        let Some((read, began)) = self.read else { return Ok(None) };
        let Self { app, actor, following, .. } = self;
        let news = async {
            tokio::time::sleep_until(read + TOGETHER).await;
            let changed = async {
                loop {
                    let news = following.next().await;
                    if news.missed || !news.jobs(actor, began, false).is_empty() {
                        return news;
                    }
                }
            };
            // The queue is read whether it changed or not.
            tokio::time::timeout_at(read + POLL, changed).await.ok()
        };
        while_good(app, actor, news).await
    }

    async fn read(&mut self, news: Option<Arc<News>>) -> Result<()> {
        let now = Instant::now();
        let Self { app, actor, types, reader, .. } = self;
        reader.shares = app.jobs.hub.shares();
        let read = || async {
            let began = Instant::now();
            Ok(news::Queue { began, types: app.jobs.waiting_for(actor, types).await? })
        };
        let waiting = match news {
            Some(news) => news.queue.get(reader, (), read).await?,
            None => app.jobs.news.moment().queue.get(reader, (), read).await?,
        };
        self.read = Some((now, waiting.began));
        for job_type in &self.types {
            let Some(waits) = waiting.types.get(job_type).copied() else {
                self.said.remove(job_type);
                continue;
            };
            let said = self.said.get(job_type).copied();
            let news = said.is_none_or(|(before, at)| {
                // New steps may have replaced as many claimed ones.
                waits.count > before.count || waits.newest > before.newest || now - at >= AGAIN
            });
            if news {
                let shown = i32::try_from(waits.count).unwrap_or(i32::MAX);
                self.pending.push_back(StepsQueued { job_type: job_type.as_str().into(), count: shown });
            }
            let at = said.filter(|_| !news).map_or(now, |(_, at)| at);
            self.said.insert(job_type.clone(), (waits, at));
        }
        Ok(())
    }
}
