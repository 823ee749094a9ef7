//! A server process of the test's own, on free ports and an empty directory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tempfile::TempDir;

use super::client::Client;

/// How long a server may take to say that it is ready, also on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a test may choose of its server.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `--shards`.
    pub shards: usize,
    /// `--batch-rows`: how many rows are processed at a time at most.
    pub batch_rows: usize,
    /// `--history-rows`: how many rows of a stream are in memory before they go to a file.
    pub history_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { shards: 2, batch_rows: 1024, history_rows: 131_072 }
    }
}

/// A running server; it ends with this value.
pub struct Server {
    child: Child,
    /// Kept open, or the server could not print.
    _stdout: BufReader<ChildStdout>,
    /// Postgres and HTTP, if it got ready.
    addresses: Option<(SocketAddr, SocketAddr)>,
    directory: Arc<TempDir>,
    options: Options,
    /// `--memory-limit`.
    memory: Option<&'static str>,
}

impl Server {
    /// Starts a server with default options.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts a server and waits until it is ready.
    pub fn with(options: Options) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        Self::on(Arc::new(directory), options, None)
    }

    /// Starts a server whose queries may hold so much in memory.
    pub fn with_memory(limit: &'static str) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        Self::on(Arc::new(directory), Options::default(), Some(limit))
    }

    /// Kills the process at once, and starts another one on its data directory.
    pub fn crash(self) -> Self {
        self.crash_and(|| ())
    }

    /// Kills the process at once, lets `meddle` work on its files, and starts another one.
    pub fn crash_and(mut self, meddle: impl FnOnce()) -> Self {
        // Results do not depend on the number of shards; nor may what is on the disk.
        self.options.shards = if self.options.shards == 4 { 1 } else { self.options.shards * 2 };
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
        meddle();
        Self::on(Arc::clone(&self.directory), self.options, self.memory)
    }

    /// Kills the process, lets `meddle` work on its files, and tries to start another one; returns
    /// what that says instead of starting.
    pub fn crash_with(mut self, meddle: impl FnOnce()) -> String {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
        meddle();
        let output = Self::command(&self.directory, self.options, self.memory).output();
        let output = output.expect("the server's binary runs");
        assert!(!output.status.success(), "the server started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(directory: &TempDir, options: Options, memory: Option<&str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--shards", &options.shards.to_string()])
            .args(["--batch-rows", &options.batch_rows.to_string()])
            .args(["--history-rows", &options.history_rows.to_string()])
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .stdin(Stdio::null());
        if let Some(limit) = memory {
            command.args(["--memory-limit", limit]);
        }
        command
    }

    fn on(directory: Arc<TempDir>, options: Options, memory: Option<&'static str>) -> Self {
        let server = Self::attempt(directory, options, memory, None);
        assert!(server.is_ready(), "the server is not ready\n{}", server.stderr());
        server
    }

    /// Starts a server with a fault (`HIGHWATER_FAULT`); it may end before it is ready.
    pub fn armed(fault: &str) -> Self {
        Self::armed_with(fault, Options::default())
    }

    /// The same with options.
    pub fn armed_with(fault: &str, options: Options) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        Self::attempt(Arc::new(directory), options, None, Some(fault))
    }

    /// Starts another one on its data directory when the process has ended, perhaps with a fault.
    pub fn again(mut self, fault: Option<&str>) -> Self {
        self.child.wait().expect("the process can be waited for");
        Self::attempt(Arc::clone(&self.directory), self.options, self.memory, fault)
    }

    /// A place for a server that has not been started; [`Server::again`] does.
    pub fn empty() -> Self {
        Self::armed("server.start")
    }

    /// Kills the process at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// Whether it got ready.
    pub fn is_ready(&self) -> bool {
        self.addresses.is_some()
    }

    /// Tells the process to end, unless it has, and waits for it.
    pub fn end(&mut self) -> ExitStatus {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status;
        }
        let sent = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).output();
        sent.expect("kill runs");
        self.child.wait().expect("the process can be waited for")
    }

    fn attempt(
        directory: Arc<TempDir>,
        options: Options,
        memory: Option<&'static str>,
        fault: Option<&str>,
    ) -> Self {
        let stderr = File::create(directory.path().join("stderr")).expect("a file can be made");
        let mut child = Self::command(&directory, options, memory)
            .envs(fault.map(|fault| ("HIGHWATER_FAULT", fault)))
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the server's binary runs");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (line, stdout) = first_line(stdout);
        let addresses = addresses(&line);
        if addresses.is_none() {
            child.wait().expect("a process that is not ready ends");
        }
        Self { child, _stdout: stdout, addresses, directory, options, memory }
    }

    /// Opens a connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.postgres())
            .unwrap_or_else(|e| panic!("no connection: {e}\n{}", self.stderr()))
    }

    /// Where it speaks Postgres.
    pub fn postgres(&self) -> SocketAddr {
        self.addresses.expect("the server got ready").0
    }

    /// Where it speaks HTTP.
    pub fn http(&self) -> SocketAddr {
        self.addresses.expect("the server got ready").1
    }

    /// A directory for the test's own files; it goes with the server.
    pub fn scratch(&self) -> PathBuf {
        let path = self.directory.path().join("scratch");
        std::fs::create_dir_all(&path).expect("a directory can be made");
        path
    }

    /// What the server wrote to stderr so far.
    pub fn stderr(&self) -> String {
        stderr_of(self.directory.path())
    }

    /// The largest resident memory the process ever had, in MiB.
    pub fn memory_peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the server's process is alive");
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("Linux reports VmHWM");
        let kib = line.split_whitespace().nth(1).expect("VmHWM has a value");
        kib.parse::<u64>().expect("VmHWM is a number") / 1024
    }

    /// Ends the process as it should be ended, and starts another one on its data directory.
    pub fn restart(mut self) -> Self {
        let ended = self.signal("TERM");
        assert!(ended.success(), "{ended}");
        Self::on(Arc::clone(&self.directory), self.options, self.memory)
    }

    /// Sends the process a signal, e.g. `TERM`, and waits for its end.
    pub fn end_by(mut self, signal: &str) -> ExitStatus {
        self.signal(signal)
    }

    fn signal(&mut self, signal: &str) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill runs");
        assert!(sent.success(), "kill -s {signal} {id}");
        self.child.wait().expect("the process can be waited for")
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a failing test shows what its server said")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.stderr());
        }
    }
}

/// Waits for the first line of the server's output.
fn first_line(stdout: ChildStdout) -> (String, BufReader<ChildStdout>) {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        let _ = sender.send((line, stdout));
    });
    receiver.recv_timeout(READY_WITHIN).expect("the server says within a minute that it is ready")
}

/// Reads `highwater ready: postgres on HOST:PORT, http on HOST:PORT`.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let rest = line.trim_end().strip_prefix("highwater ready: postgres on ")?;
    let (postgres, http) = rest.split_once(", http on ")?;
    Some((postgres.parse().ok()?, http.parse().ok()?))
}

/// The end of what the server wrote to stderr.
fn stderr_of(directory: &Path) -> String {
    let text = std::fs::read(directory.join("stderr")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(40)..];
    if tail.is_empty() { String::new() } else { format!("server's stderr:\n{}", tail.join("\n")) }
}
