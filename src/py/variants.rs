//! Relaxations, selections and schedules for Python: their names and parameters, and the functions that the engine runs.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;
use tch::Tensor;

use super::entry::engine;
use super::errors::to_python;
use super::json::{Lists, python, value};
use super::tensor::PyTensor;
use crate::error::{Error, ErrorKind, Result, unknown};
use crate::json::Field;
use crate::relaxation::{self, Inputs, Noise, Relax};
use crate::schedule::Schedule;
use crate::variant::{Chosen, Spec};

/// The variants of every option that holds one.
fn axes() -> [(&'static str, Vec<&'static Spec>); 1] {
    [("relaxation", relaxation::ALL.iter().map(|rule| rule.spec()).collect())]
}

fn specs(axis: &str) -> Result<Vec<&'static Spec>> {
    let axes = axes();
    let names: Vec<&str> = axes.iter().map(|(name, _)| *name).collect();
    let found = axes.iter().find(|(name, _)| *name == axis).map(|(_, specs)| specs.clone());
    found.ok_or_else(|| Error::config(unknown("option with variants", axis, &names)))
}

/// The options that hold variants.
#[pyfunction]
pub fn variant_axes() -> Vec<&'static str> {
    axes().iter().map(|(name, _)| *name).collect()
}

/// The variants of an option, each as `variant` writes it, with the default values.
#[pyfunction]
pub fn variants<'py>(py: Python<'py>, axis: &str) -> PyResult<Bound<'py, PyAny>> {
    let specs = specs(axis).map_err(to_python)?;
    let defaults = specs.iter().map(|spec| Chosen::new(0, spec).write(spec)).collect();
    python(py, &Value::Array(defaults), Lists::Lists)
}

/// A variant of an option, checked, with all of its parameters.
#[pyfunction]
pub fn variant<'py>(py: Python<'py>, axis: &str, given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let given = value(ErrorKind::Config, axis, given)?;
    let read = || {
        let specs = specs(axis)?;
        let chosen = Chosen::read(&Field { kind: ErrorKind::Config, name: axis, value: &given }, &specs)?;
        Ok(chosen.write(specs[chosen.index]))
    };
    python(py, &read().map_err(to_python)?, Lists::Lists)
}

fn read_schedule(given: &Bound<'_, PyDict>) -> PyResult<Schedule> {
    let given = value(ErrorKind::Config, "schedule", given)?;
    let field = Field { kind: ErrorKind::Config, name: "schedule", value: &given };
    Schedule::read(&field, "a number", |_| true).map_err(to_python)
}

/// A schedule, checked.
#[pyfunction]
pub fn schedule<'py>(py: Python<'py>, given: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    python(py, &read_schedule(given)?.to_value(), Lists::Lists)
}

/// The number of a schedule in an epoch.
#[pyfunction]
pub fn schedule_at(given: &Bound<'_, PyDict>, epoch: usize, epochs: usize) -> PyResult<f64> {
    Ok(read_schedule(given)?.at(epoch, epochs))
}

/// A relaxation whose parameters are numbers.
struct Fixed {
    rule: &'static dyn Relax,
    values: Vec<Tensor>,
}

impl Fixed {
    fn read(given: &Bound<'_, PyAny>) -> PyResult<Fixed> {
        let given = value(ErrorKind::Config, "relaxation", given)?;
        let read = || {
            let specs = specs("relaxation")?;
            let field = Field { kind: ErrorKind::Config, name: "relaxation", value: &given };
            let chosen = Chosen::read(&field, &specs)?;
            let rule = relaxation::ALL[chosen.index];
            let changes = |value: &Schedule| !matches!(value, Schedule::Constant(_));
            if let Some(at) = chosen.values.iter().position(changes) {
                let name = rule.spec().parameters[at].name;
                let text = format!("`{name}` changes with the epoch; pass a number, such as state={{\"{name}\": 1.0}}");
                return Err(Error::config(text));
            }
            Ok(Fixed { rule, values: chosen.at(0, 1).into_iter().map(Tensor::from).collect() })
        };
        read().map_err(to_python)
    }

    fn inputs<'a>(&'a self, noise: Option<&'a Tensor>) -> Result<Inputs<'a>> {
        if noise.is_some() && self.rule.noise() == Noise::None {
            let name = self.rule.spec().name;
            return Err(Error::config(format!("relaxation {name:?} draws nothing; leave out `noise`")));
        }
        Ok(Inputs { values: &self.values, noise })
    }
}

/// The mixing weights of a table; masked logits are −∞.
#[pyfunction]
pub fn relaxation_weights(
    py: Python<'_>,
    given: &Bound<'_, PyAny>,
    alpha: PyTensor,
    noise: Option<PyTensor>,
) -> PyResult<PyTensor> {
    let relaxation = Fixed::read(given)?;
    engine(py, move || {
        let inputs = relaxation.inputs(noise.as_ref().map(|noise| &noise.0))?;
        let weights = relaxation.rule.weights(&alpha.0, &inputs)?;
        Ok(PyTensor(weights.f_masked_fill(&alpha.0.f_isneginf()?, 0.0)?))
    })
}

/// The gradient by the logits of a table; 0 for masked ones.
#[pyfunction]
pub fn relaxation_backward(
    py: Python<'_>,
    given: &Bound<'_, PyAny>,
    alpha: PyTensor,
    m: PyTensor,
    gradient: PyTensor,
    noise: Option<PyTensor>,
) -> PyResult<PyTensor> {
    let relaxation = Fixed::read(given)?;
    engine(py, move || {
        let inputs = relaxation.inputs(noise.as_ref().map(|noise| &noise.0))?;
        let gradient = relaxation.rule.backward(&alpha.0, &m.0, &gradient.0, &inputs)?;
        Ok(PyTensor(gradient.f_masked_fill(&alpha.0.f_isneginf()?, 0.0)?))
    })
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(variant_axes, module)?)?;
    module.add_function(wrap_pyfunction!(variants, module)?)?;
    module.add_function(wrap_pyfunction!(variant, module)?)?;
    module.add_function(wrap_pyfunction!(schedule, module)?)?;
    module.add_function(wrap_pyfunction!(schedule_at, module)?)?;
    module.add_function(wrap_pyfunction!(relaxation_weights, module)?)?;
    module.add_function(wrap_pyfunction!(relaxation_backward, module)?)?;
    Ok(())
}
