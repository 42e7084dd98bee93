//! What the expressions of a table compute: its CHECKs, defaults, generated columns and indexes.
//!
//! No SQL is parsed here. The definitions are given to an empty database in memory, and SQLite lists the program that it
//! makes of an INSERT (<https://www.sqlite.org/lang_explain.html>), in which each function that a row would call is an
//! operation. Subqueries are no concern: SQLite allows none in an expression of a table.

use std::cmp::Ordering;
use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::limits::Limit;

use crate::error::Result;
use crate::sqlite::file::connection;

/// Functions whose time and result are bounded by their arguments.
const CHEAP: [&str; 80] = [
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "exp",
    "floor",
    "if",
    "ifnull",
    "iif",
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_object",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_extract",
    "julianday",
    "length",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "max",
    "min",
    "mod",
    "nullif",
    "octet_length",
    "pi",
    "pow",
    "power",
    "radians",
    "random",
    "round",
    "sign",
    "sin",
    "sinh",
    "soundex",
    "sqlite_source_id",
    "sqlite_version",
    "sqrt",
    "strftime",
    "substr",
    "substring",
    "tan",
    "tanh",
    "time",
    "timediff",
    "trunc",
    "typeof",
    "unicode",
    "unixepoch",
    "unlikely",
    "upper",
    "json_error_position",
    "subtype",
];

/// By how much all functions of one definition together may make a text longer.
const MOST_GROWTH: usize = 1000;

/// The most bytes that a function may make out of nothing, or look for in all places of a text.
const MOST_BYTES: usize = 1024;

/// As how many bytes a constant that `char` makes, or a number, is counted.
const BYTES_OF_OTHERS: usize = 20;

/// The most operations of a statement. When a table is made SQLite reads all of its columns, and of generated columns that
/// name each other twice, each takes twice as many as the one before.
const MOST_STEPS: i32 = 20_000;

/// How many functions and collations of its owner's program a definition may name.
const MOST_UNKNOWN: usize = 50;

/// The longest definition, in bytes. What is constant in it is bounded by that, too.
const LONGEST: usize = 64 << 10;

/// A table of ours, or what is on one, as the schema has it.
pub(crate) struct Definition {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) sql: String,
}

impl Definition {
    fn is_table(&self) -> bool {
        self.kind == "table"
    }
}

/// The first of these that may compute for long, and why. Only of `ours` are functions refused that are not known: those
/// of another program are not there where the store writes, and SQLite fails.
pub(crate) fn costly(definitions: &[Definition], ours: bool) -> Result<Option<(&Definition, String)>> {
    let scratch = connection::open_memory()?;
    // A file's schema is read with these on, whatever the connection has.
    scratch.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, true)?;
    scratch.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, true)?;
    // What they refer to is not here.
    scratch.pragma_update(None, "foreign_keys", false)?;
    scratch.set_limit(Limit::SQLITE_LIMIT_VDBE_OP, MOST_STEPS)?;
    let (tables, others): (Vec<_>, Vec<_>) = definitions.iter().partition(|each| each.is_table());
    let mut each = tables.into_iter().chain(others);
    Ok(each.find_map(|each| Some((each, why_costly(&scratch, each, ours)?))))
}

fn why_costly(scratch: &Connection, each: &Definition, ours: bool) -> Option<String> {
    if each.sql.len() > LONGEST {
        return Some(format!("its definition is longer than {LONGEST} bytes"));
    }
    let judged = make(scratch, &each.sql).and_then(|()| {
        let why = Program::of_insert(scratch, &each.table)?.why_costly(ours);
        if !each.is_table() {
            scratch.execute_batch(&format!("DROP INDEX {}", quoted(&each.name)))?;
        }
        Ok(why)
    });
    judged.unwrap_or_else(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::OutOfMemory) => Some(format!("a row takes more than {MOST_STEPS} steps")),
        _ => Some(error.to_string()),
    })
}

/// Make a table or an index, and first what it names of its owner's program. Whatever else may stand behind it is not run.
fn make(scratch: &Connection, sql: &str) -> rusqlite::Result<()> {
    for _ in 0..MOST_UNKNOWN {
        let Err(error) = scratch.execute(sql, []) else { return Ok(()) };
        let message = error.to_string();
        let unknown = |what: &str| message.split_once(what).and_then(|(_, name)| name.split(" in ").next());
        match (unknown("no such function: "), unknown("no such collation sequence: ")) {
            (Some(name), _) => stand_in(scratch, name, true),
            (_, Some(name)) => stand_in(scratch, name, false),
            _ => return Err(error),
        }
    }
    scratch.execute(sql, []).map(drop)
}

/// Let there be a function, or a collation, of this name. It is never run: nothing is written here.
fn stand_in(scratch: &Connection, name: &str, is_function: bool) {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    // Where it is not there after all, what names it is refused.
    let _ = match is_function {
        true => scratch.create_scalar_function(name, -1, flags, |_| Ok(0)),
        false => scratch.create_collation(name, |_, _| Ordering::Equal),
    };
}

