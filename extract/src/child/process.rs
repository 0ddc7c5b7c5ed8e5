//! Process groups that are killed when their owner is dropped.

use std::io;
use std::process::ExitStatus;
use std::sync::{LazyLock, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A process in a process group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(super) struct ProcessGroup(pub(super) Child);

impl ProcessGroup {
    /// Starts a program.
    ///
    /// The kernel sends the signal of `PR_SET_PDEATHSIG` (prctl(2)) when the parent *thread* ends, and threads of a
    /// runtime come and go. Therefore one thread, which lives as long as the process, starts all programs.
    pub(super) async fn spawn(mut command: Command) -> io::Result<Self> {
        command.process_group(0).kill_on_drop(true);
        let (reply, child) = oneshot::channel();
        let request = SpawnRequest { command, runtime: Handle::current(), reply };
        let spawner = SPAWNER.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let spawner_ended = || io::Error::other("the thread that starts processes has ended");
        spawner.send(request).map_err(|_| spawner_ended())?;
        child.await.map_err(|_| spawner_ended())?
    }

    /// Waits for the process to end by itself.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Kills the group and waits for its first process to end.
    pub(super) async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.send_kill();
        self.0.wait().await
    }

    fn send_kill(&self) {
        // Until the process is waited for, no other process can have its ID; afterwards `id` returns `None`.
        if let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(id as i32))
            && let Err(error) = kill_process_group(pid, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!(%error, pid = pid.as_raw_nonzero(), "child process could not be killed");
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.send_kill();
    }
}

struct SpawnRequest {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<ProcessGroup>>,
}

static SPAWNER: LazyLock<io::Result<mpsc::Sender<SpawnRequest>>> = LazyLock::new(|| {
    let (requests, inbox) = mpsc::channel::<SpawnRequest>();
    thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        for mut request in inbox {
            let _context = request.runtime.enter();
            let group = request.command.spawn().map(ProcessGroup);
            // If the requester no longer waits, the process is killed because it is dropped here.
            drop(request.reply.send(group));
        }
    })?;
    Ok(requests)
});
