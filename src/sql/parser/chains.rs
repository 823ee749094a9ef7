//! Bounds how long a chain of operators may be.
//!
//! # Why
//! `a OR b OR c ..` is a tree as deep as it is long. sqlparser and DataFusion grow the stack when they
//! walk such a tree, but when it is freed, the stack is what the thread has: some ten thousand operators
//! would end the whole server. Parentheses need no bound here; sqlparser has one of its own.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::script::keyword;
use crate::sql::{Error, Result};

/// The longest chain. Freeing one of 20000 still fits into a stack of 2 MiB without optimization;
/// plans are about four times as big.
const OPERATORS_MAX: usize = 4_000;

/// Operators within one pair of parentheses, as far as they may nest.
#[derive(Clone, Copy, Default)]
struct Chain {
    /// Operators since the last comma or clause.
    operators: usize,
    /// UNION, EXCEPT, INTERSECT.
    set_operators: usize,
}

/// Requires that no chain of operators is longer than the bound.
pub fn check_chains(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut outer: Vec<Chain> = Vec::new();
    let mut chain = Chain::default();
    for token in tokens {
        match &token.token {
            Token::LParen => outer.push(std::mem::take(&mut chain)),
            // An array type nests with every pair of brackets.
            Token::LBracket => {
                chain.operators += 1;
                outer.push(std::mem::take(&mut chain));
            }
            Token::RParen | Token::RBracket => chain = outer.pop().unwrap_or_default(),
            Token::SemiColon => chain = Chain::default(),
            Token::Comma => chain.operators = 0,
            Token::Word(_) => word(keyword(&token.token), &mut chain),
            Token::Number(..) | Token::Placeholder(_) | Token::Period | Token::EOF => {}
            token if token_is_text(token) => {}
            _ => chain.operators += 1,
        }
        if chain.operators.max(chain.set_operators) > OPERATORS_MAX {
            return Err(Error::TooComplex);
        }
    }
    Ok(())
}

fn word(keyword: Keyword, chain: &mut Chain) {
    match keyword {
        Keyword::AND
        | Keyword::OR
        | Keyword::IS
        | Keyword::NOTNULL
        | Keyword::COLLATE
        | Keyword::AT
        | Keyword::IN
        | Keyword::LIKE
        | Keyword::ILIKE
        | Keyword::SIMILAR
        | Keyword::BETWEEN
        | Keyword::OPERATOR
        | Keyword::OVERLAPS => chain.operators += 1,
        Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => chain.set_operators += 1,
        Keyword::SELECT
        | Keyword::FROM
        | Keyword::WHERE
        | Keyword::GROUP
        | Keyword::HAVING
        | Keyword::ORDER
        | Keyword::JOIN
        | Keyword::ON
        | Keyword::WHEN
        | Keyword::THEN
        | Keyword::ELSE => chain.operators = 0,
        _ => {}
    }
}

fn token_is_text(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
    )
}
