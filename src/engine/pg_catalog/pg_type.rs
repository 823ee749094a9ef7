//! Types of columns: from a declared type's name to `pg_type`'s oid and modifier, and back.

/// A type: oid, internal name, name in SQL, bytes (-1 for varying ones), oid of its array type.
type PgType = (u32, &'static str, &'static str, i16, u32);

/// The types that columns of ours and of the system relations have.
const TYPES: [PgType; 40] = [
    (16, "bool", "boolean", 1, 1000),
    (17, "bytea", "bytea", -1, 1001),
    (18, "char", "\"char\"", 1, 1002),
    (19, "name", "name", 64, 1003),
    (20, "int8", "bigint", 8, 1016),
    (21, "int2", "smallint", 2, 1005),
    (22, "int2vector", "int2vector", -1, 1006),
    (23, "int4", "integer", 4, 1007),
    (24, "regproc", "regproc", 4, 1008),
    (25, "text", "text", -1, 1009),
    (26, "oid", "oid", 4, 1028),
    (28, "xid", "xid", 4, 1011),
    (30, "oidvector", "oidvector", -1, 1013),
    (114, "json", "json", -1, 199),
    (142, "xml", "xml", -1, 143),
    (194, "pg_node_tree", "pg_node_tree", -1, 0),
    (700, "float4", "real", 4, 1021),
    (701, "float8", "double precision", 8, 1022),
    (869, "inet", "inet", -1, 1041),
    (1033, "aclitem", "aclitem", 12, 1034),
    (1042, "bpchar", "character", -1, 1014),
    (1043, "varchar", "character varying", -1, 1015),
    (1082, "date", "date", 4, 1182),
    (1083, "time", "time without time zone", 8, 1183),
    (1114, "timestamp", "timestamp without time zone", 8, 1115),
    (1184, "timestamptz", "timestamp with time zone", 8, 1185),
    (1186, "interval", "interval", 16, 1187),
    (1266, "timetz", "time with time zone", 12, 1270),
    (1700, "numeric", "numeric", -1, 1231),
    (2205, "regclass", "regclass", 4, 2210),
    (2206, "regtype", "regtype", 4, 2211),
    (2249, "record", "record", -1, 2287),
    (2277, "anyarray", "anyarray", -1, 0),
    (2278, "void", "void", 4, 0),
    (2281, "internal", "internal", 8, 0),
    (2950, "uuid", "uuid", 16, 2951),
    (3220, "pg_lsn", "pg_lsn", 8, 3221),
    (3802, "jsonb", "jsonb", -1, 3807),
    (4089, "regnamespace", "regnamespace", 4, 4090),
    (4096, "regrole", "regrole", 4, 4097),
];

/// Bytes that Postgres adds to the modifier of varying-length types.
const HEADER: i32 = 4;

/// A column's type as `pg_attribute` and `information_schema.columns` tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnType {
    /// `atttypid`.
    pub(super) oid: u32,
    /// `atttypmod`; -1 is none.
    pub(super) modifier: i32,
    /// `attlen`; -1 is varying.
    pub(super) length: i16,
    /// Internal name, with a leading `_` for arrays.
    pub(super) internal: String,
    /// Name in SQL, without modifier; `ARRAY` for arrays.
    pub(super) sql: &'static str,
    /// `attndims`.
    pub(super) dimensions: i16,
}

impl ColumnType {
    /// Reads a type as `format_type` prints it; unknown ones are text.
    pub(super) fn parse(declared: &str) -> ColumnType {
        let (name, is_array) = match declared.strip_suffix("[]") {
            Some(element) => (element, true),
            None => (declared, false),
        };
        let (base, arguments) = split_modifier(name);
        let known = |(_, internal, sql, ..): &&PgType| *sql == base || *internal == base;
        let (oid, internal, sql, length, array) =
            *TYPES.iter().find(known).unwrap_or(&(25, "text", "text", -1, 1009));
        let modifier = modifier(oid, &arguments);
        if is_array {
            let internal = format!("_{internal}");
            return ColumnType {
                oid: array,
                modifier,
                length: -1,
                internal,
                sql: "ARRAY",
                dimensions: 1,
            };
        }
        ColumnType { oid, modifier, length, internal: internal.to_owned(), sql, dimensions: 0 }
    }

