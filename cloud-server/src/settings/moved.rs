//! Names in `rejoin.toml` of what is called otherwise by now, or is gone: a migration renamed or dropped it, and nobody changed the file yet.
//! A name that is there counts as it stands; else what was called so before is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use toml::Spanned;

use super::tables::split_filter;
use super::{DeclaredReference, Named, OneOrMany, Settings, TableSettings, line_at};

/// What the names of former times stand for; `None`: it is gone. Names that are there (again) are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// By `schema.table`: as `rejoin.toml` writes it now.
    pub(crate) tables: BTreeMap<String, Option<String>>,
    /// By `schema.table` of now and the column's former name.
    pub(crate) columns: BTreeMap<(String, String), Option<String>>,
    /// What the file said that was brought in last, each name with its place: other names are not followed. `None`: all are.
    pub(crate) heard: Option<BTreeSet<String>>,
}

/// A name that `rejoin.toml` should have otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The file, by its name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What of `rejoin.toml` names it.
    pub key: String,
    /// The name there.
    pub was: String,
    /// The name of now; `None`: it is gone, and what is said of it is passed over.
    pub now: Option<String>,
    /// The line as it should be; empty where it is gone.
    pub write: String,
}

impl Moved {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match &self.now {
            Some(_) => format!("write {}", self.write),
            None => "take it out".to_owned(),
        }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, key, was, now, .. } = self;
        match now {
            Some(now) => write!(f, "{file}, line {line}: {key}: {was} is called {now} now"),
            None => write!(f, "{file}, line {line}: {key}: {was} is gone"),
        }
    }
}

/// Settings with the names of now.
pub(crate) struct Followed {
    pub(crate) settings: Settings,
    /// What should be written otherwise.
    pub(crate) moved: Vec<Moved>,
    /// What the file names and means: what is remembered until it is read next.
    pub(crate) named: BTreeSet<String>,
}

impl Settings {
    /// These settings with the names of now. What is said of things that are gone is left out, unless nothing would be left that says it: then it is
    /// an error later on, as for a name that nobody ever heard.
    pub(crate) fn follow(&self, names: &Names) -> Followed {
        let mut settings = self.clone();
        let mut following = Following { settings: self, names, moved: Vec::new(), named: BTreeSet::new(), written: String::new() };
        if let Some(root) = settings.root.as_mut() {
            following.if_there("root", root);
        }
        settings.global.retain_mut(|name| following.table("global", name));
        // A table that is left out may be gone as well.
        for name in &mut settings.left_out {
            following.if_there("left_out", name);
        }
        for (mut name, mut own) in std::mem::take(&mut settings.tables) {
            following.written.clone_from(name.get_ref());
            let stays = following.table("tables", &mut name);
            // What is said of it under its own name counts.
            let said = self.tables.contains_key(&name) && following.moved.iter().any(|moved| moved.now.as_ref() == Some(name.get_ref()));
            if stays && !said {
                following.own(name.get_ref(), &mut own);
                settings.tables.insert(name, own);
            }
        }
        following.moved.sort_by_key(|moved| moved.line);
        Followed { settings, moved: following.moved, named: following.named }
    }
}

impl Names {
    fn table(&self, name: &str) -> Option<&Option<String>> {
        self.tables.get(&whole(name))
    }

    fn column(&self, table: &str, name: &str) -> Option<&Option<String>> {
        self.columns.get(&(whole(table), name.to_owned()))
    }
}

/// `schema.table`.
fn whole(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("public.{name}") }
}

struct Following<'a> {
    settings: &'a Settings,
    names: &'a Names,
    moved: Vec<Moved>,
    named: BTreeSet<String>,
    /// The table of which something is said, as it is written.
    written: String,
}

