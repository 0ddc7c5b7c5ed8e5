//! Tests of child processes: results, limits, cancellation, death of the parent. No test may leave a process behind.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a failed unwrap fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use docket_extract::Failure;
use docket_extract::child::{self, Limits};
use docket_extract::failure::Code;
use docket_extract::operation::{Operation, Outcome, Output, Text, role};
use docket_extract::sniff;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = env!("CARGO_BIN_EXE_docket-extract-child");

/// A document and a folder for its outputs.
struct Workspace {
    folder: TempDir,
    mime: &'static str,
    ocr: bool,
    image_height: u32,
    limits: Limits,
    cancel: CancellationToken,
}

impl Workspace {
    fn new(mime: &'static str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(role::INPUT), bytes).unwrap();
        let (limits, cancel) = (Limits::default(), CancellationToken::new());
        Self { folder, mime, ocr: false, image_height: 1024, limits, cancel }
    }

    /// A text that takes much longer to read than a test takes to notice the reader.
    fn slow() -> Self {
        Self::new(sniff::PLAIN, "a bc def ghij klmno\n".repeat(2_000_000).as_bytes())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn operation(&self) -> Operation {
        Operation::Text(Text {
            mime: self.mime.to_owned(),
            ocr: self.ocr,
            languages: vec!["en".to_owned()],
            image_height: self.image_height,
        })
    }

    async fn read(&self) -> Result<Outcome, Failure> {
        self.run(self.operation(), &[role::INPUT]).await
    }

    async fn run(&self, operation: Operation, roles: &[&str]) -> Result<Outcome, Failure> {
        let inputs = roles.iter().map(|role| ((*role).to_owned(), self.path(role))).collect();
        let mut known = 0.0;
        let progress = |share, _: &str| {
            assert!((known..=1.0).contains(&share), "progress fell from {known} to {share}");
            known = share;
        };
        let folder = self.folder.path();
        child::run(PROGRAM.as_ref(), operation, &inputs, folder, &self.limits, progress, self.cancel.clone())
            .await
    }

    async fn failure(&self) -> Failure {
        let failure = self.read().await.unwrap_err();
        assert_eq!(self.reader_processes(), [0_u32; 0]);
        failure
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// Returns the processes that have a file of the folder open.
    fn reader_processes(&self) -> Vec<u32> {
        let mut pids = processes();
        pids.retain(|pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            *pid != std::process::id() && targets.any(|target| target.starts_with(self.folder.path()))
        });
        pids
    }

    async fn wait_for_reader(&self) -> u32 {
        wait_until("a child reads the document", || self.reader_processes().first().copied()).await
    }

    async fn wait_for_no_reader(&self) {
        wait_until("no child reads the document", || self.reader_processes().is_empty().then_some(())).await;
    }
}

/// Polls until a condition holds.
async fn wait_until<T>(condition: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out: {condition}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn process_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

#[tokio::test]
async fn document_passes_text_extraction_and_zoning() {
    let workspace = Workspace::new(sniff::PLAIN, b"Heading\n\nInvoice   17\n");
    let outcome = workspace.read().await.unwrap();
    let roles: Vec<&str> = outcome.outputs.iter().map(|content| content.role).collect();
    assert_eq!(roles, [role::TEXT]);
    assert_eq!(workspace.json(role::TEXT)["pages"][0]["words"][2]["text"], "17");
    let zoning = workspace.run(Operation::Zoning { threshold: 1.0 }, &[role::TEXT]).await.unwrap();
    assert_eq!(zoning.outputs.len(), 2);
    assert_eq!(workspace.json(role::PAGES_META), json!({"PDF_type": null, "total_pages": 1}));
    let zones = workspace.json(role::ZONES)["zones"].as_array().unwrap().len();
    assert_eq!(zoning.review.unwrap().items.len(), zones);
    assert_eq!(workspace.reader_processes(), [0_u32; 0]);
}

#[tokio::test]
async fn mapped_values_and_corrections_reach_the_output() {
    let workspace = Workspace::new(sniff::PLAIN, b"Invoice No: 4711\nDate: 24.12.2025\n");
    workspace.read().await.unwrap();
    let taxonomy = json!({"name": "bills", "version": "3", "data_points": [
        {"name": "number", "type": "code", "required": true, "labels": ["Invoice No"]},
        {"name": "date", "type": "date", "labels": ["Date"]},
        {"name": "total", "type": "amount", "required": true, "labels": ["Total"]}]});
    fs::write(workspace.path(role::MAPPING_TAXONOMY), taxonomy.to_string()).unwrap();
    let roles = [role::TEXT, role::MAPPING_TAXONOMY];
    let mapped = workspace.run(Operation::Mapping { threshold: 0.01 }, &roles).await.unwrap();
    let review = mapped.review.unwrap();
    assert_eq!(
        (review.reason.as_str(), review.content_role.as_str()),
        ("1 required value is missing.", role::MAPPING)
    );
    let mut mapping = workspace.json(role::MAPPING);
    assert_eq!(mapping["data_points"][0]["value"], "4711");
    assert_eq!(mapping["data_points"][1]["normalized"], "2025-12-24");
    mapping["data_points"][1]["value"] = "31.12.2025".into();
    fs::write(workspace.path(role::MAPPING), mapping.to_string()).unwrap();
    let output = Operation::Output(Output { name: "a.txt".to_owned(), ..Output::default() });
    workspace.run(output, &[role::MAPPING, role::MAPPING_TAXONOMY]).await.unwrap();
    let xml = fs::read_to_string(workspace.path(role::OUTPUT)).unwrap();
    assert!(xml.contains("2025-12-31") && xml.contains("taxonomyVersion=\"3\""), "{xml}");
}

#[tokio::test]
async fn corrections_are_read_in_the_document_format() {
    for (printed, expected) in [("1.234,56", "2345"), ("1,234.56", "2.345")] {
        let workspace = Workspace::new(sniff::PLAIN, format!("Total: {printed}\n").as_bytes());
        workspace.read().await.unwrap();
        let taxonomy = json!({"name": "bills", "data_points": [{"name": "total", "type": "amount", "labels": ["Total"]}]});
        fs::write(workspace.path(role::MAPPING_TAXONOMY), taxonomy.to_string()).unwrap();
        let roles = [role::TEXT, role::MAPPING_TAXONOMY];
        workspace.run(Operation::Mapping { threshold: 1.0 }, &roles).await.unwrap();
        let mut mapping = workspace.json(role::MAPPING);
        assert_eq!(mapping["data_points"][0]["normalized"], "1234.56");
        mapping["data_points"][0]["value"] = "2.345".into();
        fs::write(workspace.path(role::MAPPING), mapping.to_string()).unwrap();
        let output = Operation::Output(Output::default());
        workspace.run(output, &[role::MAPPING, role::MAPPING_TAXONOMY, role::TEXT]).await.unwrap();
        let xml = fs::read_to_string(workspace.path(role::OUTPUT)).unwrap();
        assert!(xml.contains(&format!("<normalized>{expected}</normalized>")), "{xml}");
    }
}

#[tokio::test]
async fn keywords_reach_the_output() {
    let workspace = Workspace::new(sniff::PLAIN, b"The turbine needs oil. Oil keeps a turbine cool.\n");
    workspace.read().await.unwrap();
    let taxonomy = json!({"name": "parts", "keywords": [{"term": "lubricant", "synonyms": ["oil"]}]});
    fs::write(workspace.path(role::INDEXING_TAXONOMY), taxonomy.to_string()).unwrap();
    let roles = [role::TEXT, role::INDEXING_TAXONOMY];
    let indexed = workspace.run(Operation::Indexing { threshold: 1.0 }, &roles).await.unwrap();
    let keywords = workspace.json(role::INDEXING)["keywords"].as_array().unwrap().clone();
    assert!(keywords.iter().any(|keyword| keyword["entry"] == "lubricant" && keyword["count"] == 2));
    assert_eq!(indexed.review.unwrap().items.len(), keywords.len());
    let output = Operation::Output(Output { name: "a.txt".to_owned(), ..Output::default() });
    workspace.run(output, &[role::INDEXING, role::INDEXING_TAXONOMY]).await.unwrap();
    let xml = fs::read_to_string(workspace.path(role::OUTPUT)).unwrap();
    assert!(xml.contains("lubricant") && xml.contains("taxonomy=\"parts\""), "{xml}");
}

#[tokio::test]
async fn malformed_content_is_named_in_the_error() {
    let workspace = Workspace::new(sniff::PLAIN, b"");
    fs::write(workspace.path(role::TEXT), "{\"pages\": 3}").unwrap();
    let failure = workspace.run(Operation::Zoning { threshold: 0.0 }, &[role::TEXT]).await.unwrap_err();
    assert_eq!(failure.code, Code::DocumentDamaged);
    assert!(
        failure.message.contains("text-json") && failure.message.contains("a sequence"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn memory_is_limited() {
    let mut workspace = Workspace::slow();
    workspace.limits.memory_bytes = 8 << 20;
    let failure = workspace.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("8 MiB of memory"), "{}", failure.message);
}

#[tokio::test]
async fn output_is_limited() {
    let mut workspace = Workspace::new(sniff::PLAIN, "word ".repeat(1000).as_bytes());
    workspace.limits.output_bytes = 4 << 10;
    let failure = workspace.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("4 KiB"), "{}", failure.message);
}

#[tokio::test]
async fn cpu_time_is_limited() {
    let mut workspace = Workspace::slow();
    (workspace.limits.cpu_seconds, workspace.limits.cpu_seconds_per_mib) = (1.0, 0.0);
    workspace.limits.wall_factor = 1000.0;
    let failure = workspace.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("takes longer"), "{}", failure.message);
}

#[tokio::test]
async fn wall_clock_time_is_limited() {
    let mut workspace = Workspace::slow();
    workspace.limits.wall_factor = 0.01;
    let failure = workspace.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("takes longer"), "{}", failure.message);
}

#[tokio::test]
async fn stack_is_limited() {
    let mut workspace = Workspace::new(sniff::HTML, b"<html><p>text");
    workspace.limits.stack_bytes = 16 << 10;
    let failure = workspace.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("nested"), "{}", failure.message);
}

