//! Relaxations, selections and schedules for Python: their names and parameters, and the functions that the engine runs.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Value, json};
use tch::Tensor;

use super::entry::engine;
use super::errors::to_python;
use super::json::{Lists, python, value};
use super::tensor::PyTensor;
use crate::arch::{LogitRow, LogitTable, TableRole, selection};
use crate::config::hypergradient;
use crate::decide;
use crate::error::{Error, ErrorKind, Result, unknown};
use crate::json::Field;
use crate::perturbation;
use crate::relaxation::{self, Inputs, Noise, Relax, TableState};
use crate::schedule::Schedule;
use crate::terms;
use crate::variant::{Chosen, Variant};

/// Reads a variant that a field gives, as JSON with all parameters.
type Reader = Box<dyn Fn(&Field) -> Result<Value>>;

/// The variants of an option: what they write with their default values, and the reader of one of them.
struct Axis {
    name: &'static str,
    defaults: Vec<Value>,
    read: Reader,
}

impl Axis {
    fn new<V: Variant + ?Sized>(name: &'static str, all: &'static [&'static V]) -> Axis {
        let defaults = all.iter().map(|rule| json!(Chosen::new(*rule))).collect();
        Axis { name, defaults, read: Box::new(|field| Ok(json!(Chosen::read(field, all)?))) }
    }

    fn named(name: &str) -> Result<Axis> {
        let axes = axes();
        let names: Vec<&str> = axes.iter().map(|axis| axis.name).collect();
        let unknown = unknown("option with variants", name, &names);
        axes.into_iter().find(|axis| axis.name == name).ok_or_else(|| Error::config(unknown))
    }
}

/// Every option that holds a variant.
fn axes() -> Vec<Axis> {
    vec![
        Axis::new("relaxation", relaxation::ALL),
        Axis::new("perturbation", perturbation::ALL),
        Axis::new("selection", selection::ALL),
        Axis::new("stop", decide::ALL),
        Axis::new("hypergradient", hypergradient::ALL),
        Axis::new("arch_terms", terms::ALL),
    ]
}

/// The options that hold variants.
#[pyfunction]
pub fn variant_axes() -> Vec<&'static str> {
    axes().iter().map(|axis| axis.name).collect()
}

/// The variants of an option, each as `variant` writes it, with the default values.
#[pyfunction]
pub fn variants<'py>(py: Python<'py>, axis: &str) -> PyResult<Bound<'py, PyAny>> {
    python(py, &Value::Array(Axis::named(axis).map_err(to_python)?.defaults), Lists::Lists)
}

/// A variant of an option, checked, with all of its parameters.
#[pyfunction]
pub fn variant<'py>(py: Python<'py>, axis: &str, given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let given = value(ErrorKind::Config, axis, given)?;
    let field = Field { kind: ErrorKind::Config, name: axis, value: &given };
    let written = Axis::named(axis).and_then(|axis| (axis.read)(&field)).map_err(to_python)?;
    python(py, &written, Lists::Lists)
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
            let field = Field { kind: ErrorKind::Config, name: "relaxation", value: &given };
            let chosen = relaxation::read(&field)?;
            let written = json!(chosen);
            let changes = |name: &&str| written[*name].is_object();
            if let Some(name) = chosen.rule().spec().parameters.iter().map(|found| found.name).find(changes) {
                let text = format!("`{name}` changes with the epoch; pass a number, such as state={{\"{name}\": 1.0}}");
                return Err(Error::config(text));
            }
            let values = chosen.at(0, 1).into_iter().map(Tensor::from).collect();
            Ok(Fixed { rule: chosen.rule(), values })
        };
        read().map_err(to_python)
    }

    fn inputs<'a>(&'a self, noise: Option<&'a Tensor>) -> Result<Inputs<'a>> {
        if noise.is_some() && self.rule.noise() == Noise::None {
            let name = self.rule.spec().name;
            return Err(Error::config(format!("relaxation {name:?} draws nothing; leave out `noise`")));
        }
        if let Some(noise) = noise {
            check_noise(self.rule.noise(), noise)?;
        }
        Ok(Inputs { values: &self.values, noise })
    }
}

/// An error unless rows of noise are what is drawn: shares of 1, or one-hot or zero.
fn check_noise(kind: Noise, noise: &Tensor) -> Result<()> {
    let sums = noise.f_sum_dim_intlist(-1i64, false, None)?;
    let (fits, expected) = match kind {
        Noise::None | Noise::Gumbel => return Ok(()),
        Noise::Dirichlet => (
            noise.f_ge(0.0)?.f_all()?.f_logical_and(&sums.f_sub_scalar(1.0)?.f_abs()?.f_le(1e-6)?.f_all()?)?,
            "a sample, rows of numbers of at least 0 whose sum is 1",
        ),
        Noise::Architecture => (
            noise.f_mul(&noise.f_sub_scalar(1.0)?)?.f_eq(0.0)?.f_all()?.f_logical_and(&sums.f_le(1.0)?.f_all()?)?,
            "rows that are 1 for one candidate or 0 for all",
        ),
    };
    match bool::try_from(fits)? {
        true => Ok(()),
        false => Err(Error::data(format!("noise must hold {expected}"))),
    }
}

/// What a search draws for a table of logits; masked logits are −∞.
#[pyfunction]
pub fn relaxation_sample(
    py: Python<'_>,
    given: &Bound<'_, PyAny>,
    alpha: PyTensor,
    seed: u64,
    step: u64,
) -> PyResult<PyTensor> {
    let relaxation = Fixed::read(given)?;
    engine(py, move || {
        let (rule, alpha) = (relaxation.rule, alpha.0);
        let shape = alpha.size();
        let columns = shape.last().map_or(0, |size| *size as usize);
        let rows = alpha.numel() / columns.max(1);
        let distribution = rule.noise();
        if distribution == Noise::None {
            return Err(Error::config(format!("relaxation {:?} draws nothing", rule.spec().name)));
        }
        let candidates: std::sync::Arc<[String]> = (0..columns).map(|column| column.to_string()).collect();
        let row = |row: usize| LogitRow { label: row.to_string(), candidates: candidates.clone() };
        let table = LogitTable {
            role: TableRole::Candidates,
            name: "table".to_string(),
            rows: (0..rows).map(row).collect(),
            columns,
            groups: (0..rows).map(|row| vec![row]).collect(),
            picks: 1,
            kept: None,
            least: None,
            unselectable: None,
        };
        let logits = Vec::<f64>::try_from(alpha.f_reshape([-1])?)?;
        let mut state = TableState::new(&table);
        state.mask = logits.iter().map(|logit| *logit != f64::NEG_INFINITY).collect();
        let numbers = distribution.draw((seed, "relaxation.sample", step), &table, &state);
        let mut size = if distribution.blocks() > 1 { vec![distribution.blocks() as i64] } else { Vec::new() };
        size.extend(&shape);
        let drawn = Tensor::f_from_slice(&numbers)?.f_view(size.as_slice())?;
        Ok(PyTensor(rule.sample(&alpha, &drawn)?))
    })
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
    module.add_function(wrap_pyfunction!(relaxation_sample, module)?)?;
    module.add_function(wrap_pyfunction!(relaxation_weights, module)?)?;
    module.add_function(wrap_pyfunction!(relaxation_backward, module)?)?;
    Ok(())
}
