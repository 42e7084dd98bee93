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
use crate::py::errors::{Refusal, escaped, wrong_type};
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
    if undecided.is_none() {
        return Ok(decision.map(Decision::Is));
    }
    let Ok(given) = undecided.cast::<PyBool>() else {
        return Err(wrong_type(undecided, format_args!("{operation}: undecided must be a bool or None")));
    };
    if decision.is_some() {
        let what = "decision and undecided contradict each other, or say the same twice: give one of them";
        return Err(Refusal::InvalidValue.error(undecided.py(), format!("{operation}: {what}")));
    }
    Ok(Some(if given.is_true() { Decision::Undecided } else { Decision::Made }))
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
            let wanted = format_args!("{operation}: fields must be an iterable of str or None");
            return Err(wrong_type(fields, wanted));
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
    let Ok(text) = path.cast::<PyString>() else {
        return Err(wrong_type(path, format_args!("{operation}: order_by must be a path in a str, or None")));
    };
    Ok(Some(OrderBy::new(&bytes(text)?).map_err(|error| error.during(format!("{operation}: order_by")))?))
}

fn all_conditions(conditions: &Bound<'_, PyAny>, operation: &str) -> PyResult<Vec<Condition>> {
    let py = conditions.py();
    if conditions.is_none() {
        return Ok(Vec::new());
    }
    let Ok(mapping) = conditions.cast::<PyMapping>() else {
        let wanted = format_args!("{operation}: where must be a mapping of paths to conditions or None");
        return Err(wrong_type(conditions, wanted));
    };
    let mut parsed = Vec::new();
    for pair in mapping.items()? {
        let (path, test): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let Ok(name) = path.cast::<PyString>() else {
            return Err(wrong_type(&path, format_args!("{operation}: where: a path must be a str")));
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
    let pair: Vec<Bound<'_, PyAny>> = match (test.cast::<PyTuple>(), test.cast::<PyList>()) {
        (Ok(pair), _) => pair.iter().collect(),
        (_, Ok(pair)) => pair.iter().collect(),
        _ => return Err(wrong_type(test, "a condition must be (operator, value)")),
    };
    let [operator, operand] = pair.as_slice() else {
        let length = pair.len();
        return Err(Refusal::InvalidValue
            .error(py, format!("a condition must be (operator, value), not {length} of them")));
    };
    let Ok(name) = operator.cast::<PyString>() else {
        return Err(wrong_type(operator, "an operator must be a str"));
    };
    let operator = name.to_string_lossy();
    let ordered = |test: fn(Scalar) -> Test| match scalar(operand)? {
        operand @ (Scalar::Number(_) | Scalar::Text(_)) => Ok(test(operand)),
        Scalar::Null | Scalar::Bool(_) => {
            Err(wrong_type(operand, format_args!("{operator} takes a number or a str")))
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
                return Err(wrong_type(operand, "in takes a list, a tuple or a set"));
            }
            memory::collect(operand.try_iter()?.map(|each| scalar(&each?))).map(Test::In)
        }
        "exists" => match operand.cast::<PyBool>() {
            Ok(there) => Ok(Test::Exists(there.is_true())),
            Err(_) => Err(wrong_type(operand, "exists takes a bool")),
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
    Err(wrong_type(value, "a value must be None, a bool, an int, a float or a str"))
}

/// Text as the core compares it: UTF-8, lone surrogates encoded like characters.
fn bytes(text: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    match text.to_str() {
        Ok(text) => Ok(memory::bytes(text.as_bytes())?),
        Err(_) => text.call_method1("encode", ("utf-8", "surrogatepass"))?.extract(),
    }
}
