//! What DataFusion's planner says, in Postgres's words and with its codes.
//!
//! # Why
//! It tells most user errors apart only by their text, so there is one place that looks at it.

use crate::error::SqlState;
use crate::sql;

/// Says what no function or operator has: these types.
const CAST_HINT: &str = "matches the given name and argument types. You might need to add explicit \
                         type casts.";

/// An error in Postgres's words.
pub(super) struct Wording {
    /// Its code.
    pub code: SqlState,
    /// Its message.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

fn plain(code: SqlState, message: impl Into<String>) -> Option<Wording> {
    Some(Wording { code, message: message.into(), hint: None })
}

/// Finds Postgres's words for a message of the planner or of a function.
pub(super) fn wording(message: &str) -> Option<Wording> {
    call(message)
        .or_else(|| operator(message))
        .or_else(|| boolean(message))
        .or_else(|| clause(message))
        .or_else(|| value(message))
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// A function that has no form for its arguments.
fn call(message: &str) -> Option<Wording> {
    let call = between(message, "argument types '", "'.")?;
    let (name, types) = call.split_once('(')?;
    let types = split(types.strip_suffix(')')?).into_iter().map(type_name);
    let types = types.collect::<Vec<_>>().join(", ");
    Some(Wording {
        code: SqlState::UNDEFINED_FUNCTION,
        message: format!("function {name}({types}) does not exist"),
        hint: Some(format!("No function {CAST_HINT}")),
    })
}

/// An operator that has no form for its operands.
fn operator(message: &str) -> Option<Wording> {
    let (left, operator, right) = if let Some(operands) =
        between(message, "Cannot coerce arithmetic expression ", " to valid types")
    {
        operands_of(operands)?
    } else if let Some((_, operands)) =
        message.split_once("argument type for comparison operation ")
    {
        operands_of(operands.lines().next()?)?
    } else {
        let (left, right) =
            between(message, "common type to coerce ", " in LIKE")?.split_once(" and ")?;
        (left, "~~", right)
    };
    Some(Wording {
        code: SqlState::UNDEFINED_FUNCTION,
        message: format!(
            "operator does not exist: {} {operator} {}",
            type_name(left),
            type_name(right)
        ),
        hint: Some(format!("No operator {CAST_HINT}")),
    })
}

/// Something else where a truth value is needed.
fn boolean(message: &str) -> Option<Wording> {
    let (clause, found) = if let Some((_, operands)) =
        message.split_once("argument type for logical boolean operation ")
    {
        let (left, operator, right) = operands_of(operands.lines().next()?)?;
        (operator, if left == "Boolean" { right } else { left })
    } else if let Some((_, found)) = message.split_once("requires a boolean expression, got ") {
        ("NOT", found)
    } else if let Some((_, found)) = message.split_once("ondition must be boolean type, but got ") {
        ("JOIN/ON", found)
    } else {
        let (_, found) = message.split_once("with non-boolean predicate")?;
        ("WHERE", found.rsplit_once(" returning ")?.1)
    };
    let found = type_name(found.lines().next()?.trim_end_matches('.'));
    plain(
        SqlState::DATATYPE_MISMATCH,
        format!("argument of {clause} must be type boolean, not type {found}"),
    )
}

/// A clause that cannot be as it is.
fn clause(message: &str) -> Option<Wording> {
    let has = |text: &str| message.contains(text);
    let (reference, syntax) = (SqlState::INVALID_COLUMN_REFERENCE, SqlState::SYNTAX_ERROR);
    if has("Order by index starts at 1") {
        return plain(reference, "ORDER BY position 0 is not in select list");
    }
    if let Some(position) = between(message, "Order by column out of bounds, specified: ", ",") {
        return plain(reference, format!("ORDER BY position {position} is not in select list"));
    }
    if let Some(position) = between(message, "Cannot find column with position ", " in SELECT") {
        return plain(reference, format!("GROUP BY position {position} is not in select list"));
    }
    if has("For SELECT DISTINCT, ORDER BY expressions") {
        let text = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
        return plain(reference, text);
    }
    if has("n an aggregate with DISTINCT, ORDER BY") {
        let text =
            "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
        return plain(reference, text);
    }
    if has("start bound cannot be UNBOUNDED FOLLOWING") {
        return plain(SqlState::WINDOWING_ERROR, "frame start cannot be UNBOUNDED FOLLOWING");
    }
    if has("end bound cannot be UNBOUNDED PRECEDING") {
        return plain(SqlState::WINDOWING_ERROR, "frame end cannot be UNBOUNDED PRECEDING");
    }
    if has("LIMIT must be >=") {
        return plain(SqlState("2201W"), "LIMIT must not be negative");
    }
    if has("OFFSET must be >=") {
        return plain(SqlState("2201X"), "OFFSET must not be negative");
    }
    if has("subquery should only return one column") {
        return plain(syntax, "subquery must return only one column");
    }
    if has("queries have different number of columns") {
        let operation = message.split(' ').next().unwrap_or("UNION");
        let text = format!("each {operation} query must have the same number of columns");
        return plain(syntax, text);
    }
    if has("Inconsistent data length across values list") {
        return plain(syntax, "VALUES lists must all be the same length");
    }
    if let Some((_, table)) = message.split_once("Invalid qualifier ") {
        let table = table.lines().next()?;
        let text = format!("missing FROM-clause entry for table \"{table}\"");
        return plain(SqlState::UNDEFINED_TABLE, text);
    }
    if has("does not support logical expression WindowFunction") {
        let text = "window functions are not allowed in WHERE";
        return plain(SqlState::WINDOWING_ERROR, text);
    }
    None
}

/// A value that a function does not take.
fn value(message: &str) -> Option<Wording> {
    let has = |text: &str| message.contains(text);
    if has("calar subquery returned more than one row") {
        let text = "more than one row returned by a subquery used as an expression";
        return plain(SqlState("21000"), text);
    }
    if has("annot take square root of a negative number") {
        return plain(SqlState("2201F"), "cannot take square root of a negative number");
    }
    for what in ["zero", "a negative number"] {
        let text = format!("cannot take logarithm of {what}");
        if has(&text) {
            return plain(SqlState("2201E"), text);
        }
    }
    if has("negative count not allowed") {
        return plain(SqlState("22011"), "negative substring length not allowed");
    }
    let unit = between(message, "Date part '", "' not supported")
        .or_else(|| between(message, "date_trunc granularity: '", "'"))?;
    plain(SqlState::INVALID_PARAMETER_VALUE, format!("unit \"{unit}\" not recognized"))
}

/// Splits `Int64 + Utf8`.
fn operands_of(text: &str) -> Option<(&str, &str, &str)> {
    const OPERATORS: [&str; 18] = [
        "IS NOT DISTINCT FROM",
        "IS DISTINCT FROM",
        "AND",
        "OR",
        "<=",
        ">=",
        "!=",
        "<>",
        "||",
        "=",
        "<",
        ">",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
    ];
    OPERATORS.iter().find_map(|operator| {
        let (left, right) = text.split_once(&format!(" {operator} "))?;
        Some((left, if *operator == "!=" { "<>" } else { *operator }, right))
    })
}

/// Splits at commas outside of parentheses.
fn split(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(list[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The SQL name of a type that DataFusion's text names.
pub(super) fn type_name(arrow: &str) -> String {
    match arrow.trim().parse::<arrow::datatypes::DataType>() {
        Ok(data_type) => sql::types::pg_type_name(&data_type),
        Err(_) => arrow.trim().replace("Timestamp(µs)", "timestamp without time zone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, code: &str, expected: &str) {
        let wording = wording(message).unwrap_or_else(|| panic!("no words for: {message}"));
        assert_eq!((wording.code.0, wording.message.as_str()), (code, expected));
    }

    #[test]
    fn missing_functions_and_operators_name_their_types() {
        check(
            "Function 'lower' expects 1 arguments but received 2. No function matches the given \
             name and argument types 'lower(Int64, Decimal128(10, 2))'. You might need to add \
             explicit type casts.",
            "42883",
            "function lower(bigint, numeric(10,2)) does not exist",
        );
        check(
            "Cannot coerce arithmetic expression Utf8 + Int64 to valid types",
            "42883",
            "operator does not exist: text + bigint",
        );
        check(
            "Cannot infer common argument type for comparison operation Int32 = Boolean",
            "42883",
            "operator does not exist: integer = boolean",
        );
    }

    #[test]
    fn what_is_no_truth_value_is_named() {
        check(
            "Cannot infer common argument type for logical boolean operation Boolean AND Int64",
            "42804",
            "argument of AND must be type boolean, not type bigint",
        );
    }

    #[test]
    fn words_of_others_stay() {
        assert!(wording("something went wrong").is_none());
    }
}