#[tokio::test]
async fn cancellation_kills_the_child() {
    let workspace = Workspace::slow();
    let cancel = async {
        workspace.wait_for_reader().await;
        workspace.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(workspace.read(), cancel);
    assert_eq!(ended.unwrap_err().code, Code::Cancelled);
    assert_eq!(workspace.reader_processes(), [0_u32; 0]);
    assert_eq!(workspace.read().await.unwrap_err().code, Code::Cancelled);
}

#[tokio::test]
async fn dropping_the_future_kills_the_child() {
    let workspace = Workspace::slow();
    {
        let read = std::pin::pin!(workspace.read());
        let started = std::pin::pin!(workspace.wait_for_reader());
        first_of(started, read).await;
    }
    workspace.wait_for_no_reader().await;
}

/// Awaits the first future while the second one runs.
async fn first_of<T>(first: impl Future<Output = T>, second: impl Future) -> T {
    tokio::select! {
        value = first => value,
        _ = second => panic!("it ended too soon"),
    }
}

#[tokio::test]
async fn stopped_child_dies_with_the_killed_server() {
    let workspace = Workspace::slow();
    let operation = serde_json::to_string(&workspace.operation()).unwrap();
    let mut server = tokio::process::Command::new(PROGRAM)
        .args(["drive", &operation])
        .args([workspace.path(role::INPUT), workspace.folder.path().to_owned()])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // A stopped process cannot react by itself.
    let child = workspace.wait_for_reader().await;
    kill_process(Pid::from_raw(child as i32).unwrap(), Signal::STOP).unwrap();
    wait_until("the child is stopped", || (process_state(child) == Some('T')).then_some(())).await;
    server.kill().await.unwrap();
    workspace.wait_for_no_reader().await;
}

#[tokio::test]
async fn ocr_process_dies_with_the_killed_server() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("tesseract").is_file()) {
        eprintln!("skipped: tesseract is not installed");
        return;
    }
    let mut workspace = Workspace::new(sniff::PDF, &pdf_with_drawn_letters());
    (workspace.ocr, workspace.image_height) = (true, 4000);
    let operation = serde_json::to_string(&workspace.operation()).unwrap();
    let mut server = tokio::process::Command::new(PROGRAM)
        .args(["drive", &operation])
        .args([workspace.path(role::INPUT), workspace.folder.path().to_owned()])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let picture = workspace.path("picture");
    let is_reader = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = command.split(|byte| *byte == 0);
        arguments.next().is_some_and(|program| program.ends_with(b"/tesseract"))
            && arguments.any(|argument| argument == picture.as_os_str().as_encoded_bytes())
    };
    let reader = wait_until("tesseract reads the page", || processes().into_iter().find(is_reader)).await;
    kill_process(Pid::from_raw(reader as i32).unwrap(), Signal::STOP).unwrap();
    wait_until("tesseract is stopped", || (process_state(reader) == Some('T')).then_some(())).await;
    server.kill().await.unwrap();
    wait_until("tesseract has ended", || (!is_reader(&reader)).then_some(())).await;
}

