//! Bounds how deep the tree of a text can become, and how long sqlparser can take over it.
//!
//! # Why
//! `a OR b OR c ..` is a tree as deep as it is long. sqlparser and DataFusion grow the stack when
//! they walk such a tree, but when it is freed, the stack is what the thread has: some ten thousand
//! operators would end the whole server. Parentheses need no bound here; sqlparser has one of its
//! own.
//!
//! Where `CAST (` and its like do not parse, sqlparser reads them again as a call of a function of
//! that name, and so on for each one within: the time doubles with each level, unless there is a
//! bound.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::script::keyword;
use crate::sql::{Error, Result};

/// The longest chain. Freeing one of 20000 still fits into a stack of 2 MiB without optimization;
/// plans are about four times as big.
const OPERATORS_MAX: usize = 4_000;

/// The longest chain between AND, OR and the like. For the type and name of an operation DataFusion
/// looks through all that it is made of, again and again: the time to plan it grows with the third
/// power of its length, and is about half a second here.
const OPERATIONS_MAX: usize = 500;

/// How often the time may double: 2^12 times some microseconds.
const DOUBLINGS_MAX: usize = 12;

/// How much stack recursive functions of sqlparser and DataFusion must find, else they grow it.
/// Their default of 128 KiB is less than one level of nested joins takes without optimization
/// (170 KiB).
const STACK_RESERVE: usize = 1 << 20;

/// One pair of parentheses or brackets.
#[derive(Clone, Copy, Default)]
struct Chain {
    /// Operators since the last comma or clause.
    operators: usize,
    /// Those of them since the last AND or OR.
    operations: usize,
    /// UNION, EXCEPT, INTERSECT.
    set_operators: usize,
    /// How often the time doubles for this pair and those around it.
    doublings: usize,
}

/// Requires that a text stays within the bounds, and makes sure of enough stack to parse it.
pub fn bound_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    recursive::set_minimum_stack_size(STACK_RESERVE);
    let mut outer: Vec<Chain> = Vec::new();
    let mut chain = Chain::default();
    let mut previous = Keyword::NoKeyword;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                // An array type nests with every pair of brackets.
                chain.operators += usize::from(token.token == Token::LBracket);
                outer.push(chain);
                let doublings = chain.doublings + doublings(previous);
                chain = Chain { doublings, ..Chain::default() };
            }
            Token::RParen | Token::RBracket => chain = outer.pop().unwrap_or_default(),
            Token::SemiColon => chain = Chain::default(),
            Token::Comma => (chain.operators, chain.operations) = (0, 0),
            Token::Word(_) => word(keyword(&token.token), &mut chain),
            Token::Number(..) | Token::Placeholder(_) | Token::Period | Token::EOF => {}
            token if token_is_text(token) => {}
            _ => {
                chain.operators += 1;
                chain.operations += 1;
            }
        }
        if chain.operators.max(chain.set_operators) > OPERATORS_MAX
            || chain.operations > OPERATIONS_MAX
            || chain.doublings > DOUBLINGS_MAX
        {
            return Err(Error::TooComplex);
        }
        previous = keyword(&token.token);
    }
    Ok(())
}

/// Returns how often the time doubles for what is in parentheses behind a word (measured).
fn doublings(word: Keyword) -> usize {
    match word {
        Keyword::POSITION => 2,
        Keyword::CAST
        | Keyword::TRY_CAST
        | Keyword::SAFE_CAST
        | Keyword::CONVERT
        | Keyword::TRY_CONVERT
        | Keyword::CEIL
        | Keyword::FLOOR
        | Keyword::SUBSTR
        | Keyword::SUBSTRING
        | Keyword::OVERLAY
        | Keyword::EXTRACT
        | Keyword::TRIM
        | Keyword::ARRAY => 1,
        _ => 0,
    }
}

fn word(keyword: Keyword, chain: &mut Chain) {
    match keyword {
        Keyword::AND | Keyword::OR => {
            chain.operators += 1;
            chain.operations = 0;
        }
        Keyword::IS
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
        | Keyword::ELSE => (chain.operators, chain.operations) = (0, 0),
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
