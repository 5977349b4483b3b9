//! What the documents say of the code, as far as a machine can compare the two.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<PathBuf> {
    let folders = ["docs", "docs/systems"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let mut found: Vec<PathBuf> = folders.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert!(found.len() > 8, "the documents are found");
    found
}

/// The headings of a document as the anchors that links name.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim().to_lowercase());
    headings
        .map(|heading| {
            heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(file.exists(), "{}: {target}", document.display());
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&file).unwrap());
                assert!(there.iter().any(|heading| heading == anchor), "{}: {target}, of {there:?}", document.display());
            }
        }
    }
}

/// Every file of tests, as one text.
fn tests() -> String {
    let mut folders: Vec<PathBuf> = ["cloud-server", "local-server", "conflict-ui-api", "tests"].map(|crate_| root().join(crate_)).to_vec();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

/// The last cells of the rows of every table whose last column is called so.
fn last_cells<'t>(text: &'t str, column: &str) -> Vec<&'t str> {
    let last = |line: &'t str| line.strip_prefix("| ")?.trim_end_matches(" |").rsplit(" | ").next();
    let tables = text.split("\n\n").map(str::trim).flat_map(|part| {
        part.split_once("\n|--").map_or_else(Vec::new, |(head, rows)| {
            let named = head.lines().last().and_then(last) == Some(column);
            rows.lines().filter(|_| named).filter_map(last).collect()
        })
    });
    tables.collect()
}

#[test]
fn every_test_that_the_page_of_a_system_names_is_there() {
    let tests = tests();
    let pages: Vec<PathBuf> =
        documents().into_iter().filter(|path| path.parent().is_some_and(|folder| folder.ends_with("systems"))).collect();
    assert!(!pages.is_empty());
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let cells = last_cells(&text, "Test");
        assert!(cells.len() > 20, "{}: the rows are found", page.display());
        for name in cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            let function = format!("fn {}(", name.rsplit("::").next().unwrap_or(name));
            assert!(tests.contains(&function), "{}: there is no test {name}", page.display());
        }
        for cell in cells.iter().filter(|cell| !cell.contains('`')) {
            let known = *cell == "-"
                || ["not yet", "the same", "this page", "a test", "those of the engine"].iter().any(|start| cell.starts_with(start));
            assert!(known, "{}: {cell} names no test", page.display());
        }
    }
}

#[test]
fn every_path_that_a_document_names_exists() {
    // What looks like one of our files: a path into a folder of the workspace, up to a placeholder.
    let folders =
        ["sync-core/", "conflict-ui-api/", "local-server/", "cloud-server/", "cli/", "migrations/", "scripts/", "tests/", "docs/"];
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for word in text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
            if folders.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', '<', '{']) {
                let path = word.trim_end_matches([',', '.', ';', ':', ')']);
                assert!(root().join(path).exists(), "{} names {path}", document.display());
            }
        }
    }
}

#[test]
fn the_protocol_page_names_every_field_of_every_message() {
    let page = read("docs/PROTOCOL.md");
    let mut fields = 0;
    for line in read("sync-core/src/wire/message.rs").lines() {
        let Some((name, _)) = line.strip_prefix("    pub ").and_then(|field| field.split_once(':')) else { continue };
        assert!(page.contains(&format!("`{name}`")), "docs/PROTOCOL.md does not say what {name} is");
        fields += 1;
    }
    assert!(fields > 50, "the fields are found");
}

