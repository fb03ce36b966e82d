//! The batch size that fits into memory.

use pyo3::prelude::*;

use super::bridges::own_modules;
use super::entry;
use super::errors::to_python;
use super::precision::numbers;
use super::tensor::device;
use super::values::PyConfig;
use crate::nn::NetworkOptions;
use crate::search;

/// The batch size for a configuration with batch_size="auto": that of the checkpoint to resume from, or the
/// largest of at most `most` examples that fits into `free` bytes.
#[pyfunction]
#[pyo3(signature = (config, most, free, operations=None))]
pub fn fitting_batch(
    py: Python<'_>,
    config: &PyConfig,
    most: usize,
    free: u64,
    operations: Option<Py<PyAny>>,
) -> PyResult<usize> {
    let config = &config.value;
    let device = device(&config.execution.device).map_err(to_python)?;
    let numbers = numbers(config.execution.precision, device).map_err(to_python)?;
    let own = own_modules(operations);
    let options = NetworkOptions { own, ..NetworkOptions::of_config(config, numbers, device, None) };
    entry::engine(py, || search::batch_size(config, &options, most, free))
}
