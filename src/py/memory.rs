//! A batch that fits into memory.

use std::path::Path;

use pyo3::prelude::*;

use super::door;
use super::errors::to_python;
use super::network::lower;
use super::precision::Numbers;
use super::tensor::device;
use crate::config::SearchConfig;
use crate::search;

/// The batch size for a configuration that leaves it to the memory: that of the checkpoint that it goes on from, or the
/// largest of at most `most` examples that fits into `free` bytes.
#[pyfunction]
pub fn fitting_batch(py: Python<'_>, config: &str, most: usize, free: u64) -> PyResult<usize> {
    let config = SearchConfig::from_json(config).map_err(to_python)?;
    let device = device(&config.device).map_err(to_python)?;
    let numbers = Numbers::resolve(config.precision, device).map_err(to_python)?;
    let options = numbers.options(&config, device, None);
    door::engine(py, || {
        let folder = config.checkpoint_dir.as_ref().filter(|_| config.resume);
        if let Some(size) = folder.map(|folder| search::earlier_batch(Path::new(folder))).transpose()?.flatten() {
            return Ok(size);
        }
        let plan = lower(&config)?;
        search::fitting_batch(options.peak(plan, config.hypergradient)?, most, free)
    })
}
