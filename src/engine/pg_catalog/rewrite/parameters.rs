//! Parameters of a statement, as its text has them: rewriting may lose some, clients bind them all.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::ast::{Expr, Value, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::names::type_name;

/// The types to which parameters are cast: in memory, and as they are declared where that says
/// more.
type Types = BTreeMap<usize, Option<(DataType, Option<String>)>>;

/// Returns the statement's parameters by number, with the types to which they are cast.
pub(in crate::engine::pg_catalog) fn parameters(sql: &str) -> Types {
    let mut found = Parameters(BTreeMap::new());
    for statement in Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap_or_default() {
        let _ = statement.visit(&mut found);
    }
    found.0
}

struct Parameters(Types);

impl Visitor for Parameters {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr, data_type, .. } => {
                if let Some(number) = number(expr) {
                    let name = type_name(data_type);
                    let declared = matches!(name.as_str(), "oid" | "oid[]").then(|| name.clone());
                    self.0.insert(number, in_memory(&name).map(|of| (of, declared)));
                }
            }
            other => {
                if let Some(number) = number(other) {
                    self.0.entry(number).or_default();
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// Returns the number of `$n`.
fn number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Returns how values of a type that clients cast parameters to are kept in memory.
fn in_memory(name: &str) -> Option<DataType> {
    if let Some(element) = name.strip_suffix("[]") {
        return Some(DataType::new_list(in_memory(element)?, true));
    }
    Some(match name {
        "bool" | "boolean" => DataType::Boolean,
        "smallint" | "int2" => DataType::Int16,
        "integer" | "int" | "int4" => DataType::Int32,
        "bigint" | "int8" | "oid" => DataType::Int64,
        "real" | "float4" => DataType::Float32,
        "double precision" | "float8" => DataType::Float64,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        "text" | "name" | "varchar" | "character varying" | "regclass" | "regtype"
        | "regnamespace" => DataType::Utf8,
        _ => return None,
    })
}
