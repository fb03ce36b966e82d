//! Terms of α for Python: costs of the network that will be built, and the function that the engine runs.

use std::sync::Arc;

use pyo3::prelude::*;
use tch::{Device, Kind, Tensor};

use super::entry::engine;
use super::tensor::PyTensor;
use super::values::variant;
use crate::arch::{LogitRow, LogitTable, TableRole};
use crate::error::{Error, Result};
use crate::nn::Relaxations;
use crate::relaxation::{self, TableState};
use crate::search::Terms;
use crate::terms::{self, TargetCost};

/// What is counted, the cost of each entry of flat α, and that of the rest of the network.
pub type GivenCost = (String, Vec<f64>, f64);

/// The costs as the engine takes them.
pub fn costs(given: Vec<GivenCost>) -> Vec<TargetCost> {
    given.into_iter().map(|(measure, candidates, constant)| TargetCost { measure, candidates, constant }).collect()
}

/// The loss and the gradient of each table with terms added. Tables are [rows, columns] in double precision, −∞ where
/// masked; parameters are those of the first epoch.
#[pyfunction]
pub fn terms_apply(
    py: Python<'_>,
    given: &Bound<'_, PyAny>,
    relaxation: &Bound<'_, PyAny>,
    alphas: Vec<PyTensor>,
    loss: f64,
    gradients: Vec<PyTensor>,
    given_costs: Vec<GivenCost>,
) -> PyResult<(f64, Vec<PyTensor>)> {
    let terms = variant("arch_terms", given, terms::read)?;
    let relaxation = variant("relaxation", relaxation, relaxation::read)?;
    engine(py, move || {
        terms.iter().try_for_each(|term| term.rule().check(&relaxation))?;
        let shapes: Vec<Vec<i64>> = alphas.iter().map(|alpha| alpha.0.size()).collect();
        let tables: Vec<LogitTable> = shapes.iter().map(|shape| table(shape)).collect();
        let relaxations = Relaxations::new(&relaxation, tables.clone(), (0, 1), (Kind::Double, Device::Cpu))?;
        let flat = |tensors: &[PyTensor]| -> Result<Tensor> {
            let flat = tensors.iter().map(|tensor| tensor.0.f_reshape([-1]));
            Ok(Tensor::f_cat(&flat.collect::<Result<Vec<_>, _>>()?, 0)?)
        };
        let alpha = flat(&alphas)?;
        let masked = alpha.f_isneginf()?;
        let alpha = alpha.f_masked_fill(&masked, 0.0)?;
        relaxations.set_states(&states(&tables, &Vec::<bool>::try_from(&masked)?)?)?;
        let terms = Terms::of(&terms, &relaxations, &costs(given_costs), 1)?;
        let (gradient, measured) = terms.apply(&relaxations, &alpha, &flat(&gradients)?, &Tensor::from(loss))?;
        let mut total = loss;
        for (_, value) in measured {
            total += value.f_double_value(&[])?;
        }
        let lengths: Vec<i64> = shapes.iter().map(|shape| shape.iter().product()).collect();
        let parts = gradient.f_split_with_sizes(lengths.as_slice(), 0)?;
        let shaped = parts.into_iter().zip(&shapes).map(|(part, shape)| Ok(PyTensor(part.f_view(shape.as_slice())?)));
        Ok((total, shaped.collect::<Result<_>>()?))
    })
}

/// A table of this shape.
fn table(shape: &[i64]) -> LogitTable {
    let candidates: Arc<[String]> = (0..shape[1]).map(|column| column.to_string()).collect();
    let row = |row: i64| LogitRow { label: row.to_string(), candidates: candidates.clone() };
    LogitTable {
        role: TableRole::Candidates,
        name: String::new(),
        rows: (0..shape[0]).map(row).collect(),
        columns: shape[1] as usize,
        groups: vec![(0..shape[0] as usize).collect()],
        picks: 1,
        kept: None,
        least: None,
        unselectable: None,
    }
}

/// The states of tables with these masks, flat over all of them.
fn states(tables: &[LogitTable], masked: &[bool]) -> Result<Vec<TableState>> {
    let mut rest = masked;
    let state = |table: &LogitTable| -> Result<TableState> {
        let (own, after) = rest.split_at(table.rows.len() * table.columns);
        rest = after;
        let mut state = TableState::new(table);
        for (row, masked) in own.chunks(table.columns).enumerate() {
            let columns: Vec<usize> = (0..table.columns).filter(|column| masked[*column]).collect();
            state.mask(row, &columns).map_err(|error| Error::data(error.detail))?;
        }
        Ok(state)
    };
    tables.iter().map(state).collect()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(terms_apply, module)?)
}
