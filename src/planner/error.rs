//! Why a query cannot be planned.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::error::{Classify, Location, SqlState};
use crate::functions::error as functions;
use crate::sql;

/// Result of planning.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a query cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text of an inlined view or a clause.
    #[error(transparent)]
    Sql(#[from] sql::Error),
    /// No relation of that name.
    #[error("relation \"{name}\" does not exist")]
    UndefinedRelation {
        /// As the user wrote it.
        name: String,
    },
    /// Something that cannot be done (yet).
    #[error("{what}")]
    Unsupported {
        /// What.
        what: String,
        /// What can be done instead.
        hint: String,
    },
    /// A window or EMIT where it has no meaning.
    #[error("{what}")]
    Windowing {
        /// What is wrong.
        what: String,
        /// What to write instead.
        hint: String,
    },
    /// A clause with a value it cannot have.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// The code.
        sqlstate: SqlState,
        /// What to write instead.
        hint: Option<String>,
    },
    /// DataFusion's word on the query.
    #[error("{}", data_fusion_message(.0))]
    DataFusion(DataFusionError),
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        unwrap_own(error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::DataFusion(error.into())
    }
}

/// Takes our own error back out of DataFusion's wrapping, where there is one and nothing is lost.
fn unwrap_own(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(inner) => Error::DataFusion(DataFusionError::External(inner)),
        },
        DataFusionError::Context(_, inner) if matches!(*inner, DataFusionError::External(_)) => {
            unwrap_own(*inner)
        }
        other => Error::DataFusion(other),
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::DataFusion(error) => error,
            other => DataFusionError::External(Box::new(other)),
        }
    }
}

/// Finds our own error below DataFusion's diagnostics.
fn own(error: &DataFusionError) -> Option<&Error> {
    match error {
        DataFusionError::External(inner) => inner.downcast_ref(),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => own(inner),
        DataFusionError::Shared(inner) => own(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(own),
        _ => None,
    }
}

/// DataFusion's error without its wrapping, in Postgres's words where it has some.
fn data_fusion_message(error: &DataFusionError) -> String {
    if let Some(own) = own(error) {
        return own.to_string();
    }
    if let Some(of_function) = functions::Error::within(error) {
        return of_function.to_string();
    }
    match root(error) {
        DataFusionError::SchemaError(schema, _) => schema_message(schema),
        DataFusionError::Plan(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Internal(message) => plan_message(message),
        DataFusionError::NotImplemented(message) => {
            let what = message.trim_end_matches(" yet").trim_end_matches(" is not supported");
            format!("{what} is not supported")
        }
        DataFusionError::ArrowError(arrow, _) => arrow_message(&arrow.to_string()),
        other => first_line(&other.strip_backtrace()).to_owned(),
    }
}

fn arrow_message(message: &str) -> String {
    let text = message.split_once(": ").map_or(message, |(_, rest)| rest);
    if message.starts_with("Divide by zero") {
        return "division by zero".to_owned();
    }
    cast_message(text).unwrap_or_else(|| lower_first(first_line(text)))
}

/// `Cannot cast string 'x' to value of Int64 type` in Postgres's words.
fn cast_message(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("annot cast ")?;
    let (_, rest) = rest.split_once('\'')?;
    let (value, rest) = rest.split_once("' to value of ")?;
    let (data_type, _) = rest.split_once(" type")?;
    Some(format!("invalid input syntax for type {}: \"{value}\"", sql_name(data_type)))
}

fn schema_message(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            format!("column {} does not exist", column_name(field))
        }
        SchemaError::AmbiguousReference { field } => {
            format!("column reference \"{}\" is ambiguous", field.name)
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            format!("column name \"{name}\" appears more than once")
        }
    }
}

fn column_name(column: &datafusion::common::Column) -> String {
    match &column.relation {
        Some(relation) => format!("{}.{}", relation.table(), column.name),
        None => format!("\"{}\"", column.name),
    }
}

