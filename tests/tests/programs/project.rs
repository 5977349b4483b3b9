//! A project of a user: its files, its programs, its database.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::terminal;

/// Its folder, which is gone when it is dropped.
pub(crate) struct Project {
    folder: tempfile::TempDir,
    url: String,
    shadow: String,
}

/// What a program said, and whether it was content.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    /// What it printed.
    printed: String,
    /// The same, and what it complained of.
    pub(crate) text: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = printed.clone() + &String::from_utf8_lossy(&output.stderr);
        Self { ok: output.status.success(), printed, text }
    }
}

impl Project {
    /// The project of the fixture of this name. `shadow`: another database, which is emptied.
    pub(crate) fn new(name: &str, url: &str, shadow: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/programs").join(name);
        for file in std::fs::read_dir(fixture).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let fetched = std::env::var_os("REJOIN_PROGRAMS")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(".rejoin/programs"), PathBuf::from)
            .join(name)
            .join("node_modules");
        assert!(fetched.is_dir(), "{}: not there; scripts/get-programs.sh fetches it", fetched.display());
        std::os::unix::fs::symlink(fetched, folder.path().join("node_modules")).unwrap();
        Self { folder, url: url.to_owned(), shadow: shadow.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Replaces what must be there.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file} has no {from}: {text}");
        self.write(file, &text.replacen(from, to, 1));
    }

    /// Nothing of a program looks for news, reports or downloads.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env("DATABASE_URL", &self.url).env("SHADOW_DATABASE_URL", &self.shadow);
        command.env("HOME", self.path()).env("NO_COLOR", "1").env("CHECKPOINT_DISABLE", "1").env("PRISMA_HIDE_UPDATE_MESSAGE", "1");
        command.env("PRISMA_ENGINES_MIRROR", "http://127.0.0.1:9").env("NPM_CONFIG_UPDATE_NOTIFIER", "false");
        command
    }

    /// One of the project's programs.
    fn program(&self, arguments: &[&str]) -> Command {
        let program = self.path().join("node_modules/.bin").join(arguments[0]);
        let mut command = self.command(program.to_str().unwrap());
        command.args(&arguments[1..]);
        command
    }

    /// Runs one of the project's programs, as `npx` does, without a terminal.
    pub(crate) fn try_npx(&self, arguments: &[&str]) -> Said {
        Said::of(&self.program(arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// The same, where it must be content; what it printed.
    pub(crate) fn npx(&self, arguments: &[&str]) -> String {
        let said = self.try_npx(arguments);
        assert!(said.ok, "{arguments:?}: {}", said.text);
        said.printed
    }

    pub(crate) fn node(&self, arguments: &[&str]) {
        let output = self.command("node").args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The same on a terminal, with these answers to what it asks; it need not be content.
    pub(crate) fn npx_answering(&self, arguments: &[&str], answers: &[(&str, &str)]) -> String {
        terminal::answering(self.program(arguments), answers).0
    }

    /// `rejoin COMMAND` in the project's folder: whether it was content, and what it said.
    pub(crate) fn rejoin(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(env!("CARGO_BIN_EXE_rejoin-under-test"));
        let output = command.args(arguments).args(["--database-url", &self.url]).stdin(Stdio::null()).output().unwrap();
        Said::of(&output)
    }

    /// The doctor finds nothing wrong.
    pub(crate) fn is_healthy(&self) {
        let said = self.rejoin(&["doctor"]);
        assert!(said.ok && said.text.contains("nothing is wrong"), "{}", said.text);
    }

    /// The doctor names all of this as wrong.
    pub(crate) fn is_ill(&self, of: &[&str]) {
        let said = self.rejoin(&["doctor", "-v"]);
        assert!(!said.ok, "{}", said.text);
        for name in of {
            assert!(said.text.contains(name), "{name} is not named: {}", said.text);
        }
    }
}
