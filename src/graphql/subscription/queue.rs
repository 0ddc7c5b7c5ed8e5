//! Wake-ups for workers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, SimpleObject};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::context::RequestContext;
use super::wait::wait_until_expiry;
use crate::access::Actor;
use crate::app::App;
use crate::changes::{ChangeReceiver, Changes, Reader, ReaderFilter};
use crate::error::{Error, Result};
use crate::job::queue::backlog::QueuedSteps;

/// Minimum time between a read of the queue and one that a broadcast causes, so that one read covers several changes.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(250);
/// Minimum time between a read of the queue and one that a wake-up causes. It doubles with each that finds nothing to
/// announce, up to the poll interval: wake-ups come for steps of all users, and those of others must not cost more.
const MIN_WAKE_UP_INTERVAL: Duration = Duration::from_millis(2);
/// The time between two reads is at least this multiple of the duration of a read: reads of a long queue are rarer.
const WAKE_UP_INTERVAL_FACTOR: u32 = 10;
/// Interval at which the queue is read without a wake-up. Other nodes queue steps too, and retries become due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Interval at which waiting steps are announced again, in case a worker missed the announcement.
const REPEAT_INTERVAL: Duration = Duration::from_secs(10);

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
        let problems = app.jobs.type_problems(&types).await?;
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let receiver = app.changes.subscribe();
        let queued = app.jobs.hub.queue().subscribe(&types);
        // A TEST key and an access token of the same user have different steps.
        let reader = Reader::new(
            &actor,
            ReaderFilter::Queue(types.clone(), actor.mode),
            app.jobs.hub.access_version(),
        );
        let (announced, pending) = (HashMap::new(), VecDeque::new());
        let subscriber = QueueSubscriber {
            app,
            actor,
            receiver,
            queued,
            types,
            reader,
            announced,
            pending,
            last_read: None,
        };
        Ok(try_unfold(subscriber, |mut subscriber| async move {
            loop {
                if let Some(announcement) = subscriber.pending.pop_front() {
                    return Ok(Some((announcement, subscriber)));
                }
                let cause = subscriber.wait().await?;
                subscriber.read(cause).await?;
            }
        }))
    }
}

/// Subscription of one worker to the queue.
struct QueueSubscriber {
    app: App,
    actor: Actor,
    receiver: ChangeReceiver,
    /// Notified when this node queues steps of the types.
    queued: Arc<Notify>,
    types: Vec<String>,
    reader: Reader,
    /// Last announcement of each type, and its time.
    announced: HashMap<String, (QueuedSteps, Instant)>,
    pending: VecDeque<StepsQueued>,
    last_read: Option<LastRead>,
}

/// The last read of the queue.
#[derive(Clone, Copy)]
struct LastRead {
    /// When this subscriber asked for it.
    at: Instant,
    /// When it started. Another subscriber may have started it earlier.
    started: Instant,
    /// How long wake-ups cause no further read.
    pause: Duration,
}

/// The cause of a read of the queue.
enum Cause {
    /// A job that the worker may see has changed.
    Broadcast(Arc<Changes>),
    /// This node has queued a step of any user.
    WakeUp,
    /// The poll interval has passed, or the subscription starts.
    Poll,
}

impl QueueSubscriber {
    /// Waits until the queue must be read.
    async fn wait(&mut self) -> Result<Cause> {
        let Some(LastRead { at, started, pause }) = self.last_read else { return Ok(Cause::Poll) };
        let Self { app, actor, receiver, queued, .. } = self;
        let cause = async {
            let changed = async {
                tokio::time::sleep_until(at + MIN_READ_INTERVAL).await;
                loop {
                    let broadcast = receiver.next().await;
                    if broadcast.missed || !broadcast.jobs(actor, started, false).is_empty() {
                        return Cause::Broadcast(broadcast);
                    }
                }
            };
            let woken = async {
                tokio::time::sleep_until(at + pause).await;
                queued.notified().await;
            };
            tokio::select! {
                () = woken => Cause::WakeUp,
                changed = changed => changed,
                () = tokio::time::sleep_until(at + POLL_INTERVAL) => Cause::Poll,
            }
        };
        wait_until_expiry(app, actor, cause).await
    }

    /// Reads the queue, and adds announcements of types with new or still waiting steps.
    async fn read(&mut self, cause: Cause) -> Result<()> {
        let now = Instant::now();
        let Self { app, actor, types, reader, .. } = self;
        reader.access_version = app.jobs.hub.access_version();
        let read = || app.jobs.backlog(actor, types);
        let waiting = match &cause {
            Cause::Broadcast(broadcast) => broadcast.backlogs.get(reader, (), read).await?,
            Cause::WakeUp | Cause::Poll => {
                let generation = app.jobs.hub.queue().generation();
                app.changes.recent_reads().backlogs.get(reader, generation, read).await?
            }
        };
        let duration = now.elapsed();
        for job_type in &self.types {
            let Some(current) = waiting.types.get(job_type).copied() else {
                self.announced.remove(job_type);
                continue;
            };
            let previous = self.announced.get(job_type).copied();
            let is_due = previous.is_none_or(|(before, at)| {
                // The count can stay the same if new steps replace claimed ones.
                current.count > before.count || current.newest > before.newest || now - at >= REPEAT_INTERVAL
            });
            if is_due {
                let count = i32::try_from(current.count).unwrap_or(i32::MAX);
                self.pending.push_back(StepsQueued { job_type: job_type.as_str().into(), count });
            }
            let at = previous.filter(|_| !is_due).map_or(now, |(_, at)| at);
            self.announced.insert(job_type.clone(), (current, at));
        }
        let is_useless = matches!(cause, Cause::WakeUp) && self.pending.is_empty();
        let last_pause = self.last_read.map(|last| last.pause).filter(|_| self.pending.is_empty());
        let pause = next_pause(last_pause, duration, is_useless);
        self.last_read = Some(LastRead { at: now, started: waiting.started, pause });
        Ok(())
    }
}

/// Returns how long wake-ups cause no read after a read of this duration. `last_pause` is the one before, unless the read
/// has found steps to announce. A useless read doubles it.
fn next_pause(last_pause: Option<Duration>, duration: Duration, is_useless: bool) -> Duration {
    let shortest = (duration * WAKE_UP_INTERVAL_FACTOR).clamp(MIN_WAKE_UP_INTERVAL, POLL_INTERVAL);
    let pause = last_pause.map_or(shortest, |last| last.max(shortest));
    if is_useless { (pause * 2).min(POLL_INTERVAL) } else { pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn useless_wake_ups_cause_fewer_and_fewer_reads() {
        let read = Duration::from_micros(100);
        let mut pauses = vec![next_pause(None, read, false)];
        for _ in 0..12 {
            pauses.push(next_pause(pauses.last().copied(), read, true));
        }
        assert_eq!(pauses[..3], [2, 4, 8].map(Duration::from_millis));
        assert_eq!(pauses[12], POLL_INTERVAL);
        // A poll that finds nothing changes nothing, and steps to announce start again.
        assert_eq!(next_pause(Some(POLL_INTERVAL), read, false), POLL_INTERVAL);
        assert_eq!(next_pause(None, Duration::from_millis(5), false), Duration::from_millis(50));
    }
}
