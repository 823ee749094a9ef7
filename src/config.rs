//! The server's settings: defaults, below a TOML file, below the environment, below flags.
//!
//! # Semantics
//! Each option has one name with three spellings: `shards` in the file, `HIGHWATER_SHARDS` in the
//! environment, `--shards` as a flag. The highest layer that names an option decides it. An option
//! of the file that does not exist is an error; other `HIGHWATER_*` variables are ignored, since
//! orchestrators make up such names (`HIGHWATER_SERVICE_HOST`).
//!
//! # Invariants
//! 1. Every value is checked by the same function whatever layer it comes from, and an error names
//!    the option and the layer.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::size;

/// Most shards: there are 256 vnodes, and a shard is a range of them.
const SHARDS_MAX: usize = 256;

/// Rows per delta by default: large enough that per-delta work vanishes, small enough for the
/// cache.
const BATCH_ROWS_DEFAULT: usize = 65_536;

/// What a machine is taken to have that does not tell.
const MEMORY_UNKNOWN: u64 = 4 << 30;

/// Most rows per delta.
const BATCH_ROWS_MAX: usize = 1 << 24;

/// Rows of a stream in memory before they go to a file, by default: enough that files are few, and
/// little memory for each stream.
const HISTORY_ROWS_DEFAULT: usize = 131_072;

/// What precedes an option's name in the environment.
pub const ENV_PREFIX: &str = "HIGHWATER_";

/// Names of the options, as the file spells them.
pub const OPTIONS: [&str; 7] =
    ["data_dir", "listen", "http", "shards", "memory_limit", "batch_rows", "history_rows"];

/// Names of layers.
const ENVIRONMENT: &str = "environment";
const FLAGS: &str = "flags";

/// The server's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server keeps its data; created if missing. A relative path starts at the working
    /// directory.
    pub data_dir: PathBuf,
    /// Where the Postgres protocol is spoken. Port 0 takes a free one.
    pub listen: Address,
    /// Where health and metrics are served. Port 0 takes a free one.
    pub http: Address,
    /// Number of shards of every keyed operator; a power of two, at most 256.
    #[serde(deserialize_with = "deserialize_shards")]
    pub shards: usize,
    /// Bytes that the state of queries may take in memory.
    pub memory_limit: Size,
    /// Most rows per delta that enters a query, from 1.
    #[serde(deserialize_with = "deserialize_batch_rows")]
    pub batch_rows: usize,
    /// Rows of a stream from which on those in memory go to a file, from 1.
    #[serde(deserialize_with = "deserialize_history_rows")]
    pub history_rows: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./highwater-data"),
            listen: Address::local(4566),
            http: Address::local(4567),
            shards: cores().next_power_of_two().min(SHARDS_MAX),
            memory_limit: Size((machine_memory() / 10 * 7) >> 20 << 20),
            batch_rows: BATCH_ROWS_DEFAULT,
            history_rows: HISTORY_ROWS_DEFAULT,
        }
    }
}

impl Config {
    /// Puts the layers together: `defaults`, `file` or the one that `HIGHWATER_CONFIG` names, the
    /// variables of the process, and `flags`, whose fields are those that were given.
    pub fn load(
        defaults: &Config,
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &impl Serialize,
    ) -> Result<Config, Error> {
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        let file = file.or_else(|| environment.get("HIGHWATER_CONFIG").map(Path::new));
        let file = file.map(Path::to_owned);
        let mut figment = Figment::from(Serialized::defaults(defaults));
        if let Some(path) = file {
            readable(&path)?;
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(Environment(environment)).merge(Flags(flags));
        figment.extract_lossy().map_err(|error| Error::new(&figment, error))
    }
}

/// Returns the number of cores, at least 1.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the bytes of memory of the machine, or of the part of it that the process may use.
fn machine_memory() -> u64 {
    let of_group = fs::read_to_string("/sys/fs/cgroup/memory.max");
    let of_group = of_group.ok().and_then(|text| text.trim().parse().ok());
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        size::parse(line)
    });
    of_machine.map_or(MEMORY_UNKNOWN, |bytes| bytes.min(of_group.unwrap_or(u64::MAX)))
}

