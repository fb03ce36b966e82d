//! A user's loss function as the engine's criterion.

use std::sync::Arc;

use pyo3::prelude::*;
use tch::Tensor;

use crate::error::{Error, Result};
use crate::nn::Criterion;
use crate::py::errors::from_python;
use crate::py::tensor::PyTensor;

/// A Python object, called as (logits, targets) -> scalar with tensors of the graph, with a method `begin(step)`.
struct PyCriterion(Py<PyAny>);

impl Criterion for PyCriterion {
    fn begin(&self, step: u64) -> Result<()> {
        Python::attach(|py| self.0.call_method1(py, "begin", (step,)).map(drop)).map_err(from_python)
    }

    fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let pair = (PyTensor(logits.shallow_clone()), PyTensor(targets.shallow_clone()));
        let value = Python::attach(|py| self.0.call1(py, pair)?.extract::<PyTensor>(py)).map_err(from_python)?.0;
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
}

/// The criterion of an optional Python function; `None` selects cross-entropy.
pub fn criterion_of(object: Option<Py<PyAny>>) -> Option<Arc<dyn Criterion>> {
    object.map(|o| Arc::new(PyCriterion(o)) as Arc<dyn Criterion>)
}
