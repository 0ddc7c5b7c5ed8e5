//! Children of every fate: they answer, die of their limits, are stopped, lose their parent; and none is left.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test: what cannot be unwrapped fails it")]

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

/// A document and a folder for what is made of it.
struct Desk {
    folder: TempDir,
    mime: &'static str,
    ocr: bool,
    image_height: u32,
    limits: Limits,
    cancel: CancellationToken,
}

impl Desk {
    fn new(mime: &'static str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(role::INPUT), bytes).unwrap();
        let (limits, cancel) = (Limits::default(), CancellationToken::new());
        Self { folder, mime, ocr: false, image_height: 1024, limits, cancel }
    }

    /// A text that takes far longer to read than a test to notice that it is being read.
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
        assert_eq!(self.users(), [0_u32; 0]);
        failure
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The processes that have a file of this desk open.
    fn users(&self) -> Vec<u32> {
        let mut users = processes();
        users.retain(|pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            *pid != std::process::id() && targets.any(|target| target.starts_with(self.folder.path()))
        });
        users
    }

    async fn user(&self) -> u32 {
        until("a child reads the document", || self.users().first().copied()).await
    }

    async fn nobody(&self) {
        until("no child reads the document", || self.users().is_empty().then_some(())).await;
    }
}

/// Waits for something to become so.
async fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(Instant::now() < deadline, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

#[tokio::test]
async fn a_document_goes_through_its_steps() {
    let desk = Desk::new(sniff::PLAIN, b"Heading\n\nInvoice   17\n");
    let outcome = desk.read().await.unwrap();
    let roles: Vec<&str> = outcome.outputs.iter().map(|content| content.role).collect();
    assert_eq!(roles, [role::TEXT]);
    assert_eq!(desk.json(role::TEXT)["pages"][0]["words"][2]["text"], "17");
    let zoning = desk.run(Operation::Zoning { threshold: 1.0 }, &[role::TEXT]).await.unwrap();
    assert_eq!(zoning.outputs.len(), 2);
    assert_eq!(desk.json(role::PAGES_META), json!({"PDF_type": null, "total_pages": 1}));
    let zones = desk.json(role::ZONES)["zones"].as_array().unwrap().len();
    assert_eq!(zoning.review.unwrap().items.len(), zones);
    assert_eq!(desk.users(), [0_u32; 0]);
}

#[tokio::test]
async fn taxonomies_are_mapped_and_corrections_reach_the_output() {
    let desk = Desk::new(sniff::PLAIN, b"Invoice No: 4711\nDate: 24.12.2025\n");
    desk.read().await.unwrap();
    let taxonomy = json!({"name": "bills", "version": "3", "data_points": [
        {"name": "number", "type": "code", "required": true, "labels": ["Invoice No"]},
        {"name": "date", "type": "date", "labels": ["Date"]},
        {"name": "total", "type": "amount", "required": true, "labels": ["Total"]}]});
    fs::write(desk.path(role::MAPPING_TAXONOMY), taxonomy.to_string()).unwrap();
    let made = [role::TEXT, role::MAPPING_TAXONOMY];
    let mapped = desk.run(Operation::Mapping { threshold: 0.01 }, &made).await.unwrap();
    let review = mapped.review.unwrap();
    assert_eq!(
        (review.reason.as_str(), review.content_role.as_str()),
        ("1 required value is missing.", role::MAPPING)
    );
    let mut mapping = desk.json(role::MAPPING);
    assert_eq!(mapping["data_points"][0]["value"], "4711");
    assert_eq!(mapping["data_points"][1]["normalized"], "2025-12-24");
    mapping["data_points"][1]["value"] = "31.12.2025".into();
    fs::write(desk.path(role::MAPPING), mapping.to_string()).unwrap();
    let output = Operation::Output(Output { name: "a.txt".to_owned(), ..Output::default() });
    desk.run(output, &[role::MAPPING, role::MAPPING_TAXONOMY]).await.unwrap();
    let xml = fs::read_to_string(desk.path(role::OUTPUT)).unwrap();
    assert!(xml.contains("2025-12-31") && xml.contains("taxonomyVersion=\"3\""), "{xml}");
}

#[tokio::test]
async fn corrections_are_read_as_the_document_prints_its_values() {
    for (printed, expected) in [("1.234,56", "2345"), ("1,234.56", "2.345")] {
        let desk = Desk::new(sniff::PLAIN, format!("Total: {printed}\n").as_bytes());
        desk.read().await.unwrap();
        let taxonomy = json!({"name": "bills", "data_points": [{"name": "total", "type": "amount", "labels": ["Total"]}]});
        fs::write(desk.path(role::MAPPING_TAXONOMY), taxonomy.to_string()).unwrap();
        let made = [role::TEXT, role::MAPPING_TAXONOMY];
        desk.run(Operation::Mapping { threshold: 1.0 }, &made).await.unwrap();
        let mut mapping = desk.json(role::MAPPING);
        assert_eq!(mapping["data_points"][0]["normalized"], "1234.56");
        mapping["data_points"][0]["value"] = "2.345".into();
        fs::write(desk.path(role::MAPPING), mapping.to_string()).unwrap();
        let output = Operation::Output(Output::default());
        desk.run(output, &[role::MAPPING, role::MAPPING_TAXONOMY, role::TEXT]).await.unwrap();
        let xml = fs::read_to_string(desk.path(role::OUTPUT)).unwrap();
        assert!(xml.contains(&format!("<normalized>{expected}</normalized>")), "{xml}");
    }
}

#[tokio::test]
async fn keywords_reach_the_output() {
    let desk = Desk::new(sniff::PLAIN, b"The turbine needs oil. Oil keeps a turbine cool.\n");
    desk.read().await.unwrap();
    let taxonomy = json!({"name": "parts", "keywords": [{"term": "lubricant", "synonyms": ["oil"]}]});
    fs::write(desk.path(role::INDEXING_TAXONOMY), taxonomy.to_string()).unwrap();
    let made = [role::TEXT, role::INDEXING_TAXONOMY];
    let indexed = desk.run(Operation::Indexing { threshold: 1.0 }, &made).await.unwrap();
    let keywords = desk.json(role::INDEXING)["keywords"].as_array().unwrap().clone();
    assert!(keywords.iter().any(|keyword| keyword["entry"] == "lubricant" && keyword["count"] == 2));
    assert_eq!(indexed.review.unwrap().items.len(), keywords.len());
    let output = Operation::Output(Output { name: "a.txt".to_owned(), ..Output::default() });
    desk.run(output, &[role::INDEXING, role::INDEXING_TAXONOMY]).await.unwrap();
    let xml = fs::read_to_string(desk.path(role::OUTPUT)).unwrap();
    assert!(xml.contains("lubricant") && xml.contains("taxonomy=\"parts\""), "{xml}");
}

#[tokio::test]
async fn contents_of_another_form_are_named() {
    let desk = Desk::new(sniff::PLAIN, b"");
    fs::write(desk.path(role::TEXT), "{\"pages\": 3}").unwrap();
    let failure = desk.run(Operation::Zoning { threshold: 0.0 }, &[role::TEXT]).await.unwrap_err();
    assert_eq!(failure.code, Code::DocumentDamaged);
    assert!(
        failure.message.contains("text-json") && failure.message.contains("a sequence"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn memory_is_limited() {
    let mut desk = Desk::slow();
    desk.limits.memory_bytes = 8 << 20;
    let failure = desk.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("8 MiB of memory"), "{}", failure.message);
}

#[tokio::test]
async fn output_is_limited() {
    let mut desk = Desk::new(sniff::PLAIN, "word ".repeat(1000).as_bytes());
    desk.limits.output_bytes = 4 << 10;
    let failure = desk.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("4 KiB"), "{}", failure.message);
}

#[tokio::test]
async fn computing_time_is_limited() {
    let mut desk = Desk::slow();
    (desk.limits.cpu_seconds, desk.limits.cpu_seconds_per_mib) = (1.0, 0.0);
    desk.limits.wall_factor = 1000.0;
    let failure = desk.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("takes longer"), "{}", failure.message);
}

#[tokio::test]
async fn time_by_the_clock_is_limited() {
    let mut desk = Desk::slow();
    desk.limits.wall_factor = 0.01;
    let failure = desk.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("takes longer"), "{}", failure.message);
}

