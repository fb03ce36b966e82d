//! The strengths of candidates over time: what everything in Python that shows α reads.

use numpy::ndarray::{Array2, Array3, Axis};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::to_python;
use super::values::variant;
use crate::arch;
use crate::error::Error;
use crate::relaxation::{self, Relaxation, TableState};

fn relaxation_of(given: &Bound<'_, PyAny>) -> PyResult<Relaxation> {
    variant("relaxation", given, relaxation::read)
}

/// The mean mixing weights of a table at several points: see `TableState::strengths`. `alphas` [points, rows, columns] is
/// NaN where masked; `fixed`, of the same shape, holds the mixing weights of frozen rows and is NaN elsewhere; `epochs`
/// has the epoch of each point, in a search of `total` epochs.
#[pyfunction]
pub fn strengths<'py>(
    relaxation: &Bound<'py, PyAny>,
    alphas: PyReadonlyArray3<'py, f64>,
    fixed: PyReadonlyArray3<'py, f64>,
    epochs: Vec<usize>,
    total: usize,
) -> PyResult<Bound<'py, PyArray3<f64>>> {
    let (py, relaxation) = (relaxation.py(), relaxation_of(relaxation)?);
    let (alphas, fixed) = (alphas.as_array(), fixed.as_array());
    if alphas.dim() != fixed.dim() || alphas.len_of(Axis(0)) != epochs.len() {
        let (shapes, points) = ((alphas.shape(), fixed.shape()), epochs.len());
        return Err(to_python(Error::data(format!("shapes {shapes:?} and {points} epochs do not fit each other"))));
    }
    let mut found = Array3::zeros(alphas.dim());
    for (point, epoch) in epochs.into_iter().enumerate() {
        let alpha = alphas.index_axis(Axis(0), point);
        let state = TableState::of_shown(alpha, fixed.index_axis(Axis(0), point));
        found.index_axis_mut(Axis(0), point).assign(&state.strengths(&relaxation, (epoch, total), alpha));
    }
    Ok(found.into_pyarray(py))
}

/// The mean entropy (nats) of the rows of a table at several points, [points], from its strengths.
#[pyfunction]
pub fn entropy<'py>(
    relaxation: &Bound<'py, PyAny>,
    strengths: PyReadonlyArray3<'py, f64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let shares = relaxation_of(relaxation)?.rule().shares();
    let of_point = |table| arch::entropy_of(table, shares);
    Ok(PyArray1::from_iter(relaxation.py(), strengths.as_array().axis_iter(Axis(0)).map(of_point)))
}

/// The name of a relaxation, whether its mixing weights are shares of 1, its parameters in an epoch, and the names of
/// those that change from epoch to epoch.
#[pyfunction]
pub fn relaxation_at<'py>(relaxation: &Bound<'py, PyAny>, epoch: usize, total: usize) -> PyResult<Bound<'py, PyDict>> {
    let (py, relaxation) = (relaxation.py(), relaxation_of(relaxation)?);
    let spec = relaxation.rule().spec();
    let names = || spec.parameters.iter().map(|parameter| parameter.name);
    let (first, last) = (relaxation.at(0, 2), relaxation.at(1, 2));
    let changes = |at: &usize| first[*at] != last[*at];
    let found = PyDict::new(py);
    found.set_item("name", spec.name)?;
    found.set_item("shares", relaxation.rule().shares())?;
    let parameters = PyDict::new(py);
    for (name, number) in names().zip(relaxation.at(epoch, total)) {
        parameters.set_item(name, number)?;
    }
    found.set_item("parameters", parameters)?;
    found
        .set_item("scheduled", (0..first.len()).filter(changes).filter_map(|at| names().nth(at)).collect::<Vec<_>>())?;
    Ok(found)
}

/// The weights of edges at several points, [points, rows], from their logits: a softmax over each of `groups`.
#[pyfunction]
pub fn edge_weights<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f64>,
    groups: Vec<Vec<usize>>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let logits = logits.as_array();
    let mut found = Array2::zeros(logits.dim());
    for (given, mut found) in logits.rows().into_iter().zip(found.rows_mut()) {
        for group in &groups {
            let of_group = group.iter().map(|row| given.get(*row).copied()).collect::<Option<Vec<f64>>>();
            let of_group = of_group.ok_or_else(|| Error::data(format!("the group {group:?} names a missing row")));
            let weights = arch::softmax(&of_group.map_err(to_python)?);
            group.iter().zip(weights).for_each(|(row, weight)| found[*row] = weight);
        }
    }
    Ok(found.into_pyarray(py))
}