/// A number of bytes, at least 1 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = size::parse(text).filter(|bytes| *bytes >= 1 << 20);
        let wrong =
            || format!("expected a size of at least 1MB, such as 512MB or 2GB, found \"{text}\"");
        bytes.map(Size).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size::print(size.0)
    }
}

/// A host, by name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// Name or number; IPv6 without brackets.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
}

impl Address {
    /// A port of this machine that others cannot reach.
    pub fn local(port: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected HOST:PORT, found \"{text}\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why there is no [`Config`]: an option, where it came from, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option \"{option}\" ({origin}): {reason}")]
pub struct Error {
    option: String,
    origin: String,
    reason: String,
}

impl Error {
    fn new(figment: &Figment, error: figment::Error) -> Self {
        let option = match &error.kind {
            figment::error::Kind::UnknownField(field, _) => field.clone(),
            _ => error.path.join("."),
        };
        let metadata = figment.find_metadata(&option).or(error.metadata.as_ref());
        let origin = match metadata {
            Some(Metadata { source: Some(Source::File(path)), .. }) => {
                format!("file \"{}\"", path.display())
            }
            Some(Metadata { name, .. }) if name == FLAGS => {
                format!("flag --{}", option.replace('_', "-"))
            }
            Some(Metadata { name, .. }) if name == ENVIRONMENT => {
                format!("environment variable {ENV_PREFIX}{}", option.to_uppercase())
            }
            _ => "default".to_owned(),
        };
        let reason = match &error.kind {
            figment::error::Kind::UnknownField(..) => {
                format!("there is no such option; there are {}", OPTIONS.join(", "))
            }
            kind => kind.to_string(),
        };
        // A file that is not TOML fails as a whole.
        let option = if option.is_empty() { "config".to_owned() } else { option };
        Self { option, origin, reason }
    }
}

fn readable(path: &Path) -> Result<(), Error> {
    let found = File::open(path).and_then(|file| file.metadata());
    let reason = match found {
        Ok(metadata) if metadata.is_file() => return Ok(()),
        Ok(_) => "not a file".to_owned(),
        Err(error) => error.to_string(),
    };
    let origin = format!("file \"{}\"", path.display());
    Err(Error { option: "config".to_owned(), origin, reason })
}

/// Returns `count` if there can be so many shards.
pub fn check_shards(count: usize) -> Result<usize, String> {
    if count.is_power_of_two() && count <= SHARDS_MAX {
        return Ok(count);
    }
    Err(format!("{count} is not a power of two from 1 to {SHARDS_MAX}"))
}

/// Returns `rows` if a delta can have so many.
pub fn check_batch_rows(rows: usize) -> Result<usize, String> {
    if (1..=BATCH_ROWS_MAX).contains(&rows) {
        return Ok(rows);
    }
    Err(format!("{rows} is not from 1 to {BATCH_ROWS_MAX}"))
}

/// Returns `rows` if so many rows of a stream can be in memory.
pub fn check_history_rows(rows: usize) -> Result<usize, String> {
    if rows > 0 { Ok(rows) } else { Err("0 is not from 1".to_owned()) }
}

fn deserialize_shards<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    check_shards(usize::deserialize(from)?).map_err(D::Error::custom)
}

fn deserialize_batch_rows<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    check_batch_rows(usize::deserialize(from)?).map_err(D::Error::custom)
}

fn deserialize_history_rows<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    check_history_rows(usize::deserialize(from)?).map_err(D::Error::custom)
}

/// The environment as a layer. Values stay text, so that a directory may be called `2013`.
struct Environment(BTreeMap<String, String>);

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(ENVIRONMENT)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let value = |option: &str| self.0.get(&format!("{ENV_PREFIX}{}", option.to_uppercase()));
        let given = OPTIONS
            .iter()
            .filter_map(|option| Some(((*option).to_owned(), Value::from(value(option)?.clone()))));
        Ok(Profile::Default.collect(given.collect()))
    }
}

/// Flags as a layer.
struct Flags<'a, T>(&'a T);

