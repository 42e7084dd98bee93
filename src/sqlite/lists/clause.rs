//! Conditions on columns.

use rusqlite::types::ToSqlOutput;

/// A condition on a column, and the value of its parameter if it has one.
pub(crate) type Clause<'a> = (&'static str, Option<ToSqlOutput<'a>>);

/// The values of conditions that must all hold.
pub(crate) fn values<'a>(part: &[Clause<'a>]) -> impl Iterator<Item = ToSqlOutput<'a>> {
    part.iter().filter_map(|(_, value)| value.clone())
}

/// The conditions whose value is given.
pub(crate) fn given<'a, const N: usize>(
    conditions: [(&'static str, Option<&'a str>); N],
) -> impl Iterator<Item = Clause<'a>> {
    conditions.into_iter().filter_map(|(condition, value)| Some((condition, Some(value?.into()))))
}

/// Conditions behind another one. The plus keeps those that are not to find the rows from doing so by an index.
pub(crate) fn and(part: &[Clause], finds: impl Fn(&str) -> bool) -> String {
    let plus = |condition: &str| if finds(condition) { "" } else { "+" };
    part.iter().map(|(condition, _)| format!(" AND {}{condition}", plus(condition))).collect()
}

/// What finds the rows to count by an index: where a run or a beginning of run_ids is given, that of the run_ids, in which
/// items have their times, too.
pub(crate) fn only(part: &[Clause]) -> String {
    let is_of_run = |condition: &str| condition.starts_with("run_id");
    let by_run = part.iter().any(|(condition, _)| is_of_run(condition));
    let all = and(part, |each| !by_run || is_of_run(each) || each.starts_with("created_at"));
    all.strip_prefix(" AND ").map(|all| format!(" WHERE {all}")).unwrap_or_default()
}