#[test]
fn the_protocol_page_gives_every_limit_as_it_is() {
    use sync_core::limits;
    let page = read("docs/PROTOCOL.md");
    let row = |name: &str| {
        let line = page.lines().find(|line| line.ends_with(&format!("| `{name}` |"))).unwrap_or_else(|| panic!("no row for {name}"));
        line.split('|').nth(2).unwrap().trim().to_owned()
    };
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    assert_eq!(row("WIRE_BYTES_MAX"), mib(limits::WIRE_BYTES_MAX));
    assert_eq!(row("MESSAGE_BYTES_MAX"), mib(limits::MESSAGE_BYTES_MAX));
    assert_eq!(row("VALUE_BYTES_MAX"), mib(limits::VALUE_BYTES_MAX));
    assert_eq!(row("PUSH_BYTES_MAX"), mib(limits::PUSH_BYTES_MAX));
    assert_eq!(row("PAGE_BYTES_MAX"), mib(limits::PAGE_BYTES_MAX));
    for (name, value) in [
        ("MESSAGE_ELEMENTS_MAX", limits::MESSAGE_ELEMENTS_MAX as u64),
        ("MESSAGE_DEPTH_MAX", limits::MESSAGE_DEPTH_MAX as u64),
        ("PUSH_ROWS_MAX", limits::PUSH_ROWS_MAX as u64),
        ("PAGE_ROWS_MAX", limits::PAGE_ROWS_MAX as u64),
        ("SCOPES_MAX", limits::SCOPES_MAX as u64),
        ("LOG_ROWS_MAX", limits::LOG_ROWS_MAX as u64),
        ("VERSION_LEAD_MAX", limits::VERSION_LEAD_MAX.unsigned_abs()),
        ("REQUEST_TIMEOUT", limits::REQUEST_TIMEOUT.as_secs()),
    ] {
        assert_eq!(row(name).replace(',', ""), value.to_string(), "{name}");
    }
}

#[test]
fn the_settings_page_names_every_key_and_its_examples_can_be_read() {
    let page = read("docs/SETTINGS.md");
    let examples: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 6, "the examples are found");
    for example in &examples {
        cloud_server::settings::Settings::parse(example).unwrap_or_else(|error| panic!("{error} in\n{example}"));
    }
    let keys = |path: &str, structs: &[&str]| -> Vec<String> {
        let text = read(path);
        let bodies = structs.iter().map(|name| {
            let body = text.split(&format!("pub struct {name} {{")).nth(1).unwrap_or_else(|| panic!("{path}: {name}"));
            body.split("\n}").next().unwrap().to_owned()
        });
        let fields = bodies.flat_map(|body| {
            body.lines().filter_map(|line| Some(line.strip_prefix("    pub ")?.split_once(':')?.0.to_owned())).collect::<Vec<_>>()
        });
        fields.collect()
    };
    let mut all = keys("cloud-server/src/settings.rs", &["Settings"]);
    all.extend(keys("cloud-server/src/settings/tables.rs", &["TableSettings", "StampNames", "DeclaredReference"]));
    all.extend(keys("cloud-server/src/settings/notify.rs", &["NotifySettings"]));
    assert!(all.len() > 25, "the keys are found");
    for key in all {
        let shown = examples
            .iter()
            .any(|example| [format!("{key} ="), format!("[{key}]"), format!("[{key}.")].iter().any(|form| example.contains(form)));
        // A secret has no place in an example.
        assert!(shown || key == "secret", "docs/SETTINGS.md has no example of {key}");
    }
}

#[test]
fn every_dependency_has_its_line_in_the_decisions() {
    let page = read("docs/DECISIONS.md");
    let table = page.split("## Dependencies").nth(1).unwrap();
    let named: Vec<&str> =
        table.lines().filter_map(|line| line.split('|').nth(1)).flat_map(|cell| cell.split(',')).map(str::trim).collect();
    let manifest = read("Cargo.toml");
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut count = 0;
    for line in dependencies.lines().filter(|line| line.contains("version =") || line.contains("= \"")) {
        let name = line.split(['=', ' ']).next().unwrap();
        if line.contains("path =") || name.starts_with('#') {
            continue;
        }
        assert!(named.contains(&name), "docs/DECISIONS.md does not say why {name} is here");
        count += 1;
    }
    assert!(count > 30, "the dependencies are found");
}
