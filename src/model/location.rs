//! The location of a store, as a caller writes it: a path, or the URL of a file.
//!
//! Programs name databases by URL in their settings. A `sqlite:` or `file:` URL names its file; any other URL is
//! refused, since as a path it would be a folder `mysql:`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::error::{ErrorKind, Result, StoreError, cut};

/// The name that means a store in memory.
const MEMORY: &[u8] = b":memory:";

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Nowhere but in memory.
    Memory,
    /// In this file.
    File(PathBuf),
}

impl Location {
    /// The path alone.
    pub fn as_os_str(&self) -> &OsStr {
        match self {
            Self::Memory => OsStr::from_bytes(MEMORY),
            Self::File(path) => path.as_os_str(),
        }
    }

    /// What a path means. It is never a URL.
    pub fn of_path(path: &OsStr) -> Self {
        if path.as_bytes() == MEMORY { Self::Memory } else { Self::File(path.into()) }
    }

    /// What text means: a path, or a URL as SQLAlchemy (`sqlite:`) and SQLite (`file:`) read them.
    ///
    /// A `sqlite:` URL is taken letter by letter, in a `file:` URL `%20` is a space. `file:name` with a query is a
    /// path: its parameters would be SQLite's (`mode=memory`), and no path turns a file into something else.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidValue`] for the URL of anything else, and for one that names no file of this host.
    pub fn of_text(text: &OsStr) -> Result<Self> {
        if let Some(scheme) = wrapped(text.as_bytes()) {
            return Err(refused(format!(
                "a blank or a quotation mark stands before {}://; remove it",
                cut(scheme.to_owned())
            )));
        }
        let Some((scheme, rest)) = split(text.as_bytes()) else { return Ok(Self::of_path(text)) };
        match (scheme.to_ascii_lowercase().as_str(), rest.strip_prefix(b"//")) {
            ("sqlite", Some(rest)) => sqlite(rest),
            ("sqlite", None) if rest.starts_with(b"/") => Err(of_sqlite()),
            ("postgresql" | "postgres", None) if rest.starts_with(b"/") => Err(refused(
                "a postgresql: URL has two slashes, postgresql://host/db; a pathlib.Path takes one of them away",
            )),
            ("file", _) if rest.starts_with(b"/") && rest.iter().any(|byte| b"?#".contains(byte)) => {
                Err(refused(
                    "a file:// URL takes nothing behind a ? or #; give options by keyword, or the file as a pathlib.Path",
                ))
            }
            ("file", _) if rest.iter().any(|byte| b"?#".contains(byte)) => Ok(Self::of_path(text)),
            ("file", _) => file(rest),
            (_, Some(_)) => Err(refused(format!(
                "{}:// names no store: give the path of a file, as a pathlib.Path if it begins like that, or a postgresql:// URL",
                cut(scheme.to_owned())
            ))),
            (_, None) => match split(rest) {
                Some((inner, rest)) if rest.starts_with(b"//") => Err(refused(format!(
                    "{}:// names no store: give the path of a file, or a postgresql:// URL",
                    cut(format!("{scheme}:{inner}"))
                ))),
                _ => Ok(Self::of_path(text)),
            },
        }
    }
}

/// The scheme of what may be a URL, and what stands behind its colon. One letter is a drive.
fn split(text: &[u8]) -> Option<(&str, &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':').filter(|colon| *colon > 1)?;
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let valid = scheme[0].is_ascii_alphabetic()
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(byte));
    std::str::from_utf8(scheme).ok().filter(|_| valid).map(|scheme| (scheme, rest))
}

/// The scheme of a URL that has blanks or quotation marks before it, as settings are read that keep them.
fn wrapped(text: &[u8]) -> Option<&str> {
    let start = text.iter().position(|byte| !byte.is_ascii_whitespace() && !b"\"'".contains(byte))?;
    let (scheme, rest) = split(&text[start..]).filter(|_| start > 0)?;
    rest.starts_with(b"//").then_some(scheme)
}

/// What is behind `sqlite://`. <https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#connect-strings>
fn sqlite(rest: &[u8]) -> Result<Location> {
    match rest {
        b"" | b"/" => Ok(Location::Memory),
        [b'/', path @ ..] if path.contains(&b'?') => Err(refused(
            "a sqlite:// URL takes no options behind a ?; give them by keyword, or the file as a pathlib.Path",
        )),
        [b'/', path @ ..] => Ok(Location::of_path(OsStr::from_bytes(path))),
        _ => Err(of_sqlite()),
    }
}