/// Turns the wording of DataFusion's planner into Postgres's, where it is known.
fn plan_message(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("Invalid function '")
        && let Some((name, _)) = rest.split_once('\'')
    {
        return format!("function {name} does not exist");
    }
    if message.contains("queries have different number of columns") {
        let operation = message.split(' ').next().unwrap_or("UNION");
        return format!("each {operation} query must have the same number of columns");
    }
    if let Some((_, found)) = message.split_once("with non-boolean predicate")
        && let Some((_, found)) = found.rsplit_once(" returning ")
    {
        return format!("argument of WHERE must be type boolean, not type {}", sql_name(found));
    }
    if let Some((_, rest)) = message.split_once("Order by column out of bounds, specified: ")
        && let Some((position, _)) = rest.split_once(',')
    {
        return format!("ORDER BY position {position} is not in select list");
    }
    if message.contains("cannot be nested") {
        return "aggregate function calls cannot be nested".to_owned();
    }
    if message.contains("failed to match any signature")
        && let Some((_, rest)) = message.split_once("Function '")
        && let Some((name, _)) = rest.split_once('\'')
    {
        return format!("function {name} does not exist for arguments of these types");
    }
    if message.contains("in an aggregate with DISTINCT, ORDER BY") {
        return lower_first(message);
    }
    if let Some((_, rest)) = message.split_once("No function matches the given name and argument")
        && let Some((name, _)) = rest.split_once('\'').and_then(|(_, rest)| rest.split_once('('))
    {
        return format!("function {name} does not exist for arguments of these types");
    }
    if message.contains("aggregate function calls")
        || message.contains("ggregate functions are not")
    {
        return "aggregate functions are not allowed in WHERE".to_owned();
    }
    const UNGROUPED: &str = "\" must appear in the GROUP BY clause";
    if let Some((before, _)) = message.split_once(UNGROUPED)
        && let Some((_, column)) = before.rsplit_once('"')
    {
        return format!(
            "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate \
             function"
        );
    }
    lower_first(first_line(message).trim_end_matches('.'))
}

/// The SQL name of a type that DataFusion's text names.
fn sql_name(arrow: &str) -> String {
    match arrow.parse::<arrow::datatypes::DataType>() {
        Ok(data_type) => sql::types::pg_type_name(&data_type),
        Err(_) => arrow.to_owned(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().collect::<String>() + chars.as_str(),
        None => String::new(),
    }
}

fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        other => other,
    }
}

