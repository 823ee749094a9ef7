//! Why a text is not a statement, a type or a setting.

use super::interval::Malformed;
use crate::error::{Classify, Location, SqlState};

/// Result of reading SQL.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a text is not a statement, a type or a setting. Locations are within the whole parsed
/// string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A token that cannot stand where it stands.
    #[error("syntax error at {}", near.as_ref().map_or_else(
        || "end of input".to_owned(),
        |near| format!("or near \"{near}\""),
    ))]
    Syntax {
        /// The token as written; `None` is the end.
        near: Option<String>,
        /// What was expected, as a full sentence.
        detail: Option<String>,
        /// What to write instead.
        hint: Option<String>,
        /// The token's place.
        location: Option<Location>,
    },
    /// Text that is no token, e.g. a string without its end.
    #[error("{message}")]
    Lexical {
        /// What is wrong with it.
        message: String,
        /// Where it starts.
        location: Option<Location>,
    },
    /// A clause or statement that this server does not have.
    #[error("{feature} is not supported")]
    Unsupported {
        /// Its name, in SQL's own words.
        feature: String,
        /// What to do instead.
        hint: Option<String>,
        /// Where it stands.
        location: Option<Location>,
    },
    /// A part of StreamSQL that is to come.
    #[error("{feature} is not supported yet")]
    NotYet {
        /// Its name, in SQL's own words.
        feature: String,
        /// What to do until then.
        hint: Option<String>,
        /// Where it stands.
        location: Option<Location>,
    },
    /// A window that cannot be, e.g. of no rows.
    #[error("{message}")]
    Window {
        /// What is wrong with it.
        message: String,
        /// What would be right.
        hint: Option<String>,
        /// Where it stands.
        location: Option<Location>,
    },
    /// An option that is unknown, given twice, or has a value it cannot have.
    #[error("{message}")]
    InvalidOption {
        /// Names the option and its value.
        message: String,
        /// What would be right.
        hint: Option<String>,
        /// Where it stands.
        location: Option<Location>,
    },
    /// A text that is no interval.
    #[error("{}: \"{text}\"", match malformed {
        Malformed::Syntax => "invalid input syntax for type interval",
        Malformed::Overflow => "interval field value out of range",
    })]
    Interval {
        /// Why not.
        malformed: Malformed,
        /// The text.
        text: String,
        /// Where it stands.
        location: Option<Location>,
    },
    /// A type that does not exist.
    #[error("type \"{name}\" does not exist")]
    UndefinedType {
        /// Its name.
        name: String,
        /// Where it stands.
        location: Option<Location>,
    },
    /// A key or clause names a column that is not declared.
    #[error("column \"{name}\" named in {clause} does not exist")]
    UndefinedColumn {
        /// The column.
        name: String,
        /// The clause, e.g. `PRIMARY KEY`.
        clause: &'static str,
        /// Where it stands.
        location: Option<Location>,
    },
    /// Two columns of one name.
    #[error("column \"{name}\" specified more than once")]
    DuplicateColumn {
        /// The column.
        name: String,
        /// Where the second one stands.
        location: Option<Location>,
    },
    /// A definition that contradicts itself, e.g. two primary keys.
    #[error("{message}")]
    InvalidDefinition {
        /// What contradicts what.
        message: String,
        /// Where it stands.
        location: Option<Location>,
    },
    /// A text nested deeper than the parser goes.
    #[error("statement is nested too deeply")]
    TooComplex,
    /// A setting that does not exist.
    #[error("unrecognized configuration parameter \"{name}\"")]
    UndefinedVariable {
        /// Its name.
        name: String,
    },
    /// A setting that cannot have this value.
    #[error("invalid value for parameter \"{name}\": \"{value}\"")]
    InvalidVariable {
        /// The setting.
        name: &'static str,
        /// The value.
        value: String,
        /// Which values there are.
        hint: Option<String>,
    },
    /// A setting that tells a fact.
    #[error("parameter \"{name}\" cannot be changed")]
    FixedVariable {
        /// The setting.
        name: &'static str,
    },
}

