//! Data sets and texts as Python passes them, and batches of a data set for Python.

use std::sync::{Arc, Mutex, MutexGuard};

use pyo3::prelude::*;
use tch::{Device, Kind, Tensor};

use super::entry;
use super::errors::to_python;
use super::tensor::{PyTensor, device};
use crate::data::{ArraySource, Augmentation, Dataset, Normalization, Role, Segments, Source, TokenSource, View};
use crate::error::{Error, Result, unknown};
use crate::params::copy;
use crate::ranks::Share;

/// Images and labels, uploaded to the network's device once for all sources that read them.
#[pyclass(name = "Dataset", frozen, module = "pydarts._core")]
pub struct PyDataset(Arc<Dataset>);

#[pymethods]
impl PyDataset {
    #[new]
    fn new(x: PyTensor, y: PyTensor) -> PyResult<Self> {
        Ok(PyDataset(Arc::new(Dataset::new(&x.0, &y.0).map_err(to_python)?)))
    }
}

/// The part of a data set that a source reads, and its role.
#[pyclass(name = "Arrays", frozen, module = "pydarts._core")]
pub struct PyArrays {
    dataset: Arc<Dataset>,
    view: View,
}

#[pymethods]
impl PyArrays {
    #[new]
    #[pyo3(signature = (dataset, indices, role, batch_size, mean, std))]
    fn new(
        dataset: &PyDataset,
        indices: Option<Vec<i64>>,
        role: &str,
        batch_size: usize,
        mean: Option<Vec<f64>>,
        std: Option<Vec<f64>>,
    ) -> PyResult<Self> {
        let role = self::role(role).map_err(to_python)?;
        let normalization = Normalization { mean, std };
        let view = View { indices, role, batch_size: batch_size.max(1), normalization, share: Share::WHOLE };
        Ok(PyArrays { dataset: Arc::clone(&dataset.0), view })
    }

    /// The share of a rank of the batches of this view for training in Python, equal to those of a search with this seed.
    #[pyo3(signature = (seed, crop_and_flip, cutout, dtype, device, rank=0, ranks=1))]
    #[allow(clippy::too_many_arguments)] // one per argument of the Python function
    fn open(
        &self,
        py: Python<'_>,
        seed: u64,
        crop_and_flip: bool,
        cutout: usize,
        dtype: &str,
        device: &str,
        rank: usize,
        ranks: usize,
    ) -> PyResult<PyArrayBatches> {
        let kind = float_kind(dtype).map_err(to_python)?;
        let device = self::device(device).map_err(to_python)?;
        let augmentation = Augmentation { crop_and_flip, cutout };
        let source = entry::engine(py, || self.source(augmentation, seed, Share { rank, ranks }, (kind, device)))?;
        Ok(PyArrayBatches { smallest: source.smallest(), source: Mutex::new(source) })
    }
}

impl PyArrays {
    pub fn image_shape(&self) -> Result<Vec<i64>> {
        self.dataset.image_shape()
    }

    /// The share of one rank of the batches of this view.
    pub fn source(
        &self,
        augmentation: Augmentation,
        seed: u64,
        share: Share,
        (kind, device): (Kind, Device),
    ) -> Result<ArraySource> {
        let view = View { share, ..self.view.clone() };
        ArraySource::new(&self.dataset, view, augmentation, seed, kind, device)
    }
}

/// Batches of a view of a data set, read from Python.
#[pyclass(name = "ArrayBatches", frozen, module = "pydarts._core")]
pub struct PyArrayBatches {
    source: Mutex<ArraySource>,
    /// The number of examples in the smallest batch of a pass.
    #[pyo3(get)]
    smallest: usize,
}

impl PyArrayBatches {
    fn locked(&self) -> Result<MutexGuard<'_, ArraySource>> {
        self.source.lock().map_err(|_| Error::engine("a thread failed while it used these batches"))
    }
}

#[pymethods]
impl PyArrayBatches {
    /// The number of batches in a pass.
    fn batches(&self) -> PyResult<Option<usize>> {
        Ok(self.locked().map_err(to_python)?.batches())
    }

    /// Starts pass `index` without its first `skip` batches.
    fn start(&self, py: Python<'_>, index: u64, skip: usize) -> PyResult<()> {
        entry::engine(py, || self.locked()?.start(index, skip))
    }

    /// The next images and labels; None at the end of the pass.
    fn next(&self, py: Python<'_>) -> PyResult<Option<(PyTensor, PyTensor)>> {
        let batch = entry::engine(py, || self.locked()?.next())?;
        Ok(batch.map(|batch| (PyTensor(batch.inputs), PyTensor(batch.targets))))
    }

    /// Does nothing; loaders have this method too.
    fn close(&self) {}
}

/// Images, normalised like those of a data set. The result never shares memory with `images`.
#[pyfunction]
#[pyo3(signature = (images, dtype, mean, std))]
pub fn normalized(
    py: Python<'_>,
    images: PyTensor,
    dtype: &str,
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
) -> PyResult<PyTensor> {
    let kind = float_kind(dtype).map_err(to_python)?;
    let images = images.0;
    let made = entry::engine(py, move || {
        let shape = images.size();
        let scale = Normalization { mean, std }.prepare(shape.get(1..).unwrap_or(&[]), kind, images.device())?;
        let made = scale.apply(&images)?.f_contiguous()?;
        if made.data_ptr() == images.data_ptr() { copy(&made) } else { Ok(made) }
    })?;
    Ok(PyTensor(made))
}

/// The tokens of a text, and how many sequences of it are read in parallel.
#[pyclass(name = "Tokens", frozen, module = "pydarts._core")]
pub struct PyTokens {
    tokens: Mutex<Tensor>,
    role: Role,
    batch_size: usize,
}

#[pymethods]
impl PyTokens {
    #[new]
    fn new(tokens: PyTensor, role: &str, batch_size: usize) -> PyResult<Self> {
        let role = self::role(role).map_err(to_python)?;
        // Python code may write into the tensor during the search, so the search reads a copy.
        let tokens = copy(&tokens.0).map_err(to_python)?;
        Ok(PyTokens { tokens: Mutex::new(tokens), role, batch_size: batch_size.max(1) })
    }
}

impl PyTokens {
    /// The share of one rank of the sequences of this text.
    pub fn source(
        &self,
        (words, bptt): (i64, usize),
        seed: u64,
        share: Share,
        device: Device,
        what: &str,
    ) -> Result<TokenSource> {
        let tokens = self.tokens.lock().map_err(|_| Error::engine("a thread failed while it used this text"))?;
        let cut = Segments { batch: self.batch_size, bptt, seed, role: self.role, share };
        TokenSource::new(&tokens, words, cut, device, what)
    }
}

fn float_kind(dtype: &str) -> Result<Kind> {
    match dtype {
        "float32" => Ok(Kind::Float),
        "float64" => Ok(Kind::Double),
        other => Err(Error::config(unknown("dtype", other, &["float32", "float64"]))),
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
