//! The members of JSON objects, and putting some over others.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::json::path;
use crate::json::text::{Text, unescape};
use crate::memory::{self, OutOfMemory};

/// A key and its value.
type Member<'a> = (&'a [u8], &'a [u8]);

/// The members of two objects as one object, those of the second over those of the first, as `{**first, **second}` has
/// them; `None` where either is not the text of an object. Values are copied as they are.
pub(crate) fn merge(first: &[u8], second: &[u8]) -> Result<Option<Vec<u8>>, OutOfMemory> {
    let mut merged: Vec<Member> = Vec::new();
    let mut places: HashMap<Cow<[u8]>, usize> = HashMap::new();
    for text in [first, second] {
        let Some(members) = members(text)? else { return Ok(None) };
        places.try_reserve(members.len())?;
        for (key, value) in members {
            let place = *places.entry(unescape(key)?).or_insert(merged.len());
            match merged.get_mut(place) {
                Some(member) => member.1 = value,
                None => memory::push(&mut merged, (key, value))?,
            }
        }
    }
    let mut text = Vec::new();
    text.try_reserve_exact(merged.iter().map(|(key, value)| key.len() + value.len() + 4).sum::<usize>() + 2)?;
    text.push(b'{');
    for (key, value) in merged {
        if text.len() > 1 {
            text.push(b',');
        }
        text.push(b'"');
        text.extend_from_slice(key);
        text.extend_from_slice(b"\":");
        text.extend_from_slice(value);
    }
    text.push(b'}');
    Ok(Some(text))
}

/// What is between the quotes of each key of an object, and the text of its value.
fn members(text: &[u8]) -> Result<Option<Vec<Member<'_>>>, OutOfMemory> {
    let Some(whole) = path::whole(text)? else { return Ok(None) };
    let mut text = Text::new(whole.text());
    if !text.take(b'{') {
        return Ok(None);
    }
    let mut members = Vec::new();
    text.skip_space();
    let mut more = text.peek() != Some(b'}');
    while more {
        text.skip_space();
        let key = text.skip_value();
        text.skip_space();
        text.take(b':');
        text.skip_space();
        let value = text.skip_value();
        let [b'"', key @ .., b'"'] = key else { return Ok(None) };
        memory::push(&mut members, (key, value))?;
        text.skip_space();
        more = text.take(b',');
    }
    Ok(Some(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(first: &str, second: &str) -> Option<String> {
        merge(first.as_bytes(), second.as_bytes()).unwrap().map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn members_of_the_second_are_put_over_those_of_the_first() {
        for (first, second, both) in [
            ("{}", "{}", "{}"),
            (r#"{"a":1}"#, "{}", r#"{"a":1}"#),
            (" { } ", r#"{"a":1}"#, r#"{"a":1}"#),
            (
                r#"{"a":1,"b":[2,{"a":3}],"c":4}"#,
                r#"{"d":5,"a":null}"#,
                r#"{"a":null,"b":[2,{"a":3}],"c":4,"d":5}"#,
            ),
            (r#"{ "a" : { "x" : "}" } , "b" : NaN }"#, r#"{"a":{"y":1}}"#, r#"{"a":{"y":1},"b":NaN}"#),
            (r#"{"é":1}"#, r#"{"\u00e9":2}"#, r#"{"é":2}"#),
            (r#"{"\ud83d":1}"#, r#"{"\ud83d\ude00":2}"#, r#"{"\ud83d":1,"\ud83d\ude00":2}"#),
            (r#"{"a\"b":1}"#, r#"{"a\u0022b":-0.0}"#, r#"{"a\"b":-0.0}"#),
        ] {
            assert_eq!(merged(first, second).as_deref(), Some(both), "{first} {second}");
        }
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        assert_eq!(merged(r#"{"a":1,"b":2,"a":3}"#, r#"{"c":4,"c":5}"#).unwrap(), r#"{"a":3,"b":2,"c":5}"#);
    }

    #[test]
    fn what_is_no_object_is_not_merged() {
        for other in [
            "",
            "[]",
            "1",
            "null",
            "\"{}\"",
            "{",
            r#"{"a":1"#,
            r#"{"a":tru}"#,
            r#"{"a":1}x"#,
            r#"{"a" 1}"#,
            "{1:2}",
            "{,}",
        ] {
            assert_eq!(merged(other, "{}"), None, "{other}");
            assert_eq!(merged("{}", other), None, "{other}");
        }
        assert_eq!(merge(b"{\"a\":\"\xff\"}", b"{}"), Ok(None));
    }
}