impl Error {
    /// Places an error that came up where no location was known.
    #[must_use]
    pub fn at(mut self, place: Location) -> Self {
        match &mut self {
            Error::Syntax { location, .. }
            | Error::Lexical { location, .. }
            | Error::Unsupported { location, .. }
            | Error::NotYet { location, .. }
            | Error::Window { location, .. }
            | Error::InvalidOption { location, .. }
            | Error::Interval { location, .. }
            | Error::UndefinedType { location, .. }
            | Error::UndefinedColumn { location, .. }
            | Error::DuplicateColumn { location, .. }
            | Error::InvalidDefinition { location, .. } => {
                location.get_or_insert(place);
            }
            Error::TooComplex
            | Error::UndefinedVariable { .. }
            | Error::InvalidVariable { .. }
            | Error::FixedVariable { .. } => {}
        }
        self
    }
}

impl Classify for Error {
    fn sqlstate(&self) -> SqlState {
        match self {
            Error::Syntax { .. } | Error::Lexical { .. } => SqlState::SYNTAX_ERROR,
            Error::Unsupported { .. } | Error::NotYet { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            Error::Window { .. } | Error::InvalidOption { .. } | Error::InvalidVariable { .. } => {
                SqlState::INVALID_PARAMETER_VALUE
            }
            Error::Interval { malformed: Malformed::Syntax, .. } => {
                SqlState::INVALID_DATETIME_FORMAT
            }
            Error::Interval { malformed: Malformed::Overflow, .. } => {
                SqlState::DATETIME_FIELD_OVERFLOW
            }
            Error::UndefinedType { .. } | Error::UndefinedVariable { .. } => {
                SqlState::UNDEFINED_OBJECT
            }
            Error::UndefinedColumn { .. } => SqlState::UNDEFINED_COLUMN,
            Error::DuplicateColumn { .. } => SqlState::DUPLICATE_COLUMN,
            Error::InvalidDefinition { .. } => SqlState::INVALID_OBJECT_DEFINITION,
            Error::TooComplex => SqlState::STATEMENT_TOO_COMPLEX,
            Error::FixedVariable { .. } => SqlState("55P02"),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Error::Syntax { detail, .. } => detail.clone(),
            Error::Lexical { .. }
            | Error::Unsupported { .. }
            | Error::NotYet { .. }
            | Error::Window { .. }
            | Error::InvalidOption { .. }
            | Error::Interval { .. }
            | Error::UndefinedType { .. }
            | Error::UndefinedColumn { .. }
            | Error::DuplicateColumn { .. }
            | Error::InvalidDefinition { .. }
            | Error::TooComplex
            | Error::UndefinedVariable { .. }
            | Error::InvalidVariable { .. }
            | Error::FixedVariable { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Syntax { hint, .. }
            | Error::Unsupported { hint, .. }
            | Error::NotYet { hint, .. }
            | Error::Window { hint, .. }
            | Error::InvalidOption { hint, .. }
            | Error::InvalidVariable { hint, .. } => hint.clone(),
            Error::TooComplex => Some("Simplify the statement, or split it into views.".to_owned()),
            Error::Lexical { .. }
            | Error::Interval { .. }
            | Error::UndefinedType { .. }
            | Error::UndefinedColumn { .. }
            | Error::DuplicateColumn { .. }
            | Error::InvalidDefinition { .. }
            | Error::UndefinedVariable { .. }
            | Error::FixedVariable { .. } => None,
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Error::Syntax { location, .. }
            | Error::Lexical { location, .. }
            | Error::Unsupported { location, .. }
            | Error::NotYet { location, .. }
            | Error::Window { location, .. }
            | Error::InvalidOption { location, .. }
            | Error::Interval { location, .. }
            | Error::UndefinedType { location, .. }
            | Error::UndefinedColumn { location, .. }
            | Error::DuplicateColumn { location, .. }
            | Error::InvalidDefinition { location, .. } => *location,
            Error::TooComplex
            | Error::UndefinedVariable { .. }
            | Error::InvalidVariable { .. }
            | Error::FixedVariable { .. } => None,
        }
    }
}
