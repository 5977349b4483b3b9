//! The capture triggers of a site, as pure text: they note, for any program that writes into the file, what a row was before its first
//! local change. `make` of the tables they write into is in [`schema`](crate::store::schema).
//!
//! What decides their form:
//! - the user's own conflict clause (`UPDATE OR REPLACE`) overrides any in a trigger, so they only say `INSERT .. SELECT .. WHERE NOT EXISTS`;
//! - REPLACE removes rows without a delete trigger, so what is about to be replaced is captured before, by every unique key;
//! - they never remove a base row: an insert takes a dead one of its key over, the sync writer removes it;
//! - a key column with leased numbers is empty until a trigger has taken one (`leased`), so no other trigger looks at a row without a key;
//! - whoever sets `version` in his statement has stamped the row (our API does, which is faster); for everybody else the trigger does;
//! - a nested UPDATE of the row's stamps may fire them again (`recursive_triggers`): it finds nothing left to do.

mod leased;

use sync_core::catalog::{Column, Table, Travel};
use sync_core::id::ColumnNo;
use sync_core::policy::Policy;

use crate::store::rows::{base_table, column_list, live_table, quoted};
use crate::store::schema::{NOW, author, literal_text};

/// Grows when the text below changes its meaning; part of the text, so that a site rebuilds its triggers when it starts with a newer one.
const VERSION: u32 = 1;

/// The table's triggers by name.
#[must_use]
pub fn triggers(table: &Table, site: &str) -> Vec<(String, String)> {
    if table.engine {
        return Vec::new();
    }
    let text = Text::new(table, site);
    let named = |what: &str| format!("rejoin_{what}_{}", table.no);
    if table.travel == Travel::Down {
        let refuse =
            ["INSERT", "UPDATE", "DELETE"].map(|event| (named(&format!("down_{}", event.to_lowercase())), text.refuse_write(event)));
        return refuse.into_iter().map(|(name, sql)| (name.clone(), format!("CREATE TRIGGER {name} {sql}"))).collect();
    }
    [
        ("replace_by_insert", text.replace_by_insert()),
        ("insert", text.insert()),
        ("reinsert", text.reinsert()),
        ("replace_by_update", text.replace_by_update()),
        ("update", text.update()),
        ("rekey", text.rekey()),
        ("delete", text.delete()),
    ]
    .map(|(what, sql)| (what.to_owned(), sql))
    .into_iter()
    .chain(text.leased())
    .map(|(what, sql)| (named(&what), format!("CREATE TRIGGER {} {sql}", named(&what))))
    .collect()
}

/// What all triggers of one table are made of.
struct Text<'a> {
    table: &'a Table,
    live: String,
    base: String,
    author: String,
}

impl<'a> Text<'a> {
    fn new(table: &'a Table, site: &str) -> Self {
        Self { table, live: live_table(table), base: base_table(table), author: literal_text(&author(site)) }
    }

    fn begin(&self, event: &str, when: &str, body: &[String]) -> String {
        let when = if when.is_empty() { String::new() } else { format!("\nWHEN {when}") };
        let body: Vec<_> = body.iter().map(|statement| format!("    {statement};\n")).collect();
        format!("{event} ON {}{when}\nBEGIN -- capture {VERSION}\n{}END", self.live, body.concat())
    }

    /// A table that only the cloud writes.
    fn refuse_write(&self, event: &str) -> String {
        let words = self.message("is not written at sites: it travels down only. Write it at the cloud");
        self.begin(&format!("BEFORE {event}"), "", &[format!("SELECT RAISE(ABORT, {words})")])
    }