impl<T: Serialize> Provider for Flags<'_, T> {
    fn metadata(&self) -> Metadata {
        Metadata::named(FLAGS)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Serialized::defaults(self.0).data()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn load(variables: &[(&str, &str)], file: Option<&Path>) -> Result<Config, String> {
        Config::load(&Config::default(), file, environment(variables), &serde_json::json!({}))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_given_means_defaults() {
        let config = load(&[], None).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.listen.to_string(), "127.0.0.1:4566");
        assert!(config.shards.is_power_of_two() && config.shards >= cores());
    }

    #[test]
    fn flags_beat_environment_beats_file_beats_defaults() {
        let file = file("data_dir = 'f'\nlisten = 'f:1'\nhttp = 'f:1'\nshards = 2\n");
        let variables = environment(&[("HIGHWATER_LISTEN", "e:2"), ("HIGHWATER_HTTP", "e:2")]);
        let flags = serde_json::json!({ "http": "g:3" });
        let config =
            Config::load(&Config::default(), Some(file.path()), variables, &flags).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("f"));
        assert_eq!(config.listen.to_string(), "e:2");
        assert_eq!(config.http.to_string(), "g:3");
        assert_eq!(config.shards, 2);
        assert_eq!(config.batch_rows, 65_536);
    }

    #[test]
    fn environment_names_the_file_and_numbers_stay_text() {
        let file = file("shards = 8");
        let path = file.path().to_str().unwrap();
        let variables = [
            ("HIGHWATER_CONFIG", path),
            ("HIGHWATER_DATA_DIR", "2013"),
            ("HIGHWATER_BATCH_ROWS", "1"),
            ("HIGHWATER_MEMORY_LIMIT", "64 MB"),
        ];
        let config = load(&variables, None).unwrap();
        assert_eq!(config.memory_limit, Size(64 << 20));
        assert_eq!((config.shards, config.batch_rows), (8, 1));
        assert_eq!(config.data_dir, PathBuf::from("2013"));
    }

    #[test]
    fn unknown_variables_are_ignored() {
        assert!(load(&[("HIGHWATER_SERVICE_HOST", "x"), ("HIGHWATER_LOG", "debug")], None).is_ok());
    }

    #[test]
    fn errors_name_the_option_and_its_origin() {
        let shards = load(&[("HIGHWATER_SHARDS", "3")], None).unwrap_err();
        assert_eq!(
            shards,
            "option \"shards\" (environment variable HIGHWATER_SHARDS): \
             3 is not a power of two from 1 to 256"
        );
        let rows = load(&[("HIGHWATER_BATCH_ROWS", "many")], None).unwrap_err();
        assert!(rows.starts_with("option \"batch_rows\" (environment variable"), "{rows}");
        let limit = load(&[("HIGHWATER_MEMORY_LIMIT", "10")], None).unwrap_err();
        assert!(limit.ends_with("at least 1MB, such as 512MB or 2GB, found \"10\""), "{limit}");
        let listen = load(&[("HIGHWATER_LISTEN", "4566")], None).unwrap_err();
        assert_eq!(
            listen,
            "option \"listen\" (environment variable HIGHWATER_LISTEN): \
             expected HOST:PORT, found \"4566\""
        );
    }

    #[test]
    fn errors_of_a_file_name_the_file() {
        for (text, part) in [
            ("shard = 2", "option \"shard\" (file \""),
            ("shards = 'x'", "option \"shards\" (file \""),
            ("http = 1", "option \"http\" (file \""),
            ("= 1", "option \"config\" (file \""),
        ] {
            let file = file(text);
            let message = load(&[], Some(file.path())).unwrap_err();
            assert!(message.starts_with(part), "{message}");
        }
        let missing = load(&[], Some(Path::new("/does/not/exist.toml"))).unwrap_err();
        assert!(
            missing.starts_with("option \"config\" (file \"/does/not/exist.toml\")"),
            "{missing}"
        );
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["localhost:1", "0.0.0.0:0", "[::]:65535"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in ["", ":1", "a", "a:", "a:65536", "::1:5", "[::1:5", "[]:1"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
