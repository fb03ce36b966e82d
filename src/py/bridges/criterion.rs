//! A user's loss function as the engine's criterion, and a user's metric as what evaluations measure.

use std::sync::Arc;

use pyo3::prelude::*;
use tch::Tensor;

use crate::error::{Error, Result};
use crate::event::Metrics;
use crate::nn::{Criterion, Measure};
use crate::py::bridges::network::measured_by;
use crate::py::errors::from_python;
use crate::py::tensor::PyTensor;

/// A Python object, called as (logits, targets) -> scalar with tensors of the graph, with a method `begin(step)`.
struct PyCriterion {
    object: Py<PyAny>,
    is_cross_entropy: bool,
}

impl Criterion for PyCriterion {
    fn begin(&self, step: u64) -> Result<()> {
        Python::attach(|py| self.object.call_method1(py, "begin", (step,)).map(drop)).map_err(from_python)
    }

    fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let pair = (PyTensor(logits.shallow_clone()), PyTensor(targets.shallow_clone()));
        let value = Python::attach(|py| self.object.call1(py, pair)?.extract::<PyTensor>(py)).map_err(from_python)?.0;
        if value.numel() != 1 {
            return Err(Error::data(format!(
                "the loss returned shape {:?}; it must return a scalar (take the mean)",
                value.size()
            )));
        }
        if logits.requires_grad() && !value.requires_grad() {
            return Err(Error::data(
                "the loss has no graph to the logits, so nothing could be learned from it; compute it from them with \
                 torch's operations, without .item(), .detach() or no_grad",
            ));
        }
        Ok(value.f_reshape([0i64; 0])?)
    }

    fn is_cross_entropy(&self) -> bool {
        self.is_cross_entropy
    }
}

/// The criterion of an optional Python function, with whether it is a cross-entropy; `None` selects cross-entropy.
pub fn criterion_of(given: Option<(Py<PyAny>, bool)>) -> Option<Arc<dyn Criterion>> {
    given.map(|(object, is_cross_entropy)| Arc::new(PyCriterion { object, is_cross_entropy }) as Arc<dyn Criterion>)
}

/// A Python object with `begin(step)`, `add(logits, targets, examples)` and `measured()`, the metrics by name.
struct PyMeasure(Py<PyAny>);

impl Measure for PyMeasure {
    fn begin(&self, step: u64) -> Result<()> {
        Python::attach(|py| self.0.call_method1(py, "begin", (step,)).map(drop)).map_err(from_python)
    }

    fn add(&self, logits: &Tensor, targets: &Tensor) -> Result<()> {
        let batch = (PyTensor(logits.f_detach()?), PyTensor(targets.shallow_clone()), targets.size()[0]);
        Python::attach(|py| self.0.call_method1(py, "add", batch).map(drop)).map_err(from_python)
    }

    fn measured(&self) -> Result<Metrics> {
        measured_by(&self.0)
    }
}

/// What an optional Python object measures in evaluations.
pub fn measure_of(object: Option<Py<PyAny>>) -> Option<Arc<dyn Measure>> {
    object.map(|object| Arc::new(PyMeasure(object)) as Arc<dyn Measure>)
}
