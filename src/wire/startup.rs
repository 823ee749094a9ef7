//! From an accepted socket to a session: encryption refused, startup packet, trust, parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use pgwire::api::ClientInfo;
use pgwire::api::PgWireConnectionState;
use pgwire::api::auth::protocol_negotiation;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, ParameterStatus, SecretKey, Startup,
};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{MaybeTls, PgWireMessageServerCodec, negotiate_tls};
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

use crate::engine::{Client, Engine};
use crate::error::SqlState;
use crate::wire::cancel::{Registration, Registry, Running, Signals};
use crate::wire::codec::Codec;
use crate::wire::connection::Connection;
use crate::wire::error::{Error, Result, error_response};

/// What clients are told where the session says nothing. The version is one that psql and drivers
/// know.
const PARAMETERS: [(&str, &str); 11] = [
    ("server_version", concat!("15.14 (Highwater ", env!("CARGO_PKG_VERSION"), ")")),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "on"),
    ("in_hot_standby", "off"),
    ("default_transaction_read_only", "off"),
];

/// A socket during startup, as pgwire keeps it.
type Starting = Framed<MaybeTls, PgWireMessageServerCodec<()>>;

/// Leads a client in; `None` if it wanted no session (a cancel request, or it left).
pub(super) async fn start(
    stream: TcpStream,
    engine: &Arc<Engine>,
    registry: &Arc<Registry>,
    signals: Signals,
    admitted: bool,
) -> Result<Option<Connection>> {
    let address = stream.peer_addr()?;
    let Some(mut socket): Option<Starting> = negotiate_tls(stream, None).await? else {
        return Ok(None);
    };
    let startup = match socket.next().await {
        Some(Ok(PgWireFrontendMessage::Startup(startup))) => startup,
        Some(Ok(PgWireFrontendMessage::CancelRequest(request))) => {
            // No reply: the client waits for the socket to close.
            if let Ok(secret) = <[u8; 4]>::try_from(request.secret_key.to_bytes().as_ref()) {
                registry.cancel(request.pid, i32::from_be_bytes(secret));
            }
            return Ok(None);
        }
        Some(Err(error)) => {
            let error = Error::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string());
            return refuse(socket, error).await;
        }
        _ => return Ok(None),
    };
    if let Err(error) = admit(&mut socket, &startup, admitted).await {
        return refuse(socket, error).await;
    }
    // From here on the codec expects queries.
    socket.set_state(PgWireConnectionState::ReadyForQuery);
    let registration = registry.register(signals.shutdown.clone());
    let client = client(&startup, address, &registration);
    let mut connection =
        Connection::new(socket.map_codec(Codec), engine.session(client), signals, registration);
    welcome(&mut connection).await?;
    Ok(Some(connection))
}

/// Checks a startup packet: trust, so whoever names a user is that user.
async fn admit(socket: &mut Starting, startup: &Startup, admitted: bool) -> Result<()> {
    if !startup.parameters.contains_key("user") {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(Error::fatal(SqlState::INVALID_AUTHORIZATION, message));
    }
    if !admitted {
        let message = "sorry, too many clients already";
        return Err(Error::fatal(SqlState::TOO_MANY_CONNECTIONS, message));
    }
    let negotiated = protocol_negotiation(socket, startup).await;
    negotiated.map_err(|error| Error::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string()))
}

/// Tells why there will be no session.
async fn refuse(mut socket: Starting, error: Error) -> Result<Option<Connection>> {
    if let Error::Fatal(info) | Error::Statement(info) = error {
        socket.send(error_response(*info)).await?;
        socket.close().await?;
    }
    Ok(None)
}

fn client(startup: &Startup, address: std::net::SocketAddr, registration: &Registration) -> Client {
    let parameter = |name: &str| startup.parameters.get(name).filter(|value| !value.is_empty());
    let user = parameter("user").cloned().unwrap_or_default();
    Client {
        database: parameter("database").unwrap_or(&user).clone(),
        application_name: parameter("application_name").cloned().unwrap_or_default(),
        address: Some(address),
        pid: registration.pid,
        interrupt: Arc::<Running>::clone(&registration.running),
        user,
    }
}

/// Tells the client that it is in, and what it may want to know.
async fn welcome(connection: &mut Connection) -> Result<()> {
    let (pid, secret) = connection.identity();
    let reported = connection.session.take_parameters();
    connection.follow_parameters(&reported);
    let defaults = PARAMETERS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let parameters: BTreeMap<_, _> = defaults.into_iter().chain(reported).collect();
    let socket = &mut connection.socket;
    socket.feed(PgWireBackendMessage::Authentication(Authentication::Ok)).await?;
    for (name, value) in parameters {
        let status = ParameterStatus::new(name, value);
        socket.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
    }
    let key = BackendKeyData::new(pid, SecretKey::I32(secret));
    socket.feed(PgWireBackendMessage::BackendKeyData(key)).await?;
    let ready = ReadyForQuery::new(TransactionStatus::Idle);
    Ok(socket.send(PgWireBackendMessage::ReadyForQuery(ready)).await?)
}
