//! The ranks of a search, which Python connects: an object with `rank`, `ranks`, `sum(tensor)`, which overwrites a tensor
//! with its sum over the ranks, and `leave(why)`, where `why` is a message and whether the user interrupted.

use pyo3::prelude::*;
use tch::Tensor;

use crate::error::{Error, ErrorKind, Result};
use crate::py::errors::from_python;
use crate::py::tensor::PyTensor;
use crate::ranks::{Collective, Share};

pub struct PyCollective {
    object: Py<PyAny>,
    share: Share,
}

impl PyCollective {
    /// Reads the numbers of an object.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let number = |name: &str| object.getattr(name)?.extract::<usize>();
        let share = Share { rank: number("rank")?, ranks: number("ranks")? };
        Ok(PyCollective { object: object.clone().unbind(), share })
    }

    /// The share of this rank.
    pub fn share(&self) -> Share {
        self.share
    }
}

impl Collective for PyCollective {
    fn rank(&self) -> usize {
        self.share.rank
    }

    fn ranks(&self) -> usize {
        self.share.ranks
    }

    fn sum(&self, vector: &Tensor) -> Result<()> {
        let summed =
            |py: Python<'_>| self.object.call_method1(py, "sum", (PyTensor(vector.shallow_clone()),)).map(drop);
        Python::attach(summed).map_err(from_python)
    }

    fn leave(&self, why: &Error) {
        let why = (why.detail.as_str(), why.kind == ErrorKind::Interrupted);
        // If this fails, the others still notice that the connection is closed.
        let _ = Python::attach(|py| self.object.call_method1(py, "leave", (why,)).map(drop));
    }
}
