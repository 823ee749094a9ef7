//! The SQL dialect: Postgres as sqlparser knows it.
//!
//! # Why
//! sqlparser asks a dialect object what it may accept. A wrapper leaves room for what StreamSQL
//! needs beyond Postgres; the parts that no hook exists for are rewritten before parsing
//! (`prepass.rs`). `supports_table_versioning` stays off: it would take the aliases `at`, `before`
//! and `changes` away from every table, and `FOR SYSTEM_TIME AS OF` is recognized by the pre-pass.
//! `supports_named_fn_args_with_expr_name` (`json_object('key': value)`) is off: for it, sqlparser
//! reads every argument twice, so that twenty nested calls take it seconds and forty for ever.
//!
//! # Invariants
//! 1. Every other method that `PostgreSqlDialect` overrides is forwarded; a forgotten one would
//!    silently lose Postgres syntax. The tests parse a corpus under both dialects and compare.

use std::any::TypeId;

use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

/// The dialect all text is parsed in.
#[derive(Debug, Default)]
pub struct StreamSql;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

macro_rules! like_postgres {
    ($($flag:ident)*) => { $(fn $flag(&self) -> bool { POSTGRES.$flag() })* };
}

impl Dialect for StreamSql {
    /// Keeps sqlparser's own checks for Postgres true.
    fn dialect(&self) -> TypeId {
        POSTGRES.dialect()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    /// `INSERT .. SELECT 1 ON CONFLICT ..`: ON is no alias.
    fn is_column_alias(&self, keyword: &Keyword, parser: &mut Parser) -> bool {
        *keyword != Keyword::ON && POSTGRES.is_column_alias(keyword, parser)
    }

    /// `FROM t |> WHERE x`, which DataFusion plans.
    fn supports_pipe_operator(&self) -> bool {
        true
    }

    /// `SELECT * EXCEPT (a, b)`.
    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    like_postgres! {
        allow_extract_custom
        allow_extract_single_quotes
        supports_alter_column_type_using
        supports_array_typedef_with_brackets
        supports_bitwise_shift_operators
        supports_comma_separated_trim
        supports_comment_on
        supports_comment_optimizer_hint
        supports_create_index_with_clause
        supports_create_table_like_parenthesized
        supports_empty_projections
        supports_explain_with_utility_options
        supports_factorial_operator
        supports_filter_during_aggregation
        supports_geometric_types
        supports_group_by_expr
        supports_insert_table_alias
        supports_interval_options
        supports_listen_notify
        supports_load_extension
        supports_named_fn_args_with_colon_operator
        supports_nested_comments
        supports_notnull_operator
        supports_numeric_literal_underscores
        supports_select_wildcard_with_alias
        supports_set_names
        supports_string_escape_constant
        supports_unicode_string_literal
        supports_xml_expressions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One statement per syntax that hangs on a flag of the dialect.
    const POSTGRES_SYNTAX: &str = r#"
        SELECT count(*) FILTER (WHERE a > 1) FROM t
        SELECT extract(quarter FROM ts), extract('hour' FROM ts) FROM t
        SELECT a[1], (ARRAY[1, 2])[2], ARRAY[[1], [2]] FROM t
        SELECT CAST('{1}' AS int[]), '{1}'::bigint[] FROM t
        SELECT 5!, !!5, 1 << 2, 8 >> 1, 1 # 3, ~1, @ -5, |/ 4 FROM t
        SELECT a -> 'b' ->> 'c', d #> '{e}', a @> b, a ? 'k' FROM t
        SELECT E'a\nb', U&'\0041', $$x$$, 1_000 FROM t
        SELECT trim('a', 'b'), a NOTNULL, a IS NOT DISTINCT FROM b FROM t
        SELECT a COLLATE "C", b AT TIME ZONE 'UTC', a ~* 'x', a !~ 'y' FROM t
        SELECT FROM t
        SELECT t.* FROM t GROUP BY GROUPING SETS ((a), (b)), ROLLUP (c)
        SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC NULLS LAST LIMIT 5 OFFSET 2
        SELECT INTERVAL '1 day', INTERVAL '1' HOUR, INTERVAL 10 SECONDS
        SELECT at.x, before.y FROM a at JOIN b before ON true
        INSERT INTO t AS x (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a RETURNING *
        COMMENT ON TABLE t IS 'x'
        EXPLAIN (ANALYZE, VERBOSE) SELECT 1
        WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r
        SELECT "Q""x", ünïcode FROM "Ta ble" /* a /* nested */ comment */ -- end
        SELECT sum(x) OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
        SET NAMES 'utf8'
        LISTEN x
    "#;

    #[test]
    fn parses_all_that_the_postgres_dialect_parses() {
        for sql in POSTGRES_SYNTAX.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let theirs = Parser::parse_sql(&POSTGRES, sql);
            assert!(theirs.is_ok(), "{sql}: {theirs:?}");
            assert_eq!(Parser::parse_sql(&StreamSql, sql), theirs, "{sql}");
        }
    }
}
