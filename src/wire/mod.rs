//! The Postgres protocol, and nothing else.
//!
//! `server` accepts sockets and gives each a `Connection`: one client's socket, session, prepared
//! statements and portals. `simple`, `extended` and `copy` are its three sub-protocols; all of them
//! end in `rows`, which moves a result to the socket. `encode` and `decode` translate values;
//! nothing outside this folder knows a type's OID or its bytes on the wire.
//!
//! # Why
//! pgwire's own handlers collect results before they send them and do not read the socket while a
//! query runs. So of pgwire only the messages and their codec are used, and the message loop is
//! ours: rows go out as they come, and a cancel request, a hang-up and a shutdown end whatever is
//! running.

mod cancel;
mod codec;
mod connection;
mod copy;
mod decode;
mod encode;
mod error;
mod extended;
mod pg_type;
mod rows;
mod server;
mod simple;
mod startup;

pub use server::serve;
