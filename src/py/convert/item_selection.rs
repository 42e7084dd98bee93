//! Which items a call is about, and which of their fields: filters and conditions, checked once.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyFrozenSet, PyInt, PyList, PyMapping, PySet, PyString, PyTuple};

use super::values::{self, during, optional_text, text};
use crate::error::excerpt;
use crate::json::condition::{Condition, Scalar, Test};
use crate::json::number::Number;
use crate::json::order_by::OrderBy;
use crate::memory;
use crate::model::columns::ItemColumn;
use crate::model::rows::Fields;
use crate::py::errors::{Refusal, escaped};
use crate::sqlite::lists::item_filter::{Decision, ItemFilter};
use crate::sqlite::lists::order::Order;

const OPERATORS: &str = "= != < <= > >= in contains exists";

/// The filters, conditions and fields of a call, checked.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(in crate::py) struct ItemSelection {
    /// Its name in messages.
    pub(in crate::py) operation: String,
    pub(in crate::py) filter: ItemFilter,
    /// The columns that the dicts have, in their order.
    pub(in crate::py) columns: Vec<ItemColumn>,
    pub(in crate::py) order: Order,
    pub(in crate::py) order_by: Option<OrderBy>,
}

impl ItemSelection {
    /// All fields of the items of a run.
    pub(in crate::py) fn of_run(run_id: &str) -> PyResult<Self> {
        Ok(Self {
            operation: format!("list_intel_items_for_run {}", excerpt(run_id)),
            filter: ItemFilter { run_id: Some(memory::text(run_id)?), ..ItemFilter::default() },
            columns: ItemColumn::ALL.to_vec(),
            order: Order::Oldest,
            order_by: None,
        })
    }

    /// The columns to read: the id too, for messages.
    pub(in crate::py) fn fields(&self) -> Fields {
        self.columns
            .iter()
            .fold(Fields::default().with(ItemColumn::ItemId), |fields, column| fields.with(*column))
    }
}

#[pymethods]
impl ItemSelection {
    #[new]
    #[pyo3(signature = (operation, run_id, item_type, decision, undecided, conditions, fields, since, until, order, order_by, /))]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the calls in Python")]
    fn new(
        operation: String,
        run_id: &Bound<'_, PyAny>,
        item_type: &Bound<'_, PyAny>,
        decision: &Bound<'_, PyAny>,
        undecided: &Bound<'_, PyAny>,
        conditions: &Bound<'_, PyAny>,
        fields: &Bound<'_, PyAny>,
        since: &Bound<'_, PyAny>,
        until: &Bound<'_, PyAny>,
        order: &Bound<'_, PyAny>,
        order_by: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let text = |value, name| -> PyResult<_> {
            Ok(optional_text(value, &operation, name)?.map(memory::text).transpose()?)
        };
        let filter = ItemFilter {
            run_id: text(run_id, "run_id")?,
            item_type: text(item_type, "item_type")?,
            decision: decided(text(decision, "decision")?, undecided, &operation)?,
            since: text(since, "since")?,
            until: text(until, "until")?,
            conditions: all_conditions(conditions, &operation)?.into(),
        };
        let columns = columns(fields, &operation)?;
        let order = values::order(order, &operation)?;
        let order_by = by(order_by, &operation)?;
        Ok(Self { operation, filter, columns, order, order_by })
    }
}

fn decided(
    decision: Option<String>,
    undecided: &Bound<'_, PyAny>,
    operation: &str,
) -> PyResult<Option<Decision>> {
    let py = undecided.py();
    if undecided.is_none() {
        return Ok(decision.map(Decision::Is));
    }
    let Ok(undecided) = undecided.cast::<PyBool>() else {
        let found = undecided.get_type().name()?;
        return Err(Refusal::InvalidType
            .error(py, format!("{operation}: undecided must be a bool or None, not {found}")));
    };
    if decision.is_some() {
        let what = "decision and undecided contradict each other, or say the same twice: give one of them";
        return Err(Refusal::InvalidValue.error(py, format!("{operation}: {what}")));
    }
    Ok(Some(if undecided.is_true() { Decision::Undecided } else { Decision::Made }))
}

/// The columns of these fields, all of them for None.
fn columns(fields: &Bound<'_, PyAny>, operation: &str) -> PyResult<Vec<ItemColumn>> {
    let py = fields.py();
    if fields.is_none() {
        return Ok(ItemColumn::ALL.to_vec());
    }
    let invalid = |what: String| Err(Refusal::InvalidValue.error(py, format!("{operation}: fields: {what}")));
    let names = match fields.try_iter() {
        Ok(names) if !fields.is_instance_of::<PyString>() => names,
        _ => {
            let found = fields.get_type().name()?;
            return Err(Refusal::InvalidType
                .error(py, format!("{operation}: fields must be an iterable of str or None, not {found}")));
        }
    };
    let mut columns = Vec::new();
    for name in names {
        let name = name?;
        let name = text(&name, operation, "each of fields")?;
        let Some(column) = ItemColumn::ALL.iter().find(|column| column.name() == name) else {
            let known = ItemColumn::names(ItemColumn::ALL);
            return invalid(format!("there is no {}; there are {known}", excerpt(name)));
        };
        if columns.contains(column) {
            return invalid(format!("{name:?} comes twice"));
        }
        columns.push(*column);
    }
    if columns.is_empty() { invalid("no field is given; pass None for all".to_owned()) } else { Ok(columns) }
}

