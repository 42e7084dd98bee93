//! Paths into JSON text: parsing them, and finding the value that they lead to.
//!
//! If a key occurs twice the last one counts. Nothing recurses, so text may be nested to any depth.

use std::fmt::Write as _;

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::json::text::{Text, Value, unescape};
use crate::memory::{self, OutOfMemory};
use crate::model::columns::ItemColumn;

/// A way into a column: `scores_json.total`, `claims_json[0]."a.b"`.
///
/// Text is UTF-8, in which a lone surrogate is encoded as if it were a character, here and in all that is compared: so
/// bytes sort as code points do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// Which column it leads into.
    pub(crate) column: ItemColumn,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(Vec<u8>),
    Index(usize),
}

impl Path {
    /// The path that this text describes.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let length = text.iter().position(|byte| b".[".contains(byte)).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(length);
        let refuse = |why: &str| {
            let shown = String::from_utf8_lossy(text);
            Err(StoreError::new(ErrorKind::InvalidValue, format!("the path {}: {why}", excerpt(&shown))))
        };
        let Some(column) = ItemColumn::JSON.into_iter().find(|column| column.name().as_bytes() == name)
        else {
            return refuse(&format!("it must begin with one of {}", ItemColumn::names(&ItemColumn::JSON)));
        };
        let mut steps = Vec::new();
        while let Some((first, after)) = rest.split_first() {
            let step = match (first, after.first()) {
                (b'.', Some(b'"')) => quoted_key(&after[1..])?,
                (b'.', _) => bare_key(after)?,
                (b'[', _) => index(after),
                _ => None,
            };
            let Some((step, behind)) = step else {
                return refuse(
                    "it continues with .key, .\"any key\" (with \\\" and \\\\ inside) or [0]; quote a key with any of . [ ] \" \\ in it",
                );
            };
            memory::push(&mut steps, step)?;
            rest = behind;
        }
        Ok(Self { column, steps })
    }

    /// The same path as text that is always the same for it.
    pub(crate) fn describe(&self) -> Result<String, OutOfMemory> {
        let mut text = memory::Formatted::default();
        write!(text, "{}", self.column.name())?;
        for step in &self.steps {
            match step {
                Step::Key(key) => write!(text, ".\"{}\"", key.escape_ascii()),
                Step::Index(index) => write!(text, "[{index}]"),
            }?;
        }
        Ok(text.0)
    }

    /// The value that this leads to in a column's text; `None` if there is none, or if the text is not JSON.
    pub(crate) fn find<'a>(&self, text: &'a [u8]) -> Result<Option<Value<'a>>, OutOfMemory> {
        find(text, &self.steps)
    }
}

/// The value that a whole text is; `None` where it is no JSON.
pub(crate) fn whole(text: &[u8]) -> Result<Option<Value<'_>>, OutOfMemory> {
    find(text, &[])
}

fn find<'a>(text: &'a [u8], steps: &[Step]) -> Result<Option<Value<'a>>, OutOfMemory> {
    if std::str::from_utf8(text).is_err() {
        return Ok(None);
    }
    let mut finder =
        Finder { text: Text::new(text), steps, open: Vec::new(), on_path: 0, found: None, failed: None };
    let found = finder.find().map(Value::known);
    finder.failed.map_or(Ok(found), Err)
}

fn quoted_key(text: &[u8]) -> Result<Option<(Step, &[u8])>, OutOfMemory> {
    let (mut key, mut bytes) = (Vec::new(), text.iter().enumerate());
    while let Some((at, byte)) = bytes.next() {
        let byte = match byte {
            b'"' => return Ok(Some((Step::Key(key), &text[at + 1..]))),
            b'\\' => bytes.next().map(|(_, byte)| byte).filter(|byte| b"\"\\".contains(byte)),
            byte => Some(byte),
        };
        let Some(byte) = byte else { return Ok(None) };
        memory::push(&mut key, *byte)?;
    }
    Ok(None)
}

fn bare_key(text: &[u8]) -> Result<Option<(Step, &[u8])>, OutOfMemory> {
    let length = text.iter().position(|byte| b".[]\"\\".contains(byte)).unwrap_or(text.len());
    let (key, rest) = text.split_at(length);
    (length > 0).then(|| Ok((Step::Key(memory::bytes(key)?), rest))).transpose()
}

