//! The binding `pydarts._core`: conversions between Python and the engine.

mod bridges;
mod data;
mod entry;
mod errors;
mod inspect;
mod json;
mod memory;
mod module;
mod precision;
mod search;
mod strengths;
mod supernet;
mod tensor;
mod terms;
mod values;
mod variants;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // The numpy crate loads its C API at first use and panics if a signal arrives meanwhile, so load it now.
    numpy::PyArray1::<f32>::zeros(module.py(), 1, false);
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    errors::register(module)?;
    values::register(module)?;
    variants::register(module)?;
    terms::register(module)?;
    module.add_class::<data::PyDataset>()?;
    module.add_class::<data::PyArrays>()?;
    module.add_class::<data::PyArrayBatches>()?;
    module.add_class::<data::PyTokens>()?;
    module.add_class::<supernet::PySupernet>()?;
    module.add_class::<module::PySearchModule>()?;
    module.add_function(wrap_pyfunction!(errors::unknown_name, module)?)?;
    module.add_function(wrap_pyfunction!(errors::suggestions, module)?)?;
    module.add_function(wrap_pyfunction!(data::normalized, module)?)?;
    module.add_function(wrap_pyfunction!(search::search, module)?)?;
    module.add_function(wrap_pyfunction!(strengths::strengths, module)?)?;
    module.add_function(wrap_pyfunction!(strengths::edge_weights, module)?)?;
    module.add_function(wrap_pyfunction!(strengths::entropy, module)?)?;
    module.add_function(wrap_pyfunction!(strengths::relaxation_at, module)?)?;
    module.add_function(wrap_pyfunction!(memory::fitting_batch, module)?)?;
    module.add_function(wrap_pyfunction!(precision::cuda_is_available, module)?)?;
    module.add_function(wrap_pyfunction!(precision::processor, module)?)?;
    Ok(())
}
