//! `[tables.X]`: what one table does otherwise than the rest.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sync_core::catalog::{OnDelete, Travel};
use sync_core::limits::LEASE_MAX;
use sync_core::policy::Policy;
use toml::Spanned;

use super::{Named, OneOrMany, Settings, SettingsError, age, is_reserved_path};

/// What one table does otherwise than the rest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    /// Its name in API paths.
    pub path: Option<Named>,
    /// What a named list calls its records; the path, in the system's case, where nothing is said.
    pub list: Option<Named>,
    /// Columns with a JSON name that the system's case does not make.
    #[serde(default)]
    pub names: BTreeMap<Named, Named>,
    /// Names of filters besides the columns' own: a column, or one with an operator (`created_at[gte]`).
    #[serde(default)]
    pub filters: BTreeMap<Named, Named>,
    /// Its versioning columns; a name left out is looked up among the general ones.
    #[serde(default)]
    pub stamps: StampNames,
    /// Its soft-delete mark; `""`: none, though there is a column of the general name.
    pub soft_delete: Option<Named>,
    /// The columns of the references through which its rows find their scope, in the order in which they are asked, where the shortest
    /// way is not meant.
    pub scope_through: Option<Spanned<OneOrMany>>,
    /// References that the database does not declare.
    #[serde(default)]
    pub references: Vec<Spanned<DeclaredReference>>,
    /// Columns that look like secrets and travel all the same.
    #[serde(default)]
    pub with: Vec<Named>,
    /// Columns that stay at the cloud.
    #[serde(default)]
    pub without: Vec<Named>,
    /// Which way its rows travel; both ways where nothing is said.
    pub travel: Option<Spanned<Travel>>,
    /// How long a row stays at a site after its last change: a number of days (`90d`) or hours (`12h`); for good where nothing is said.
    pub keep: Option<Named>,
    /// The policy of its columns that have none of their own, as far as it fits them, and of clashes of its rows as a whole.
    pub policy: Option<Spanned<Policy>>,
    /// The policies of single columns. What is said here must fit.
    #[serde(default)]
    pub policies: BTreeMap<Named, Spanned<Policy>>,
    /// Columns that only make sense together: they are compared, and clash, as one.
    #[serde(default)]
    pub groups: Vec<Spanned<Vec<Named>>>,
    /// Whether the cloud keeps what happened to its rows; it does unless `false`.
    pub history: Option<bool>,
    /// How many numbers of its identity or serial key a site is given at a time: as many rows as it may make while it is out of reach.
    pub lease: Option<Spanned<u32>>,
}

/// Names of versioning columns. `""` in a table's own settings: none, though there is a column of the general name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StampNames {
    /// `integer` or `bigint`.
    pub version: Option<Named>,
    /// `timestamptz` or `timestamp`.
    pub updated_at: Option<Named>,
    /// `text`, or `varchar` of at least 128 characters.
    pub last_modified_by: Option<Named>,
    /// `timestamptz` or `timestamp` that may be NULL.
    pub synced_at: Option<Named>,
}

/// A reference that the database does not declare: to one table, or by a column that says of which kind it is to one of several.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredReference {
    /// The referring columns, in the order of the key referred to.
    pub columns: Vec<Named>,
    /// The table referred to.
    pub table: Option<Named>,
    /// The column that says which of `tables` is meant.
    pub kind: Option<Named>,
    /// What `kind` says, and the table that it stands for.
    #[serde(default)]
    pub tables: BTreeMap<Named, Named>,
    /// What happens to a row when the one that it refers to is deleted.
    #[serde(default)]
    pub on_delete: DeclaredDelete,
}

/// The delete rule of a declared reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredDelete {
    /// The delete is refused.
    #[default]
    Restrict,
    /// The referring row goes too.
    Cascade,
    /// The reference is cleared.
    SetNull,
}

impl From<DeclaredDelete> for OnDelete {
    fn from(rule: DeclaredDelete) -> Self {
        match rule {
            DeclaredDelete::Restrict => Self::Restrict,
            DeclaredDelete::Cascade => Self::Cascade,
            DeclaredDelete::SetNull => Self::SetNull,
        }
    }
}

impl TableSettings {
    /// The columns of the references through which its rows find their scope, in order; none where nothing is said.
    #[must_use]
    pub fn ways(&self) -> &[String] {
        self.scope_through.as_ref().map_or(&[], |told| told.get_ref().all())
    }

    /// For how many hours a row stays at a site after its last change; `None`: for good.
    #[must_use]
    pub fn keep_hours(&self) -> Option<u32> {
        let keep = self.keep.as_ref().and_then(|keep| age(keep.get_ref()))?;
        u32::try_from(keep.as_secs() / 3_600).ok()
    }
}

/// A filter's column, and its operator where it has one: `created_at[gte]`.
pub(crate) fn split_filter(text: &str) -> (&str, Option<&str>) {
    match text.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((column, operator)) => (column, Some(operator)),
        None => (text, None),
    }
}

