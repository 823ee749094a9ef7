//! Why a query cannot be planned.

use std::borrow::Cow;

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

use super::wording::{type_name, wording};
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
    /// An error that DataFusion does not place, with its place.
    #[error("{error}")]
    At {
        /// What is wrong.
        error: Box<Error>,
        /// Where.
        location: Location,
    },
    /// DataFusion's word on the query.
    #[error("{}", data_fusion_message(.0))]
    DataFusion(DataFusionError),
}

impl Error {
    /// The name that is not known, if that is what is wrong: of a column or of a relation.
    pub fn unknown_name(&self) -> Option<&str> {
        match self {
            Error::UndefinedRelation { name } => Some(name),
            Error::DataFusion(error) => match (own(error), root(error)) {
                (Some(own), _) => own.unknown_name(),
                (None, DataFusionError::SchemaError(schema, _)) => match schema.as_ref() {
                    SchemaError::FieldNotFound { field, .. } => Some(&field.name),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }
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

/// What is said where there is no room for what a query that runs once has to hold.
const NO_ROOM: &str = "out of memory: queries that run once would hold more than they may";

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
            if let Some(wording) = wording(message) {
                return wording.message;
            }
            let what = message.trim_end_matches(" yet").trim_end_matches(" is not supported");
            format!("{what} is not supported")
        }
        DataFusionError::ArrowError(arrow, _) => arrow_message(&arrow.to_string()),
        DataFusionError::ResourcesExhausted(_) => NO_ROOM.to_owned(),
        other => first_line(&other.strip_backtrace()).to_owned(),
    }
}

fn arrow_message(message: &str) -> String {
    let text = message.split_once(": ").map_or(message, |(_, rest)| rest);
    if let Some(wording) = wording(message) {
        return wording.message;
    }
    if message.starts_with("Divide by zero") {
        return "division by zero".to_owned();
    }
    if let Some(message) = range_message(message) {
        return message;
    }
    cast_message(text).unwrap_or_else(|| lower_first(first_line(text)))
}

/// A number that its type does not hold, in Postgres's words.
fn range_message(message: &str) -> Option<String> {
    let data_type = if let Some((_, rest)) = message.split_once("Can't cast value ") {
        rest.split_once(" to type ")?.1
    } else if let Some((_, rest)) = message.split_once(" is out of range ") {
        rest
    } else if let Some((before, _)) = message.split_once("Array overflow on ") {
        before.rsplit(' ').next()?
    } else {
        return None;
    };
    Some(format!("{} out of range", type_name(data_type.trim())))
}

/// `Cannot cast string 'x' to value of Int64 type` in Postgres's words.
fn cast_message(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("annot cast ")?;
    let (_, rest) = rest.split_once('\'')?;
    let (value, rest) = rest.split_once("' to value of ")?;
    let (data_type, _) = rest.split_once(" type")?;
    Some(format!("invalid input syntax for type {}: \"{value}\"", type_name(data_type)))
}

fn schema_message(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            match missing_table(field, valid_fields) {
                Some(table) => format!("missing FROM-clause entry for table \"{table}\""),
                None => format!("column {} does not exist", column_name(field)),
            }
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

/// The table that qualifies a column and is not there.
fn missing_table<'a>(field: &'a Column, valid: &[Column]) -> Option<&'a str> {
    let table = field.relation.as_ref()?.table();
    let known = |column: &Column| column.relation.as_ref().is_some_and(|r| r.table() == table);
    // Without any table there is nothing to compare with.
    let qualified = valid.iter().any(|column| column.relation.is_some());
    (qualified && !valid.iter().any(known)).then_some(table)
}

/// The text of an error that says what the user did wrong.
fn spoken(error: &DataFusionError) -> Option<Cow<'_, str>> {
    match error {
        DataFusionError::Plan(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Internal(message)
        | DataFusionError::NotImplemented(message) => Some(message.into()),
        DataFusionError::ArrowError(arrow, _) => Some(arrow.to_string().into()),
        _ => None,
    }
}

fn column_name(column: &Column) -> String {
    match &column.relation {
        Some(relation) => format!("{}.{}", relation.table(), column.name),
        None => format!("\"{}\"", column.name),
    }
}

/// Turns the wording of DataFusion's planner into Postgres's, where it is known.
fn plan_message(message: &str) -> String {
    if let Some(wording) = wording(message) {
        return wording.message;
    }
    if let Some(rest) = message.strip_prefix("Invalid function '")
        && let Some((name, _)) = rest.split_once('\'')
    {
        return format!("function {name} does not exist");
    }
    if message.contains("cannot be nested") {
        return "aggregate function calls cannot be nested".to_owned();
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

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // A key word stays as it is.
        Some(_) if chars.clone().next().is_some_and(char::is_uppercase) => text.to_owned(),
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
            Error::At { error, .. } => error.sqlstate(),
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
            Error::At { error, .. } => error.hint(),
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
            Error::At { location, .. } => Some(*location),
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
    let root = root(error);
    if let Some(wording) = spoken(root).and_then(|text| wording(&text)) {
        return wording.code;
    }
    match root {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                match missing_table(field, valid_fields) {
                    Some(_) => SqlState::UNDEFINED_TABLE,
                    None => SqlState::UNDEFINED_COLUMN,
                }
            }
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
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => {
            value_state(&error.to_string())
        }
        _ => SqlState::INTERNAL_ERROR,
    }
}

fn plan_state(message: &str) -> SqlState {
    let has = |text: &str| message.contains(text);
    if has("Invalid function") || has("failed to match any signature") {
        SqlState::UNDEFINED_FUNCTION
    } else if has("not found") && has("table") {
        SqlState::UNDEFINED_TABLE
    } else if has("different number of columns") {
        SqlState::SYNTAX_ERROR
    } else if has("cannot be nested") {
        SqlState::GROUPING_ERROR
    } else if has("exactly one ORDER BY column") {
        SqlState::WINDOWING_ERROR
    } else if has("WITH TIES cannot be specified") {
        SqlState::SYNTAX_ERROR
    } else if has("Order by column out of bounds") || has("DISTINCT ON expressions must match") {
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
    } else if ["overflow", "out of range", "can't cast value", "to store in"].into_iter().any(has) {
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
                if missing_table(field, valid_fields).is_some() {
                    return None;
                }
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
            let Some((_, rest)) = message.split_once("Did you mean '") else {
                return wording(message)?.hint;
            };
            let meant = rest.split_once('\'')?.0;
            let written = message.strip_prefix("Invalid function '")?.split_once('\'')?.0;
            // DataFusion names the nearest one, however far it is.
            let near = meant.len().abs_diff(written.len()) <= 2
                && meant.get(..2).is_some_and(|start| written.starts_with(start));
            near.then(|| format!("Perhaps you meant the function {meant}."))
        }
        DataFusionError::ResourcesExhausted(_) => {
            Some("Read less at a time, or start the server with a greater memory_limit.".into())
        }
        other => wording(&spoken(other)?)?.hint,
    }
}
