//! SUBSCRIBE as the parser hands it on.

use sqlparser::ast;

use super::statement::Query;

/// `SUBSCRIBE`.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// What is followed; a name is `SELECT * FROM name`.
    pub query: Query,
    /// Whether the content at the start comes first (default true).
    pub snapshot: bool,
    /// Whether progress lines are sent (default false).
    pub progress: bool,
    /// `AS OF`: a constant time.
    pub as_of: Option<ast::Expr>,
    /// `UP TO`: a constant time.
    pub up_to: Option<ast::Expr>,
    /// The key of `ENVELOPE UPSERT`; `None` is `ENVELOPE DIFF`.
    pub upsert_key: Option<Vec<ast::Ident>>,
}

impl Subscribe {
    /// A query's content and then its changes.
    pub fn new(query: Query) -> Self {
        let (as_of, up_to, upsert_key) = (None, None, None);
        Self { query, snapshot: true, progress: false, as_of, up_to, upsert_key }
    }
}
