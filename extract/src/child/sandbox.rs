//! What a process that reads untrusted documents gives up: files, network, other processes, and most of the machine.
//!
//! Each layer is best effort, since kernels and containers differ in what they offer; [`Report`] says what was
//! achieved. Files that are open stay usable.

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

/// The newest version of Landlock that is asked for; a kernel takes what it knows of it.
const LANDLOCK: ABI = ABI::V10;
/// The first version of Landlock that knows of networks.
const LANDLOCK_NETWORK: ABI = ABI::V4;
/// Seconds of computing between the signal that ends a process and the one that nothing survives.
const GRACE: u64 = 2;
/// Bytes of address space of a program of which the kernel does not say it.
const UNKNOWN_PROGRAM: u64 = 256 << 20;
/// Bytes that allocators reserve beyond what is asked of them: a heap for each of the three threads.
const ALLOCATOR: u64 = 3 * (64 << 20);

/// How well a process is locked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// From the outermost.
    pub layers: Vec<Layer>,
}

/// One means of locking a process up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What it protects.
    pub name: String,
    /// How far it holds here.
    pub level: Level,
    /// By what means, or why not.
    pub detail: String,
}

/// How far a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As intended.
    Full,
    /// In parts.
    Partial,
    /// Not at all.
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
    /// Whether every layer holds as intended.
    pub fn is_full(&self) -> bool {
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

/// Tells what children will be locked up with on this machine, by locking up a thread that then ends. Limits on memory
/// and time belong to whole processes and exist on every Linux; they are not part of it.
pub fn probe() -> Report {
    let probed =
        thread::spawn(|| Report { layers: vec![privileges(), files(None), system_calls_of_parser()] });
    probed.join().unwrap_or_else(|_| Report {
        layers: vec![layer("sandbox", Level::Missing, "the attempt to set it up failed")],
    })
}

/// Locks up this process, which must have one thread only, before it reads a document of so many bytes.
pub(super) fn enter(limits: &Limits, input_bytes: u64) -> Report {
    // Asked for while files can still be opened.
    let memory = memory(limits);
    let layers = vec![
        privileges(),
        files(None),
        resources(&[
            (Resource::Core, 0, 0),
            (Resource::As, memory, memory),
            (Resource::Fsize, limits.output_bytes, limits.output_bytes),
            cpu(limits, input_bytes, 0),
            (Resource::Nofile, 0, 0),
        ]),
        system_calls_of_parser(),
    ];
    Report { layers }
}

/// Locks up this process, which must have one thread only, before it becomes another program that reads text from
/// pictures. That one may read files, since programs consist of them, but write beneath `folder` only.
pub(super) fn enter_for_program(limits: &Limits, folder: &Path) -> Report {
    let seconds = limits.ocr_cpu().as_secs().max(1);
    let layers = vec![
        privileges(),
        files(Some(folder)),
        resources(&[
            (Resource::Core, 0, 0),
            (Resource::As, limits.ocr_memory_bytes, limits.ocr_memory_bytes),
            (Resource::Fsize, limits.output_bytes, limits.output_bytes),
            (Resource::Cpu, seconds, seconds + GRACE),
        ]),
        system_calls("other programs and the network", syscalls::program()),
    ];
    Report { layers }
}

/// Forbids new processes and threads, where the user is not root: system calls that make processes are refused anyway
/// where the kernel can.
pub(super) fn forbid_processes() {
    // Best effort, like all of this.
    let _ = limit(Resource::Nproc, 0, 0);
}

/// Lets this process compute for as long as a document has once so many of its pages are done.
pub(super) fn allow_cpu(limits: &Limits, input_bytes: u64, pages_done: u32) {
    let (resource, current, maximum) = cpu(limits, input_bytes, pages_done);
    // Where this fails the process ends sooner than it might.
    let _ = limit(resource, current, maximum);
}

fn cpu(limits: &Limits, input_bytes: u64, pages_done: u32) -> (Resource, u64, u64) {
    let seconds = |pages| limits.cpu(input_bytes, pages).as_secs_f64().ceil().max(1.0) as u64;
    (Resource::Cpu, seconds(pages_done), seconds(limits.document.pages) + GRACE)
}

/// Bytes of address space: what the program has already, and what the limits grant.
fn memory(limits: &Limits) -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()));
    let program = pages.map_or(UNKNOWN_PROGRAM, |pages| pages * rustix::param::page_size() as u64);
    program
        .saturating_add(ALLOCATOR)
        .saturating_add(limits.stack_bytes as u64)
        .saturating_add(limits.memory_bytes)
}