fn index(text: &[u8]) -> Option<(Step, &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at(length);
    let index =
        std::str::from_utf8(digits).ok().filter(|digits| *digits == "0" || !digits.starts_with('0'))?;
    Some((Step::Index(index.parse().ok()?), rest.strip_prefix(b"]")?))
}

/// Finds the value that a path leads to. It reads the whole text, which may turn out not to be JSON at its very end.
struct Finder<'a, 'p> {
    text: Text<'a>,
    steps: &'p [Step],
    /// The arrays and objects that are open, the outermost first.
    open: Vec<Container>,
    /// How many of them, from the outermost on, lie on the path: `n` steps lead to the one at depth `n`.
    on_path: usize,
    found: Option<&'a [u8]>,
    /// What ended it, if not the text.
    failed: Option<OutOfMemory>,
}

struct Container {
    is_array: bool,
    start: usize,
    /// How many elements came before the present one.
    index: usize,
}

impl<'a> Finder<'a, '_> {
    fn find(&mut self) -> Option<&'a [u8]> {
        let mut leads_here = true;
        loop {
            self.text.skip_space();
            let start = self.text.at;
            let is_array = self.text.peek()? == b'[';
            if is_array || self.text.peek()? == b'{' {
                self.text.at += 1;
                self.on_path += usize::from(leads_here);
                let opened = memory::push(&mut self.open, Container { is_array, start, index: 0 });
                self.unless_failed(opened)?;
                self.text.skip_space();
                if self.text.peek()? != closing(is_array) {
                    leads_here = self.next_child()?;
                    continue;
                }
            } else {
                self.text.scalar()?;
                self.end_value(start, leads_here);
            }
            loop {
                self.text.skip_space();
                let Some(open) = self.open.last_mut() else {
                    return if self.text.peek().is_none() { self.found } else { None };
                };
                if self.text.take(b',') {
                    open.index += 1;
                    leads_here = self.next_child()?;
                    break;
                }
                let (closing, start) = (closing(open.is_array), open.start);
                if !self.text.take(closing) {
                    return None;
                }
                self.open.pop();
                let led_here = self.open.len() < self.on_path;
                self.on_path = self.on_path.min(self.open.len());
                self.end_value(start, led_here);
            }
        }
    }

    /// Go to the next value in what is open, past its key; whether the path leads to it.
    fn next_child(&mut self) -> Option<bool> {
        let depth = self.open.len() - 1;
        let open = self.open.last()?;
        let step = if depth < self.on_path { self.steps.get(depth) } else { None };
        if open.is_array {
            return Some(matches!(step, Some(Step::Index(index)) if *index == open.index));
        }
        self.text.skip_space();
        let start = self.text.at;
        if self.text.peek()? != b'"' {
            return None;
        }
        self.text.scalar()?;
        let key = self.text.bytes.get(start + 1..self.text.at - 1)?;
        self.text.skip_space();
        if !self.text.take(b':') {
            return None;
        }
        let leads_here = match step {
            Some(Step::Key(wanted)) => *wanted == *self.unless_failed(unescape(key))?,
            _ => false,
        };
        if leads_here {
            // The key may have come before: this one takes its place.
            self.found = None;
        }
        Some(leads_here)
    }

    /// What is there; if there is no memory for it, none, and that ended it.
    fn unless_failed<T>(&mut self, result: Result<T, OutOfMemory>) -> Option<T> {
        result.map_err(|failed| self.failed = Some(failed)).ok()
    }

    fn end_value(&mut self, start: usize, led_here: bool) {
        if led_here && self.open.len() == self.steps.len() {
            self.found = self.text.bytes.get(start..self.text.at);
        }
    }
}