    /// Before an insert: whatever it would replace, by row number, key and every unique key.
    fn replace_by_insert(&self) -> String {
        let (table, live) = (self.table, &self.live);
        let key = self.same(&table.key, "t.", "NEW.");
        let hit = self.hit();
        let refuse_held = format!(
            "SELECT RAISE(ABORT, {}) WHERE coalesce(NEW.rejoin_held, 0) = 0 AND EXISTS (SELECT 1 FROM {live} t WHERE {key} AND t.rejoin_held <> 0)",
            self.message("holds this key in a conflict that is not resolved")
        );
        let refuse_row = format!(
            "SELECT RAISE(ABORT, {}) WHERE EXISTS (SELECT 1 FROM {live} t WHERE t.rejoin_row = NEW.rejoin_row AND NOT ({key}))",
            self.message("numbers its rows itself: leave rejoin_row out")
        );
        let mut body = vec![refuse_held, refuse_row];
        body.extend(self.capture_replaced(&hit));
        // One lookup after another is faster here than one condition with OR.
        let when: Vec<_> = self.hits().iter().map(|hit| format!("EXISTS (SELECT 1 FROM {live} t WHERE {hit})")).collect();
        self.begin("BEFORE INSERT", &when.join(" OR "), &body)
    }

    /// Before an update of a key: whatever it would replace.
    fn replace_by_update(&self) -> String {
        let (table, live) = (self.table, &self.live);
        let watched = self.watched();
        let columns: Vec<_> = watched.iter().map(|column| quoted(&column.name)).collect();
        let changed: Vec<_> = columns.iter().map(|name| format!("NEW.{name} IS NOT OLD.{name}")).collect();
        let key = self.same(&table.key, "t.", "NEW.");
        let hit = format!("({}) AND t.rejoin_row <> OLD.rejoin_row", self.hit());
        let refuse_row = format!(
            "SELECT RAISE(ABORT, {}) WHERE NEW.rejoin_row IS NOT OLD.rejoin_row",
            self.message("numbers its rows itself: leave rejoin_row alone")
        );
        let refuse_held = format!(
            "SELECT RAISE(ABORT, {}) WHERE EXISTS (SELECT 1 FROM {live} t WHERE {key} AND t.rejoin_held <> 0 AND t.rejoin_row <> OLD.rejoin_row)",
            self.message("holds this key in a conflict that is not resolved")
        );
        let mut body = vec![refuse_row, refuse_held];
        body.extend(self.capture_replaced(&hit));
        let event = format!("BEFORE UPDATE OF {}, rejoin_row, rejoin_held", columns.join(", "));
        let when = format!("{} OR NEW.rejoin_row IS NOT OLD.rejoin_row OR NEW.rejoin_held IS NOT OLD.rejoin_held", changed.join(" OR "));
        let has_key = self.has_key("OLD.");
        let when = if has_key.is_empty() { when } else { format!("{has_key}({when})") };
        self.begin(&event, &when, &body)
    }

    /// After the insert of a key that nothing is known of, nearly always: mark it. Kept bare, since a bulk load pays for every word.
    ///
    /// This trigger and the next one may run in either order.
    fn insert(&self) -> String {
        let base = &self.base;
        let key = self.same(&self.table.key, "", "NEW.");
        let when = format!(
            "{}NOT EXISTS (SELECT 1 FROM {base} WHERE {key}) AND NOT EXISTS (SELECT 1 FROM {base} WHERE rejoin_row = NEW.rejoin_row)",
            self.has_key("NEW.")
        );
        let mark = format!(
            "INSERT INTO {base} (rejoin_row, rejoin_kind, {}) VALUES (NEW.rejoin_row, 'insert', {})",
            self.key_names(""),
            self.key_names("NEW.")
        );
        self.begin("AFTER INSERT", &when, &[mark])
    }

