//! The server itself: its database, roles, settings and sessions.

use super::objects::OWNER;
use super::relation::{Row, row};
use super::view::CatalogView;

/// The role that owns everything.
pub(super) const OWNER_NAME: &str = "highwater";

/// Oid of the session's user, where it is not the owner.
pub(super) const USER: u32 = 9_999;

/// Oid of the database.
const DATABASE: u32 = 5;

/// Oid of the tablespace `pg_default`.
const TABLESPACE: u32 = 1663;

/// Code of UTF8 among Postgres's encodings.
pub(super) const UTF8: i32 = 6;

/// Returns the roles: the owner, and the session's user if that is another.
pub(super) fn roles(view: &dyn CatalogView) -> Vec<(u32, String)> {
    let user = view.identity().user;
    let other = (user != OWNER_NAME).then_some((USER, user));
    std::iter::once((OWNER, OWNER_NAME.to_owned())).chain(other).collect()
}

/// Rows of `pg_database`.
pub(super) fn pg_database(view: &dyn CatalogView) -> Vec<Row> {
    vec![row! {
        oid: DATABASE,
        datname: view.identity().database,
        datdba: OWNER,
        encoding: UTF8,
        datlocprovider: "c",
        datallowconn: true,
        datconnlimit: -1,
        dattablespace: TABLESPACE,
        datcollate: "C.UTF-8",
        datctype: "C.UTF-8",
    }]
}

/// Rows of `pg_roles`.
pub(super) fn pg_roles(view: &dyn CatalogView) -> Vec<Row> {
    let role = |(oid, name): (u32, String)| {
        row! {
            rolname: name,
            rolsuper: true,
            rolinherit: true,
            rolcreaterole: true,
            rolcreatedb: true,
            rolcanlogin: true,
            rolreplication: false,
            rolconnlimit: -1,
            rolpassword: "********",
            rolbypassrls: true,
            oid: oid,
        }
    };
    roles(view).into_iter().map(role).collect()
}

/// Rows of `pg_user`.
pub(super) fn pg_user(view: &dyn CatalogView) -> Vec<Row> {
    let user = |(oid, name): (u32, String)| {
        row! {
            usename: name,
            usesysid: oid,
            usecreatedb: true,
            usesuper: true,
            userepl: false,
            usebypassrls: true,
            passwd: "********",
        }
    };
    roles(view).into_iter().map(user).collect()
}

/// Rows of `pg_settings`.
pub(super) fn pg_settings(view: &dyn CatalogView) -> Vec<Row> {
    let setting = |setting: super::view::Setting| {
        row! {
            name: setting.name,
            setting: setting.value,
            category: "Highwater",
            short_desc: setting.description,
            context: "user",
            vartype: "string",
            source: "default",
            boot_val: setting.default.clone(),
            reset_val: setting.default,
            pending_restart: false,
        }
    };
    view.settings().into_iter().map(setting).collect()
}

/// Rows of `pg_stat_activity`.
pub(super) fn pg_stat_activity(view: &dyn CatalogView) -> Vec<Row> {
    let session = |session: super::view::Activity| {
        let waits = session.state != "active";
        row! {
            datid: DATABASE,
            datname: session.database,
            pid: session.pid,
            usesysid: OWNER,
            usename: session.user,
            application_name: session.application_name,
            client_addr: session.address.map(|address| address.ip().to_string()),
            client_port: session.address.map(|address| i32::from(address.port())),
            backend_start: session.started,
            query_start: session.query_started,
            state_change: session.query_started,
            wait_event_type: waits.then_some("Client"),
            wait_event: waits.then_some("ClientRead"),
            state: session.state,
            query: session.query,
            backend_type: "client backend",
        }
    };
    view.sessions().into_iter().map(session).collect()
}
