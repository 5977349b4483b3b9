//! The servers' settings: each by flag, environment, file or default, in this order, each with its origin.

mod file;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

pub(crate) use file::SettingsFile;
pub(crate) use value::{Kind, Setting};

use crate::exit::{Exit, Failure, Result};

/// One setting of a server.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The section of the file, and the subcommand.
    pub(crate) section: &'static str,
    /// The name: `--name` as a flag, `name` in the file.
    pub(crate) key: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// What holds where nobody says anything.
    pub(crate) default: Option<&'static str>,
    /// Whether `config show` hides it.
    pub(crate) secret: bool,
}

const fn declare(section: &'static str, key: &'static str, kind: Kind, default: Option<&'static str>) -> Declared {
    Declared { section, key, kind, default, secret: false }
}

/// Every setting. The flags and the environment's names stand with the subcommands; a test holds the two together.
pub(crate) const DECLARED: &[Declared] = &[
    Declared { secret: true, ..declare("cloud", "database-url", Kind::Text, None) },
    declare("cloud", "data", Kind::Path, Some("rejoin-cloud")),
    declare("cloud", "listen", Kind::Address, Some("127.0.0.1:3001")),
    declare("cloud", "tls-cert", Kind::Path, None),
    declare("cloud", "tls-key", Kind::Path, None),
    declare("cloud", "system", Kind::Text, None),
    declare("cloud", "settings", Kind::Path, None),
    declare("cloud", "cors-origin", Kind::List, None),
    declare("cloud", "secret-file", Kind::Path, None),
    declare("site", "data", Kind::Path, None),
    declare("site", "cloud", Kind::Url, None),
    Declared { secret: true, ..declare("site", "token", Kind::Text, None) },
    declare("site", "listen", Kind::Address, Some("127.0.0.1:3002")),
    declare("site", "interval", Kind::Seconds, Some("60")),
    declare("site", "tls-cert", Kind::Path, None),
    declare("site", "tls-key", Kind::Path, None),
    declare("site", "lan-ca", Kind::Flag, Some("false")),
    declare("site", "lan-name", Kind::List, None),
    declare("site", "allow-http", Kind::Flag, Some("false")),
    declare("site", "cloud-ca", Kind::Path, None),
    declare("site", "cors-origin", Kind::List, None),
];

/// The settings that name a file that must be there: a server reads it and does not make it.
const FILES_READ: [&str; 4] = ["tls-cert", "tls-key", "settings", "cloud-ca"];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag.
    Flag,
    /// An environment variable.
    Environment(String),
    /// The settings file.
    File(PathBuf),
    /// The default.
    Default,
    /// Nobody set it.
    Unset,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Unset => f.write_str("not set"),
        }
    }
}

/// One wrong setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Who said it.
    pub(crate) origin: Origin,
    /// Which one, and what is wrong.
    pub(crate) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)
    }
}

/// The settings of one server, each with its origin.
#[derive(Debug)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (Option<Setting>, Origin)>,
}

impl Settings {
    /// Resolves one section out of the command line (with the environment) and the file.
    ///
    /// # Errors
    /// Every setting that is wrong.
    pub(crate) fn resolve(section: &str, matches: &ArgMatches, file: &SettingsFile) -> std::result::Result<Self, Vec<Fault>> {
        let (settings, faults) = Self::read(section, matches, file);
        if faults.is_empty() { Ok(settings) } else { Err(faults) }
    }