    /// After any other insert: take over the base of a row of this key that is no more, else mark the insert; and go on with the key's versions.
    fn reinsert(&self) -> String {
        let (base, live) = (&self.base, &self.live);
        let key = self.same(&self.table.key, "b.", "NEW.");
        let dead = format!(
            "rejoin_row = (SELECT b.rejoin_row FROM {base} b WHERE {key} AND b.rejoin_kind <> 'gone' \
             AND NOT EXISTS (SELECT 1 FROM {live} t WHERE t.rejoin_row = b.rejoin_row) ORDER BY b.rejoin_kind LIMIT 1) \
             AND NOT EXISTS (SELECT 1 FROM {base} b WHERE b.rejoin_row = NEW.rejoin_row)"
        );
        let take_over = format!("UPDATE {base} SET rejoin_row = NEW.rejoin_row WHERE {dead}");
        let mark = format!(
            "INSERT INTO {base} (rejoin_row, rejoin_kind, {}) SELECT NEW.rejoin_row, 'insert', {} \
             WHERE {}NOT EXISTS (SELECT 1 FROM {base} WHERE rejoin_row = NEW.rejoin_row)",
            self.key_names(""),
            self.key_names("NEW."),
            self.has_key("NEW.")
        );
        let gone = self.gone_version();
        let stamps = &self.table.stamps;
        let (version, synced_at) = (quoted(&stamps.version), quoted(&stamps.synced_at));
        let copied = format!("NEW.{synced_at} IS NOT NULL OR NEW.rejoin_tick IS NOT NULL");
        let stamp = format!(
            "UPDATE {live} SET {version} = max(NEW.{version}, 1 + coalesce({gone}, 0)), {synced_at} = NULL, rejoin_scope = NULL, rejoin_tick = NULL \
             WHERE rejoin_row = NEW.rejoin_row AND ({copied} OR NEW.{version} <= {gone})"
        );
        let when = format!(
            "{copied} OR EXISTS (SELECT 1 FROM {base} b WHERE {key} AND (b.rejoin_row <> NEW.rejoin_row OR b.rejoin_gone_version IS NOT NULL))"
        );
        let mut body = self.take_notes_over(&dead);
        body.push(take_over);
        body.extend(self.note_times("NEW.rejoin_row IS NOT NULL", NOW, " AND b.rejoin_kind = 'change'"));
        body.extend([mark, stamp]);
        self.begin("AFTER INSERT", &when, &body)
    }

    /// After an update that keeps the key.
    fn update(&self) -> String {
        let stamps = &self.table.stamps;
        let (version, synced_at) = (quoted(&stamps.version), quoted(&stamps.synced_at));
        let stamped = format!("NEW.{version} > OLD.{version}");
        let stamp = self.stamp(&format!("CASE WHEN {stamped} THEN NEW.{version} ELSE OLD.{version} + 1 END"));
        // Under recursive_triggers the stamping fires this trigger again; it is known by changing nothing else.
        let content: Vec<_> =
            self.table.columns.iter().map(|column| quoted(&column.name)).map(|name| format!("NEW.{name} IS OLD.{name}")).collect();
        let again = format!("OLD.{synced_at} IS NOT NULL AND NEW.{synced_at} IS NULL AND {}", content.join(" AND "));
        let stamp = format!("{stamp} AND (NEW.{synced_at} IS NOT NULL OR (NOT {stamped} AND NOT ({again})))");
        let mut body = vec![self.capture_old()];
        body.extend(self.note());
        body.push(stamp);
        self.begin("AFTER UPDATE", &format!("{}{}", self.has_key("OLD."), self.same_key("IS")), &body)
    }

    /// After an update that changes the key: the old key's version is remembered, and the new key's is not undercut.
    fn rekey(&self) -> String {
        let version = quoted(&self.table.stamps.version);
        let [remember, remember_first] = self.remember_old_key("");
        let gone = self.gone_version();
        let stamp = self.stamp(&format!("max(NEW.{version}, OLD.{version} + 1, 1 + coalesce({gone}, 0))"));
        let when = format!("{}NOT ({})", self.has_key("OLD."), self.same_key("IS"));
        let event = format!("AFTER UPDATE OF {}", self.key_names(""));
        let mut body = vec![self.capture_old()];
        body.extend(self.note());
        body.extend([remember, remember_first, stamp]);
        self.begin(&event, &when, &body)
    }

