//! Commands that work on the database directly, as operators run them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;

fn docket(data: &Path, arguments: &[&str], log: Option<&str>) -> Output {
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
    child.stdin.take().expect("a pipe").write_all(b"correct horse battery\n").expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn commands_print_audit_lines_only_when_asked_to() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let add = |email: &str, log| {
        docket(dir.path(), &["user", "add", "--email", email, "--name", "A", "--password-stdin"], log)
    };
    let quiet = add("ada@example.com", None);
    assert!(quiet.status.success(), "{}", text(&quiet.stderr));
    assert_eq!(text(&quiet.stderr), "");
    assert_eq!(text(&quiet.stdout).lines().count(), 1, "the ID of the account");
    let key = docket(dir.path(), &["key", "create", "--email", "ada@example.com", "--name", "k"], None);
    assert_eq!((text(&key.stderr), text(&key.stdout).starts_with("user-live-")), (String::new(), true));
    for (email, log) in [("bob@example.com", "warn,docket::audit=info"), ("eve@example.com", "info")] {
        let loud = add(email, Some(log));
        assert!(text(&loud.stderr).contains("account_created"), "{log}: {}", text(&loud.stderr));
    }
}

#[test]
fn job_type_apply_has_the_defaults_of_the_api_and_reports_every_problem() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("type.json");
    let apply = |definition: &serde_json::Value| {
        std::fs::write(&file, definition.to_string()).expect("a file");
        docket(&dir.path().join("data"), &["job-type", "apply", file.to_str().expect("a path")], None)
    };
    let least = json!({"id": "letter", "name": "Letter", "description": "", "accepts": [], "steps": [{"name": "write"}]});
    let applied = apply(&least);
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

    std::fs::write(&file, format!("\u{feff}{least}")).expect("a file");
    let marked =
        docket(&dir.path().join("data"), &["job-type", "apply", file.to_str().expect("a path")], None);
    assert_eq!(text(&marked.stdout), "letter version 1\n", "a byte order mark is ignored");
    for id in ["data-point-extraction", "noop"] {
        let mut built_in = least.clone();
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
    let wrong = json!({"id": "a b", "accepts": ["text/*"], "steps": steps});
    let refused = apply(&wrong);
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
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
        assert!(said.contains(path), "{path} is missing in: {said}");
    }
    assert!(said.contains("type.json") && !said.contains("step-"), "{said}");
}
