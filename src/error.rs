//! How errors look to a SQL client: SQLSTATE, detail, hint and position.
//!
//! Each floor has its own error enum; all of them implement [`Classify`], so that the wire needs no
//! knowledge of any of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};

/// A five-character SQLSTATE code of the SQL standard and Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SqlState(pub &'static str);

macro_rules! sql_states {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState { $($(#[$doc])* pub const $name: SqlState = SqlState($code);)* }
    };
}

sql_states! {
    /// Successful completion (notices).
    SUCCESS = "00000";
    /// A warning without a code of its own.
    WARNING = "01000";
    /// A feature that is not supported.
    FEATURE_NOT_SUPPORTED = "0A000";
    /// A subquery used as a value has more than one row.
    CARDINALITY_VIOLATION = "21000";
    /// A value that cannot be computed, for no reason with a code of its own.
    DATA_EXCEPTION = "22000";
    /// A text is longer than its type allows.
    STRING_TOO_LONG = "22001";
    /// A value does not fit its type.
    NUMERIC_VALUE_OUT_OF_RANGE = "22003";
    /// NULL where a value is needed.
    NULL_VALUE_NOT_ALLOWED = "22004";
    /// Malformed date or time.
    INVALID_DATETIME_FORMAT = "22007";
    /// A date or time out of range.
    DATETIME_FIELD_OVERFLOW = "22008";
    /// Division by zero.
    DIVISION_BY_ZERO = "22012";
    /// The argument of ntile is not positive.
    INVALID_NTILE = "22014";
    /// The argument of nth_value is not positive.
    INVALID_NTH_VALUE = "22016";
    /// Bytes that are no text in the client's encoding.
    CHARACTER_NOT_IN_REPERTOIRE = "22021";
    /// A parameter or option has a value it cannot have.
    INVALID_PARAMETER_VALUE = "22023";
    /// Text that is not a value of the type.
    INVALID_TEXT_REPRESENTATION = "22P02";
    /// COPY data that does not fit the format.
    BAD_COPY_FILE_FORMAT = "22P04";
    /// NULL in a NOT NULL column.
    NOT_NULL_VIOLATION = "23502";
    /// Duplicate key.
    UNIQUE_VIOLATION = "23505";
    /// A row refused by a stream's watermark policy (`LATE ERROR`).
    CHECK_VIOLATION = "23514";
    /// A statement that may not run inside a transaction.
    ACTIVE_SQL_TRANSACTION = "25001";
    /// A change in a transaction that may only read.
    READ_ONLY_SQL_TRANSACTION = "25006";
    /// COMMIT or ROLLBACK outside a transaction.
    NO_ACTIVE_SQL_TRANSACTION = "25P01";
    /// The transaction is aborted until its end.
    IN_FAILED_SQL_TRANSACTION = "25P02";
    /// Unknown prepared statement.
    UNDEFINED_PSTATEMENT = "26000";
    /// Wrong user.
    INVALID_AUTHORIZATION = "28000";
    /// Other objects depend on the dropped one.
    DEPENDENT_OBJECTS_STILL_EXIST = "2BP01";
    /// Unknown cursor.
    UNDEFINED_CURSOR = "34000";
    /// Unknown database.
    UNDEFINED_DATABASE = "3D000";
    /// Unknown schema.
    UNDEFINED_SCHEMA = "3F000";
    /// A row that was found has been replaced since.
    SERIALIZATION_FAILURE = "40001";
    /// Transactions that wait for each other.
    DEADLOCK_DETECTED = "40P01";
    /// Syntax error.
    SYNTAX_ERROR = "42601";
    /// A name that is taken by the system.
    RESERVED_NAME = "42939";
    /// Name longer than the limit.
    NAME_TOO_LONG = "42622";
    /// Duplicate column.
    DUPLICATE_COLUMN = "42701";
    /// Ambiguous column.
    AMBIGUOUS_COLUMN = "42702";
    /// Unknown column.
    UNDEFINED_COLUMN = "42703";
    /// Unknown object (type, setting).
    UNDEFINED_OBJECT = "42704";
    /// Function exists already.
    DUPLICATE_FUNCTION = "42723";
    /// More than one function fits.
    AMBIGUOUS_FUNCTION = "42725";
    /// A function that cannot be defined so.
    INVALID_FUNCTION_DEFINITION = "42P13";
    /// A recursive term that names its query where it may not.
    INVALID_RECURSION = "42P19";
    /// Column neither grouped nor aggregated.
    GROUPING_ERROR = "42803";
    /// Types that do not match.
    DATATYPE_MISMATCH = "42804";
    /// The object has another kind.
    WRONG_OBJECT_TYPE = "42809";
    /// A cast that does not exist.
    CANNOT_COERCE = "42846";
    /// Unknown function.
    UNDEFINED_FUNCTION = "42883";
    /// Unknown relation.
    UNDEFINED_TABLE = "42P01";
    /// Unknown parameter ($n).
    UNDEFINED_PARAMETER = "42P02";
    /// A position or expression that is not in the select list.
    INVALID_COLUMN_REFERENCE = "42P10";
    /// Cursor exists already.
    DUPLICATE_CURSOR = "42P03";
    /// Prepared statement exists already.
    DUPLICATE_PSTATEMENT = "42P05";
    /// Schema exists already.
    DUPLICATE_SCHEMA = "42P06";
    /// Relation exists already.
    DUPLICATE_TABLE = "42P07";
    /// A definition that does not fit the object that is there.
    INVALID_TABLE_DEFINITION = "42P16";
    /// An object definition that contradicts itself.
    INVALID_OBJECT_DEFINITION = "42P17";
    /// Window used where it has no meaning.
    WINDOWING_ERROR = "42P20";
    /// The disk is full.
    DISK_FULL = "53100";
    /// Out of memory.
    OUT_OF_MEMORY = "53200";
    /// Too many connections.
    TOO_MANY_CONNECTIONS = "53300";
    /// A limit of the server was reached.
    PROGRAM_LIMIT_EXCEEDED = "54000";
    /// A statement that would take too long to plan, or too much stack.
    STATEMENT_TOO_COMPLEX = "54001";
    /// The object is not in a state that allows this.
    OBJECT_NOT_IN_PREREQUISITE_STATE = "55000";
    /// Canceled by the user or a timeout.
    QUERY_CANCELED = "57014";
    /// The server is shutting down.
    ADMIN_SHUTDOWN = "57P01";
    /// Input or output failed.
    IO_ERROR = "58030";
    /// There is no such file.
    UNDEFINED_FILE = "58P01";
    /// Protocol violation.
    PROTOCOL_VIOLATION = "08P01";
    /// A bug.
    INTERNAL_ERROR = "XX000";
    /// Stored bytes that fail their check.
    DATA_CORRUPTED = "XX001";
}

impl<'de> Deserialize<'de> for SqlState {
    /// Keeps the text of each code for ever, once.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(code.as_str()) {
            return Ok(SqlState(known));
        }
        let kept: &'static str = code.leak();
        known.insert(kept);
        Ok(SqlState(kept))
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A place in a statement's text: line and column, both from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

impl Location {
    /// Returns the 1-based character offset of this place in `text`, as ErrorResponse wants it.
    pub fn char_offset(self, text: &str) -> usize {
        let before: usize = text
            .split_inclusive('\n')
            .take(usize::try_from(self.line.saturating_sub(1)).unwrap_or(0))
            .map(|line| line.chars().count())
            .sum();
        before + usize::try_from(self.column).unwrap_or(1)
    }
}

/// How an error looks to a SQL client. Implemented by every error enum, without wildcard arms.
pub trait Classify: std::error::Error {
    /// The SQLSTATE of this error.
    fn sqlstate(&self) -> SqlState;
    /// A full sentence with more facts.
    fn detail(&self) -> Option<String> {
        None
    }
    /// Where in the client's data the error lies, e.g. a line of COPY.
    fn context(&self) -> Option<String> {
        None
    }
    /// A full sentence that says what to do.
    fn hint(&self) -> Option<String> {
        None
    }
    /// Where in the statement's text the error lies.
    fn location(&self) -> Option<Location> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn char_offset_counts_characters_over_lines() {
        assert_eq!(Location { line: 2, column: 3 }.char_offset("sé\nabc"), 6);
    }
}