    /// Returns the most characters a value can have (`character_maximum_length`).
    pub(super) fn characters(&self) -> Option<i32> {
        (matches!(self.oid, 1042 | 1043) && self.modifier > HEADER).then(|| self.modifier - HEADER)
    }

    /// Returns precision, its base, and scale of a number.
    pub(super) fn numeric(&self) -> Option<(Option<i32>, i32, Option<i32>)> {
        match self.oid {
            21 => Some((Some(16), 2, Some(0))),
            23 => Some((Some(32), 2, Some(0))),
            20 => Some((Some(64), 2, Some(0))),
            700 => Some((Some(24), 2, None)),
            701 => Some((Some(53), 2, None)),
            1700 if self.modifier < HEADER => Some((None, 10, None)),
            1700 => {
                let packed = self.modifier - HEADER;
                Some((Some(packed >> 16), 10, Some(packed & 0x7ff)))
            }
            _ => None,
        }
    }

    /// Returns the digits of a second (`datetime_precision`).
    pub(super) fn second_digits(&self) -> Option<i32> {
        match self.oid {
            1082 => Some(0),
            1083 | 1114 | 1184 | 1186 | 1266 => {
                Some(if self.modifier < 0 { 6 } else { self.modifier })
            }
            _ => None,
        }
    }

    /// Returns how long values are aligned (`attalign`).
    pub(super) fn alignment(&self) -> &'static str {
        match self.length {
            1 => "c",
            2 => "s",
            8 | 16 if self.oid != 2950 => "d",
            16 | 64 => "c",
            _ => "i",
        }
    }
}

/// Splits `timestamp(3) with time zone` into its name and its arguments.
fn split_modifier(name: &str) -> (String, Vec<i32>) {
    match (name.find('('), name.find(')')) {
        (Some(open), Some(close)) if open < close => {
            let arguments = name[open + 1..close].split(',').filter_map(|n| n.trim().parse().ok());
            (format!("{}{}", name[..open].trim_end(), &name[close + 1..]), arguments.collect())
        }
        _ => (name.to_owned(), Vec::new()),
    }
}

fn modifier(oid: u32, arguments: &[i32]) -> i32 {
    match (oid, arguments) {
        (1042 | 1043, [length]) => length + HEADER,
        (1700, [precision]) => (precision << 16) + HEADER,
        (1700, [precision, scale]) => ((precision << 16) | (scale & 0x7ff)) + HEADER,
        (1083 | 1114 | 1184 | 1266, [digits]) => *digits,
        _ => -1,
    }
}

/// Prints a type as Postgres's `format_type` does.
pub(super) fn format_type(oid: u32, modifier: i32) -> String {
    if let Some((element, ..)) = TYPES.iter().find(|(.., array)| *array == oid && oid != 0) {
        return format!("{}[]", format_type(*element, modifier));
    }
    let Some((_, _, sql, ..)) = TYPES.iter().find(|(known, ..)| *known == oid) else {
        return super::dump::type_name(oid).unwrap_or_else(|| "???".to_owned());
    };
    let (words, zone) = match sql.split_once(" with") {
        Some((words, _)) => (words, &sql[words.len()..]),
        None => (*sql, ""),
    };
    match oid {
        1042 | 1043 if modifier > HEADER => format!("{sql}({})", modifier - HEADER),
        1700 if modifier > HEADER => {
            let packed = modifier - HEADER;
            format!("{sql}({},{})", packed >> 16, packed & 0x7ff)
        }
        1083 | 1114 | 1184 | 1266 if modifier >= 0 => format!("{words}({modifier}){zone}"),
        _ => (*sql).to_owned(),
    }
}

/// Returns the oid of a type given by any of its names.
pub(super) fn oid_of(name: &str) -> Option<u32> {
    let name = name.trim().to_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let alias = match name {
        "int" => "integer",
        "decimal" => "numeric",
        "timestamp" => "timestamp without time zone",
        "time" => "time without time zone",
        other => other,
    };
    let (element, is_array) = match alias.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (alias, false),
    };
    let (base, _) = split_modifier(element);
    let known = TYPES.iter().find(|(_, internal, sql, ..)| *sql == base || *internal == base);
    match known {
        Some((.., array)) if is_array => Some(*array).filter(|oid| *oid != 0),
        Some((oid, ..)) => Some(*oid),
        None => super::dump::type_oid(name),
    }
}