#[tokio::test]
async fn the_stack_is_limited() {
    let mut desk = Desk::new(sniff::HTML, b"<html><p>text");
    desk.limits.stack_bytes = 16 << 10;
    let failure = desk.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("nested"), "{}", failure.message);
}

#[tokio::test]
async fn cancelling_kills() {
    let desk = Desk::slow();
    let cancel = async {
        desk.user().await;
        desk.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(desk.read(), cancel);
    assert_eq!(ended.unwrap_err().code, Code::Cancelled);
    assert_eq!(desk.users(), [0_u32; 0]);
    assert_eq!(desk.read().await.unwrap_err().code, Code::Cancelled);
}

#[tokio::test]
async fn forgetting_kills() {
    let desk = Desk::slow();
    {
        let read = std::pin::pin!(desk.read());
        let started = std::pin::pin!(desk.user());
        first(started, read).await;
    }
    desk.nobody().await;
}

/// Waits for the first while the second goes on.
async fn first<T>(first: impl Future<Output = T>, second: impl Future) -> T {
    tokio::select! {
        value = first => value,
        _ = second => panic!("it ended too soon"),
    }
}

#[tokio::test]
async fn a_killed_server_takes_even_a_stopped_child_along() {
    let desk = Desk::slow();
    let operation = serde_json::to_string(&desk.operation()).unwrap();
    let mut server = tokio::process::Command::new(PROGRAM)
        .args(["drive", &operation])
        .args([desk.path(role::INPUT), desk.folder.path().to_owned()])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // A stopped process cannot notice anything by itself.
    let child = desk.user().await;
    kill_process(Pid::from_raw(child as i32).unwrap(), Signal::STOP).unwrap();
    until("the child is stopped", || (state(child) == Some('T')).then_some(())).await;
    server.kill().await.unwrap();
    desk.nobody().await;
}

#[tokio::test]
async fn a_killed_server_takes_the_reader_of_pictures_along() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("tesseract").is_file()) {
        eprintln!("skipped: tesseract is not installed");
        return;
    }
    let mut desk = Desk::new(sniff::PDF, &drawing());
    (desk.ocr, desk.image_height) = (true, 4000);
    let operation = serde_json::to_string(&desk.operation()).unwrap();
    let mut server = tokio::process::Command::new(PROGRAM)
        .args(["drive", &operation])
        .args([desk.path(role::INPUT), desk.folder.path().to_owned()])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let picture = desk.path("picture");
    let is_reader = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = command.split(|byte| *byte == 0);
        arguments.next().is_some_and(|program| program.ends_with(b"/tesseract"))
            && arguments.any(|argument| argument == picture.as_os_str().as_encoded_bytes())
    };
    let reader = until("tesseract reads the page", || processes().into_iter().find(is_reader)).await;
    kill_process(Pid::from_raw(reader as i32).unwrap(), Signal::STOP).unwrap();
    until("tesseract is stopped", || (state(reader) == Some('T')).then_some(())).await;
    server.kill().await.unwrap();
    until("tesseract is gone", || (!is_reader(&reader)).then_some(())).await;
}

