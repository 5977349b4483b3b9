//! Whether a migration may give values to rows, as far as its text tells.

/// Words of statements and clauses that put values into rows, take rows away, or run what nobody sees here.
const WORDS: [&str; 18] = [
    "update",
    "insert",
    "merge",
    "delete",
    "truncate",
    "copy",
    "select",
    "with",
    "values",
    "using",
    "do",
    "call",
    "execute",
    "import",
    "attach",
    "detach",
    "function",
    "procedure",
];
/// What gives rows a value in a column as it is added.
const OF_NEW_COLUMNS: [&str; 2] = ["default", "generated"];

/// Whether the migration may change which rows have a value in a column. `false` is sure; words in comments and names count as well.
pub(super) fn may_fill(migration: &str, new_column: bool) -> bool {
    let words = migration.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    let made_anew = words.windows(2).any(|pair| pair[0] == "drop" && matches!(pair[1].as_str(), "table" | "schema" | "type"));
    let programs = migration.lines().any(|line| line.trim_start().starts_with('\\'));
    let fills = |word: &String| WORDS.contains(&word.as_str()) || (new_column && OF_NEW_COLUMNS.contains(&word.as_str()));
    made_anew || programs || words.iter().any(fills)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_migration_that_writes_no_row_is_known_to_fill_none() {
        for sure in
            ["ALTER TABLE marks ALTER note SET NOT NULL;", "BEGIN; ALTER TABLE a ADD b text;\nALTER TABLE a ALTER b SET NOT NULL; COMMIT"]
        {
            assert!(!may_fill(sure, true), "{sure}");
        }
        for unsure in [
            "UPDATE marks SET note = ''; ALTER TABLE marks ALTER note SET NOT NULL",
            "alter table a alter b type text using coalesce(b, '')",
            "ALTER TABLE a ADD b text DEFAULT 'x'; ALTER TABLE a ALTER b DROP DEFAULT, ALTER b SET NOT NULL",
            "DROP TABLE a; CREATE TABLE a (id int)",
            "\\ir before.sql\nALTER TABLE a ALTER b SET NOT NULL",
            "DO $$ BEGIN PERFORM fill(); END $$",
        ] {
            assert!(may_fill(unsure, true), "{unsure}");
        }
        assert!(!may_fill("ALTER TABLE a ALTER b SET DEFAULT 'x', ALTER b SET NOT NULL", false), "rows that are there stay as they are");
    }
}