    fn delete(&self) -> String {
        let version = quoted(&self.table.stamps.version);
        let gone = format!(
            "UPDATE {} SET rejoin_gone_version = max(coalesce(rejoin_gone_version, 0), OLD.{version} + 1), rejoin_gone_at = {NOW}, rejoin_gone_by = {} \
             WHERE rejoin_row = OLD.rejoin_row",
            self.base, self.author
        );
        let [remember, remember_first] = self.remember_old_key(&format!(
            " AND NOT EXISTS (SELECT 1 FROM {} b WHERE b.rejoin_row = OLD.rejoin_row AND {})",
            self.base,
            self.same(&self.table.key, "b.", "OLD.")
        ));
        self.begin("AFTER DELETE", "", &[self.capture_old(), gone, remember, remember_first])
    }

    /// Remembers the version that OLD's key had, where the base row of OLD does not do it under that key.
    fn remember_old_key(&self, unless: &str) -> [String; 2] {
        let base = &self.base;
        let version = quoted(&self.table.stamps.version);
        let key = self.same(&self.table.key, "", "OLD.");
        [
            format!("UPDATE {base} SET rejoin_version = max(rejoin_version, OLD.{version}) WHERE {key} AND rejoin_kind = 'gone'{unless}"),
            format!(
                "INSERT INTO {base} (rejoin_row, rejoin_kind, {}, rejoin_version) SELECT {NEXT_GONE} - 1, 'gone', {}, OLD.{version} \
                 WHERE NOT EXISTS (SELECT 1 FROM {base} WHERE {key} AND rejoin_kind = 'gone'){unless}",
                self.key_names(""),
                self.key_names("OLD."),
                NEXT_GONE = self.first_gone(),
            ),
        ]
    }

    /// The lowest row number in the base table: those of kind `gone` count down from -1.
    fn first_gone(&self) -> String {
        format!("min(coalesce((SELECT min(rejoin_row) FROM {}), 0), 0)", self.base)
    }

    /// Copies OLD into the base table unless the row is dirty already.
    fn capture_old(&self) -> String {
        let (names, values) = self.image("OLD.");
        let base = &self.base;
        format!("INSERT INTO {base} ({names}) SELECT {values} WHERE NOT EXISTS (SELECT 1 FROM {base} WHERE rejoin_row = OLD.rejoin_row)")
    }

    /// Notes what was added to `add` columns and when `newest` ones changed; the row is dirty by now. Nothing for tables without any.
    fn note(&self) -> Vec<String> {
        let mut all = Vec::new();
        for column in self.with_policy(Policy::Add) {
            let (name, base, no) = (quoted(&column.name), &self.base, self.table.no);
            // What was not there before travels as a value; in a push its answer may make it there.
            all.push(format!(
                "INSERT INTO rejoin_additions (id, table_no, rejoin_row, column_no, value_before, value_after) \
                 SELECT randomblob(16), {no}, NEW.rejoin_row, {}, OLD.{name}, NEW.{name} FROM {base} b WHERE b.rejoin_row = NEW.rejoin_row \
                 AND NEW.{name} IS NOT OLD.{name} AND NEW.{name} IS NOT NULL AND OLD.{name} IS NOT NULL \
                 AND (b.rejoin_push_no IS NOT NULL OR b.rejoin_kind = 'change' AND b.{name} IS NOT NULL)",
                column.no
            ));
        }
        // Never before the image that the edit was made on.
        let at = format!("max({NOW}, coalesce((SELECT b.rejoin_synced_at FROM {} b WHERE b.rejoin_row = NEW.rejoin_row), ''))", self.base);
        all.extend(self.note_times("NEW.{} IS NOT OLD.{}", &at, ""));
        all
    }

