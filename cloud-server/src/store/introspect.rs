//! Introspection: PostgreSQL's own catalog read into a [`Schema`], out of which [`choose`] picks what is synced, [`numbers`] gives
//! numbers that survive RENAME, and [`assemble`] makes the catalog.

pub(crate) mod assemble;
pub(crate) mod choose;
mod default;
pub(crate) mod leased;
pub(crate) mod names;
pub(crate) mod numbers;
pub(crate) mod policies;
mod successor;
mod types;
mod withheld;

use std::collections::HashMap;

use sync_core::catalog::{DefaultValue, OnDelete};
use sync_core::value::{ColumnType, Value};
use tokio_postgres::Client;

use self::default::DefaultForm;
use self::types::Types;
use super::error::StoreError;

/// The engine's schema.
pub(crate) const ENGINE_SCHEMA: &str = "rejoin";
/// The engine's own tables that are synced like a user's.
const ENGINE_TABLES: [&str; 3] = ["users", "tokens", "sync_conflicts"];
/// Why a table of which the cloud sees only what a policy shows cannot be synced.
pub(crate) const HIDDEN: &str = "has FORCE ROW LEVEL SECURITY, which hides rows from Rejoin's own role: ALTER TABLE .. NO FORCE ROW LEVEL SECURITY \
     (other roles stay under its policies), or ALTER ROLE .. BYPASSRLS";
/// Partitions named to people.
const PARTITIONS_SHOWN_MAX: usize = 5;

/// Every table that this database holds, as PostgreSQL describes it.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    pub(crate) tables: Vec<FoundTable>,
    pub(crate) identity: Identity,
}

/// Which database this is: oids mean something only while it stays the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster's system identifier, where the role may read it.
    pub(crate) system: Option<String>,
    pub(crate) database: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct FoundTable {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Why it cannot be synced, whatever `rejoin.toml` says.
    pub(crate) obstacle: Option<String>,
    pub(crate) columns: Vec<FoundColumn>,
    /// The attnums of the primary key, in key order.
    pub(crate) key: Vec<i16>,
    pub(crate) indexes: Vec<FoundIndex>,
    /// Foreign keys by name, then those that `rejoin.toml` declares.
    pub(crate) references: Vec<FoundReference>,
    /// What people should know of it.
    pub(crate) notes: Vec<String>,
    /// The file in which its rows stand; another one once PostgreSQL wrote the table anew. `None`: it has none of its own.
    pub(crate) filenode: Option<u32>,
    /// Whether it was a partition of a table that is synced, and keeps our columns.
    pub(crate) was_partition: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct FoundColumn {
    pub(crate) attnum: i16,
    pub(crate) name: String,
    /// The full type name, schema-qualified where it is no built-in type.
    pub(crate) sql_type: String,
    /// `None`: not synced, since PostgreSQL derives it (generated, tsvector) or it is left out.
    pub(crate) ty: Option<ColumnType>,
    /// Whether it stays at the cloud though it could travel.
    pub(crate) left_out: bool,
    /// Whether its name looks like a secret, or did when it was left out for that.
    pub(crate) secret: bool,
    pub(crate) not_null: bool,
    pub(crate) default: Option<DefaultValue>,
    pub(crate) max_length: Option<u32>,
    /// What the rows hold that were there when the column was added, where PostgreSQL keeps that in its catalog; in its text form.
    pub(crate) missing: Option<String>,
    /// GENERATED ALWAYS AS IDENTITY.
    pub(crate) fixed: bool,
}

/// A plain or unique index over whole columns; partial ones and those over expressions are the cloud's own affair.
#[derive(Debug, Clone)]
pub(crate) struct FoundIndex {
    pub(crate) name: String,
    pub(crate) unique: bool,
    pub(crate) columns: Vec<i16>,
}

#[derive(Debug, Clone)]
pub(crate) struct FoundReference {
    pub(crate) name: String,
    pub(crate) columns: Vec<i16>,
    /// The oid of the table referred to.
    pub(crate) table: u32,
    pub(crate) target: Vec<i16>,
    pub(crate) on_delete: OnDelete,
    /// Whether only `rejoin.toml` says so.
    pub(crate) declared: bool,
    /// Rows that refer by it: those with this value in this column. `None`: all.
    pub(crate) when: Option<(i16, Value)>,
}

impl Identity {
    /// As it is remembered in `rejoin.state`.
    fn here(&self) -> String {
        format!("{}/{}", self.system.as_deref().unwrap_or("unknown"), self.database)
    }
}

impl FoundTable {
    pub(crate) fn is_engine(&self) -> bool {
        self.schema == ENGINE_SCHEMA
    }

    /// `table` in `public`, else `schema.table`: as `rejoin.toml` writes it.
    pub(crate) fn label(&self) -> String {
        if self.schema == "public" { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }

    /// Whether it has partitions, or may have.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.filenode.is_none()
    }

    pub(crate) fn column(&self, attnum: i16) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.attnum == attnum)
    }

    pub(crate) fn column_named(&self, name: &str) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Reads the whole schema in one snapshot, with names and types spelled in full.