fn closing(is_array: bool) -> u8 {
    if is_array { b']' } else { b'}' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::text::MOST_DIGITS;

    fn find<'a>(text: &'a str, path: &str) -> Option<&'a str> {
        let path = Path::parse(format!("scores_json{path}").as_bytes()).unwrap();
        path.find(text.as_bytes()).unwrap().map(|value| std::str::from_utf8(value.text()).unwrap())
    }

    #[test]
    fn a_path_leads_to_a_value() {
        let text = r#" {"a": {"b.c": [1, [2, {"d": "e"}]], "": null, "q\"\\": 3}, "list": [ ] } "#;
        assert_eq!(find(text, ".a.\"b.c\"[0]"), Some("1"));
        assert_eq!(find(text, ".a.\"b.c\"[1]"), Some(r#"[2, {"d": "e"}]"#));
        assert_eq!(find(text, ".a.\"b.c\"[1][1].d"), Some("\"e\""));
        assert_eq!(find(text, ".a.\"\""), Some("null"));
        assert_eq!(find(text, r#".a."q\"\\""#), Some("3"));
        assert_eq!(find(text, ".list"), Some("[ ]"));
        assert_eq!(find(text, ""), Some(text.trim()));
        for nothing in
            [".b", ".a.b", ".a[0]", ".list[0]", ".a.\"b.c\"[2]", ".a.\"b.c\".d", ".list.a", ".a.\"\".x"]
        {
            assert_eq!(find(text, nothing), None, "{nothing}");
        }
        assert_eq!(find("5", ""), Some("5"));
        assert_eq!(find("[5]", "[0]"), Some("5"));
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        assert_eq!(find(r#"{"a": 1, "b": 0, "\u0061": 2}"#, ".a"), Some("2"));
        assert_eq!(find(r#"{"a": {"b": 1}, "a": {"c": 2}}"#, ".a.b"), None);
        assert_eq!(find(r#"{"a": {"b": 1}, "a": 3}"#, ".a.b"), None);
        assert_eq!(find(r#"{"a": 3, "a": {"b": 1, "b": [2]}}"#, ".a.b[0]"), Some("2"));
        assert_eq!(find(r#"[{"a": 1}, {"a": 2}]"#, "[0].a"), Some("1"));
    }

    #[test]
    fn in_text_that_is_no_json_nothing_is_found() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "{]",
            "[}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{1:1}",
            "[1 2]",
            "1 2",
            "[1]]",
            "01",
            "-",
            "1.",
            "1.e5",
            ".5",
            "1e",
            "+1",
            "nul",
            "True",
            "\"",
            "\"\n\"",
            r#""\x""#,
            r#""\u12g4""#,
            r#""\u12"#,
            "'a'",
            "\u{feff}1",
            "-NaN",
            "Inf",
            "{\"a\":}",
            "[,1]",
            "\"a\" ,",
            "1\u{a0}",
            "// 1",
        ] {
            assert_eq!(find(text, ""), None, "{text}");
            assert_eq!(find(&format!("{{\"a\": 7, \"b\": {text}"), ".a"), None, "{text}");
        }
        let path = Path::parse(b"scores_json[0]").unwrap();
        assert!(path.find(b"[1, \"\xff\"]").unwrap().is_none());
        assert!(path.find(b"[1, \"\xed\xa0\x80\"]").unwrap().is_none());
        assert_eq!(find(&"9".repeat(MOST_DIGITS + 1), ""), None);
        assert!(find(&format!("-{}", "9".repeat(MOST_DIGITS)), "").is_some());
        assert!(find(&format!("{}.0", "9".repeat(MOST_DIGITS + 1)), "").is_some());
    }

    #[test]
    fn depth_has_no_limit() {
        let depth = 1_000_000;
        let text = format!("{}1{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        assert_eq!(find(&text, "[0].a[0].a[0]").map(str::len), Some(text.len() - 18));
        assert_eq!(find(&text[..text.len() - 1], "[0]"), None);
        let text = format!("[1, {text}, 2]");
        let path = Path::parse(b"scores_json").unwrap();
        assert_eq!(path.find(text.as_bytes()).unwrap().unwrap().elements().count(), 3);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "scores",
            "scores_jsonx",
            "title",
            "title.a",
            "scores_json.",
            "scores_json..a",
            "scores_json.a.",
            "scores_json[",
            "scores_json[]",
            "scores_json[-1]",
            "scores_json[a]",
            "scores_json[01]",
            "scores_json[1",
            "scores_json[1]a",
            "scores_json.a]",
            "scores_json.a\"b",
            "scores_json.\"a",
            "scores_json.\"a\"b",
            "scores_json.\"\\n\"",
            "scores_json.\"a\\",
            "scores_json.a\\b",
            "$.scores_json",
            " scores_json",
            "scores_json[99999999999999999999]",
        ] {
            let error = Path::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidValue);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_described_differently() {
        let describe = |text: &str| Path::parse(text.as_bytes()).unwrap().describe().unwrap();
        assert_eq!(describe("scores_json.a[0]"), describe("scores_json.\"a\"[0]"));
        assert_ne!(describe("scores_json.\"a[0]\""), describe("scores_json.a[0]"));
        assert_ne!(describe(r#"scores_json."a\".\"b""#), describe(r#"scores_json."a"."b""#));
    }
}
