//! Password hashing with argon2id (RFC 9106), with bounded concurrency on threads of its own.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, Problem, Result};

const MIN_PASSWORD_CHARS: usize = 12;
const MAX_PASSWORD_CHARS: usize = 256;

/// The hash of a password that no account has, made once per process.
static DUMMY_HASH: LazyLock<Result<Arc<str>>> =
    LazyLock::new(|| hash("no account has this password").map(Arc::from));

/// Returns the problem with a new password, if any.
pub(super) fn password_problem(password: &str) -> Option<Problem> {
    let length = password.chars().count();
    (!(MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&length)).then(|| {
        Problem::new(
            "/password",
            "LENGTH",
            format!(
                "A password must have {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters. This one has \
                 {length}."
            ),
        )
    })
}

/// Hashes and verifies passwords. Each hash takes 19 MiB and tens of milliseconds of a core, so few run at once.
#[derive(Debug)]
pub(super) struct Hasher {
    /// Permits of waiting and running hashes.
    queue: Arc<Semaphore>,
    /// Permits of running hashes.
    running: Arc<Semaphore>,
    threads: mpsc::Sender<Task>,
    /// Verified for unknown accounts, so that they take as long as known ones.
    dummy_hash: Arc<str>,
}

impl Hasher {
    /// Runs at most `concurrency` hashes concurrently and lets `waiting` more wait.
    pub(super) fn new(concurrency: usize, waiting: usize) -> Result<Self> {
        let dummy_hash = DUMMY_HASH.clone()?;
        let (queue, running) =
            (Semaphore::new(concurrency.saturating_add(waiting)), Semaphore::new(concurrency));
        let threads = spawn_threads(concurrency)?;
        Ok(Self { queue: Arc::new(queue), running: Arc::new(running), threads, dummy_hash })
    }

    pub(super) async fn hash(&self, password: String) -> Result<String> {
        self.run(move || hash(&password)).await?
    }

    /// Returns whether the password matches the hash; without a hash, no password matches.
    pub(super) async fn verify(&self, password: String, expected: Option<String>) -> Result<bool> {
        let known = expected.is_some();
        let expected = expected.unwrap_or_else(|| self.dummy_hash.to_string());
        let matches = self.run(move || {
            // Longer passwords never match. They are not hashed, because that takes time in proportion to their length.
            let password = if password.len() > 4 * MAX_PASSWORD_CHARS { "" } else { &password };
            let parsed = PasswordHash::new(&expected).map_err(Error::internal)?;
            Ok::<_, Error>(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
        });
        Ok(matches.await?? && known)
    }

    /// Takes all permits, like many concurrent sign-ins.
    #[cfg(test)]
    pub(super) fn take_all_permits(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(self.queue.available_permits()).unwrap();
        Arc::clone(&self.queue).try_acquire_many_owned(all).unwrap()
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let Ok(queued) = Arc::clone(&self.queue).try_acquire_owned() else {
            let message = "Too many sign-ins are in progress. Try again shortly.";
            return Err(Error::Unavailable(message.into()));
        };
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(Error::internal)?;
        let (sender, response) = oneshot::channel();
        let task = move || {
            let done = work();
            // Releases the permits before the caller continues.
            drop((queued, permit));
            // An error means that the caller no longer waits.
            let _ignored = sender.send(done);
        };
        self.threads.send(Box::new(task)).map_err(|_| Error::internal("the hashing threads have stopped"))?;
        response.await.map_err(Error::internal)
    }
}

type Task = Box<dyn FnOnce() + Send>;

/// Starts threads that only hash and that end with their sender. The allocator keeps freed memory for each thread, so
/// 19 MiB a hash would add up on the hundreds of threads of the runtime.
fn spawn_threads(count: usize) -> Result<mpsc::Sender<Task>> {
    let (send, receive) = mpsc::channel::<Task>();
    let receive = Arc::new(Mutex::new(receive));
    for i in 0..count {
        let receive = Arc::clone(&receive);
        let run = move || {
            loop {
                let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(task) = next else { return };
                if std::panic::catch_unwind(AssertUnwindSafe(task)).is_err() {
                    tracing::error!("password hashing panicked");
                }
            }
        };
        std::thread::Builder::new().name(format!("hash-{i}")).spawn(run).map_err(Error::internal)?;
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
    async fn verify_accepts_only_the_right_password_of_a_known_account() {
        let hasher = Hasher::new(1, 0).unwrap();
        let hash = hasher.hash("correct horse battery".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert_eq!(hasher.verify("correct horse battery".into(), Some(hash.clone())).await, Ok(true));
        assert_eq!(hasher.verify("incorrect horse".into(), Some(hash)).await, Ok(false));
        assert_eq!(hasher.verify("no account has this password".into(), None).await, Ok(false));
    }

    #[tokio::test]
    async fn full_queue_is_refused_immediately() {
        let hasher = Hasher::new(1, 1).unwrap();
        let permit = hasher.running.acquire().await.unwrap();
        let mut waiting = Box::pin(hasher.hash("correct horse battery".into()));
        let polled = futures_util::poll!(&mut waiting);
        assert!(polled.is_pending());
        let second = hasher.queue.try_acquire().unwrap();
        assert!(matches!(hasher.hash("x".into()).await, Err(Error::Unavailable(_))));
        drop((permit, second));
        assert!(waiting.await.is_ok());
        assert!(hasher.hash("x".into()).await.is_ok(), "permits are released");
    }

    #[test]
    fn password_length_counts_characters() {
        assert!(password_problem("passwörtlich").is_none(), "12 characters, 13 bytes");
        assert!(password_problem("elevenchars").is_some());
        assert!(password_problem(&"x".repeat(257)).is_some());
    }
}
