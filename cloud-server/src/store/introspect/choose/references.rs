//! References that the database does not declare: those of `rejoin.toml`, put behind a table's foreign keys.

use sync_core::value::{ColumnType, Value};
use toml::Spanned;

use super::find_table;
use crate::settings::{DeclaredReference, Named, Settings, SettingsError};
use crate::store::introspect::{FoundColumn, FoundReference, FoundTable, Schema};

/// Adds what `rejoin.toml` declares to the references of the tables.
///
/// # Errors
/// It names what is not there, or columns that cannot hold the key referred to.
pub(super) fn declare(schema: &mut Schema, settings: &Settings) -> Result<(), SettingsError> {
    let mut declared = Vec::new();
    for (name, own) in settings.tables.iter().filter(|(_, own)| !own.references.is_empty()) {
        let at = find_table(schema, settings, "tables", name)?;
        for reference in &own.references {
            let said = Said { schema, settings, table: &schema.tables[at], label: format!("tables.{}.references", name.get_ref()) };
            declared.push((at, said.references(reference)?));
        }
    }
    for (at, references) in declared {
        for mut reference in references {
            let table = &mut schema.tables[at];
            let same = |other: &FoundReference| (&other.columns, other.table) == (&reference.columns, reference.table);
            if reference.when.is_none() && table.references.iter().any(|other| !other.declared && same(other)) {
                table.notes.push(format!("{} in rejoin.toml: the database declares that reference itself", reference.name));
                continue;
            }
            if table.references.iter().any(|other| other.name == reference.name) {
                let kind = reference.when.as_ref().map(|(_, kind)| kind.to_text().into_owned()).unwrap_or_default();
                reference.name = format!("{}:{kind}", reference.name);
            }
            table.notes.extend(missing_index(table, &reference));
            table.references.push(reference);
        }
    }
    Ok(())
}

/// One declaration, on its way to references.
struct Said<'a> {
    schema: &'a Schema,
    settings: &'a Settings,
    table: &'a FoundTable,
    label: String,
}

impl Said<'_> {
    fn error(&self, at: &Named, why: &str) -> SettingsError {
        self.settings.error(at, format!("{}: {why}", self.label))
    }

    fn column(&self, name: &Named) -> Result<(&FoundColumn, &ColumnType), SettingsError> {
        let text = name.get_ref();
        let column = self.table.column_named(text).ok_or_else(|| self.error(name, &format!("the column {text} is not there")))?;
        let ty = column.ty.as_ref().ok_or_else(|| self.error(name, &format!("{text} is made by PostgreSQL and not synced")))?;
        Ok((column, ty))
    }

    fn references(&self, reference: &Spanned<DeclaredReference>) -> Result<Vec<FoundReference>, SettingsError> {
        let said = reference.get_ref();
        let kind = said.kind.as_ref().map(|kind| self.column(kind)).transpose()?;
        let mut references: Vec<FoundReference> = Vec::new();
        if let Some(table) = &said.table {
            references.push(self.reference(said, table, None)?);
        }
        for (value, table) in &said.tables {
            let Some((column, ty)) = kind else { continue };
            let parsed = ty.parse(value.get_ref()).map_err(|error| {
                let name = &column.name;
                self.error(value, &format!("{:?} cannot stand in {name}: {error}", value.get_ref()))
            })?;
            references.push(self.reference(said, table, Some((column.attnum, parsed)))?);
        }
        Ok(references)
    }

    fn reference(&self, said: &DeclaredReference, to: &Named, when: Option<(i16, Value)>) -> Result<FoundReference, SettingsError> {
        let target = &self.schema.tables[find_table(self.schema, self.settings, &self.label, to)?];
        if target.key.len() != said.columns.len() {
            let key = names(target, &target.key);
            return Err(self.error(to, &format!("the key of {} is {key}: columns must name as many", to.get_ref())));
        }
        let mut columns = Vec::new();
        for (name, key) in said.columns.iter().zip(&target.key) {
            let (column, _) = self.column(name)?;
            let key = target.column(*key).ok_or_else(|| self.error(to, "its key is not synced"))?;
            if !can_hold(column, key) {
                let (key_name, key_type) = (format!("{}.{}", target.label(), key.name), &key.sql_type);
                let why = format!(
                    "{} is {}, {key_name} is {key_type}: a reference has the same type, or text for a uuid or an integer",
                    column.name, column.sql_type
                );
                return Err(self.error(name, &why));
            }
            if column.not_null && said.on_delete == crate::settings::DeclaredDelete::SetNull {
                return Err(self.error(name, &format!("{} is NOT NULL: on_delete cannot be set_null", column.name)));
            }
            columns.push(column.attnum);
        }
        Ok(FoundReference {
            name: format!("{}.{}>{}", self.table.label(), names(self.table, &columns).replace(", ", ","), target.label()),
            columns,
            table: target.oid,
            target: target.key.clone(),
            on_delete: said.on_delete.into(),
            declared: true,
            when,
        })
    }
}

/// Whether a column can hold what the key is.
pub(super) fn can_hold(column: &FoundColumn, key: &FoundColumn) -> bool {
    use ColumnType::{Array, Enum, Int2, Int4, Int8, Other, Text, Uuid};
    match (&column.ty, &key.ty) {
        (Some(Enum(_) | Array(_) | Other), Some(_)) => column.sql_type == key.sql_type,
        (Some(Int2 | Int4 | Int8 | Text), Some(Int2 | Int4 | Int8)) | (Some(Text), Some(Uuid)) => true,
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// Deletes and moves of what is referred to look for the rows that refer to it.
fn missing_index(table: &FoundTable, reference: &FoundReference) -> Option<String> {
    let sought: Vec<i16> = reference.when.iter().map(|(kind, _)| *kind).chain(reference.columns.iter().copied()).collect();
    let covers = |columns: &[i16]| reference.columns.iter().all(|column| columns.iter().take(sought.len()).any(|one| one == column));
    let indexed = covers(&table.key) || table.indexes.iter().any(|index| covers(&index.columns));
    (!indexed).then(|| {
        let columns: Vec<String> =
            sought.iter().filter_map(|no| table.column(*no)).map(|column| crate::store::row::quote(&column.name)).collect();
        format!("no index begins with {}: deletes and moves of what they refer to read the whole table", columns.join(", "))
    })
}

/// Whether every row names something by this reference.
pub(crate) fn always_names(table: &FoundTable, reference: &FoundReference) -> bool {
    !reference.declared && reference.columns.iter().all(|attnum| table.column(*attnum).is_some_and(|column| column.not_null))
}

/// A reference by its columns, for people.
pub(super) fn describe(table: &FoundTable, reference: &FoundReference) -> String {
    let columns = names(table, &reference.columns);
    match &reference.when {
        None => columns,
        Some((kind, value)) => format!("{columns} where {} is {}", names(table, &[*kind]), value.to_text()),
    }
}

fn names(table: &FoundTable, attnums: &[i16]) -> String {
    let columns: Vec<&str> = attnums.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
    columns.join(", ")
}