fn by(path: &Bound<'_, PyAny>, operation: &str) -> PyResult<Option<OrderBy>> {
    if path.is_none() {
        return Ok(None);
    }
    let Ok(path) = path.cast::<PyString>() else {
        let found = path.get_type().name()?;
        let what = format!("{operation}: order_by must be a path in a str, or None, not {found}");
        return Err(Refusal::InvalidType.error(path.py(), what));
    };
    Ok(Some(OrderBy::new(&bytes(path)?).map_err(|error| error.during(format!("{operation}: order_by")))?))
}

fn all_conditions(conditions: &Bound<'_, PyAny>, operation: &str) -> PyResult<Vec<Condition>> {
    let py = conditions.py();
    if conditions.is_none() {
        return Ok(Vec::new());
    }
    let Ok(mapping) = conditions.cast::<PyMapping>() else {
        let found = conditions.get_type().name()?;
        let what =
            format!("{operation}: where must be a mapping of paths to conditions or None, not {found}");
        return Err(Refusal::InvalidType.error(py, what));
    };
    let mut parsed = Vec::new();
    for pair in mapping.items()? {
        let (path, test): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let Ok(name) = path.cast::<PyString>() else {
            let found = path.get_type().name()?;
            return Err(Refusal::InvalidType
                .error(py, format!("{operation}: where: a path must be a str, not {found}")));
        };
        let what = format!("{operation}: where {}", escaped(&name.to_string_lossy()));
        let test = parse(&test).map_err(|error| during(py, error, &what))?;
        let condition = Condition::new(&bytes(name)?, test)
            .map_err(|error| error.during(format!("{operation}: where")))?;
        memory::push(&mut parsed, condition)?;
    }
    Ok(parsed)
}

fn parse(test: &Bound<'_, PyAny>) -> PyResult<Test> {
    let py = test.py();
    let wrong_type = |what: String| Err(Refusal::InvalidType.error(py, what));
    let pair: Vec<Bound<'_, PyAny>> = match (test.cast::<PyTuple>(), test.cast::<PyList>()) {
        (Ok(pair), _) => pair.iter().collect(),
        (_, Ok(pair)) => pair.iter().collect(),
        _ => {
            let found = test.get_type().name()?;
            return wrong_type(format!("a condition must be (operator, value), not {found}"));
        }
    };
    let [operator, operand] = pair.as_slice() else {
        let length = pair.len();
        return Err(Refusal::InvalidValue
            .error(py, format!("a condition must be (operator, value), not {length} of them")));
    };
    let Ok(operator) = operator.cast::<PyString>() else {
        let found = operator.get_type().name()?;
        return wrong_type(format!("an operator must be a str, not {found}"));
    };
    let operator = operator.to_string_lossy();
    let found = operand.get_type().name()?;
    let ordered = |test: fn(Scalar) -> Test| match scalar(operand)? {
        operand @ (Scalar::Number(_) | Scalar::Text(_)) => Ok(test(operand)),
        Scalar::Null | Scalar::Bool(_) => {
            wrong_type(format!("{operator} takes a number or a str, not {found}"))
        }
    };
    match &*operator {
        "=" => Ok(Test::Equal(scalar(operand)?)),
        "!=" => Ok(Test::NotEqual(scalar(operand)?)),
        "<" => ordered(Test::Less),
        "<=" => ordered(Test::AtMost),
        ">" => ordered(Test::Greater),
        ">=" => ordered(Test::AtLeast),
        "contains" => Ok(Test::Contains(scalar(operand)?)),
        "in" => {
            let several = operand.is_instance_of::<PyTuple>()
                || operand.is_instance_of::<PyList>()
                || operand.is_instance_of::<PySet>()
                || operand.is_instance_of::<PyFrozenSet>();
            if !several {
                return wrong_type(format!("in takes a list, a tuple or a set, not {found}"));
            }
            memory::collect(operand.try_iter()?.map(|each| scalar(&each?))).map(Test::In)
        }
        "exists" => match operand.cast::<PyBool>() {
            Ok(there) => Ok(Test::Exists(there.is_true())),
            Err(_) => wrong_type(format!("exists takes a bool, not {found}")),
        },
        _ => Err(Refusal::InvalidValue
            .error(py, format!("the operator must be one of {OPERATORS}, not {}", excerpt(&operator)))),
    }
}

fn scalar(value: &Bound<'_, PyAny>) -> PyResult<Scalar> {
    let py = value.py();
    if value.is_none() {
        return Ok(Scalar::Null);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Scalar::Bool(flag.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        if let Ok(small) = value.extract() {
            return Ok(Scalar::Number(Number::Small(small)));
        }
        // The digits that the number has, whatever a subclass prints.
        let digits = py.get_type::<PyInt>().call_method1("__repr__", (value,)).map_err(|error| {
            Refusal::InvalidValue.error(py, format!("an int that Python does not print: {}", error.value(py)))
        })?;
        return Ok(Scalar::Number(Number::integer(&digits.extract::<String>()?)));
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        if number.value().is_nan() {
            return Err(Refusal::InvalidValue.error(py, "nothing compares with NaN"));
        }
        return Ok(Scalar::Number(Number::Float(number.value())));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Scalar::Text(bytes(text)?));
    }
    let found = value.get_type().name()?;
    Err(Refusal::InvalidType
        .error(py, format!("a value must be None, a bool, an int, a float or a str, not {found}")))
}

/// Text as the core compares it: UTF-8, lone surrogates encoded like characters.
fn bytes(text: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    match text.to_str() {
        Ok(text) => Ok(memory::bytes(text.as_bytes())?),
        Err(_) => text.call_method1("encode", ("utf-8", "surrogatepass"))?.extract(),
    }
}
