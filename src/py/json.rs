//! Python objects as JSON values, and JSON values as Python objects.

use pyo3::exceptions::{PyOverflowError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyRange, PyString, PyTuple};
use serde_json::{Map, Number, Value};

use super::errors::to_python;
use super::values::{PyConfig, PyGenotype, PySpace};
use crate::error::{Error, ErrorKind, cut};

/// The deepest nesting allowed in a field. The limit also stops at a list that contains itself.
const DEEPEST: usize = 8;

/// The keyword arguments of a constructor as a JSON object.
pub fn object(kind: ErrorKind, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Value> {
    let mut object = Map::new();
    for (name, value) in fields.into_iter().flatten() {
        let name = name.str()?.to_string();
        let value = value_of(kind, &cut(&name), &value, 0)?;
        object.insert(name, value);
    }
    Ok(Value::Object(object))
}

/// A Python object as a JSON value. An object without a JSON form is an error that gives its name, type and value.
pub fn value(kind: ErrorKind, name: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    value_of(kind, name, object, 0)
}

fn value_of(kind: ErrorKind, name: &str, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    let refuse = |detail: String| Err(to_python(Error::new(kind, detail)));
    if depth > DEEPEST {
        return refuse(format!("{name} is nested too deeply"));
    }
    if let Ok(config) = object.cast::<PyConfig>() {
        return Ok(Value::Object(config.get().value.to_object()));
    }
    if let Ok(space) = object.cast::<PySpace>() {
        return Ok(serde_json::json!(space.get().0));
    }
    if let Ok(genotype) = object.cast::<PyGenotype>() {
        return Ok(Value::Object(genotype.get().0.to_object()));
    }
    if object.is_none() {
        return Ok(Value::Null);
    }
    if object.is_instance_of::<PyBool>() {
        return Ok(Value::Bool(object.extract()?));
    }
    if object.is_instance_of::<PyInt>() {
        return whole(object).or_else(|_| refuse(format!("{name} is too large: {}", shown(object))));
    }
    if object.is_instance_of::<PyFloat>() {
        let number = Number::from_f64(object.extract()?);
        return number
            .map_or_else(|| refuse(format!("{name} must be a finite number, got {object}")), |n| Ok(n.into()));
    }
    if object.is_instance_of::<PyString>() {
        return match object.extract::<String>() {
            Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(object.py()) => {
                refuse(format!("{name} is not valid Unicode, got {}", shown(object)))
            }
            text => Ok(Value::String(text?)),
        };
    }
    if let Ok(mapping) = object.cast::<PyMapping>() {
        let mut fields = Map::new();
        for item in mapping.items()?.iter() {
            let (key, item): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            let key = key.str()?.to_string();
            let value = value_of(kind, &format!("{name}.{}", cut(&key)), &item, depth + 1)?;
            fields.insert(key, value);
        }
        return Ok(Value::Object(fields));
    }
    if [object.is_instance_of::<PyList>(), object.is_instance_of::<PyTuple>(), object.is_instance_of::<PyRange>()]
        .contains(&true)
    {
        let items = object.try_iter()?.enumerate();
        let read = |(index, item): (usize, PyResult<Bound<'_, PyAny>>)| {
            value_of(kind, &format!("{name}[{index}]"), &item?, depth + 1)
        };
        return Ok(Value::Array(items.map(read).collect::<PyResult<_>>()?));
    }
    for method in ["__fspath__", "tolist"] {
        if object.hasattr(method)? {
            return value_of(kind, name, &object.call_method0(method)?, depth + 1);
        }
    }
    let python_type = object.get_type();
    if python_type.fully_qualified_name()? == "torch.device" {
        return Ok(Value::String(object.str()?.to_string()));
    }
    refuse(format!("{name} cannot be a {}, got {}", python_type.name()?, shown(object)))
}

/// The `repr` of an object, cut if it is long.
fn shown(object: &Bound<'_, PyAny>) -> String {
    let text = object.repr().map(|text| cut(&text.to_string_lossy()));
    text.unwrap_or_else(|_| "a value that cannot be shown".to_string()) // such as 10**5000
}

/// An integer beyond 64 bits becomes a float, which readers of whole numbers reject.
fn whole(object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if let Ok(number) = object.extract::<u64>() {
        return Ok(number.into());
    }
    if let Ok(number) = object.extract::<i64>() {
        return Ok(number.into());
    }
    let number = Number::from_f64(object.extract()?);
    Ok(number.ok_or_else(|| PyOverflowError::new_err("too large"))?.into())
}

/// How lists are shown in Python.
#[derive(Clone, Copy)]
pub enum Lists {
    /// As tuples, in attributes of immutable values.
    Tuples,
    /// As lists, in plain data.
    Lists,
}

/// A JSON value as a Python object.
pub fn python<'py>(py: Python<'py>, value: &Value, lists: Lists) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any(),
            (_, Some(number)) => number.into_pyobject(py)?.into_any(),
            _ => number.as_f64().into_pyobject(py)?.into_any(),
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| python(py, item, lists)).collect::<PyResult<Vec<_>>>()?;
            match lists {
                Lists::Tuples => PyTuple::new(py, items)?.into_any(),
                Lists::Lists => PyList::new(py, items)?.into_any(),
            }
        }
        Value::Object(fields) => dict(py, fields, lists)?.into_any(),
    })
}

/// A JSON object as a dictionary.
pub fn dict<'py>(py: Python<'py>, fields: &Map<String, Value>, lists: Lists) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in fields {
        dict.set_item(name, python(py, value, lists)?)?;
    }
    Ok(dict)
}
