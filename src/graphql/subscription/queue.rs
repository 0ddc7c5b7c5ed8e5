//! Waking workers.

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

/// Changes that come within this time are looked up together.
const TOGETHER: Duration = Duration::from_millis(250);
/// How often the queue is read where nothing hints at news: other nodes queue steps too, and retries wait for their time.
const POLL: Duration = Duration::from_secs(1);
/// What still waits is said again after so long: a worker that missed its call would leave it.
const AGAIN: Duration = Duration::from_secs(10);

/// Steps that a worker could take.
#[derive(SimpleObject)]
pub(in crate::graphql) struct StepsQueued {
    /// Slug of their job type.
    #[graphql(name = "type")]
    job_type: ID,
    /// How many wait now, counted up to 1,000.
    count: i32,
}

#[derive(Default)]
pub(in crate::graphql) struct QueueSubscription;

#[async_graphql::Subscription]
impl QueueSubscription {
    /// Wakes a worker: fires when steps that it can claim are queued, once for each type. What waits already is said at once,
    /// and what goes on waiting again every ten seconds.
    async fn steps_queued(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Slugs of the job types whose steps the worker can do, 20 at the most.")] types: Vec<
            ID,
        >,
    ) -> Result<impl Stream<Item = Result<StepsQueued>> + use<>> {
        let (app, actor) = (ctx.app()?.clone(), ctx.actor()?.clone());
        let types: Vec<String> = types.into_iter().map(|id| id.0).collect();
        let problems = app.jobs.types_problems(&types).await?;
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let following = app.jobs.news.follow();
        // What is a TEST key's is not what is there for the person.
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

/// One worker's eye on the queue.
struct Queue {
    app: App,
    actor: Actor,
    following: Following,
    types: Vec<String>,
    reader: Reader,
    /// What was said of each type, and when.
    said: HashMap<String, (Waiting, Instant)>,
    pending: VecDeque<StepsQueued>,
    /// When the queue was last looked at, and when the reading began that was seen then: others may have made it before.
    read: Option<(Instant, Instant)>,
}

impl Queue {
    /// Waits until the queue is to be read; the news that are the reason, where there are any.
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
            // Whether it changed or not, the queue is read.
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
                // As many as were taken may have come instead.
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