    /// As [`Settings::resolve`], with the settings that are sound beside the faults of the others.
    fn read(section: &str, matches: &ArgMatches, file: &SettingsFile) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut values = BTreeMap::new();
        for declared in DECLARED.iter().filter(|declared| declared.section == section) {
            let resolved = from_matches(declared, matches)
                .or_else(|| file.get(declared))
                .or_else(|| declared.default.map(|text| (declared.kind.parse(&[text.to_owned()]), Origin::Default)));
            match resolved {
                Some((Ok(value), origin)) => drop(values.insert(declared.key, (Some(value), origin))),
                Some((Err(why), origin)) => faults.push(Fault { origin, what: format!("{section}.{}: {why}", declared.key) }),
                None => drop(values.insert(declared.key, (None, Origin::Unset))),
            }
        }
        (Self { values }, faults)
    }

    /// Every setting of a section that is wrong: by itself, by another one that it needs, or by a file that is not there.
    pub(crate) fn check(section: &str, matches: &ArgMatches, file: &SettingsFile) -> Vec<Fault> {
        let (settings, mut faults) = Self::read(section, matches, file);
        for (key, other) in [("tls-cert", "tls-key"), ("tls-key", "tls-cert")] {
            let (Some((Some(_), origin)), Some((None, _))) = (settings.values.get(key), settings.values.get(other)) else { continue };
            faults.push(Fault { origin: origin.clone(), what: format!("{section}.{key}: takes {section}.{other}, too") });
        }
        for key in FILES_READ {
            let Some((Some(path), origin)) = settings.values.get(key) else { continue };
            if let Err(error) = std::fs::File::open(path.to_string()) {
                faults.push(Fault { origin: origin.clone(), what: format!("{section}.{key}: {path}: {error}") });
            }
        }
        faults
    }

    /// As [`Settings::resolve`], for a command: the faults as one failure. A wrong flag is wrong usage, the rest is wrong settings.
    pub(crate) fn load(section: &str, matches: &ArgMatches, file: Option<&PathBuf>) -> Result<Self> {
        let file = SettingsFile::find(file)?;
        let unknown = file.unknown();
        let settings =
            Self::resolve(section, matches, &file).and_then(|settings| if unknown.is_empty() { Ok(settings) } else { Err(unknown) });
        settings.map_err(|faults| {
            let exit = if faults.iter().all(|fault| fault.origin == Origin::Flag) { Exit::Usage } else { Exit::Config };
            Failure::new(exit, faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })
    }

    /// Each setting's name, value and origin.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, Option<&Setting>, &Origin)> {
        self.values.iter().map(|(key, (value, origin))| (*key, value.as_ref(), origin))
    }

    fn get(&self, key: &str) -> Option<&Setting> {
        self.values.get(key).and_then(|(value, _)| value.as_ref())
    }

    /// A text, if set.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|setting| setting.to_string())
    }

    /// A text that must be set.
    pub(crate) fn required_text(&self, key: &str) -> Result<String> {
        self.text(key).ok_or_else(|| missing(key))
    }

    /// A path, if set.
    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// A path that must be set.
    pub(crate) fn required_path(&self, key: &str) -> Result<PathBuf> {
        self.path(key).ok_or_else(|| missing(key))
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some(Setting::Flag(true)))
    }

    /// A list; empty where nobody set it.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(Setting::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }

    /// An address that must be set.
    pub(crate) fn address(&self, key: &str) -> Result<std::net::SocketAddr> {
        match self.get(key) {
            Some(Setting::Address(address)) => Ok(*address),
            _ => Err(missing(key)),
        }
    }

    /// A number of seconds that must be set.
    pub(crate) fn seconds(&self, key: &str) -> Result<std::time::Duration> {
        match self.get(key) {
            Some(Setting::Seconds(seconds)) => Ok(std::time::Duration::from_secs(*seconds)),
            _ => Err(missing(key)),
        }
    }
}

fn missing(key: &str) -> Failure {
    Failure::usage(format!("--{key} is required: give it as a flag, in the environment or in the settings file"))
}

type Parsed = std::result::Result<Setting, String>;

fn from_matches(declared: &Declared, matches: &ArgMatches) -> Option<(Parsed, Origin)> {
    let id = declared.key.replace('-', "_");
    // Not every command has every flag of its section.
    if !matches.try_contains_id(&id).unwrap_or(false) {
        return None;
    }
    let origin = match matches.value_source(&id)? {
        ValueSource::CommandLine => Origin::Flag,
        ValueSource::EnvVariable => Origin::Environment(environment_name(declared)),
        _ => return None,
    };
    let given = matches.get_raw(&id).into_iter().flatten();
    let texts: Option<Vec<String>> = given.map(|text| text.to_str().map(str::to_owned)).collect();
    let parsed = texts.ok_or_else(|| "is not UTF-8".to_owned()).and_then(|texts| declared.kind.parse(&texts));
    Some((parsed, origin))
}

/// Whether a setting's value is not shown.
pub(crate) fn is_secret(section: &str, key: &str) -> bool {
    DECLARED.iter().any(|declared| declared.section == section && declared.key == key && declared.secret)
}

/// The environment variable of a setting.
pub(crate) fn environment_name(declared: &Declared) -> String {
    match declared.key {
        "database-url" => "DATABASE_URL".to_owned(),
        key => format!("REJOIN_{}_{}", declared.section, key.replace('-', "_")).to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;
    use crate::cloud::CloudArgs;
    use crate::site::SiteArgs;

    #[test]
    fn every_setting_has_its_flag_and_variable_and_every_flag_its_setting() {
        let sections =
            [("cloud", CloudArgs::augment_args(clap::Command::new("cloud"))), ("site", SiteArgs::augment_args(clap::Command::new("site")))];
        for (section, command) in sections {
            let mut flags: Vec<_> =
                command.get_arguments().filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.get_env()?.to_str()?.to_owned()))).collect();
            let mut declared: Vec<_> = DECLARED
                .iter()
                .filter(|declared| declared.section == section)
                .map(|declared| (declared.key.to_owned(), environment_name(declared)))
                .collect();
            flags.sort();
            declared.sort();
            assert_eq!(flags, declared, "{section}");
        }
    }

    #[test]
    fn the_help_tells_the_true_defaults() {
        for (section, command) in
            [("cloud", CloudArgs::augment_args(clap::Command::new("cloud"))), ("site", SiteArgs::augment_args(clap::Command::new("site")))]
        {
            for declared in DECLARED.iter().filter(|declared| declared.section == section && declared.kind != Kind::Flag) {
                let Some(default) = declared.default else { continue };
                let help = command
                    .get_arguments()
                    .find(|arg| arg.get_long() == Some(declared.key))
                    .and_then(|arg| arg.get_help())
                    .unwrap()
                    .to_string();
                assert!(help.contains(&format!("[default: {default}]")), "{}: {help}", declared.key);
            }
        }
    }

    #[test]
    fn the_page_lists_every_setting() {
        let page = include_str!("../../../docs/COMMANDS.md");
        for declared in DECLARED {
            let row = format!("| `{}.{}` | `{}` |", declared.section, declared.key, environment_name(declared));
            assert!(page.contains(&row), "docs/COMMANDS.md lacks {row}");
        }
    }
}