impl Settings {
    pub(super) fn check_tables(&self) -> Result<(), SettingsError> {
        self.check_paths()?;
        for (table, own) in &self.tables {
            let label = format!("tables.{}", table.get_ref());
            if let Some(told) = own.scope_through.as_ref().filter(|told| told.get_ref().all().is_empty()) {
                return Err(self.error(told, format!("{label}.scope_through: names no column")));
            }
            if let Some(keep) = own.keep.as_ref().filter(|keep| age(keep.get_ref()).is_none()) {
                return Err(self.error(keep, format!("{label}.keep: {:?} is no age: write 90d for days or 12h for hours", keep.get_ref())));
            }
            let with: BTreeSet<&str> = own.with.iter().map(|name| name.get_ref().as_str()).collect();
            if let Some(both) = own.without.iter().find(|name| with.contains(name.get_ref().as_str())) {
                return Err(self.error(both, format!("{label}.without: {} is in with too", both.get_ref())));
            }
            if let Some(lease) = own.lease.as_ref().filter(|lease| !(1..=LEASE_MAX).contains(lease.get_ref())) {
                return Err(self.error(lease, format!("lease: {} is not between 1 and {LEASE_MAX}", lease.get_ref())));
            }
            for reference in &own.references {
                self.check_reference(&label, reference)?;
            }
        }
        Ok(())
    }

    fn check_reference(&self, label: &str, reference: &Spanned<DeclaredReference>) -> Result<(), SettingsError> {
        let said = reference.get_ref();
        let wrong = match (&said.table, &said.kind) {
            _ if said.columns.is_empty() => "columns names no column",
            (Some(_), None) if said.tables.is_empty() => return Ok(()),
            (None, Some(_)) if !said.tables.is_empty() => return Ok(()),
            (None, None) if said.tables.is_empty() => "say table = .., or kind = .. and tables = { .. }",
            (None, None) => "tables wants kind, the column that says which of them is meant",
            (None, Some(_)) => "kind wants tables, what it may say and the table that it stands for",
            (Some(_), _) => "say either table = .., or kind = .. and tables = { .. }",
        };
        Err(self.error(reference, format!("{label}.references: {wrong}")))
    }

    fn check_paths(&self) -> Result<(), SettingsError> {
        let mut paths: Vec<&str> = Vec::new();
        for (table, settings) in &self.tables {
            let Some(path) = &settings.path else { continue };
            let text = path.get_ref().as_str();
            let wrong = if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                "is made of letters, digits, '-' and '_'"
            } else if is_reserved_path(text) {
                "is a path of the engine's own"
            } else if paths.contains(&text) {
                "is another table's path already"
            } else {
                paths.push(text);
                continue;
            };
            return Err(self.error(path, format!("tables.{}.path: {text:?} {wrong}", table.get_ref())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMENTS: &str = "[tables.comments]
scope_through = ['work_order_id', 'asset_id']
references = [
  { columns = ['entity_id'], kind = 'entity_type', tables = { asset = 'assets', work_order = 'work_orders' }, on_delete = 'cascade' },
  { columns = ['author_id'], table = 'people' },
]
with = ['token']
without = ['scan']
travel = 'up'
keep = '30d'
";

    #[test]
    fn a_table_says_what_travels_which_way_and_for_how_long() {
        let settings = Settings::parse(COMMENTS).unwrap();
        let own = settings.table("public", "comments").unwrap();
        assert_eq!(own.ways(), ["work_order_id", "asset_id"]);
        assert_eq!((own.keep_hours(), own.travel.as_ref().map(|travel| *travel.get_ref())), (Some(30 * 24), Some(Travel::Up)));
        let [kinds, plain] = own.references.as_slice() else { panic!("{:?}", own.references) };
        let tables: Vec<(&str, &str)> =
            kinds.get_ref().tables.iter().map(|(kind, table)| (kind.get_ref().as_str(), table.get_ref().as_str())).collect();
        assert_eq!(tables, [("asset", "assets"), ("work_order", "work_orders")]);
        assert_eq!(kinds.get_ref().on_delete, DeclaredDelete::Cascade);
        assert_eq!((plain.get_ref().on_delete, plain.get_ref().table.is_some()), (DeclaredDelete::Restrict, true));
        let one = Settings::parse("[tables.a]\nscope_through = 'b'\nkeep = '12h'").unwrap();
        let one = one.table("public", "a").unwrap();
        assert_eq!((one.ways(), one.keep_hours()), (["b".to_owned()].as_slice(), Some(12)));
    }

    #[test]
    fn every_mistake_of_a_table_is_told_with_its_line_and_key() {
        for (text, line, words) in [
            ("[tables.b]\nscope_through = 5", 2, "scope_through = 5"),
            ("[tables.b]\nscope_through = []", 2, "tables.b.scope_through: names no column"),
            ("[tables.b]\ntravel = 'sideways'", 2, "unknown variant `sideways`"),
            ("[tables.b]\n\nkeep = '30'", 3, "tables.b.keep: \"30\" is no age"),
            ("[tables.b]\nwith = ['a']\nwithout = ['c',\n'a']", 4, "tables.b.without: a is in with too"),
            ("[tables.b]\nwith = 'a'", 2, "expected a sequence"),
            ("[tables.b]\nreferences = [{ columns = ['a'], tabel = 'c' }]", 2, "unknown field `tabel`"),
            ("[tables.b]\nreferences = [{ table = 'c' }]", 2, "missing field `columns`"),
            ("[tables.b]\nreferences = [\n{ columns = [], table = 'c' }]", 3, "tables.b.references: columns names no column"),
            ("[tables.b]\nreferences = [\n\n{ columns = ['a'] }]", 4, "tables.b.references: say table"),
            ("[tables.b]\nreferences = [{ columns = ['a'], kind = 'k' }]", 2, "kind wants tables"),
            ("[tables.b]\nreferences = [{ columns = ['a'], tables = { x = 'c' } }]", 2, "tables wants kind"),
            ("[tables.b]\nreferences = [{ columns = ['a'], kind = 'k', table = 'c' }]", 2, "say either table"),
            ("[tables.b]\nreferences = [{ columns = ['a'], table = 'c', on_delete = 'set_default' }]", 2, "unknown variant `set_default`"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }
}
