//! Recognizes ISTREAM, DSTREAM and RSTREAM, which turn a relation into a stream.
//!
//! # Semantics
//! ```text
//! ISTREAM (query)               statement, or wherever a subquery may stand
//! SELECT ISTREAM a, b ..        before the select list
//! SELECT ISTREAM (a, b AS c) .. around the whole select list, as in the CQL paper
//! ```
//!
//! # Why
//! sqlparser reads `SELECT ISTREAM a FROM s` as a column `istream` with alias `a`, and
//! `SELECT RSTREAM * FROM s` as a product. So this is decided before it sees the text. The words
//! stay usable as names: `SELECT istream, ..`, `SELECT istream AS x`, `SELECT s.istream`.

use sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::script::is_word;

/// Returns the operator's name if the next token is one of the three operators, not a name.
pub fn relation_to_stream(reader: &Reader<'_>, previous: Option<&Token>) -> Option<&'static str> {
    let operator =
        ["ISTREAM", "DSTREAM", "RSTREAM"].into_iter().find(|word| reader.sees(&[word]))?;
    let found = match previous {
        None => reader.peek(1) == &Token::LParen,
        Some(Token::Period) => false,
        Some(word) if ["SELECT", "DISTINCT", "ALL"].iter().any(|w| is_word(word, w)) => {
            stands_before_select_list(reader)
        }
        Some(_) => stands_before_subquery(reader),
    };
    found.then_some(operator)
}

/// Returns whether what follows the word is a select list, not the rest of an expression over a
/// column of that name.
fn stands_before_select_list(reader: &Reader<'_>) -> bool {
    match reader.peek(1) {
        Token::Word(word) if word.quote_style.is_some() => true,
        Token::Word(_) => !continues_an_expression(reader),
        // `RSTREAM * FROM s` is a list; `rstream * 2` is a product.
        Token::Mul => match reader.peek(2) {
            Token::EOF | Token::Comma | Token::RParen => true,
            after => ["FROM", "WHERE", "UNION", "EXCEPT", "INTERSECT", "ORDER", "LIMIT"]
                .iter()
                .any(|word| is_word(after, word)),
        },
        Token::LParen
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_) => true,
        _ => false,
    }
}

/// Returns whether the second word from here can follow a column: an operator or the next clause.
fn continues_an_expression(reader: &Reader<'_>) -> bool {
    const CONTINUATIONS: [&str; 29] = [
        "AS",
        "FROM",
        "WHERE",
        "GROUP",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "FETCH",
        "FOR",
        "WINDOW",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "INTO",
        "AND",
        "OR",
        "IS",
        "ISNULL",
        "NOTNULL",
        "IN",
        "LIKE",
        "ILIKE",
        "SIMILAR",
        "BETWEEN",
        "COLLATE",
        "AT",
        "OPERATOR",
        "OVERLAPS",
    ];
    let next = reader.peek(1);
    let negated = is_word(next, "NOT")
        && ["IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN"].iter().any(|w| is_word(reader.peek(2), w));
    negated || CONTINUATIONS.iter().any(|word| is_word(next, word))
}

/// Returns whether a query in parentheses follows the word.
fn stands_before_subquery(reader: &Reader<'_>) -> bool {
    let queries = ["SELECT", "WITH", "VALUES", "TABLE"];
    reader.peek(1) == &Token::LParen && queries.iter().any(|word| is_word(reader.peek(2), word))
}
