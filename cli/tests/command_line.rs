//! The command line without any server: usage, exit codes, settings, broken imports.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::path::Path;

use assert_cmd::Command;

fn rejoin(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("rejoin").unwrap();
    command.current_dir(folder).env_clear();
    command
}

/// Runs, and returns exit code, stdout and stderr.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn help_lists_the_exit_codes_and_every_subcommand_has_help() {
    let folder = folder();
    let (code, help, _) = run(rejoin(folder.path()).arg("--help"));
    assert_eq!(code, 0);
    for exit in ["0 done", "2 wrong usage", "3 wrong settings", "4 cannot reach", "5 conflict", "6 a check", "130"] {
        assert!(help.replace('\n', " ").contains(exit), "{exit} is not in {help}");
    }
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let (code, help, _) = run(rejoin(folder.path()).args([name, "--help"]));
        assert!(code == 0 && help.contains("rejoin "), "{name} has no example: {help}");
    }
}

#[test]
fn wrong_usage_is_2() {
    let folder = folder();
    for arguments in [
        vec!["nonsense"],
        vec!["status"],
        vec!["status", "--url", "ftp://x", "--token", "t"],
        vec!["status", "--url", "http://127.0.0.1:1"],
        vec!["conflicts", "resolve", "7", "--manual", "note", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["conflicts", "resolve", "7", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["conflicts", "resolve", "7", "--cloud", "--local", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["conflicts", "resolve", "7", "--all", "--cloud", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["conflicts", "resolve", "7", "--cloud", "--table", "sources", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["conflicts", "resolve", "7", "--cloud", "--dry-run", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["conflicts", "resolve", "--all", "--manual", "note=x", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["conflicts", "list", "--older-than", "soon", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["conflicts", "list", "--kind", "clash", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["edits", "--record", "7", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["policy", "try", "sources.note", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["policy", "try", "--url", "http://127.0.0.1:1", "--token", "t"],
        vec!["sync", "log", "--limit", "0", "--url", "http://127.0.0.1:1", "--token", "t"],
    ] {
        let (code, stdout, stderr) = run(rejoin(folder.path()).args(&arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_server_that_is_not_there_is_4_and_one_line() {
    let folder = folder();
    for arguments in [vec!["status", "--url", "http://127.0.0.1:1", "--token", "t"], vec!["status", "--data", "nowhere"]] {
        let (code, stdout, stderr) = run(rejoin(folder.path()).args(&arguments));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (4, "", 1), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_broken_line_names_its_number_and_is_2() {
    let folder = folder();
    let good = r#"{"kind":"device","manufacturer":"M","model":"X"}"#;
    for (broken, why) in [
        ("{\"kind\":".to_owned(), "line 3: column 8: EOF"),
        (r#"{"kind":"device","model":"Y"}"#.to_owned(), "line 3: manufacturer: is missing"),
        (good.to_owned(), "line 3: the same maker, model, kind and part number as line 1"),
    ] {
        std::fs::write(folder.path().join("f.ndjson"), format!("{good}\n\n{broken}\n")).unwrap();
        let (code, stdout, stderr) = run(rejoin(folder.path()).args(["import", "f.ndjson", "--dry-run"]));
        assert!(code == 2 && stdout.is_empty() && stderr.contains(why), "{code} {stderr}");
    }
    std::fs::write(folder.path().join("f.ndjson"), [good.as_bytes(), b"\n\xff"].concat()).unwrap();
    assert!(run(rejoin(folder.path()).args(["import", "f.ndjson", "--dry-run"])).2.contains("line 2: is not UTF-8"));
}

#[test]
fn a_dry_run_counts_what_a_file_holds() {
    let folder = folder();
    let set = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/equipment.ndjson");
    let (code, stdout, stderr) = run(rejoin(folder.path()).args(["import", set, "--dry-run", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, stderr.as_str()), (0, ""), "no bar where nobody looks");
    assert_eq!((&report["devices"], &report["cards"], &report["makers"]), (&8.into(), &3.into(), &6.into()));
}

#[test]
fn config_check_reports_each_wrong_setting_and_is_3() {
    let folder = folder();
    std::fs::write(
        folder.path().join("rejoin-server.toml"),
        "[cloud]\nlisten = 7\nport = 3001\n[site]\ninterval = 0\nlan-ca = \"yes\"\n[sight]\n",
    )
    .unwrap();
    let (code, stdout, stderr) = run(rejoin(folder.path()).args(["config", "check"]).env("REJOIN_SITE_CLOUD", "cloud"));
    assert_eq!((code, stderr.lines().count()), (3, 1), "{stderr}");
    for wrong in ["cloud.listen", "cloud.port", "site.interval", "site.lan-ca", "[sight]", "environment REJOIN_SITE_CLOUD: site.cloud"] {
        assert!(stdout.contains(wrong), "{wrong} is not in {stdout}");
    }
    assert_eq!(stdout.lines().count(), 6, "{stdout}");
    std::fs::write(folder.path().join("broken.toml"), "[cloud]\nlisten = \n").unwrap();
    let (code, _, stderr) = run(rejoin(folder.path()).args(["config", "check", "--config", "broken.toml"]));
    assert!(code == 3 && stderr.contains("line 2"), "{stderr}");
    assert_eq!(run(rejoin(folder.path()).args(["config", "check", "--config", "missing.toml"])).0, 3);
}

#[test]
fn a_rejoin_toml_that_is_wrong_is_bad_input_for_every_command_and_one_line() {
    let folder = folder();
    std::fs::write(folder.path().join("wrong.toml"), "root = 'a'\n[stamps]\nverzion = 'v'\n").unwrap();
    std::fs::write(folder.path().join("next.sql"), "SELECT 1").unwrap();
    let nobody = ["--settings", "wrong.toml", "--database-url", "postgres://127.0.0.1:1/nobody"];
    for command in [&["attach"] as &[_], &["doctor"], &["schema", "plan", "next.sql"]] {
        let (code, stdout, stderr) = run(rejoin(folder.path()).args(command).args(nobody));
        assert_eq!((code, stderr.lines().count(), stdout.as_str()), (2, 1, ""), "{command:?}: {stderr}");
        assert!(stderr.contains("wrong.toml, line 3: unknown field `verzion`"), "{command:?}: {stderr}");
    }
}

#[test]
fn config_show_tells_where_each_value_comes_from_and_hides_secrets() {
    let folder = folder();
    std::fs::write(folder.path().join("rejoin-server.toml"), "[cloud]\nlisten = \"127.0.0.1:4000\"\n[site]\ninterval = 5\n").unwrap();
    let mut command = rejoin(folder.path());
    command.args(["config", "show", "--json"]).env("REJOIN_CLOUD_LISTEN", "127.0.0.1:5000").env("DATABASE_URL", "postgres://secret@db/x");
    let (code, stdout, stderr) = run(&mut command);
    assert_eq!(code, 0, "{stderr}");
    assert!(!stdout.contains("secret@"), "{stdout}");
    let shown: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let of = |name: &str| (shown[name]["value"].as_str().unwrap_or("-"), shown[name]["origin"].as_str().unwrap());
    assert_eq!(of("cloud.listen"), ("127.0.0.1:5000", "environment REJOIN_CLOUD_LISTEN"), "the environment counts before the file");
    assert_eq!(of("site.interval"), ("5", "file rejoin-server.toml"));
    assert_eq!(of("site.listen"), ("127.0.0.1:3002", "default"));
    assert_eq!(of("site.token"), ("-", "not set"));
    assert_eq!(of("cloud.database-url"), ("(hidden)", "environment DATABASE_URL"));
}

#[test]
fn config_check_misses_keys_and_files() {
    let folder = folder();
    std::fs::write(
        folder.path().join("rejoin-server.toml"),
        "[cloud]\ntls-cert = \"here.pem\"\nsettings = \"gone.toml\"\nlisten = 7\n[site]\ntls-key = \"gone.pem\"\ntls-cert = \"here.pem\"\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("here.pem"), "").unwrap();
    let (code, stdout, _) = run(rejoin(folder.path()).args(["config", "check"]));
    for wrong in ["cloud.tls-cert: takes cloud.tls-key", "cloud.settings: gone.toml: ", "cloud.listen", "site.tls-key: gone.pem: "] {
        assert!(stdout.contains(wrong), "{wrong} is not in {stdout}");
    }
    assert_eq!((code, stdout.lines().count()), (3, 4), "{stdout}");
}

#[test]
fn a_cloud_with_wrong_tls_files_makes_nothing_and_is_3() {
    let folder = folder();
    std::fs::write(folder.path().join("here.pem"), "no PEM").unwrap();
    for (cert, key, named) in
        [("gone.pem", "here.pem", "gone.pem"), ("here.pem", "gone.pem", "gone.pem"), ("here.pem", "here.pem", "here.pem")]
    {
        let (code, stdout, stderr) =
            run(rejoin(folder.path()).args(["cloud", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key]));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (3, "", 1), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
        assert!(!folder.path().join("rejoin-cloud").exists());
    }
}

#[test]
fn whoever_only_looks_at_migrations_makes_no_database() {
    let folder = folder();
    for arguments in [vec!["status"], vec!["up", "--dry-run"]] {
        let (code, stdout, stderr) = run(rejoin(folder.path()).arg("migrate").args(&arguments).args(["--data", "empty"]));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{stderr}");
        assert!(stderr.contains("empty/postgres") && !folder.path().join("empty").exists(), "{stderr}");
        let (_, help, _) = run(rejoin(folder.path()).arg("migrate").arg(arguments[0]).arg("--help"));
        assert!(help.contains("--database-url") && !help.contains("--listen") && !help.contains("--tls-cert"), "{help}");
    }
}

#[test]
fn attach_and_detach_take_the_database_from_flag_environment_and_file() {
    let folder = folder();
    let url = "postgres://nobody@127.0.0.1:1/none";
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, format!("[cloud]\ndatabase-url = '{url}'\n")).unwrap();
    for command in [vec!["attach", "--root", "a", "--dry-run"], vec!["detach", "--dry-run"]] {
        let (code, _, stderr) = run(rejoin(folder.path()).args(&command));
        assert!(code == 2 && stderr.contains("--database-url is required"), "{command:?}: {code} {stderr}");
        let (flag, _, _) = run(rejoin(folder.path()).args(&command).args(["--database-url", url]));
        let (environment, _, _) = run(rejoin(folder.path()).args(&command).env("DATABASE_URL", url));
        let (told, _, stderr) = run(rejoin(folder.path()).args(&command).arg("--config").arg(&file));
        assert_eq!((flag, environment, told), (4, 4, 4), "{command:?}: {stderr}");
    }
}