#[tokio::test]
async fn a_child_ends_when_nobody_listens() {
    let desk = Desk::slow();
    let mut child = Command::new(PROGRAM)
        .args([child::SUBCOMMAND, "read", &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = json!({
        "task": {"operation": desk.operation()},
        "limits": {},
        "inputs": {"input": desk.path(role::INPUT)},
        "outputs": {"text-json": desk.path("out")},
    });
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{request}").unwrap();
    desk.user().await;
    drop(stdin);
    let status = until("the child has ended", || child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_child_of_another_parent_refuses_to_work() {
    let output = Command::new(PROGRAM).args([child::SUBCOMMAND, "read", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is gone"));
}

#[tokio::test]
async fn a_missing_program_is_no_fault_of_the_document() {
    let desk = Desk::new(sniff::PLAIN, b"text");
    let inputs = BTreeMap::from([(role::INPUT.to_owned(), desk.path(role::INPUT))]);
    let folder = desk.folder.path();
    let (nothing, cancel) = (Path::new("/nonexistent"), CancellationToken::new());
    let ended = child::run(nothing, desk.operation(), &inputs, folder, &desk.limits, |_, _| {}, cancel).await;
    assert_eq!(ended.unwrap_err().code, Code::Internal);
}

/// A PDF of one page, 400 x 200 points, that shows `LIFE` in letters made of rectangles.
fn drawing() -> Vec<u8> {
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
async fn pages_without_text_need_to_be_asked_for() {
    let failure = Desk::new(sniff::PDF, &drawing()).failure().await;
    assert_eq!(failure.code, Code::NoText);
    assert!(failure.message.contains("text-extraction.ocr"), "{}", failure.message);
}

#[tokio::test]
async fn so_many_pages_are_read_from_pictures() {
    let mut desk = Desk::new(sniff::PDF, &drawing());
    (desk.ocr, desk.limits.ocr_pages) = (true, 0);
    let failure = desk.failure().await;
    assert_eq!(failure.code, Code::DocumentTooComplex);
    assert!(failure.message.contains("1 pages would have to be read"), "{}", failure.message);
}

#[tokio::test]
async fn letters_are_read_from_pictures() {
    let mut desk = Desk::new(sniff::PDF, &drawing());
    desk.ocr = true;
    match desk.read().await {
        Ok(_) => {
            let text = desk.json(role::TEXT);
            assert_eq!(text["pages"][0]["text"].as_str().unwrap().trim(), "LIFEL");
            let x = text["pages"][0]["words"][0]["box"][0].as_f64().unwrap();
            assert!((x - 0.1).abs() < 0.02, "{x}");
            assert!(!desk.path("picture").exists() && !desk.path("recognized").exists());
        }
        Err(failure) if failure.code == Code::OcrUnavailable => eprintln!("skipped: {}", failure.message),
        Err(failure) => panic!("{failure}"),
    }
    assert_eq!(desk.users(), [0_u32; 0]);
}

#[test]
fn a_missing_reader_of_pictures_is_named() {
    let mut desk = Desk::new(sniff::PDF, &drawing());
    desk.ocr = true;
    let operation = serde_json::to_string(&desk.operation()).unwrap();
    let output = Command::new(PROGRAM)
        .args(["drive", &operation])
        .args([desk.path(role::INPUT), desk.folder.path().to_owned()])
        .env("PATH", desk.folder.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("OcrUnavailable") && printed.contains("apt install tesseract-ocr"), "{printed}");
}

#[test]
fn the_reader_of_pictures_has_limits_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { ocr_cpu_seconds: 7.0, ocr_memory_bytes: 300 << 20, ..Limits::default() };
    let output = Command::new(PROGRAM)
        .args([child::SUBCOMMAND, "exec", &std::process::id().to_string()])
        .arg(serde_json::to_string(&limits).unwrap())
        .arg(folder.path())
        .args(["/bin/sh", "-c", "ulimit -S -t; ulimit -S -v"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["7", "307200"], "seconds and KiB");
}