    /// `changed`: whether a column changed, with its name for each `{}`.
    fn note_times(&self, changed: &str, at: &str, of: &str) -> Vec<String> {
        let mut all = Vec::new();
        for column in self.with_policy(Policy::Newest) {
            let (no, base, changed) = (self.table.no, &self.base, changed.replace("{}", &quoted(&column.name)));
            let same = format!("table_no = {no} AND rejoin_row = NEW.rejoin_row AND column_no = {}", column.no);
            all.push(format!("UPDATE rejoin_times SET at = max(at, {at}) WHERE {same} AND {changed}"));
            all.push(format!(
                "INSERT INTO rejoin_times (table_no, rejoin_row, column_no, at) SELECT {no}, NEW.rejoin_row, {}, {at} FROM {base} b \
                 WHERE b.rejoin_row = NEW.rejoin_row{of} AND {changed} AND NOT EXISTS (SELECT 1 FROM rejoin_times WHERE {same})",
                column.no
            ));
        }
        all
    }

    /// What was noted of a removed row goes on with the one that takes its base over.
    fn take_notes_over(&self, dead: &str) -> Vec<String> {
        let notes = [(Policy::Add, "rejoin_additions"), (Policy::Newest, "rejoin_times")];
        let noted = notes.into_iter().filter(|(policy, _)| self.with_policy(*policy).next().is_some());
        noted
            .map(|(_, notes)| format!("UPDATE {notes} SET rejoin_row = NEW.rejoin_row WHERE table_no = {} AND {dead}", self.table.no))
            .collect()
    }

    fn with_policy(&self, policy: Policy) -> impl Iterator<Item = &Column> {
        self.table.columns.iter().filter(move |column| column.policy == policy)
    }

    /// Captures the rows `t` that a statement may replace, and notes them as deleted, which means nothing where they turn out to stay.
    fn capture_replaced(&self, hit: &str) -> [String; 4] {
        let (base, live) = (&self.base, &self.live);
        let (names, values) = self.image("t.");
        let version = quoted(&self.table.stamps.version);
        let capture = format!(
            "INSERT INTO {base} ({names}) SELECT {values} FROM {live} t WHERE {hit} \
             AND NOT EXISTS (SELECT 1 FROM {base} b WHERE b.rejoin_row = t.rejoin_row)",
            hit = format_args!("({hit})")
        );
        let gone = format!(
            "UPDATE {base} SET rejoin_gone_version = max(coalesce(rejoin_gone_version, 0), \
             1 + (SELECT t.{version} FROM {live} t WHERE t.rejoin_row = {base}.rejoin_row)), rejoin_gone_at = {NOW}, rejoin_gone_by = {} \
             WHERE rejoin_row IN (SELECT t.rejoin_row FROM {live} t WHERE {hit})",
            self.author
        );
        let same = self.same(&self.table.key, "b.", "t.");
        let elsewhere = format!("({hit}) AND NOT EXISTS (SELECT 1 FROM {base} b WHERE b.rejoin_row = t.rejoin_row AND {same})");
        let remember = format!(
            "UPDATE {base} SET rejoin_version = max(rejoin_version, (SELECT t.{version} FROM {live} t WHERE {})) \
             WHERE rejoin_row IN (SELECT b.rejoin_row FROM {live} t, {base} b WHERE {same} AND b.rejoin_kind = 'gone' AND {elsewhere})",
            self.same(&self.table.key, "t.", &format!("{base}.")),
        );
        let remember_first = format!(
            "INSERT INTO {base} (rejoin_row, rejoin_kind, {}, rejoin_version) \
             SELECT {} - t.rejoin_row, 'gone', {}, t.{version} FROM {live} t \
             WHERE {elsewhere} AND NOT EXISTS (SELECT 1 FROM {base} b WHERE {same} AND b.rejoin_kind = 'gone')",
            self.key_names(""),
            self.first_gone(),
            self.key_names("t."),
        );
        [capture, gone, remember, remember_first]
    }