/// A name as SQL has it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What SQLite runs for one row.
struct Program {
    calls: Vec<Call>,
    /// What is put into registers once.
    constants: HashMap<i64, Constant>,
}

/// A call of a function: how many arguments it takes, -1 for any number, which of them are constant, as bits, and the
/// register of the first.
struct Call {
    name: String,
    arguments: i64,
    constant: i64,
    first: i64,
}

enum Constant {
    Text(String),
    Integer(i64),
    /// A text of so many bytes that is made of others.
    Made(usize),
}

impl Constant {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Integer(_) => BYTES_OF_OTHERS,
            Self::Made(bytes) => *bytes,
        }
    }
}

impl Program {
    fn of_insert(scratch: &Connection, table: &str) -> rusqlite::Result<Self> {
        let mut listed = scratch.prepare(&format!("EXPLAIN INSERT INTO {} DEFAULT VALUES", quoted(table)))?;
        let mut rows = listed.query([])?;
        let mut program = Self { calls: Vec::new(), constants: HashMap::new() };
        while let Some(row) = rows.next()? {
            let (p1, p2, p3): (i64, i64, i64) = (row.get("p1")?, row.get("p2")?, row.get("p3")?);
            let p4 = |row: &rusqlite::Row| row.get::<_, String>("p4");
            match row.get::<_, String>("opcode")?.as_str() {
                "Function" | "PureFunc" => {
                    let call = p4(row)?.to_ascii_lowercase();
                    let (name, arguments) = call.split_once('(').unwrap_or((&call, ""));
                    let arguments = arguments.trim_end_matches(')').parse().unwrap_or(-1);
                    if name == "char" {
                        program.constants.insert(p3, Constant::Made(BYTES_OF_OTHERS));
                    }
                    program.calls.push(Call { name: name.to_owned(), arguments, constant: p1, first: p2 });
                }
                "String8" => drop(program.constants.insert(p2, Constant::Text(p4(row)?))),
                "Integer" => drop(program.constants.insert(p2, Constant::Integer(p1))),
                "Concat" => {
                    let bytes = |register| program.constants.get(&register).map(Constant::bytes);
                    if let (Some(first), Some(last)) = (bytes(p2), bytes(p1)) {
                        program.constants.insert(p3, Constant::Made(first.saturating_add(last)));
                    }
                }
                _ => {}
            }
        }
        Ok(program)
    }

    fn why_costly(&self, ours: bool) -> Option<String> {
        let mut growth = 1_usize;
        for call in &self.calls {
            let Some(factor) = self.growth(call, ours) else {
                return Some(format!(
                    "it calls {}, or not with such arguments as are known to be cheap",
                    call.name
                ));
            };
            growth = growth.saturating_mul(factor);
        }
        (growth > MOST_GROWTH).then(|| "it makes long texts out of short ones".to_owned())
    }

    /// By how much a call makes a text longer; `None` where that, or its time, has no bound.
    fn growth(&self, call: &Call, ours: bool) -> Option<usize> {
        let text = |argument| match self.constant(call, argument) {
            Some(Constant::Text(text)) => Some(text),
            _ => None,
        };
        let is_short =
            |argument| self.constant(call, argument).is_some_and(|text| text.bytes() <= MOST_BYTES);
        match call.name.as_str() {
            "hex" | "quote" => Some(2),
            "json_quote" => Some(6),
            // Each looks for one text, or for its letters, in all places of the other.
            "like" | "glob" => is_short(0).then_some(1),
            "instr" => is_short(1).then_some(1),
            "trim" | "ltrim" | "rtrim" | "unhex" => (call.arguments == 1 || is_short(1)).then_some(1),
            "replace" if is_short(1) => Some(text(2)?.len().div_ceil(text(1)?.len().max(1)).max(1)),
            "replace" => None,
            "randomblob" | "zeroblob" => match self.constant(call, 0)? {
                Constant::Integer(bytes) => {
                    usize::try_from(*bytes).map_or(true, |bytes| bytes <= MOST_BYTES).then_some(1)
                }
                _ => None,
            },
            "printf" | "format" => {
                let format = text(0)?;
                let mut widths = format.split(|letter: char| !letter.is_ascii_digit());
                (!format.contains('*') && widths.all(|digits| digits.len() < 4)).then_some(1)
            }
            name => (!ours || CHEAP.contains(&name)).then_some(1),
        }
    }

    fn constant(&self, call: &Call, argument: i64) -> Option<&Constant> {
        call.is_constant(argument).then(|| self.constants.get(&(call.first + argument)))?
    }
}

impl Call {
    fn is_constant(&self, argument: i64) -> bool {
        self.constant >> argument & 1 == 1
    }
}
