//! A plain blocking client of the Postgres protocol, for tests.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the server may keep silent before a test gives up on it.
const SILENCE: Duration = Duration::from_secs(300);

/// A row: every value in its text form, `None` for NULL.
pub type Row = Vec<Option<String>>;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type, as in `pg_type.oid`.
    pub oid: u32,
}

/// What one statement came to.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Columns, if it has a result.
    pub columns: Vec<Column>,
    /// Rows in order.
    pub rows: Vec<Row>,
    /// Lines of COPY data.
    pub copied: Vec<u8>,
    /// Command tag.
    pub tag: String,
}

impl Answer {
    /// The number at the end of the tag, e.g. 3 of `INSERT 0 3`.
    pub fn count(&self) -> u64 {
        self.tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The only value of the only row.
    pub fn value(&self) -> Option<String> {
        assert_eq!(self.rows.len(), 1, "one row is expected: {:?}", self.rows);
        assert_eq!(self.rows[0].len(), 1, "one column is expected: {:?}", self.rows);
        self.rows[0][0].clone()
    }

    /// The rows as text: values joined by `|`, NULL written out.
    pub fn lines(&self) -> Vec<String> {
        let value = |v: &Option<String>| v.clone().unwrap_or_else(|| "NULL".to_owned());
        self.rows.iter().map(|r| r.iter().map(value).collect::<Vec<_>>().join("|")).collect()
    }
}

/// An error or a notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// ERROR, FATAL, WARNING, NOTICE, ..
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// Primary message.
    pub message: String,
    /// More facts.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
    /// In what, e.g. the line of a COPY.
    pub context: Option<String>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        for (name, text) in
            [("detail", &self.detail), ("hint", &self.hint), ("context", &self.context)]
        {
            if let Some(text) = text {
                write!(f, " ({name}: {text})")?;
            }
        }
        match self.position {
            Some(position) => write!(f, " (position: {position})"),
            None => Ok(()),
        }
    }
}

/// Why a statement failed.
#[derive(Debug)]
pub enum Failure {
    /// The server said so.
    Said(Box<Said>),
    /// The connection broke, or the server kept silent.
    Broken(io::Error),
}

impl Failure {
    /// The SQLSTATE, or nothing if the connection broke.
    pub fn code(&self) -> &str {
        match self {
            Failure::Said(said) => &said.code,
            Failure::Broken(_) => "",
        }
    }