/// What is behind `file:`. <https://www.sqlite.org/uri.html>
fn file(rest: &[u8]) -> Result<Location> {
    let (host, path) = rest.strip_prefix(b"//").map_or((&b""[..], rest), |rest| {
        rest.split_at(rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len()))
    });
    if !host.is_empty() && !host.eq_ignore_ascii_case(b"localhost") {
        return Err(refused(
            "a file:// URL names another host; one of this host has three slashes, file:///path",
        ));
    }
    let path = decoded(path);
    if path.is_empty() || path.contains(&0) {
        return Err(refused("the file: URL names no file"));
    }
    Ok(Location::of_path(&OsString::from_vec(path)))
}

/// Each `%` with two hexadecimal digits as the byte that they are.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    bytes
}

fn of_sqlite() -> StoreError {
    refused("a sqlite: URL has three slashes and a path, sqlite:///state.db; a fourth if it is from the root")
}

fn refused(message: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::InvalidValue, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(text: &str) -> std::result::Result<String, String> {
        match Location::of_text(OsStr::new(text)) {
            Ok(Location::Memory) => Ok("in memory".into()),
            Ok(Location::File(path)) => Ok(path.to_string_lossy().into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn urls_of_files_mean_the_file() {
        for (url, path) in [
            ("sqlite:///state.db", "state.db"),
            ("sqlite:///data/state.db", "data/state.db"),
            ("sqlite:////var/state.db", "/var/state.db"),
            ("SQLite:///state.db", "state.db"),
            ("sqlite:///a%20b#c", "a%20b#c"),
            ("sqlite://", "in memory"),
            ("sqlite:///", "in memory"),
            ("sqlite:///:memory:", "in memory"),
            ("file:state.db", "state.db"),
            ("file:data/a%20b", "data/a b"),
            ("file:100%", "100%"),
            ("file:a%zz%4", "a%zz%4"),
            ("file:%C3%BC", "ü"),
            ("file:/var/state.db", "/var/state.db"),
            ("file:///var/state.db", "/var/state.db"),
            ("file://localhost/var/state.db", "/var/state.db"),
            ("FILE:state.db", "state.db"),
            ("file::memory:", "in memory"),
            (":memory:", "in memory"),
        ] {
            assert_eq!(located(url).as_deref(), Ok(path), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_a_path() {
        for path in [
            "state.db",
            "./postgresql://host/db",
            "/srv/http://x",
            "file:x?mode=memory",
            "file:x#y",
            "a sqlite:///x",
            " state.db",
            "\"run:1.db\"",
            "run:1:2.db",
            "c://state.db",
            "C:state.db",
            "://x",
            "1st://x",
            "with space://x",
            "run:1.db",
            "sqlite:state.db",
            "üü://x",
        ] {
            assert_eq!(located(path).as_deref(), Ok(path));
        }
    }

    #[test]
    fn urls_of_anything_else_are_refused_and_tell_no_password() {
        for (url, named) in [
            ("postgresql://me:secret@host/db", "postgresql://"),
            ("postgresql+psycopg://me:secret@host/db", "postgresql+psycopg://"),
            ("sqlite+aiosqlite:///state.db", "sqlite+aiosqlite://"),
            ("redis://", "redis://"),
            ("https://me:secret@host/state.db", "https://"),
            ("sqlite://host/state.db", "sqlite:///state.db"),
            ("sqlite:/var/state.db", "sqlite:///state.db"),
            ("sqlite:///state.db?timeout=5", "by keyword"),
            ("jdbc:postgresql://me:secret@host/db", "jdbc:postgresql://"),
            ("\tpostgresql://me:secret@host/db", "before postgresql://"),
            ("\"sqlite:///state.db\"", "before sqlite://"),
            (" 'file:///state.db'", "before file://"),
            ("file:///x?mode=ro", "by keyword"),
            ("file:/x?mode=ro", "by keyword"),
            ("file:///x#y", "by keyword"),
            ("file://secret/state.db", "file:///path"),
            ("file:", "no file"),
            ("file://", "no file"),
            ("file:a%00b", "no file"),
        ] {
            let Err(message) = located(url) else { panic!("{url} was taken") };
            assert!(message.contains(named), "{message}");
            assert!(!message.contains("secret"), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
