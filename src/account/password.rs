//! Passwords: argon2id (RFC 9106), a bounded number at a time, off the runtime's threads.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, Problem, Result};

const SHORTEST: usize = 12;
const LONGEST: usize = 256;

/// What is wrong with a password that somebody chose.
pub(super) fn problem(password: &str) -> Option<Problem> {
    let length = password.chars().count();
    (!(SHORTEST..=LONGEST).contains(&length)).then(|| {
        Problem::new(
            "/password",
            "LENGTH",
            format!("A password has {SHORTEST} to {LONGEST} characters, this one {length}."),
        )
    })
}

/// Hashes and verifies. Each takes 19 MiB and some tens of milliseconds of a core, so that few run and some wait.
#[derive(Debug)]
pub(super) struct Hasher {
    /// Held by who waits and by who is served.
    queue: Arc<Semaphore>,
    /// Held by who is served.
    places: Arc<Semaphore>,
    threads: mpsc::Sender<Task>,
    /// Verified against where there is no account, so that it takes as long as where there is one.
    nobody: Arc<str>,
}

impl Hasher {
    /// Serves so many at once, and lets so many more wait.
    pub(super) fn new(at_once: usize, waiting: usize) -> Result<Self> {
        let nobody = hash("nobody has this password").map(Arc::from)?;
        let (queue, places) = (Semaphore::new(at_once.saturating_add(waiting)), Semaphore::new(at_once));
        let threads = threads(at_once)?;
        Ok(Self { queue: Arc::new(queue), places: Arc::new(places), threads, nobody })
    }

    pub(super) async fn hash(&self, password: String) -> Result<String> {
        self.work(move || hash(&password)).await?
    }

    /// Whether it is the password of this hash; with no hash, no password is.
    pub(super) async fn verify(&self, password: String, expected: Option<String>) -> Result<bool> {
        let known = expected.is_some();
        let expected = expected.unwrap_or_else(|| self.nobody.to_string());
        let matches = self.work(move || {
            // A longer one is nobody's; it is not hashed, since that would take as long as its sender likes.
            let password = if password.len() > 4 * LONGEST { "" } else { &password };
            let parsed = PasswordHash::new(&expected).map_err(Error::internal)?;
            Ok::<_, Error>(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
        });
        Ok(matches.await?? && known)
    }

    /// Takes the places of all, as many who sign in at once do.
    #[cfg(test)]
    pub(super) fn fill(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(self.queue.available_permits()).unwrap();
        Arc::clone(&self.queue).try_acquire_many_owned(all).unwrap()
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let Ok(queued) = Arc::clone(&self.queue).try_acquire_owned() else {
            let message = "Too many people are signing in just now. Try again shortly.";
            return Err(Error::Unavailable(message.into()));
        };
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(Error::internal)?;
        let (answer, answered) = oneshot::channel();
        let task = move || {
            let done = work();
            // Places are free before anybody hears of it.
            drop((queued, place));
            // An error says that nobody waits any more.
            let _unheard = answer.send(done);
        };
        self.threads.send(Box::new(task)).map_err(|_| Error::internal("the hashing threads are gone"))?;
        answered.await.map_err(Error::internal)
    }
}

type Task = Box<dyn FnOnce() + Send>;

/// Threads for hashing alone, which end with their sender. The allocator keeps for each thread what it once had: on the
/// runtime's hundreds of threads the 19 MiB of each hash would add up.
fn threads(count: usize) -> Result<mpsc::Sender<Task>> {
    let (send, receive) = mpsc::channel::<Task>();
    let receive = Arc::new(Mutex::new(receive));
    for i in 0..count {
        let receive = Arc::clone(&receive);
        let work = move || {
            loop {
                let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(task) = next else { return };
                if std::panic::catch_unwind(AssertUnwindSafe(task)).is_err() {
                    tracing::error!("hashing a password panicked");
                }
            }
        };
        std::thread::Builder::new().name(format!("hash-{i}")).spawn(work).map_err(Error::internal)?;
    }
    Ok(send)
}

fn hash(password: &str) -> Result<String> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_passes() {
        let hasher = Hasher::new(1, 0).unwrap();
        let hash = hasher.hash("correct horse battery".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert_eq!(hasher.verify("correct horse battery".into(), Some(hash.clone())).await, Ok(true));
        assert_eq!(hasher.verify("incorrect horse".into(), Some(hash)).await, Ok(false));
        assert_eq!(hasher.verify("nobody has this password".into(), None).await, Ok(false));
    }

    #[tokio::test]
    async fn whoever_finds_the_queue_full_is_told_at_once() {
        let hasher = Hasher::new(1, 1).unwrap();
        let place = hasher.places.acquire().await.unwrap();
        let mut waiting = Box::pin(hasher.hash("correct horse battery".into()));
        let polled = futures_util::poll!(&mut waiting);
        assert!(polled.is_pending());
        let second = hasher.queue.try_acquire().unwrap();
        assert!(matches!(hasher.hash("x".into()).await, Err(Error::Unavailable(_))));
        drop((place, second));
        assert!(waiting.await.is_ok());
        assert!(hasher.hash("x".into()).await.is_ok(), "places are given back");
    }

    #[test]
    fn length_counts_characters() {
        assert!(problem("passwörtlich").is_none(), "12 characters, 13 bytes");
        assert!(problem("elevenchars").is_some());
        assert!(problem(&"x".repeat(257)).is_some());
    }
}
