//! User-defined operations: a Python object that makes and runs their modules.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::Tensor;

use crate::error::Result;
use crate::nn::{Mode, OwnModules, Role, Started};
use crate::plan::{Description, Makers, OwnSpec};
use crate::py::errors::from_python;
use crate::py::tensor::{PyTensor, from_dict};

/// A Python object, `BoundOperations` of `_search/operations.py`, which checks what the user's modules return.
struct PyOperations(Py<PyAny>);

/// Weights by name and shape, multiply-adds, elements kept.
type Described = (Vec<(String, Vec<usize>)>, u64, u64);

impl PyOperations {
    fn call<T>(&self, f: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>) -> Result<T> {
        Python::attach(|py| f(self.0.bind(py))).map_err(from_python)
    }
}

fn list(tensors: &[Tensor]) -> Vec<PyTensor> {
    tensors.iter().map(share).collect()
}

fn share(tensor: &Tensor) -> PyTensor {
    PyTensor(tensor.shallow_clone())
}

impl Makers for PyOperations {
    fn describe(&self, module: &OwnSpec) -> Result<Description> {
        let OwnSpec { name, operation, cell, table, edge, stride, input, .. } = module;
        let place = (name, operation.name(), *cell, *table, (edge.from, edge.to));
        let found: Described =
            self.call(|object| object.call_method1("describe", (place, *stride, input.0.clone()))?.extract())?;
        let (weights, multiply_adds, kept) = found;
        Ok(Description { weights, multiply_adds, kept })
    }
}

impl OwnModules for PyOperations {
    fn start(&self, module: &OwnSpec, like: &Tensor) -> Result<Started> {
        self.call(|object| {
            let found = object.call_method1("start", (&module.name, share(like)))?;
            let (weights, buffers): (Vec<PyTensor>, Bound<'_, PyDict>) = found.extract()?;
            Ok(Started { weights: weights.into_iter().map(|weight| weight.0).collect(), buffers: from_dict(&buffers)? })
        })
    }

    fn forward(
        &self,
        module: &OwnSpec,
        x: &Tensor,
        weights: &[Tensor],
        buffers: &[Tensor],
        mode: Mode,
    ) -> Result<Tensor> {
        let (trains, moves) = (mode != Mode::Evaluation, mode == Mode::Weights);
        let arguments = (&module.name, share(x), list(weights), list(buffers), trains, moves);
        self.call(|object| Ok(object.call_method1("forward", arguments)?.extract::<PyTensor>()?.0))
    }

    fn along(
        &self,
        module: &OwnSpec,
        x: &Tensor,
        weights: &[Tensor],
        buffers: &[Tensor],
        (tangent, direction): (Option<&Tensor>, &[Tensor]),
    ) -> Result<(Tensor, Option<Tensor>)> {
        let arguments = (&module.name, share(x), tangent.map(share), list(weights), list(direction), list(buffers));
        self.call(|object| {
            let (value, tangent): (PyTensor, Option<PyTensor>) = object.call_method1("along", arguments)?.extract()?;
            Ok((value.0, tangent.map(|tangent| tangent.0)))
        })
    }

    fn begin(&self, step: u64) -> Result<()> {
        self.call(|object| object.call_method1("begin", (step,)).map(drop))
    }

    fn begin_loss(&self, role: Role, part: usize) -> Result<()> {
        self.call(|object| object.call_method1("begin_loss", (role.name(), part)).map(drop))
    }
}

/// The modules of an optional Python object; None without user-defined operations.
pub fn own_modules(object: Option<Py<PyAny>>) -> Option<Arc<dyn OwnModules>> {
    object.map(|object| Arc::new(PyOperations(object)) as Arc<dyn OwnModules>)
}