pub(crate) async fn read(client: &mut Client) -> Result<Schema, StoreError> {
    let transaction = client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).start().await?;
    transaction.batch_execute("SET LOCAL search_path = pg_catalog").await?;
    let types = Types::read(&transaction).await?;
    let mut tables = read_tables(&transaction).await?;
    let at: HashMap<u32, usize> = tables.iter().enumerate().map(|(at, table)| (table.oid, at)).collect();
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let mut defaults: Vec<(usize, i16, String)> = Vec::new();

    let sql = "SELECT a.attrelid, a.attnum, a.attname::text, a.attnotnull, a.attgenerated <> '', a.attidentity <> '', a.atttypid,
                      a.atttypmod, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid),
                      CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END, a.attidentity = 'a'
               FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
               WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";
    for row in transaction.query(sql, &[&oids]).await? {
        let place = at[&row.get::<_, u32>(0)];
        let (generated, identity): (bool, bool) = (row.get(4), row.get(5));
        let resolved = types.resolve(row.get(6), row.get(7));
        let expression: Option<String> = row.get(9);
        let ty = resolved.ty.filter(|_| !generated);
        let default = match (&ty, identity || resolved.domain_default, expression) {
            (None, _, _) => None,
            (_, true, _) => Some(DefaultValue::Cloud),
            (_, _, None) => None,
            (Some(ty), false, Some(expression)) => match default::classify(&expression, ty) {
                DefaultForm::Now => Some(DefaultValue::Now),
                DefaultForm::Uuid => Some(DefaultValue::Uuid),
                DefaultForm::Cloud => Some(DefaultValue::Cloud),
                DefaultForm::Literal => {
                    defaults.push((place, row.get(1), expression));
                    Some(DefaultValue::Cloud)
                }
            },
        };
        tables[place].columns.push(FoundColumn {
            attnum: row.get(1),
            name: row.get(2),
            sql_type: row.get(8),
            ty,
            left_out: false,
            not_null: row.get::<_, bool>(3) || resolved.not_null,
            default,
            max_length: resolved.max_length,
            missing: row.get(10),
            fixed: row.get(11),
            secret: false,
        });
    }
    read_constraints(&transaction, &oids, &at, &mut tables).await?;
    read_former_partitions(&transaction, &mut tables).await?;
    leased::mark(&transaction, &oids, &at, &mut tables).await?;
    let identity = read_identity(&transaction).await?;
    withheld::recall(&transaction, &mut tables, &identity).await?;
    transaction.commit().await?;

    for (place, attnum, expression) in defaults {
        let column = tables[place].columns.iter_mut().find(|column| column.attnum == attnum);
        if let Some(column) = column {
            column.default = default::evaluate(client, &expression, column).await;
        }
    }
    Ok(Schema { tables, identity })
}

async fn read_tables(transaction: &tokio_postgres::Transaction<'_>) -> Result<Vec<FoundTable>, StoreError> {
    let sql = "SELECT c.oid, n.nspname::text, c.relname::text,
                      c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
                      EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'),
                      pg_has_role(c.relowner, 'USAGE'), c.relowner::regrole::text, c.relpersistence = 'u',
                      CASE c.relkind WHEN 'p' THEN coalesce(parts.leaves, '{}') END,
                      pg_relation_filenode(c.oid), row_security_active(c.oid),
                      parts.obstacle
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN LATERAL (
                   SELECT array_agg(p.relname::text ORDER BY p.relname) FILTER (WHERE t.isleaf) AS leaves,
                          min(p.oid::regclass || CASE WHEN p.relkind = 'f' THEN ' is a foreign table' WHEN p.relpersistence = 'u' THEN ' is unlogged'
                                  ELSE ' belongs to the role ' || p.relowner::regrole END)
                              FILTER (WHERE p.relkind = 'f' OR p.relpersistence = 'u' OR NOT pg_has_role(p.relowner, 'USAGE')) AS obstacle
                   FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid) parts ON c.relkind = 'p'
               WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                 AND (n.nspname <> $1 OR c.relname = ANY($2)) AND NOT c.relispartition
               ORDER BY n.nspname <> $1, n.nspname, c.relname";
    let rows = transaction.query(sql, &[&ENGINE_SCHEMA, &ENGINE_TABLES.as_slice()]).await?;
    let obstacle = |row: &tokio_postgres::Row| {
        let [inherits, extension, owned] = [3, 4, 5].map(|at| row.get::<_, bool>(at));
        if inherits {
            Some("inherits from a table or is inherited from".to_owned())
        } else if extension {
            Some("belongs to an extension".to_owned())
        } else if !owned {
            Some(format!("belongs to the role {}, and only its owner may add the stamp columns", row.get::<_, String>(6)))
        } else if row.get::<_, bool>(7) {
            Some("is unlogged: a crash empties it".to_owned())
        } else if row.get::<_, bool>(10) {
            Some(HIDDEN.to_owned())
        } else {
            row.get::<_, Option<String>>(11).map(|partition| format!("is partitioned, and {partition}"))
        }
    };
    let partitions = |row: &tokio_postgres::Row| {
        let leaves: Vec<String> = row.get::<_, Option<_>>(8)?;
        let (shown, rest) = leaves.split_at(leaves.len().min(PARTITIONS_SHOWN_MAX));
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        Some(if shown.is_empty() {
            "partitioned, and has no partition yet".to_owned()
        } else {
            format!("partitioned: {}{more} travel as one table", shown.join(", "))
        })
    };
    Ok(rows
        .iter()
        .map(|row| FoundTable {
            oid: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            obstacle: obstacle(row),
            columns: Vec::new(),
            key: Vec::new(),
            indexes: Vec::new(),
            references: Vec::new(),
            notes: partitions(row).into_iter().collect(),
            filenode: row.get(9),
            was_partition: false,
        })
        .collect())
}

