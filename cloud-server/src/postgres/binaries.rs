//! Which PostgreSQL: the server binaries of this machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PostgresError;

/// The oldest major version that works.
pub(super) const MAJOR_MIN: u32 = 15;

/// A folder with `initdb` and `postgres` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder.
    pub dir: PathBuf,
    /// Their major version.
    pub major: u32,
}

impl Binaries {
    /// The binaries to use: those of `$PG_BIN` where it is set, else the first that fit of PATH, `pg_config --bindir`, the
    /// distributions' folders (newest first) and the cache folder that scripts/get-postgres.sh fills. `major` restricts the
    /// search to the version that made the data.
    ///
    /// # Errors
    /// [`PostgresError::BinariesNotFound`], [`PostgresError::TooOld`] or [`PostgresError::OtherMajor`].
    pub fn find(major: Option<u32>) -> Result<Self, PostgresError> {
        let folders = match env::var_os("PG_BIN").filter(|value| !value.is_empty()) {
            Some(folder) => vec![PathBuf::from(folder)],
            None => folders(),
        };
        choose(folders.iter().filter_map(|folder| Self::of(folder)), major)
    }

    /// The program `name` of this PostgreSQL.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A client program (`pg_dump`, `psql`): beside the server's, where those are only links beside what the links name, else of PATH.
    pub(crate) fn client(&self, name: &str) -> PathBuf {
        let beside = |folder: &Path| Some(folder.join(name)).filter(|program| program.is_file());
        let linked = || std::fs::canonicalize(self.program("initdb")).ok().and_then(|program| beside(program.parent()?));
        beside(&self.dir).or_else(linked).unwrap_or_else(|| PathBuf::from(name))
    }

    fn of(dir: &Path) -> Option<Self> {
        if !dir.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").current_dir("/").output().ok()?;
        // A link such as /usr/local/bin/postgres is followed by PostgreSQL itself when it looks for its share folder.
        Some(Self { dir: dir.to_path_buf(), major: parse_major(&String::from_utf8_lossy(&output.stdout))? })
    }
}

fn choose(found: impl Iterator<Item = Binaries>, major: Option<u32>) -> Result<Binaries, PostgresError> {
    let mut too_old = None;
    let mut other = None;
    for binaries in found {
        if binaries.major < MAJOR_MIN {
            too_old.get_or_insert(binaries);
        } else if major.is_none_or(|major| major == binaries.major) {
            return Ok(binaries);
        } else {
            other = major;
        }
    }
    match (other, too_old) {
        (Some(made_by), _) => Err(PostgresError::OtherMajor { made_by }),
        (None, Some(old)) => Err(PostgresError::TooOld { bin: old.dir, found: old.major }),
        (None, None) => Err(PostgresError::BinariesNotFound),
    }
}

/// `postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)` -> 15; also `18beta1`, `19devel`.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    folders.extend(pg_config_bindir());
    folders.extend(versioned("/usr/lib/postgresql", "", "bin"));
    folders.extend(versioned("/usr", "pgsql-", "bin"));
    for prefix in ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"] {
        folders.extend(versioned(&format!("{prefix}/opt"), "postgresql@", "bin"));
    }
    for cache in caches() {
        folders.extend(versioned(&cache.to_string_lossy(), "", "native/bin"));
    }
    folders
}

/// Where scripts/get-postgres.sh unpacks to: root uses a folder that other users can enter.
fn caches() -> impl Iterator<Item = PathBuf> {
    let home = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    home.into_iter().chain([PathBuf::from("/var/cache")]).map(|cache| cache.join("rejoin/postgres"))
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(line.trim())).filter(|folder| folder.is_absolute())
}

/// `<parent>/<prefix><version>/<rest>`, newest version first.
fn versioned(parent: &str, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let version: Option<Vec<u32>> = name.strip_prefix(prefix)?.split(['.', '-']).map(|part| part.parse().ok()).collect();
            Some((version?, entry.path().join(rest)))
        })
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0));
    found.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: u32) -> Binaries {
        Binaries { dir: PathBuf::from(format!("/pg/{major}")), major }
    }

    #[test]
    fn the_major_version_is_read_from_every_form_of_version_line() {
        for (line, major) in [
            ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("postgres: command not found", None),
            ("", None),
        ] {
            assert_eq!(parse_major(line), major, "{line}");
        }
    }

    #[test]
    fn the_first_that_fits_is_chosen() {
        assert_eq!(choose([binaries(14), binaries(16), binaries(18)].into_iter(), None).unwrap().major, 16);
        assert_eq!(choose([binaries(16), binaries(18)].into_iter(), Some(18)).unwrap().major, 18);
    }

    #[test]
    fn what_is_missing_is_said_in_one_line() {
        let none = choose(std::iter::empty(), None).unwrap_err();
        assert!(matches!(none, PostgresError::BinariesNotFound));
        assert!(none.to_string().contains("postgresql") && !none.to_string().contains('\n'));
        assert!(matches!(choose([binaries(14)].into_iter(), None).unwrap_err(), PostgresError::TooOld { found: 14, .. }));
        assert!(matches!(choose([binaries(18)].into_iter(), Some(15)).unwrap_err(), PostgresError::OtherMajor { made_by: 15 }));
    }

    #[test]
    fn newest_first() {
        let parent = tempfile::tempdir().unwrap();
        for version in ["9", "15", "18", "notes"] {
            std::fs::create_dir(parent.path().join(version)).unwrap();
        }
        let found = versioned(parent.path().to_str().unwrap(), "", "bin");
        assert_eq!(found, ["18", "15", "9"].map(|version| parent.path().join(version).join("bin")));
    }
}
