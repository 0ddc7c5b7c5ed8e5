//! Runs the steps of a job on every file of a folder: `hostile FOLDER [--ocr] [--taxonomy FILE]`.
//!
//! Prints the result and time of each file, and the peak memory of its child processes. Exits with 1 if a child process
//! is left.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use docket_extract::Failure;
use docket_extract::child::{self, Limits};
use docket_extract::failure::Code;
use docket_extract::operation::{Operation, Output, Text, role};
use docket_extract::sniff;
use tokio_util::sync::CancellationToken;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if child::is_child_process() {
        return Ok(child::main());
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let folder = arguments.first().ok_or("usage: hostile FOLDER [--ocr] [--taxonomy FILE]")?;
    let ocr = arguments.iter().any(|argument| argument == "--ocr");
    let taxonomy = arguments
        .iter()
        .position(|argument| argument == "--taxonomy")
        .and_then(|i| arguments.get(i + 1))
        .map(PathBuf::from);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    println!("sandbox: {}", child::sandbox::probe());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for file in &files {
        let runner = Runner { program: std::env::current_exe()?, ocr, taxonomy: taxonomy.clone() };
        let start = Instant::now();
        let (outcome, peak) = with_peak_memory(|| runtime.block_on(runner.run_all_steps(file)));
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let seconds = start.elapsed().as_secs_f64();
        // Child processes that end at once are gone before their memory is read.
        let mib = if peak == 0 { "?".to_owned() } else { (peak >> 10).to_string() };
        match outcome {
            Ok(made) => println!("{name:45} {seconds:7.2} s {mib:>5} MiB  ok: {made}"),
            Err(failure) => {
                println!("{name:45} {seconds:7.2} s {mib:>5} MiB  {:?}: {}", failure.code, failure.message);
            }
        }
    }
    let left = child_processes();
    println!("{} files; processes left: {left:?}", files.len());
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Runner {
    program: PathBuf,
    ocr: bool,
    taxonomy: Option<PathBuf>,
}

impl Runner {
    async fn run_all_steps(&self, file: &Path) -> Result<String, Failure> {
        let internal = |error: std::io::Error| Failure::new(Code::Internal, error.to_string());
        let folder = tempfile::tempdir().map_err(internal)?;
        let mut head = fs::read(file).map_err(internal)?;
        head.truncate(sniff::HEAD_BYTES);
        let declared = match file.extension().and_then(|extension| extension.to_str()) {
            Some("pdf") => sniff::PDF,
            Some("epub") => sniff::EPUB,
            Some("html") => sniff::HTML,
            _ => sniff::PLAIN,
        };
        let accepts = [sniff::PDF, sniff::EPUB, sniff::HTML, sniff::PLAIN].map(str::to_owned);
        let mime = sniff::check_media_type(declared, &accepts, &head)?;
        let mut contents = BTreeMap::from([(role::INPUT.to_owned(), file.to_owned())]);
        let languages = vec!["en".to_owned(), "de".to_owned()];
        let text = Text { mime, ocr: self.ocr, languages, image_height: 1024 };
        let mut steps = vec![Operation::Text(text), Operation::Zoning { threshold: 0.8 }];
        if let Some(taxonomy) = &self.taxonomy {
            contents.insert(role::MAPPING_TAXONOMY.to_owned(), taxonomy.clone());
            steps.push(Operation::Mapping { threshold: 0.8 });
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            steps.push(Operation::Output(Output { name, ..Output::default() }));
        }
        let mut made = Vec::new();
        for (i, step) in steps.into_iter().enumerate() {
            let workdir = folder.path().join(i.to_string());
            fs::create_dir(&workdir).map_err(internal)?;
            let limits = Limits::default();
            let cancel = CancellationToken::new();
            let outcome =
                child::run(&self.program, step, &contents, &workdir, &limits, |_, _| {}, cancel).await?;
            for content in outcome.outputs {
                let size = content.path.metadata().map_err(internal)?.len();
                made.push(format!("{} {} KiB", content.role, size >> 10));
                contents.insert(content.role.to_owned(), content.path);
            }
            made.extend(outcome.review.map(|review| format!("review of {}", review.items.len())));
        }
        Ok(made.join(", "))
    }
}

/// Runs a closure. Returns its result and the peak resident memory of child processes, in KiB.
fn with_peak_memory<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let done = AtomicBool::new(false);
    let peak = AtomicU64::new(0);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for pid in child_processes() {
                    peak.fetch_max(peak_memory_kib(pid).unwrap_or(0), Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    });
    (result, peak.into_inner())
}

/// Returns the child processes of this one, including zombies.
fn child_processes() -> Vec<u32> {
    let own = std::process::id().to_string();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The parent is the second field after the name, which is in parentheses.
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(own.as_str())
        })
        .collect()
}

fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}
