//! A user's loss function as the engine's criterion.

use std::sync::Arc;

use pyo3::prelude::*;
use tch::Tensor;

use crate::error::{Error, Result};
use crate::nn::Criterion;
use crate::py::errors::from_python;
use crate::py::tensor::PyTensor;

/// A Python function (logits, targets) -> scalar, called with tensors of the graph.
struct PyCriterion(Py<PyAny>);

impl Criterion for PyCriterion {
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
