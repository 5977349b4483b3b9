//! The settings file, `rejoin-server.toml`: a table for each server.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{DECLARED, Declared, Fault, Origin, Parsed};
use crate::exit::{Exit, Failure, Result};

/// The name looked for where `--config` names no file.
const NAME: &str = "rejoin-server.toml";
/// Where a package puts it.
const SYSTEM: &str = "/etc/rejoin/rejoin-server.toml";

/// A settings file as read; an empty one where there is none.
#[derive(Debug, Default)]
pub(crate) struct SettingsFile {
    path: PathBuf,
    table: toml::Table,
}

impl SettingsFile {
    /// Reads the file that was named (it must be there then), else `./rejoin-server.toml`, else that of the system.
    pub(crate) fn find(named: Option<&PathBuf>) -> Result<Self> {
        if let Some(path) = named {
            return Self::read(path)?.ok_or_else(|| Failure::new(Exit::Config, format!("there is no settings file {}", path.display())));
        }
        for path in [NAME, SYSTEM] {
            if let Some(file) = Self::read(Path::new(path))? {
                return Ok(file);
            }
        }
        Ok(Self::default())
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        let wrong = |why: String| Failure::new(Exit::Config, format!("{}: {why}", path.display()));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            wrong(format!("line {line}: {}", error.message()))
        })?;
        Ok(Some(Self { path: path.to_owned(), table }))
    }

    /// Where it was found; `None` where there is none.
    pub(crate) fn path(&self) -> Option<&Path> {
        (self.path != Path::new("")).then_some(self.path.as_path())
    }

    /// The value of a setting, if the file has one.
    pub(super) fn get(&self, declared: &Declared) -> Option<(Parsed, Origin)> {
        let value = self.table.get(declared.section)?.as_table()?.get(declared.key)?;
        Some((declared.kind.read_toml(value), Origin::File(self.path.clone())))
    }

    /// Every table and key that no server knows.
    pub(crate) fn unknown(&self) -> Vec<Fault> {
        let fault = |what: String| Fault { origin: Origin::File(self.path.clone()), what };
        let mut faults = Vec::new();
        for (section, value) in &self.table {
            let known: Vec<_> = DECLARED.iter().filter(|declared| declared.section == section).map(|declared| declared.key).collect();
            match value.as_table() {
                _ if known.is_empty() => faults.push(fault(format!("there is no section [{section}]: only [cloud] and [site]"))),
                None => faults.push(fault(format!("{section} must be a table"))),
                Some(table) => {
                    let unknown = table.keys().filter(|key| !known.contains(&key.as_str()));
                    faults.extend(unknown.map(|key| fault(format!("{section}.{key}: unknown; [{section}] has {}", known.join(", ")))));
                }
            }
        }
        faults
    }
}
