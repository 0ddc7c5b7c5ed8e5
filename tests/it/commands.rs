//! Tests of the commands with which operators change the database directly.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;

fn run_docket(data: &Path, arguments: &[&str], log: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docket"));
    command.args(arguments).arg("--data-dir").arg(data).env_remove("DOCKET_LOG");
    if let Some(log) = log {
        command.env("DOCKET_LOG", log);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(b"correct horse battery\n").expect("the program reads");
    child.wait_with_output().expect("the program exits")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn command_prints_audit_lines_only_if_logging_is_enabled() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let add = |email: &str, log| {
        run_docket(dir.path(), &["user", "add", "--email", email, "--name", "A", "--password-stdin"], log)
    };
    let default = add("ada@example.com", None);
    assert!(default.status.success(), "{}", text(&default.stderr));
    assert_eq!(text(&default.stderr), "");
    assert_eq!(text(&default.stdout).lines().count(), 1, "only the ID of the account");
    let key = run_docket(dir.path(), &["key", "create", "--email", "ada@example.com", "--name", "k"], None);
    assert_eq!((text(&key.stderr), text(&key.stdout).starts_with("user-live-")), (String::new(), true));
    for (email, log) in [("bob@example.com", "warn,docket::audit=info"), ("eve@example.com", "info")] {
        let verbose = add(email, Some(log));
        assert!(text(&verbose.stderr).contains("account_created"), "{log}: {}", text(&verbose.stderr));
    }
}

#[test]
fn job_type_apply_uses_api_defaults_and_reports_all_problems() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("type.json");
    let apply = |definition: &serde_json::Value| {
        std::fs::write(&file, definition.to_string()).expect("a file");
        run_docket(&dir.path().join("data"), &["job-type", "apply", file.to_str().expect("a path")], None)
    };
    let minimal = json!({"id": "letter", "name": "Letter", "description": "", "accepts": [], "steps": [{"name": "write"}]});
    let applied = apply(&minimal);
    assert_eq!(
        (text(&applied.stdout), text(&applied.stderr)),
        ("letter version 1\n".to_owned(), String::new())
    );
    let full = json!({"id": "letter", "version": 7, "name": "Letter", "description": "", "accepts": [], "metadataSchema": {},
        "steps": [{"name": "write", "title": "write", "kind": "AUTOMATIC", "contentRoles": [], "maxAttempts": 3,
            "timeoutSeconds": 300, "thresholdField": null, "fourEyes": false}]});
    assert_eq!(
        text(&apply(&full).stdout),
        "letter version 1\n",
        "the defaults written out are the same definition"
    );

    std::fs::write(&file, format!("\u{feff}{minimal}")).expect("a file");
    let with_mark =
        run_docket(&dir.path().join("data"), &["job-type", "apply", file.to_str().expect("a path")], None);
    assert_eq!(text(&with_mark.stdout), "letter version 1\n", "a byte order mark is ignored");
    for id in ["data-point-extraction", "noop"] {
        let mut built_in = minimal.clone();
        built_in["id"] = json!(id);
        let refused = apply(&built_in);
        assert!(
            !refused.status.success() && text(&refused.stderr).contains("/id: This type is built in"),
            "{id}"
        );
    }

    let steps = json!([
        {"kind": "SOMEBODY", "maxAttempts": 0}, {"name": 7, "color": 1, "contentRoles": ["a b"]}, "sing", {"name": "c d"},
    ]);
    let invalid = json!({"id": "a b", "accepts": ["text/*"], "steps": steps});
    let refused = apply(&invalid);
    assert!(!refused.status.success());
    let errors = text(&refused.stderr);
    for path in [
        "/id:",
        "/name:",
        "/description:",
        "/accepts/0:",
        "/steps/0/name:",
        "/steps/0/kind:",
        "/steps/0/maxAttempts:",
        "/steps/1/name:",
        "/steps/1/color:",
        "/steps/1/contentRoles/0:",
        "/steps/2:",
        "/steps/3/name:",
    ] {
        assert!(errors.contains(path), "{path} is missing in: {errors}");
    }
    assert!(errors.contains("type.json") && !errors.contains("step-"), "{errors}");
}