#[tokio::test]
async fn child_exits_when_standard_input_closes() {
    let workspace = Workspace::slow();
    let mut child = Command::new(PROGRAM)
        .args([child::SUBCOMMAND, "read", &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = json!({
        "task": {"operation": workspace.operation()},
        "limits": {},
        "inputs": {"input": workspace.path(role::INPUT)},
        "outputs": {"text-json": workspace.path("out")},
    });
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{request}").unwrap();
    workspace.wait_for_reader().await;
    drop(stdin);
    let status = wait_until("the child has ended", || child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(1));
}

#[test]
fn child_of_another_parent_refuses_to_run() {
    let output = Command::new(PROGRAM).args([child::SUBCOMMAND, "read", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("parent process has ended"));
}

#[tokio::test]
async fn missing_program_is_an_internal_failure() {
    let workspace = Workspace::new(sniff::PLAIN, b"text");
    let inputs = BTreeMap::from([(role::INPUT.to_owned(), workspace.path(role::INPUT))]);
    let folder = workspace.folder.path();
    let (missing, cancel) = (Path::new("/nonexistent"), CancellationToken::new());
    let ended =
        child::run(missing, workspace.operation(), &inputs, folder, &workspace.limits, |_, _| {}, cancel)
            .await;
    assert_eq!(ended.unwrap_err().code, Code::Internal);
}

/// Builds a PDF of one page, 400 x 200 points, that shows `LIFEL` in letters drawn as rectangles.
fn pdf_with_drawn_letters() -> Vec<u8> {
    let bars: [(i32, i32, i32, i32); 12] = [
        // L
        (40, 60, 12, 80),
        (40, 60, 45, 12),
        // I
        (110, 60, 12, 80),
        // F
        (150, 60, 12, 80),
        (150, 128, 45, 12),
        (150, 96, 36, 12),
        // E
        (220, 60, 12, 80),
        (220, 128, 45, 12),
        (220, 96, 36, 12),
        (220, 60, 45, 12),
        // L
        (290, 60, 12, 80),
        (290, 60, 45, 12),
    ];
    let content: String = bars.iter().map(|(x, y, w, h)| format!("{x} {y} {w} {h} re f\n")).collect();
    let mut pdf = String::from("%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n");
    pdf += "2 0 obj\n<</Type/Pages/Count 1/Kids[3 0 R]>>\nendobj\n";
    pdf += "3 0 obj\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 200]/Contents 4 0 R>>\nendobj\n";
    pdf += &format!("4 0 obj\n<</Length {}>>\nstream\n{content}endstream\nendobj\n", content.len());
    pdf += "trailer\n<</Size 5/Root 1 0 R>>\n%%EOF\n";
    pdf.into_bytes()
}

#[tokio::test]
async fn pages_without_text_fail_unless_ocr_is_requested() {
    let failure = Workspace::new(sniff::PDF, &pdf_with_drawn_letters()).failure().await;
    assert_eq!(failure.code, Code::NoText);
    assert!(failure.message.contains("text-extraction.ocr"), "{}", failure.message);
}

#[tokio::test]
async fn number_of_ocr_pages_is_limited() {
    let mut workspace = Workspace::new(sniff::PDF, &pdf_with_drawn_letters());
    (workspace.ocr, workspace.limits.ocr_pages) = (true, 0);
    let failure = workspace.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("1 pages need OCR"), "{}", failure.message);
}

#[tokio::test]
async fn drawn_letters_are_read_by_ocr() {
    let mut workspace = Workspace::new(sniff::PDF, &pdf_with_drawn_letters());
    workspace.ocr = true;
    match workspace.read().await {
        Ok(_) => {
            let text = workspace.json(role::TEXT);
            assert_eq!(text["pages"][0]["text"].as_str().unwrap().trim(), "LIFEL");
            let x = text["pages"][0]["words"][0]["box"][0].as_f64().unwrap();
            assert!((x - 0.1).abs() < 0.02, "{x}");
            assert!(!workspace.path("picture").exists() && !workspace.path("recognized").exists());
        }
        Err(failure) if failure.code == Code::OcrUnavailable => eprintln!("skipped: {}", failure.message),
        Err(failure) => panic!("{failure}"),
    }
    assert_eq!(workspace.reader_processes(), [0_u32; 0]);
}

#[test]
fn missing_tesseract_is_named_in_the_error() {
    let mut workspace = Workspace::new(sniff::PDF, &pdf_with_drawn_letters());
    workspace.ocr = true;
    let operation = serde_json::to_string(&workspace.operation()).unwrap();
    let output = Command::new(PROGRAM)
        .args(["drive", &operation])
        .args([workspace.path(role::INPUT), workspace.folder.path().to_owned()])
        .env("PATH", workspace.folder.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("OcrUnavailable") && printed.contains("apt install tesseract-ocr"), "{printed}");
}

#[test]
fn ocr_process_has_its_own_limits() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { ocr_cpu_seconds: 7.0, ocr_memory_bytes: 300 << 20, ..Limits::default() };
    let output = Command::new(PROGRAM)
        .args([child::SUBCOMMAND, "exec", &std::process::id().to_string()])
        .arg(serde_json::to_string(&limits).unwrap())
        .arg(folder.path())
        .args(["/bin/sh", "-c", "ulimit -S -t; ulimit -S -v"])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), ["7", "307200"], "seconds and KiB");
}
