//! What is the same on every Postgres server: types, functions, operators, collations.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, new_null_array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int32Type, Schema};
use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{
    PgCatalogSchemaProvider, PgCatalogStaticTables, PgCatalogTable,
};

use super::relation::{RELATIONS, Relation};

/// The relations that are taken over. Those that tell of a server's own objects are not among them.
const TAKEN: [&str; 20] = [
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_cast",
    "pg_collation",
    "pg_conversion",
    "pg_language",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_proc",
    "pg_range",
    "pg_tablespace",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
];

static DUMP: LazyLock<Result<BTreeMap<&str, RecordBatch>>> = LazyLock::new(read);

/// Reads the dump, once for all sessions.
pub(super) fn load() -> Result<()> {
    match &*DUMP {
        Ok(_) => Ok(()),
        Err(error) => Err(DataFusionError::Execution(format!("system catalog: {error}"))),
    }
}

/// Returns the rows of a relation that is the same on every server.
pub(super) fn rows(name: &str) -> Option<&'static RecordBatch> {
    DUMP.as_ref().ok()?.get(name)
}

/// Returns the internal name of a type.
pub(super) fn type_name(oid: u32) -> Option<String> {
    let (oids, names) = types()?;
    let row = oids.values().iter().position(|known| known.cast_unsigned() == oid)?;
    Some(names.value(row).to_owned())
}

/// Returns the oid of a type by its internal name.
pub(super) fn type_oid(name: &str) -> Option<u32> {
    let (oids, names) = types()?;
    let row = names.iter().position(|known| known == Some(name))?;
    Some(oids.value(row).cast_unsigned())
}

fn types() -> Option<(&'static Int32Array, &'static StringArray)> {
    let rows = rows("pg_type")?;
    let (oids, names) = (rows.column_by_name("oid")?, rows.column_by_name("typname")?);
    Some((oids.as_primitive_opt::<Int32Type>()?, names.as_string_opt::<i32>()?))
}

fn read() -> Result<BTreeMap<&'static str, RecordBatch>> {
    let tables = Arc::new(PgCatalogStaticTables::try_new()?);
    let nothing: Arc<dyn CatalogProviderList> = Arc::new(MemoryCatalogProviderList::new());
    let provider = PgCatalogSchemaProvider::try_new(nothing, tables, EmptyContextProvider)?;
    let mut dump = BTreeMap::new();
    for name in TAKEN {
        if let Some(PgCatalogTable::Static(table)) = provider.build_table_by_name(name)?
            && let Some(relation) = RELATIONS.get(&("pg_catalog", name))
        {
            let rows = concat_batches(&table.schema(), table.data())?;
            dump.insert(name, adapt(relation, &rows)?);
        }
    }
    Ok(dump)
}

/// Brings the dump's columns, which are another version's and have arrays as text, into ours.
fn adapt(relation: &Relation, rows: &RecordBatch) -> Result<RecordBatch> {
    let columns =
        relation.arrow.fields().iter().map(|field| match rows.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
            Some(column) => match field.data_type() {
                DataType::List(element) => lists(column, element.data_type()),
                data_type => Ok(cast(column, data_type)?),
            },
        });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let schema: &Arc<Schema> = &relation.arrow;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Reads arrays from `{1,2}` or `[1,2]`, vectors from `1 2`. None of the dump's arrays has quoted elements.
fn lists(column: &ArrayRef, element: &DataType) -> Result<ArrayRef> {
    let texts = cast(column, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let list = |text: &str| -> Result<ScalarValue> {
        let inner = text.trim_matches(['{', '}', '[', ']']);
        let items = inner.split([',', ' ']).filter(|item| !item.is_empty());
        let items = items.map(|item| ScalarValue::from(item).cast_to(element));
        let items = items.collect::<Result<Vec<_>>>()?;
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, element)))
    };
    let nothing = ScalarValue::try_from(&DataType::new_list(element.clone(), true))?;
    let lists = (0..texts.len()).map(|row| match texts.is_null(row) {
        true => Ok(nothing.clone()),
        false => list(texts.value(row)),
    });
    let lists = lists.collect::<Result<Vec<_>>>()?;
    if lists.is_empty() {
        return Err(DataFusionError::Plan("a dumped relation has no rows".to_owned()));
    }
    ScalarValue::iter_to_array(lists)
}