/// What was a partition stays out while it has our columns: it may be attached again.
async fn read_former_partitions(transaction: &tokio_postgres::Transaction<'_>, tables: &mut [FoundTable]) -> Result<(), StoreError> {
    if !transaction.query_one("SELECT to_regclass('rejoin.partitions') IS NOT NULL", &[]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    let sql = "SELECT p.oid, t.table_name FROM rejoin.partitions p JOIN rejoin.tables t ON t.no = p.table_no WHERE t.oid <> p.oid";
    for row in transaction.query(sql, &[]).await? {
        let Some(table) = tables.iter_mut().find(|table| table.oid == row.get::<_, u32>(0)) else { continue };
        table.was_partition = table.column_named("rejoin_scope").is_some();
        if table.was_partition && table.obstacle.is_none() {
            let of: &str = row.get(1);
            table.obstacle = Some(format!(
                "was a partition of {of} and may be attached again; to make it a table of its own, drop its columns that begin with rejoin_"
            ));
        }
    }
    Ok(())
}

async fn read_constraints(
    transaction: &tokio_postgres::Transaction<'_>,
    oids: &[u32],
    at: &HashMap<u32, usize>,
    tables: &mut [FoundTable],
) -> Result<(), StoreError> {
    let sql = "SELECT conrelid, conname::text, contype = 'p', conkey, confrelid, confkey, confdeltype::text
               FROM pg_constraint WHERE conrelid = ANY($1) AND contype IN ('p', 'f') AND conparentid = 0 ORDER BY conrelid, conname";
    for row in transaction.query(sql, &[&oids]).await? {
        let table = &mut tables[at[&row.get::<_, u32>(0)]];
        if row.get(2) {
            table.key = row.get(3);
            continue;
        }
        table.references.push(FoundReference {
            name: row.get(1),
            columns: row.get(3),
            table: row.get(4),
            target: row.get(5),
            on_delete: match row.get::<_, &str>(6) {
                "c" => OnDelete::Cascade,
                "n" => OnDelete::SetNull,
                "d" => OnDelete::SetDefault,
                _ => OnDelete::Restrict,
            },
            declared: false,
            when: None,
        });
    }
    let sql = "SELECT i.indrelid, c.relname::text, i.indisunique,
                      (string_to_array(i.indkey::text, ' ')::int2[])[1:i.indnkeyatts]
               FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
               WHERE i.indrelid = ANY($1) AND NOT i.indisprimary AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
                 AND m.amname = 'btree' AND c.relname !~ '^rejoin_[0-9]+_feed$' ORDER BY i.indrelid, c.relname";
    for row in transaction.query(sql, &[&oids]).await? {
        let table = &mut tables[at[&row.get::<_, u32>(0)]];
        table.indexes.push(FoundIndex { name: row.get(1), unique: row.get(2), columns: row.get(3) });
    }
    for table in tables.iter_mut().filter(|table| table.key.is_empty() && table.obstacle.is_none()) {
        table.obstacle = Some("has no primary key".to_owned());
    }
    Ok(())
}

async fn read_identity(transaction: &tokio_postgres::Transaction<'_>) -> Result<Identity, StoreError> {
    // Some hosters take the right to read control data away from plain roles.
    let sql = "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'),
                      (SELECT oid FROM pg_database WHERE datname = current_database())";
    let row = transaction.query_one(sql, &[]).await?;
    let system = if row.get(0) {
        Some(transaction.query_one("SELECT system_identifier::text FROM pg_control_system()", &[]).await?.get(0))
    } else {
        None
    };
    Ok(Identity { system, database: row.get(1) })
}
