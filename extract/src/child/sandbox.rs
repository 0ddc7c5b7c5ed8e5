//! Sandboxes the process that reads untrusted documents: no files, no network, no other processes, limited resources.
//!
//! Each layer is best effort, because kernels and containers differ; [`Report`] tells which layers hold. Open files
//! stay usable.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::set_no_new_privs;
use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::syscalls;

/// The newest version of Landlock that is requested. An older kernel applies the part that it supports.
const LANDLOCK_ABI: ABI = ABI::V10;
/// The first version of Landlock that restricts the network.
const LANDLOCK_NETWORK_ABI: ABI = ABI::V4;
/// Seconds of CPU time between the catchable signal and the one that kills the process.
const CPU_GRACE_SECONDS: u64 = 2;
/// Assumed address space of the program, in bytes, if the kernel does not tell it.
const DEFAULT_PROGRAM_BYTES: u64 = 256 << 20;
/// Bytes that allocators reserve beyond the requested memory: a heap for each of the three threads.
const ALLOCATOR_BYTES: u64 = 3 * (64 << 20);

/// The state of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// From the outermost.
    pub layers: Vec<Layer>,
}

/// One layer of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Name of the protected resources.
    pub name: String,
    /// How far the layer holds.
    pub level: Level,
    /// The mechanism, or why the layer is missing.
    pub detail: String,
}

/// How far a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The whole layer is active.
    Full,
    /// A part of the layer is active.
    Partial,
    /// The layer is not active.
    Missing,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::Missing => "missing",
        })
    }
}

impl Report {
    /// Whether every layer is fully active.
    pub(crate) fn is_full(&self) -> bool {
        self.layers.iter().all(|layer| layer.level == Level::Full)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, layer) in self.layers.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {} ({})", layer.name, layer.level, layer.detail)?;
        }
        Ok(())
    }
}

/// Reports the sandbox that child processes have on this machine, by sandboxing a thread that then ends.
///
/// The report leaves out limits on memory and time: they apply to whole processes and exist on every Linux.
pub fn probe() -> Report {
    let probed = thread::spawn(|| Report {
        layers: vec![drop_privileges(), restrict_files(None), restrict_parser_syscalls()],
    });
    probed.join().unwrap_or_else(|_| Report {
        layers: vec![layer("sandbox", Level::Missing, "the attempt to set it up failed")],
    })
}

/// Sandboxes this process before it reads a document. The process must have only one thread.
pub(super) fn enter(limits: &Limits, input_bytes: u64) -> Report {
    // This reads a file, so it comes before the sandbox.
    let memory = address_space_bytes(limits);
    let layers = vec![
        drop_privileges(),
        restrict_files(None),
        limit_resources(&[
            (Resource::Core, 0, 0),
            (Resource::As, memory, memory),
            (Resource::Fsize, limits.output_bytes, limits.output_bytes),
            cpu_limit(limits, input_bytes, 0),
            (Resource::Nofile, 0, 0),
        ]),
        restrict_parser_syscalls(),
    ];
    Report { layers }
}

/// Sandboxes this process before it becomes the OCR program. The process must have only one thread. The program may
/// read all files, because it consists of files, but write only beneath `folder`.
pub(super) fn enter_for_exec(limits: &Limits, folder: &Path) -> Report {
    let seconds = limits.ocr_cpu().as_secs().max(1);
    let layers = vec![
        drop_privileges(),
        restrict_files(Some(folder)),
        limit_resources(&[
            (Resource::Core, 0, 0),
            (Resource::As, limits.ocr_memory_bytes, limits.ocr_memory_bytes),
            (Resource::Fsize, limits.output_bytes, limits.output_bytes),
            (Resource::Cpu, seconds, seconds + CPU_GRACE_SECONDS),
        ]),
        apply_filters("other programs and the network", syscalls::exec_filters()),
    ];
    Report { layers }
}

/// Forbids new processes and threads, unless the user is root. The system call filter forbids processes in any case, if
/// the kernel supports it.
pub(super) fn forbid_processes() {
    // Best effort, like all layers.
    let _ = lower_limit(Resource::Nproc, 0, 0);
}

/// Raises the CPU time of this process to that of a document with this number of finished pages.
pub(super) fn allow_cpu(limits: &Limits, input_bytes: u64, pages_done: u32) {
    let (resource, current, maximum) = cpu_limit(limits, input_bytes, pages_done);
    // If this fails, the process ends earlier than necessary.
    let _ = lower_limit(resource, current, maximum);
}

fn cpu_limit(limits: &Limits, input_bytes: u64, pages_done: u32) -> (Resource, u64, u64) {
    let seconds = |pages| limits.cpu(input_bytes, pages).as_secs_f64().ceil().max(1.0) as u64;
    (Resource::Cpu, seconds(pages_done), seconds(limits.document.pages) + CPU_GRACE_SECONDS)
}

/// Returns the limit on address space in bytes: the present size of the program plus the configured limits.
fn address_space_bytes(limits: &Limits) -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()));
    let program = pages.map_or(DEFAULT_PROGRAM_BYTES, |pages| pages * rustix::param::page_size() as u64);
    program
        .saturating_add(ALLOCATOR_BYTES)
        .saturating_add(limits.stack_bytes as u64)
        .saturating_add(limits.memory_bytes)
}

fn drop_privileges() -> Layer {
    match set_no_new_privs(true) {
        Ok(()) => layer("privileges", Level::Full, "no_new_privs"),
        Err(error) => layer("privileges", Level::Missing, error),
    }
}