impl Following<'_> {
    /// What a name stands for now, if that is another than it says. `said`: where it stands. A name that came into the file after somebody was
    /// called so means nobody who was.
    fn meant(&mut self, said: &[String], name: &str, now: Option<&Option<String>>) -> Option<Option<String>> {
        let known = |heard: &BTreeSet<String>| said.iter().any(|said| heard.contains(&format!("{said} {name}")));
        if now.is_some() && !self.names.heard.as_ref().is_none_or(known) {
            return None;
        }
        let names = [Some(name), now.and_then(Option::as_deref)];
        self.named.extend(names.iter().flatten().flat_map(|name| said.iter().map(move |said| format!("{said} {name}"))));
        now.cloned()
    }

    /// Lets the name of a table follow; whether the table is there.
    fn table(&mut self, key: &str, name: &mut Named) -> bool {
        let now = self.meant(&[key.to_owned()], name.get_ref(), self.names.table(name.get_ref()));
        self.named(key, name, now)
    }

    /// Lets the name of a table follow that is there; one that is gone stays.
    fn if_there(&mut self, key: &str, name: &mut Named) {
        let now = self.meant(&[key.to_owned()], name.get_ref(), self.names.table(name.get_ref()));
        self.named(key, name, now.filter(Option::is_some));
    }

    /// What a column's name stands for, if that is another.
    fn column_meant(&mut self, table: &str, key: &str, name: &str) -> Option<Option<String>> {
        let said = [format!("tables.{}.{key}", self.written), format!("tables.{table}.{key}")];
        self.meant(&said, name, self.names.column(table, name))
    }

    /// Lets the name of a column of this table follow; whether the column is there.
    fn column(&mut self, table: &str, key: &str, name: &mut Named) -> bool {
        let now = self.column_meant(table, key, name.get_ref());
        self.named(&format!("tables.{table}.{key}"), name, now)
    }

    fn named(&mut self, key: &str, name: &mut Named, now: Option<Option<String>>) -> bool {
        let Some(now) = now else { return true };
        let span = name.span();
        let write = now.as_ref().map(|now| self.settings.text.with(&span, |old| spelled(old, now)));
        self.note(key, span.start, name.get_ref(), now.as_ref(), write);
        let there = now.is_some();
        if let Some(now) = now {
            *name.get_mut() = now;
        }
        there
    }

    fn note(&mut self, key: &str, at: usize, was: &str, now: Option<&String>, write: Option<String>) {
        let line = line_at(&self.settings.text.line_ends, at);
        let (key, was, write) = (key.to_owned(), was.to_owned(), write.unwrap_or_default());
        let file = self.settings.text.file.clone();
        self.moved.push(Moved { file, line, key, was, now: now.cloned(), write });
    }

    /// What is said of one table. Versioning columns have no numbers, so their names are not known.
    fn own(&mut self, table: &str, own: &mut TableSettings) {
        if let Some(name) = own.soft_delete.as_mut()
            && !self.column(table, "soft_delete", name)
        {
            name.get_mut().clear();
        }
        own.with.retain_mut(|name| self.column(table, "with", name));
        own.without.retain_mut(|name| self.column(table, "without", name));
        for (mut name, policy) in std::mem::take(&mut own.policies) {
            if self.column(table, "policies", &mut name) {
                own.policies.insert(name, policy);
            }
        }
        for (mut name, json) in std::mem::take(&mut own.names) {
            if self.column(table, "names", &mut name) {
                own.names.insert(name, json);
            }
        }
        own.filters.retain(|_, filter| self.filter(table, filter));
        own.groups.retain_mut(|group| {
            let said = group.get_ref().len();
            group.get_mut().retain_mut(|name| self.column(table, "groups", name));
            group.get_ref().len() == said || group.get_ref().len() > 1
        });
        if let Some(through) = own.scope_through.as_mut() {
            self.ways(table, through);
        }
        own.references.retain_mut(|reference| self.reference(table, reference.get_mut()));
    }

    /// Lets the column of a filter follow, `created_at[gte]`; whether it is there.
    fn filter(&mut self, table: &str, filter: &mut Named) -> bool {
        let (name, operator) = split_filter(filter.get_ref());
        let (name, operator) = (name.to_owned(), operator.map_or_else(String::new, |operator| format!("[{operator}]")));
        let Some(now) = self.column_meant(table, "filters", &name) else { return true };
        let span = filter.span();
        let whole = now.as_ref().map(|now| format!("{now}{operator}"));
        let write = whole.as_ref().map(|whole| self.settings.text.with(&span, |old| spelled(old, whole)));
        self.note(&format!("tables.{table}.filters"), span.start, &name, now.as_ref(), write);
        let there = whole.is_some();
        if let Some(whole) = whole {
            *filter.get_mut() = whole;
        }
        there
    }

    fn ways(&mut self, table: &str, through: &mut Spanned<OneOrMany>) {
        let span = through.span();
        let mut now = |name: &String| self.column_meant(table, "scope_through", name).unwrap_or_else(|| Some(name.clone()));
        let ways: Vec<(String, Option<String>)> = through.get_ref().all().iter().map(|name| (name.clone(), now(name))).collect();
        // Where no way is left, no other one is taken: it would move the rows.
        if ways.iter().all(|(_, now)| now.is_none()) {
            return;
        }
        for (was, now) in ways.iter().filter(|(was, now)| now.as_ref() != Some(was)) {
            let text = now.as_ref().map(|_| {
                self.settings.text.with(&span, |old| {
                    let others = ways.iter().filter_map(|(was, now)| Some((was, now.as_ref()?))).filter(|(was, now)| was != now);
                    others.fold(old.to_owned(), |text, (was, now)| renamed(&text, was, now))
                })
            });
            self.note(&format!("tables.{table}.scope_through"), span.start, was, now.as_ref(), text);
        }
        *through.get_mut() = OneOrMany::Many(ways.into_iter().filter_map(|(_, now)| now).collect());
    }

    /// Whether what is declared can still be.
    fn reference(&mut self, table: &str, said: &mut DeclaredReference) -> bool {
        let mut there = true;
        for name in said.columns.iter_mut().chain(&mut said.kind) {
            there &= self.column(table, "references", name);
        }
        let key = format!("tables.{table}.references");
        if let Some(name) = said.table.as_mut() {
            there &= self.table(&key, name);
        }
        let kinds = said.tables.len();
        said.tables.retain(|_, name| self.table(&key, name));
        there && (kinds == 0 || !said.tables.is_empty())
    }
}

