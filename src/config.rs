//! The server's settings.
