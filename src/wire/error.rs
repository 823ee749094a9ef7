//! What goes wrong on a connection, and how a client is told.

use std::any::Any;
use std::io;

use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::engine::{self, Notice};
use crate::error::{Classify, SqlState};
use crate::wire::cancel::Interrupt;

/// Result of handling a message.
pub(super) type Result<T> = std::result::Result<T, Error>;

/// What ends a statement or the connection.
pub(super) enum Error {
    /// The statement failed; the client is told, and the connection goes on.
    Statement(Box<ErrorInfo>),
    /// The client is told, and the connection ends.
    Fatal(Box<ErrorInfo>),
    /// The client cannot be told anything any more.
    Closed(io::Error),
}

impl Error {
    /// An error of a statement, without more than a message.
    pub(super) fn new(code: SqlState, message: impl Into<String>) -> Error {
        Error::Statement(Box::new(info("ERROR", code, message.into())))
    }

    /// An error that ends the connection.
    pub(super) fn fatal(code: SqlState, message: impl Into<String>) -> Error {
        Error::Fatal(Box::new(info("FATAL", code, message.into())))
    }

    /// A statement with a byte that is no UTF-8.
    pub(super) fn no_text(byte: u8) -> Error {
        let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}");
        Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
    }

    /// An error of the engine; `text` is the whole string that the client sent.
    pub(super) fn engine(error: &engine::Error, text: &str) -> Error {
        let code = error.sqlstate();
        if code == SqlState::INTERNAL_ERROR || code == SqlState::DATA_CORRUPTED {
            tracing::error!(code = code.0, error = %chain(error), "statement failed");
        }
        let mut info = info("ERROR", code, error.to_string());
        info.detail = error.detail();
        info.where_context = error.context();
        info.hint = error.hint();
        info.position = error.location().map(|at| at.char_offset(text).to_string());
        Error::Statement(Box::new(info))
    }

    /// A panic while a message was handled.
    pub(super) fn panic(payload: &(dyn Any + Send)) -> Error {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = %text, "statement panicked");
        Error::new(SqlState::INTERNAL_ERROR, format!("internal error: {text}"))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Closed(error)
    }
}

impl From<Interrupt> for Error {
    fn from(interrupt: Interrupt) -> Self {
        let canceled = SqlState::QUERY_CANCELED;
        match interrupt {
            Interrupt::Canceled => Error::new(canceled, "canceling statement due to user request"),
            Interrupt::Timeout => {
                Error::new(canceled, "canceling statement due to statement timeout")
            }
            Interrupt::HangUp => Error::Closed(io::ErrorKind::ConnectionReset.into()),
            Interrupt::Shutdown => Error::fatal(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection due to administrator command",
            ),
        }
    }
}

/// Returns the message that tells of an error.
pub(super) fn error_response(info: ErrorInfo) -> PgWireBackendMessage {
    PgWireBackendMessage::ErrorResponse(ErrorResponse::from(info))
}

/// Returns the message that tells of a notice.
pub(super) fn notice_response(notice: Notice) -> PgWireBackendMessage {
    let mut info = info(notice.severity, notice.code, notice.message);
    info.hint = notice.hint;
    PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info))
}

fn info(severity: &str, code: SqlState, message: String) -> ErrorInfo {
    let mut info = ErrorInfo::new(severity.to_owned(), code.0.to_owned(), message);
    info.severity_nonlocalized = Some(severity.to_owned());
    info
}

/// Prints an error with everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
