//! Keys whose numbers come from a sequence: identity columns, `serial`, and `DEFAULT nextval(..)` of an own sequence.

use std::collections::HashMap;

use sync_core::catalog::DefaultValue;
use sync_core::value::ColumnType;
use tokio_postgres::Transaction;

use super::FoundTable;
use crate::store::error::StoreError;

/// The oid of the sequence that fills the column `a` of `pg_attribute`: what an identity column owns, or what its default names.
pub(crate) const SEQUENCE_OF: &str = "coalesce(
    (SELECT s.oid FROM pg_depend e JOIN pg_class s ON s.oid = e.objid AND s.relkind = 'S'
     WHERE e.classid = 'pg_class'::regclass AND e.refclassid = 'pg_class'::regclass AND e.refobjid = a.attrelid
       AND e.refobjsubid = a.attnum AND e.deptype = 'i' LIMIT 1),
    (SELECT s.oid FROM pg_attrdef d JOIN pg_depend e ON e.classid = 'pg_attrdef'::regclass AND e.objid = d.oid
            AND e.refclassid = 'pg_class'::regclass JOIN pg_class s ON s.oid = e.refobjid AND s.relkind = 'S'
     WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\\(''.*''::regclass\\)$' LIMIT 1))";

/// Marks them: a site takes their numbers out of what it was leased.
pub(super) async fn mark(
    transaction: &Transaction<'_>,
    oids: &[u32],
    at: &HashMap<u32, usize>,
    tables: &mut [FoundTable],
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT a.attrelid, a.attnum FROM pg_attribute a JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
         WHERE a.attrelid = ANY($1) AND a.attnum = ANY(i.indkey::int2[]) AND {SEQUENCE_OF} IS NOT NULL"
    );
    for row in transaction.query(&sql, &[&oids]).await? {
        let (oid, attnum): (u32, i16) = (row.try_get(0)?, row.try_get(1)?);
        let Some(table) = at.get(&oid).and_then(|at| tables.get_mut(*at)) else { continue };
        let column = table.columns.iter_mut().find(|column| column.attnum == attnum);
        let whole = |ty: &ColumnType| matches!(ty, ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8);
        if let Some(column) = column.filter(|column| column.ty.as_ref().is_some_and(whole)) {
            column.default = Some(DefaultValue::Leased);
        }
    }
    Ok(())
}
