//! The demo as a newcomer runs it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::process::Command;

use serde_json::{Value, json};

/// Runs the demo to its end: exit code, the lines of stdout, stderr.
fn demo(temporary: &std::path::Path, arguments: &[&str]) -> (i32, Vec<String>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    command.args(["demo", "--once", "--json"]).args(arguments).env("TMPDIR", temporary);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let lines = text(output.stdout).lines().map(str::to_owned).collect();
    (output.status.code().unwrap(), lines, text(output.stderr))
}

/// A folder for temporary files that whoever PostgreSQL runs as can reach.
fn temporary() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn the_demo_converges_and_leaves_nothing_behind() {
    let folder = temporary();
    let (code, lines, story) = demo(folder.path(), &["--verbose"]);
    assert_eq!((code, lines.len()), (0, 1), "{story}");
    let result: Value = serde_json::from_str(&lines[0]).unwrap();
    let names: Vec<_> = result.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["converged", "sites", "rows", "merged", "parked", "kinds", "resolved", "held", "digests"]);
    assert_eq!(
        json!([result["converged"], result["sites"], result["merged"], result["parked"], result["resolved"], result["held"]]),
        json!([true, 2, 2, 9, { "CLOUD_WINS": 4, "LOCAL_WINS": 2, "MANUAL": 3 }, 0])
    );
    let kinds = result["kinds"].as_object().unwrap();
    assert!(kinds.len() == 9 && kinds.values().all(|count| *count == 1), "one conflict of each kind: {result}");
    let digest = result["digests"]["cloud"].as_str().unwrap();
    assert!(digest.len() == 64 && result["digests"]["site-a"] == digest && result["digests"]["site-b"] == digest, "{result}");
    assert!(result["rows"].as_u64().unwrap() > 200, "{result}");
    for told in [
        "held until it is decided",
        "9 conflicts parked",
        "the second card goes into the next slot",
        "the output is in use, so it stays",
        "cannot reach the cloud",
    ] {
        assert!(story.contains(told), "{told} is not told: {story}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the folder is removed");
}

#[test]
fn a_broken_file_stops_the_demo_before_it_starts() {
    let folder = temporary();
    let file = folder.path().join("broken.ndjson");
    std::fs::write(&file, "{}\n").unwrap();
    let (code, lines, story) = demo(folder.path(), &["--import", file.to_str().unwrap()]);
    assert_eq!((code, lines.len(), story.lines().count()), (2, 0, 1), "{story}");
}
