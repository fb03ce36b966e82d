//! A device-resident data set as Python gives it.

use pyo3::prelude::*;
use tch::{Device, Kind, Tensor};

use super::errors::to_python;
use super::tensor::PyTensor;
use crate::data::{Arrays, Reading, Role, TokenSource};
use crate::error::{Error, Result, unknown};
use crate::params::copy;

/// What a search needs to make batches of some examples of a data set.
#[pyclass(name = "Arrays", frozen, module = "pydarts._core")]
pub struct PyArrays {
    pub arrays: std::sync::Mutex<Arrays>,
    pub indices: Option<Vec<i64>>,
    pub role: Role,
    pub batch_size: usize,
}

#[pymethods]
impl PyArrays {
    #[new]
    #[pyo3(signature = (x, y, indices, role, batch_size, mean, std))]
    fn new(
        x: PyTensor,
        y: PyTensor,
        indices: Option<Vec<i64>>,
        role: &str,
        batch_size: usize,
        mean: Option<Vec<f64>>,
        std: Option<Vec<f64>>,
    ) -> PyResult<Self> {
        let role = self::role(role).map_err(to_python)?;
        let arrays = checked(x, y, mean, std).map_err(to_python)?;
        Ok(PyArrays { arrays: std::sync::Mutex::new(arrays), indices, role, batch_size: batch_size.max(1) })
    }
}

/// The tokens of a text, and how many sequences of it are read side by side.
#[pyclass(name = "Tokens", frozen, module = "pydarts._core")]
pub struct PyTokens {
    tokens: std::sync::Mutex<Tensor>,
    role: Role,
    batch_size: usize,
}

#[pymethods]
impl PyTokens {
    #[new]
    fn new(tokens: PyTensor, role: &str, batch_size: usize) -> PyResult<Self> {
        let role = self::role(role).map_err(to_python)?;
        // The search reads it while Python code runs beside it, so it reads a copy.
        let tokens = copy(&tokens.0).map_err(to_python)?;
        Ok(PyTokens { tokens: std::sync::Mutex::new(tokens), role, batch_size: batch_size.max(1) })
    }
}

impl PyTokens {
    pub fn source(&self, words: i64, bptt: usize, seed: u64, device: Device, what: &str) -> Result<TokenSource> {
        let tokens = self.tokens.lock().map_err(|_| Error::engine("the text is in use elsewhere"))?;
        let reading = Reading { batch: self.batch_size, bptt, seed, role: self.role };
        TokenSource::new(&tokens, words, reading, device, what)
    }
}

fn role(name: &str) -> Result<Role> {
    match name {
        "train" => Ok(Role::Train),
        "valid" => Ok(Role::Valid),
        "eval" => Ok(Role::Evaluation),
        other => Err(Error::data(unknown("role", other, &["train", "valid", "eval"]))),
    }
}

fn checked(x: PyTensor, y: PyTensor, mean: Option<Vec<f64>>, std: Option<Vec<f64>>) -> Result<Arrays> {
    let (x, y) = (x.0.f_detach()?, y.0.f_detach()?);
    if x.dim() != 4 || y.size() != [x.size()[0]] || y.f_kind()? != Kind::Int64 {
        return Err(Error::data(format!(
            "arrays are images [N, C, H, W] and int64 labels [N]; got shapes {:?} and {:?}",
            x.size(),
            y.size()
        )));
    }
    // The search reads them while Python code runs beside it. Images stay where they are: a copy would double what
    // they take; whoever writes into them changes the search.
    Ok(Arrays { x: x.f_contiguous()?, y: copy(&y)?, mean, std })
}