    /// What the server said; panics if the connection broke.
    pub fn said(&self) -> &Said {
        match self {
            Failure::Said(said) => said,
            Failure::Broken(e) => panic!("connection broke: {e}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Said(said) => said.fmt(f),
            Failure::Broken(e) => write!(f, "connection broke: {e}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Broken(e)
    }
}

/// One message of the server that matters to a test.
#[derive(Clone, Debug)]
pub enum Event {
    /// A result begins.
    Columns(Vec<Column>),
    /// A row.
    Row(Row),
    /// The server takes COPY data.
    CopyIn,
    /// COPY data.
    CopyData(Vec<u8>),
    /// A statement is done; its tag.
    Done(String),
    /// A statement failed.
    Failed(Box<Said>),
    /// The server is ready; `I`, `T` or `E`.
    Ready(char),
    /// Anything else.
    Other(char),
}

/// A connection.
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    key: (i32, i32),
    /// Notices that came and were not yet taken.
    pub notices: Vec<Said>,
    /// Parameters the server reported.
    pub parameters: BTreeMap<String, String>,
    /// Transaction status of the last ReadyForQuery.
    pub status: char,
}

impl Client {
    /// Connects as `postgres` without a password.
    pub fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let mut client = Self {
            address,
            stream: BufReader::with_capacity(64 << 10, stream),
            key: (0, 0),
            notices: Vec::new(),
            parameters: BTreeMap::new(),
            status: 'I',
        };
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        for (name, value) in
            [("user", "postgres"), ("database", "postgres"), ("application_name", "tests")]
        {
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        client.write(&framed(None, &body))?;
        client.finish()?;
        Ok(client)
    }

    /// Changes how long the server may keep silent.
    pub fn set_patience(&mut self, patience: Duration) -> Result<(), Failure> {
        Ok(self.stream.get_ref().set_read_timeout(Some(patience))?)
    }

    /// Runs a string of statements with the simple protocol.
    pub fn simple(&mut self, sql: &str) -> Result<Vec<Answer>, Failure> {
        self.send(sql)?;
        self.finish()
    }

    /// Runs one statement with the simple protocol.
    pub fn query(&mut self, sql: &str) -> Result<Answer, Failure> {
        Ok(self.simple(sql)?.pop().unwrap_or_default())
    }

    /// Runs a statement that must succeed.
    pub fn run(&mut self, sql: &str) -> Answer {
        self.query(sql).unwrap_or_else(|e| panic!("{e}\nin: {}", shortened(sql)))
    }

    /// Runs a statement that must fail, and returns what the server said.
    pub fn fail(&mut self, sql: &str) -> Said {
        match self.query(sql) {
            Ok(answer) => panic!("succeeded ({}): {}", answer.tag, shortened(sql)),
            Err(failure) => failure.said().clone(),
        }
    }

    /// Runs one statement with the extended protocol; arguments and results are in text form.
    pub fn extended(&mut self, sql: &str, args: &[Option<&str>]) -> Result<Answer, Failure> {
        let mut parse = vec![0];
        parse.extend_from_slice(sql.as_bytes());
        parse.extend_from_slice(&[0, 0, 0]);
        let mut bind = vec![0, 0, 0, 0];
        bind.extend_from_slice(&i16::try_from(args.len()).expect("few arguments").to_be_bytes());
        for arg in args {
            match arg {
                Some(text) => {
                    bind.extend_from_slice(&length(text.len()));
                    bind.extend_from_slice(text.as_bytes());
                }
                None => bind.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        bind.extend_from_slice(&[0, 0]);
        let mut bytes = framed(Some(b'P'), &parse);
        bytes.extend(framed(Some(b'B'), &bind));
        bytes.extend(framed(Some(b'D'), b"P\0"));
        bytes.extend(framed(Some(b'E'), &[0, 0, 0, 0, 0]));
        bytes.extend(framed(Some(b'S'), &[]));
        self.write(&bytes)?;
        Ok(self.finish()?.pop().unwrap_or_default())
    }

    /// Runs `COPY .. FROM STDIN` with its data.
    pub fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<Answer, Failure> {
        self.send(sql)?;
        loop {
            match self.next()? {
                Event::CopyIn => break,
                Event::Failed(said) => {
                    let _ = self.finish();
                    return Err(Failure::Said(said));
                }
                Event::Ready(_) => panic!("no COPY: {}", shortened(sql)),
                _ => {}
            }
        }
        for piece in data.chunks(60_000) {
            self.write(&framed(Some(b'd'), piece))?;
        }
        self.write(&framed(Some(b'c'), &[]))?;
        Ok(self.finish()?.pop().unwrap_or_default())
    }

    /// Sends statements without waiting for what they come to; see [`Client::next`].
    pub fn send(&mut self, sql: &str) -> Result<(), Failure> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.write(&framed(Some(b'Q'), &body))?;
        Ok(())
    }

    /// Waits for the next message; notices and parameters are put aside.
    pub fn next(&mut self) -> Result<Event, Failure> {
        loop {
            let (kind, body) = self.message()?;
            let mut body = Body(&body);
            return Ok(match kind {
                b'T' => Event::Columns(body.columns()),
                b'D' => Event::Row(body.row()),
                b'G' => Event::CopyIn,
                b'd' => Event::CopyData(body.0.to_vec()),
                b'C' => Event::Done(body.text()),
                b'I' => Event::Done(String::new()),
                b'E' => Event::Failed(Box::new(body.said())),
                b'Z' => {
                    self.status = char::from(body.0[0]);
                    Event::Ready(self.status)
                }
                b'N' => {
                    self.notices.push(body.said());
                    continue;
                }
                b'S' => {
                    let name = body.text();
                    self.parameters.insert(name, body.text());
                    continue;
                }
                b'K' => {
                    self.key = (body.i32(), body.i32());
                    continue;
                }
                other => Event::Other(char::from(other)),
            });
        }
    }

    /// Reads up to ReadyForQuery.
    pub fn finish(&mut self) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::new();
        let mut answer = Answer::default();
        let mut failure = None;
        loop {
            match self.next()? {
                Event::Columns(columns) => answer.columns = columns,
                Event::Row(row) => answer.rows.push(row),
                Event::CopyData(data) => answer.copied.extend(data),
                Event::Done(tag) => {
                    answer.tag = tag;
                    answers.push(std::mem::take(&mut answer));
                }
                Event::Failed(said) if said.severity == "FATAL" => return Err(Failure::Said(said)),
                Event::Failed(said) => failure = Some(said),
                Event::Ready(_) => break,
                Event::CopyIn => {
                    self.write(&framed(Some(b'f'), b"no data given\0"))?;
                }
                Event::Other(_) => {}
            }
        }
        failure.map_or(Ok(answers), |said| Err(Failure::Said(said)))
    }

    /// Asks the server, over a connection of its own, to cancel what this one is doing.
    pub fn cancel(&self) {
        let mut stream = TcpStream::connect(self.address).expect("the server accepts connections");
        let mut body = 80_877_102_i32.to_be_bytes().to_vec();
        body.extend_from_slice(&self.key.0.to_be_bytes());
        body.extend_from_slice(&self.key.1.to_be_bytes());
        stream.write_all(&framed(None, &body)).expect("a cancel request can be sent");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "a cancel request gets no reply");
    }

    /// The process id the server gave to this connection.
    pub fn pid(&self) -> i32 {
        self.key.0
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; usize::try_from(length).expect("u32 fits usize") - 4];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }
}

