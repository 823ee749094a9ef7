//! Names: how they fold, and which the system keeps for itself.

use sqlparser::ast;

/// Returns the name as the catalog knows it: in lower case unless it was quoted.
pub fn fold(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// What a session calls the schema of its temporary objects; the schema's own name begins so.
pub const TEMPORARY: &str = "pg_temp";

/// Returns the parts of a qualified name, folded.
pub fn fold_parts(name: &ast::ObjectName) -> Vec<String> {
    name.0.iter().map(|part| part.as_ident().map_or_else(|| part.to_string(), fold)).collect()
}

/// Returns the name as SQL text, quoted if without quotes it would be another name or no name.
pub fn quote(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED_WORDS.contains(&name)
        && !AMBIGUOUS_WORDS.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Returns whether the system keeps a name for itself, be it of a schema, a relation or a column:
/// Postgres's catalogs (`pg_`), what SUBSCRIBE adds (`hw_`), what the parser rewrites to (`cql_`)
/// and the hidden columns of changes (`$`).
pub fn is_reserved(name: &str) -> bool {
    ["pg_", "hw_", "cql_", "$"].iter().any(|prefix| name.starts_with(prefix))
}

/// Words that Postgres reserves: they name something only in quotes.
const RESERVED_WORDS: [&str; 62] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "default",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "intersect",
    "into",
    "leading",
    "limit",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "some",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "when",
    "where",
    "window",
    "with",
];

/// Words that may name a function, a type or an output column, and in other places need quotes.
const AMBIGUOUS_WORDS: [&str; 37] = [
    "asymmetric",
    "authorization",
    "between",
    "binary",
    "collation",
    "concurrently",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "deferrable",
    "freeze",
    "full",
    "ilike",
    "initially",
    "inner",
    "is",
    "isnull",
    "join",
    "lateral",
    "left",
    "like",
    "localtime",
    "localtimestamp",
    "natural",
    "notnull",
    "outer",
    "overlaps",
    "right",
    "session_user",
    "similar",
    "symmetric",
    "tablesample",
];

/// Returns whether an identifier is a reserved word without quotes.
pub fn is_reserved_word(ident: &ast::Ident) -> bool {
    ident.quote_style.is_none()
        && RESERVED_WORDS.contains(&ident.value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unquoted_names_fold() {
        assert_eq!(fold(&ast::Ident::new("BiD")), "bid");
        assert_eq!(fold(&ast::Ident::with_quote('"', "BiD")), "BiD");
    }

    #[test]
    fn names_that_would_change_are_quoted() {
        assert_eq!(quote("bid_1"), "bid_1");
        assert_eq!(quote("1a"), "\"1a\"");
        assert_eq!(quote("$user"), "\"$user\"");
        assert_eq!(quote("a\"B"), "\"a\"\"B\"");
        assert_eq!((quote("order"), quote("left")), ("\"order\"".into(), "\"left\"".into()));
    }

    #[test]
    fn system_prefixes_are_reserved() {
        assert!(is_reserved("pg_class") && is_reserved("hw_time") && is_reserved("$weight"));
        assert!(!is_reserved("page"));
    }
}