fn privileges() -> Layer {
    match set_no_new_privs(true) {
        Ok(()) => layer("privileges", Level::Full, "no_new_privs"),
        Err(error) => layer("privileges", Level::Missing, error),
    }
}

/// Forbids every file and all of the network; with a folder, only writing elsewhere.
fn files(folder: Option<&Path>) -> Layer {
    const NAME: &str = "files and network";
    match restrict(folder).map(|status| status.landlock) {
        Ok(LandlockStatus::Available { effective_abi, .. }) => {
            let level = if effective_abi >= LANDLOCK_NETWORK { Level::Full } else { Level::Partial };
            layer(NAME, level, format_args!("Landlock version {effective_abi}"))
        }
        Ok(_) => layer(NAME, Level::Missing, "the kernel has no Landlock, or it is turned off"),
        Err(error) => layer(NAME, Level::Missing, error),
    }
}

fn restrict(folder: Option<&Path>) -> Result<RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    if let Some(folder) = folder {
        for (path, access) in
            [(Path::new("/"), AccessFs::from_read(LANDLOCK)), (folder, AccessFs::from_all(LANDLOCK))]
        {
            // A folder that cannot be opened is not allowed, and the program will say what it misses.
            if let Ok(path) = PathFd::new(path) {
                rules = rules.add_rule(PathBeneath::new(path, access))?;
            }
        }
    }
    rules.restrict_self()
}

fn system_calls_of_parser() -> Layer {
    system_calls("system calls", syscalls::parser())
}

fn system_calls(name: &str, filters: Result<syscalls::Filters, seccompiler::Error>) -> Layer {
    let applied =
        filters.and_then(|filters| filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter)));
    match applied {
        Ok(()) => layer(name, Level::Full, "seccomp"),
        Err(error) => layer(name, Level::Missing, error),
    }
}

fn resources(wanted: &[(Resource, u64, u64)]) -> Layer {
    const NAME: &str = "memory, time and output";
    let failed: Vec<String> = wanted
        .iter()
        .filter_map(|(resource, current, maximum)| {
            limit(*resource, *current, *maximum).err().map(|error| format!("{resource:?}: {error}"))
        })
        .collect();
    match failed.len() {
        0 => layer(NAME, Level::Full, "setrlimit"),
        n if n < wanted.len() => layer(NAME, Level::Partial, failed.join(", ")),
        _ => layer(NAME, Level::Missing, failed.join(", ")),
    }
}

/// Lowers a limit; what is lower already stays.
fn limit(resource: Resource, current: u64, maximum: u64) -> rustix::io::Result<()> {
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
    /// Runs something in a thread that is locked up, where the kernel can do so.
    fn locked_up<T: Send>(attempt: impl FnOnce() -> T + Send) -> Option<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    let layers = [privileges(), files(None), system_calls_of_parser()];
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
    fn files_cannot_be_opened_but_open_ones_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("open");
        let mut open = File::create(&path).unwrap();
        let mut readable = File::open("/proc/self/stat").unwrap();
        let outcome = locked_up(move || {
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
    fn networks_and_processes_are_out_of_reach() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let parent = rustix::process::getppid().unwrap();
        let outcome = locked_up(move || {
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
    fn work_goes_on_inside() {
        let outcome = locked_up(|| {
            let words: std::collections::HashMap<usize, String> =
                (0..1000).map(|i| (i, "x".repeat(i))).collect();
            thread::spawn(move || words.len()).join().is_ok_and(|n| n == 1000)
        });
        assert!(matches!(outcome, None | Some(true)));
    }

    #[test]
    fn a_probe_leaves_the_process_free() {
        let report = probe();
        assert_eq!(report.layers.len(), 3);
        assert!(File::open("/proc/self/stat").is_ok());
    }
}
