//! A PostgreSQL server of the test's own, if one is installed.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::client::Client;

/// A running PostgreSQL server; it ends with this value.
pub struct Postgres {
    directory: TempDir,
    tools: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts a server; none if PostgreSQL is not installed, which CI does not allow.
    pub fn start() -> Option<Self> {
        let Some(tools) = tools() else {
            let ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(!ci, "PostgreSQL is missing, and CI needs it");
            return None;
        };
        let directory = TempDir::new().expect("a temporary directory can be made");
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let server = Self { directory, tools, port };
        if root() {
            let path = server.directory.path().to_string_lossy().into_owned();
            run(Command::new("chown").args(["postgres", &path]));
        }
        let data = server.data();
        server.tool("initdb", &["-A", "trust", "-U", "postgres", "-D", &data]);
        server.begin();
        Some(server)
    }

    /// Starts it again after [`Postgres::end`].
    pub fn begin(&self) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories= -c fsync=off",
            self.port
        );
        let (data, log) = (self.data(), self.path("log"));
        self.tool("pg_ctl", &["-w", "-D", &data, "-l", &log, "-o", &options, "start"]);
    }

    /// Ends it at once; connections break.
    pub fn end(&self) {
        self.tool("pg_ctl", &["-w", "-D", &self.data(), "-m", "immediate", "stop"]);
    }

    /// Opens a connection.
    pub fn connect(&self) -> Client {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        Client::connect(address).unwrap_or_else(|error| panic!("no connection: {error}"))
    }

    /// Its address, as clients write it.
    pub fn address(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    fn data(&self) -> String {
        self.path("data")
    }

    /// One of its programs, which refuse to run as root.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let program = self.tools.join(name);
        let mut command = match root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        command.args(arguments).current_dir(self.directory.path());
        command
    }

    fn tool(&self, name: &str, arguments: &[&str]) {
        run(&mut self.command(name, arguments));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.command("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]).output();
    }
}

/// Where `initdb` is.
fn tools() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok();
    let versions = versions.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut all: Vec<PathBuf> = versions.map(|version| version.join("bin")).collect();
    all.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    all.extend(std::env::split_paths(&path));
    all.into_iter().rev().find(|tools| tools.join("initdb").is_file())
}

fn root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.starts_with(b"0\n")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}