/// A message with its kind and length.
fn framed(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = kind.into_iter().collect();
    bytes.extend_from_slice(&length(body.len() + 4));
    bytes.extend_from_slice(body);
    bytes
}

fn length(n: usize) -> [u8; 4] {
    i32::try_from(n).expect("messages are smaller than 2 GiB").to_be_bytes()
}

/// A statement as it is shown in a failure.
fn shortened(sql: &str) -> String {
    let mut text: String = sql.chars().take(2_000).collect();
    if text.len() < sql.len() {
        text.push_str(" ..");
    }
    text
}

/// What is left of a message.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn take(&mut self, n: usize) -> &[u8] {
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        head
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(self.take(end)).into_owned();
        self.0 = self.0.get(1..).unwrap_or_default();
        text
    }

    fn columns(&mut self) -> Vec<Column> {
        let column = |body: &mut Self| {
            let name = body.text();
            body.take(6);
            let oid = body.i32().cast_unsigned();
            body.take(8);
            Column { name, oid }
        };
        (0..self.i16()).map(|_| column(self)).collect()
    }

    fn row(&mut self) -> Row {
        let value = |body: &mut Self| {
            let n = usize::try_from(body.i32()).ok()?;
            Some(String::from_utf8_lossy(body.take(n)).into_owned())
        };
        (0..self.i16()).map(|_| value(self)).collect()
    }

    fn said(&mut self) -> Said {
        let mut said = Said::default();
        while let Some(&kind) = self.0.first().filter(|kind| **kind != 0) {
            self.take(1);
            let text = self.text();
            match kind {
                b'V' => said.severity = text,
                b'S' if said.severity.is_empty() => said.severity = text,
                b'C' => said.code = text,
                b'M' => said.message = text,
                b'D' => said.detail = Some(text),
                b'H' => said.hint = Some(text),
                b'P' => said.position = text.parse().ok(),
                b'W' => said.context = Some(text),
                _ => {}
            }
        }
        said
    }
}