/// Forbids all files and all of the network; with a folder, only writing outside of it.
fn restrict_files(folder: Option<&Path>) -> Layer {
    const NAME: &str = "files and network";
    match apply_landlock(folder).map(|status| status.landlock) {
        Ok(LandlockStatus::Available { effective_abi, .. }) => {
            let level = if effective_abi >= LANDLOCK_NETWORK_ABI { Level::Full } else { Level::Partial };
            layer(NAME, level, format_args!("Landlock version {effective_abi}"))
        }
        Ok(_) => layer(NAME, Level::Missing, "the kernel has no Landlock, or it is turned off"),
        Err(error) => layer(NAME, Level::Missing, error),
    }
}

fn apply_landlock(folder: Option<&Path>) -> Result<RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .handle_access(AccessNet::from_all(LANDLOCK_ABI))?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?;
    if let Some(folder) = folder {
        for (path, access) in
            [(Path::new("/"), AccessFs::from_read(LANDLOCK_ABI)), (folder, AccessFs::from_all(LANDLOCK_ABI))]
        {
            // A folder that cannot be opened is not allowed; the program reports what it cannot read.
            if let Ok(path) = PathFd::new(path) {
                rules = rules.add_rule(PathBeneath::new(path, access))?;
            }
        }
    }
    rules.restrict_self()
}

fn restrict_parser_syscalls() -> Layer {
    apply_filters("system calls", syscalls::parser_filters())
}

fn apply_filters(name: &str, filters: Result<syscalls::Filters, seccompiler::Error>) -> Layer {
    let applied =
        filters.and_then(|filters| filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter)));
    match applied {
        Ok(()) => layer(name, Level::Full, "seccomp"),
        Err(error) => layer(name, Level::Missing, error),
    }
}

fn limit_resources(limits: &[(Resource, u64, u64)]) -> Layer {
    const NAME: &str = "memory, time and output";
    let failed: Vec<String> = limits
        .iter()
        .filter_map(|(resource, current, maximum)| {
            lower_limit(*resource, *current, *maximum).err().map(|error| format!("{resource:?}: {error}"))
        })
        .collect();
    match failed.len() {
        0 => layer(NAME, Level::Full, "setrlimit"),
        n if n < limits.len() => layer(NAME, Level::Partial, failed.join(", ")),
        _ => layer(NAME, Level::Missing, failed.join(", ")),
    }
}

/// Lowers a limit, unless the present one is lower.
fn lower_limit(resource: Resource, current: u64, maximum: u64) -> rustix::io::Result<()> {
    let ceiling = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    setrlimit(resource, Rlimit { current: Some(current.min(ceiling)), maximum: Some(maximum.min(ceiling)) })
}

fn layer(name: &str, level: Level, detail: impl fmt::Display) -> Layer {
    Layer { name: name.to_owned(), level, detail: detail.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;

    use super::*;

    #[expect(clippy::print_stderr, reason = "it says why a test does nothing")]
    /// Runs a closure in a sandboxed thread, if the kernel supports all layers.
    fn in_sandbox<T: Send>(attempt: impl FnOnce() -> T + Send) -> Option<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    let layers = [drop_privileges(), restrict_files(None), restrict_parser_syscalls()];
                    if layers.iter().any(|layer| layer.level != Level::Full) {
                        eprintln!("skipped: this kernel cannot lock up a thread: {layers:?}");
                        return None;
                    }
                    Some(attempt())
                })
                .join()
                .unwrap()
        })
    }

    #[test]
    fn sandbox_blocks_new_files_but_allows_open_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("open");
        let mut open = File::create(&path).unwrap();
        let mut readable = File::open("/proc/self/stat").unwrap();
        let outcome = in_sandbox(move || {
            let mut byte = [0];
            (
                File::open("/etc/passwd").is_err(),
                File::create(folder.path().join("new")).is_err(),
                fs::read_dir("/").is_err(),
                open.write_all(b"text").is_ok(),
                readable.read_exact(&mut byte).is_ok(),
            )
        });
        assert!(matches!(outcome, None | Some((true, true, true, true, true))), "{outcome:?}");
    }

    #[test]
    fn sandbox_blocks_network_and_processes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let parent = rustix::process::getppid().unwrap();
        let outcome = in_sandbox(move || {
            let denied = |result: std::io::Result<()>| {
                result.err().is_some_and(|error| error.raw_os_error() == Some(libc::EPERM))
            };
            (
                denied(TcpStream::connect(address).map(drop)),
                denied(TcpListener::bind("127.0.0.1:0").map(drop)),
                denied(Command::new("/bin/true").spawn().map(drop)),
                denied(
                    rustix::process::kill_process(parent, rustix::process::Signal::CONT).map_err(Into::into),
                ),
            )
        });
        assert!(matches!(outcome, None | Some((true, true, true, true))), "{outcome:?}");
    }

    #[test]
    fn sandboxed_thread_can_allocate_and_start_threads() {
        let outcome = in_sandbox(|| {
            let words: std::collections::HashMap<usize, String> =
                (0..1000).map(|i| (i, "x".repeat(i))).collect();
            thread::spawn(move || words.len()).join().is_ok_and(|n| n == 1000)
        });
        assert!(matches!(outcome, None | Some(true)));
    }

    #[test]
    fn probe_does_not_sandbox_the_process() {
        let report = probe();
        assert_eq!(report.layers.len(), 3);
        assert!(File::open("/proc/self/stat").is_ok());
    }
}