/// A new name as the old one is written: quoted or bare.
fn spelled(old: &str, now: &str) -> String {
    let plain = !now.is_empty() && now.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if old.starts_with(['"', '\'']) || !plain { toml::Value::from(now).to_string() } else { now.to_owned() }
}

/// A text with a quoted name in it exchanged.
fn renamed(text: &str, was: &str, now: &str) -> String {
    let now = toml::Value::from(now).to_string();
    text.replace(&format!("\"{was}\""), &now).replace(&format!("'{was}'"), &now)
}

/// The file's text. It may hold a secret, so it is not shown as a whole.
#[derive(Clone, Default)]
pub(super) struct Text {
    /// Its name.
    pub(super) file: String,
    pub(super) whole: String,
    pub(super) line_ends: Vec<usize>,
}

impl Text {
    /// The lines of a span, with other words in it.
    fn with(&self, span: &Range<usize>, words: impl FnOnce(&str) -> String) -> String {
        let (start, end) = (span.start.min(self.whole.len()), span.end.min(self.whole.len()));
        let from = self.whole[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = self.whole[end..].find('\n').map_or(self.whole.len(), |at| end + at);
        let line = format!("{}{}{}", &self.whole[from..start], words(&self.whole[start..end]), &self.whole[end..to]);
        line.split(" #").next().unwrap_or_default().trim().to_owned()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tables: &[(&str, Option<&str>)], columns: &[(&str, &str, Option<&str>)]) -> Names {
        let tables = tables.iter().map(|(was, now)| ((*was).to_owned(), now.map(str::to_owned)));
        let columns = columns.iter().map(|(table, was, now)| (((*table).to_owned(), (*was).to_owned()), now.map(str::to_owned)));
        Names { tables: tables.collect(), columns: columns.collect(), heard: None }
    }

    #[test]
    fn old_names_are_followed_and_the_line_to_write_is_told() {
        let text = "root = \"shop\"   # where all begins\nglobal = ['kinds', 'gone']\n[tables.shop]\npolicies = { note = 'text', lost = 'text' }\n\
                    groups = [['a', 'lost']]\nwithout = ['scan']\n[tables.item]\nscope_through = ['b', 'c', 'd']\n\
                    references = [{ columns = ['k'], table = 'kinds' }, { columns = ['g'], table = 'gone' }]\n";
        let settings = Settings::parse(text).unwrap();
        let names = names(
            &[("public.shop", Some("store")), ("public.kinds", Some("stage.sorts")), ("public.gone", None)],
            &[
                ("public.store", "note", Some("body")),
                ("public.store", "lost", None),
                ("public.store", "scan", Some("image")),
                ("public.item", "b", Some("bb")),
                ("public.item", "d", None),
            ],
        );
        let Followed { settings: followed, moved, .. } = settings.follow(&names);
        assert_eq!(followed.root.as_ref().unwrap().get_ref(), "store");
        assert_eq!(followed.global.iter().map(|name| name.get_ref().as_str()).collect::<Vec<_>>(), ["stage.sorts"]);
        let store = followed.table("public", "store").unwrap();
        assert_eq!(store.policies.keys().map(|name| name.get_ref().as_str()).collect::<Vec<_>>(), ["body"]);
        assert!(store.groups.is_empty() && store.without[0].get_ref() == "image");
        let item = followed.table("public", "item").unwrap();
        assert_eq!((item.ways(), item.references.len()), (["bb".to_owned(), "c".to_owned()].as_slice(), 1));
        let told: Vec<String> = moved.iter().map(|moved| format!("{moved}: {}", moved.remedy())).collect();
        for line in [
            "rejoin.toml, line 1: root: shop is called store now: write root = \"store\"",
            "rejoin.toml, line 2: global: gone is gone: take it out",
            "rejoin.toml, line 3: tables: shop is called store now: write [tables.store]",
            "rejoin.toml, line 6: tables.store.without: scan is called image now: write without = [\"image\"]",
            "rejoin.toml, line 8: tables.item.scope_through: b is called bb now: write scope_through = [\"bb\", 'c', 'd']",
        ] {
            assert!(told.contains(&line.to_owned()), "{line} is not in {told:#?}");
        }
        assert!(!format!("{settings:?}").contains("where all begins"));
    }

    #[test]
    fn names_and_filters_of_the_api_follow_their_columns() {
        let text = "[tables.item]\nnames = { kind = 'Kind', lost = 'x' }\nfilters = { from = 'made_at[gte]', of = 'lost' }\n";
        let settings = Settings::parse(text).unwrap();
        let columns = [("public.item", "kind", Some("sort")), ("public.item", "made_at", Some("made")), ("public.item", "lost", None)];
        let Followed { settings: followed, moved, .. } = settings.follow(&names(&[], &columns));
        let item = followed.table("public", "item").unwrap();
        let pairs = |map: &BTreeMap<Named, Named>| {
            map.iter().map(|(name, value)| format!("{}={}", name.get_ref(), value.get_ref())).collect::<Vec<_>>()
        };
        assert_eq!((pairs(&item.names), pairs(&item.filters)), (vec!["sort=Kind".to_owned()], vec!["from=made[gte]".to_owned()]));
        let told: Vec<String> = moved.iter().map(|moved| format!("{moved}: {}", moved.remedy())).collect();
        let line =
            "rejoin.toml, line 3: tables.item.filters: made_at is called made now: write filters = { from = 'made[gte]', of = 'lost' }";
        assert!(told.iter().any(|told| told.replace('"', "'") == line), "{told:#?}");
    }

    #[test]
    fn the_root_and_the_last_way_are_missed_when_they_are_gone() {
        let settings = Settings::parse("root = 'shop'\n[tables.item]\nscope_through = 'b'\n").unwrap();
        let Followed { settings: followed, moved, .. } = settings.follow(&names(&[("public.shop", None)], &[("public.item", "b", None)]));
        assert_eq!((followed.root.unwrap().into_inner(), moved), ("shop".to_owned(), Vec::new()));
        assert_eq!(followed.tables.values().next().unwrap().ways(), ["b"]);
    }

    #[test]
    fn what_is_said_under_the_name_of_now_counts() {
        let settings = Settings::parse("[tables.old]\nlease = 5\n[tables.new]\nlease = 7\n").unwrap();
        let Followed { settings: followed, .. } = settings.follow(&names(&[("public.old", Some("new"))], &[]));
        assert_eq!(followed.table("public", "new").unwrap().lease.as_ref().map(|lease| *lease.get_ref()), Some(7));
        assert_eq!(followed.tables.len(), 1);
    }
}
