//! Where the pre-pass is in the nesting of a text: one frame per open parenthesis or bracket.

use sqlparser::tokenizer::{Location, TokenWithSpan};

use super::asof::Pick;
use crate::sql::derived::ToStream;

/// An open parenthesis or bracket.
pub struct Frame {
    /// What opened it.
    pub opened: Opened,
    /// Where in its query it is.
    pub clause: Clause,
    /// The join that picks, if one is being read.
    pub pick: Option<Pick>,
    /// Whether a FROM here starts a list of relations, as in SELECT, and not a part of
    /// `EXTRACT(..)`.
    pub reads: bool,
    /// Whether a WITH has begun, and the query behind its list has not.
    pub names_queries: bool,
    /// Whether what is in parentheses is a query, not a nested join.
    pub is_query: bool,
    /// Where the SELECT begins that the frame is in.
    pub select: Location,
    /// The number in `selects` of that SELECT, if it has an operator.
    pub marked: Option<usize>,
    /// Joins whose conditions have not come yet, outermost first.
    pub joins: Vec<OpenJoin>,
}

/// A join whose condition has not come yet.
pub struct OpenJoin {
    /// Where its right side starts in the output.
    pub right: usize,
    /// Whether another join has begun since.
    pub nested: bool,
}

/// What opened a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// An expression, a list, a subquery in an expression.
    Other,
    /// A parenthesis where a relation is wanted, at this place of the output.
    Relation(usize),
    /// The arguments of a window table function.
    WindowTableFunction,
    /// `TABLE (`, left out together with its end.
    LeftOut,
    /// The list of `SELECT ISTREAM (list)`, of which the parentheses are left out.
    List,
    /// The query of `ISTREAM (query)`.
    Stream(ToStream),
    /// As `Stream`, in FROM, where the rewritten relation starts at this place of the output.
    StreamInFrom(ToStream, usize),
}

/// Where in its query a frame is.
#[derive(Clone)]
pub enum Clause {
    /// Outside of FROM.
    Other,
    /// A relation comes next.
    WantRelation,
    /// Right behind a relation, which starts at this place of the output; its name, if it has one.
    Relation { start: usize, name: Option<TokenWithSpan> },
    /// Behind a relation's window or alias.
    Named,
    /// In a join condition.
    Condition,
}

impl Frame {
    /// A frame that is opened in a clause.
    pub fn new(opened: Opened, clause: Clause) -> Self {
        let select = Location::empty();
        let (reads, names_queries, is_query) = (false, false, false);
        let (pick, marked, joins) = (None, None, Vec::new());
        Self { opened, clause, pick, reads, names_queries, is_query, select, marked, joins }
    }
}