    /// The stamps of a changed row, each kept where the statement set it.
    fn stamp(&self, new_version: &str) -> String {
        let stamps = &self.table.stamps;
        let [version, updated_at, modified_by, synced_at] =
            [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(|name| quoted(name));
        format!(
            "UPDATE {} SET {version} = {new_version}, \
             {updated_at} = CASE WHEN NEW.{updated_at} IS OLD.{updated_at} THEN {NOW} ELSE NEW.{updated_at} END, \
             {modified_by} = CASE WHEN NEW.{modified_by} IS OLD.{modified_by} THEN {} ELSE NEW.{modified_by} END, \
             {synced_at} = NULL WHERE rejoin_row = NEW.rejoin_row",
            self.live, self.author
        )
    }

    /// The highest version that NEW's key had before it was removed.
    fn gone_version(&self) -> String {
        let key = self.same(&self.table.key, "b.", "NEW.");
        let version = "CASE b.rejoin_kind WHEN 'gone' THEN b.rejoin_version ELSE b.rejoin_gone_version END";
        format!("(SELECT max({version}) FROM {} b WHERE {key})", self.base)
    }

    /// The columns of a `change` base image, and their values taken from a live row.
    fn image(&self, from: &str) -> (String, String) {
        let stamps = &self.table.stamps;
        let names = format!(
            "rejoin_row, rejoin_kind, {}, rejoin_version, rejoin_scope, rejoin_tick, rejoin_synced_at",
            column_list(self.table, "")
        );
        let values = format!(
            "{from}rejoin_row, 'change', {}, {from}{}, {from}rejoin_scope, {from}rejoin_tick, {from}{}",
            column_list(self.table, from),
            quoted(&stamps.version),
            quoted(&stamps.synced_at)
        );
        (names, values)
    }

    /// Which rows `t` an insert or update to NEW would meet, by row number, key and every unique key.
    fn hit(&self) -> String {
        self.hits().join(" OR ")
    }

    fn hits(&self) -> Vec<String> {
        let mut terms = vec![format!("({})", self.same(&self.table.key, "t.", "NEW."))];
        for unique in &self.table.uniques {
            terms.push(format!("({} AND t.rejoin_held = 0)", self.same(&unique.columns, "t.", "NEW.")));
        }
        terms.push("t.rejoin_row = NEW.rejoin_row".to_owned());
        terms
    }

    /// The columns of all unique keys, each once.
    fn watched(&self) -> Vec<&Column> {
        let all = self.table.key.iter().chain(self.table.uniques.iter().flat_map(|unique| &unique.columns));
        let mut numbers: Vec<_> = all.copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.iter().filter_map(|no| self.table.column(*no)).collect()
    }

    /// `x.id IS NOT NULL AND ` of every key column that may be empty for a moment.
    fn has_key(&self, from: &str) -> String {
        self.table.leased_columns().map(|column| format!("{from}{} IS NOT NULL AND ", quoted(&column.name))).collect()
    }

    fn key_names(&self, from: &str) -> String {
        let names: Vec<_> = self.table.key_columns().map(|column| format!("{from}{}", quoted(&column.name))).collect();
        names.join(", ")
    }

    fn same_key(&self, operator: &str) -> String {
        let terms = self.table.key_columns().map(|column| quoted(&column.name)).map(|name| format!("NEW.{name} {operator} OLD.{name}"));
        terms.collect::<Vec<_>>().join(" AND ")
    }

    fn same(&self, columns: &[ColumnNo], left: &str, right: &str) -> String {
        let names = columns.iter().filter_map(|no| self.table.column(*no)).map(|column| quoted(&column.name));
        names.map(|name| format!("{left}{name} = {right}{name}")).collect::<Vec<_>>().join(" AND ")
    }

    fn message(&self, text: &str) -> String {
        literal_text(&format!("rejoin: {} {text}", self.table.name))
    }
}
