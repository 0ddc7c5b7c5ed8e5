//! Processes that never outlive what they work for.

use std::io;
use std::process::ExitStatus;
use std::sync::{LazyLock, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A process in a group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(super) struct Group(pub(super) Child);

impl Group {
    /// Starts a program.
    ///
    /// The kernel tells children of their parent's death when the *thread* that started them ends (`PR_SET_PDEATHSIG`,
    /// prctl(2)), and threads of a runtime come and go. Therefore one thread that lives as long as the process starts
    /// them all.
    pub(super) async fn spawn(mut command: Command) -> io::Result<Self> {
        command.process_group(0).kill_on_drop(true);
        let (reply, child) = oneshot::channel();
        let order = Order { command, runtime: Handle::current(), reply };
        let spawner = SPAWNER.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let gone = || io::Error::other("the thread that starts processes has ended");
        spawner.send(order).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }

    /// Waits for the process to end by itself.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Kills the group and waits for the end of its first process.
    pub(super) async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal();
        self.0.wait().await
    }

    fn signal(&self) {
        // Until the process is waited for, no other can have its number; afterwards `id` is none.
        if let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(id as i32))
            && let Err(error) = kill_process_group(pid, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!(%error, pid = pid.as_raw_nonzero(), "a child process could not be killed");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal();
    }
}

struct Order {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Group>>,
}

static SPAWNER: LazyLock<io::Result<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        for mut order in inbox {
            let _context = order.runtime.enter();
            let group = order.command.spawn().map(Group);
            // Who ordered it may be gone by now; then the process is killed where it is dropped here.
            drop(order.reply.send(group));
        }
    })?;
    Ok(orders)
});