impl Classify for Error {
    fn sqlstate(&self) -> SqlState {
        match self {
            Error::Sql(error) => error.sqlstate(),
            Error::UndefinedRelation { .. } => SqlState::UNDEFINED_TABLE,
            Error::Unsupported { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            Error::Windowing { .. } => SqlState::WINDOWING_ERROR,
            Error::Invalid { sqlstate, .. } => *sqlstate,
            Error::DataFusion(error) => match own(error) {
                Some(own) => own.sqlstate(),
                None => data_fusion_state(error),
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Sql(error) => error.hint(),
            Error::UndefinedRelation { .. } => None,
            Error::Unsupported { hint, .. } | Error::Windowing { hint, .. } => Some(hint.clone()),
            Error::Invalid { hint, .. } => hint.clone(),
            Error::DataFusion(error) => match own(error) {
                Some(own) => own.hint(),
                None => data_fusion_hint(error),
            },
        }
    }

    fn detail(&self) -> Option<String> {
        None
    }

    fn location(&self) -> Option<Location> {
        match self {
            Error::Sql(error) => error.location(),
            Error::UndefinedRelation { .. }
            | Error::Unsupported { .. }
            | Error::Windowing { .. }
            | Error::Invalid { .. } => None,
            Error::DataFusion(error) => {
                let start = error.diagnostic()?.span?.start;
                Some(Location { line: start.line, column: start.column })
            }
        }
    }
}

/// The code of a DataFusion error. Its planner tells most user errors apart only by their text, so
/// this is
/// the one place that looks at it.
pub fn data_fusion_state(error: &DataFusionError) -> SqlState {
    if let Some(of_function) = functions::Error::within(error) {
        return of_function.sqlstate;
    }
    match root(error) {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { .. } => SqlState::UNDEFINED_COLUMN,
            SchemaError::AmbiguousReference { .. } => SqlState::AMBIGUOUS_COLUMN,
            SchemaError::DuplicateQualifiedField { .. }
            | SchemaError::DuplicateUnqualifiedField { .. } => SqlState::DUPLICATE_COLUMN,
        },
        DataFusionError::NotImplemented(_) => SqlState::FEATURE_NOT_SUPPORTED,
        DataFusionError::SQL(..) => SqlState::SYNTAX_ERROR,
        DataFusionError::Plan(message) => plan_state(message),
        DataFusionError::Internal(message) if message.contains("failed to match any signature") => {
            SqlState::UNDEFINED_FUNCTION
        }
        DataFusionError::ResourcesExhausted(_) => SqlState::OUT_OF_MEMORY,
        DataFusionError::IoError(_) => SqlState::IO_ERROR,
        DataFusionError::Execution(message) if message.contains("ORDER BY expressions must") => {
            SqlState("42P10")
        }
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => {
            value_state(&error.to_string())
        }
        _ => SqlState::INTERNAL_ERROR,
    }
}

fn plan_state(message: &str) -> SqlState {
    let has = |text: &str| message.contains(text);
    if has("Invalid function")
        || has("failed to match any signature")
        || has("Cannot coerce arithmetic")
        || has("No function matches")
    {
        SqlState::UNDEFINED_FUNCTION
    } else if has("not found") && has("table") {
        SqlState::UNDEFINED_TABLE
    } else if has("different number of columns") {
        SqlState::SYNTAX_ERROR
    } else if has("cannot be nested") {
        SqlState::GROUPING_ERROR
    } else if has("Order by column out of bounds") || has("ORDER BY expressions must appear") {
        SqlState("42P10")
    } else if has("ggregate functions are not")
        || has("GROUP BY")
        || has("aggregate function calls")
        || has("be resolved from available")
    {
        SqlState::GROUPING_ERROR
    } else if has("unique expression names") || has("specified more than once") {
        SqlState::DUPLICATE_COLUMN
    } else if has("Cannot coerce") || has("Cannot infer common") {
        SqlState::DATATYPE_MISMATCH
    } else if has("Cannot cast") || has("Unsupported CAST") {
        SqlState::CANNOT_COERCE
    } else {
        SqlState::DATATYPE_MISMATCH
    }
}

/// The code of a failure to compute a value.
pub fn value_state(message: &str) -> SqlState {
    let lower = message.to_lowercase();
    let has = |text: &str| lower.contains(text);
    if has("divide by zero") || has("division by zero") {
        SqlState::DIVISION_BY_ZERO
    } else if has("overflow") || has("out of range") || has("can't cast value") {
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE
    } else if has("timestamp") || has("date") || has("type interval") {
        SqlState::INVALID_DATETIME_FORMAT
    } else if has("cast") || has("parse") || has("invalid") || has("malformed") {
        SqlState::INVALID_TEXT_REPRESENTATION
    } else {
        SqlState::INTERNAL_ERROR
    }
}

fn data_fusion_hint(error: &DataFusionError) -> Option<String> {
    match root(error) {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { valid_fields, field } => {
                let near = valid_fields.iter().find(|valid| {
                    valid.name.eq_ignore_ascii_case(&field.name)
                        || valid.name.to_lowercase().starts_with(&field.name.to_lowercase())
                })?;
                Some(format!("Perhaps you meant to reference the column {}.", column_name(near)))
            }
            SchemaError::AmbiguousReference { .. }
            | SchemaError::DuplicateQualifiedField { .. }
            | SchemaError::DuplicateUnqualifiedField { .. } => None,
        },
        DataFusionError::Plan(message) => {
            let rest = message.split_once("Did you mean '")?.1;
            let name = rest.split_once('\'')?.0;
            Some(format!("Perhaps you meant the function {name}."))
        }
        _ => None,
    }
}
