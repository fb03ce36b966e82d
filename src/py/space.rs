//! Configuration, spaces and genotypes cross as JSON text.

use numpy::{PyReadonlyArray2, ndarray::Array2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::to_python;
use crate::arch::{Genotype, genotype};
use crate::config::SearchConfig;
use crate::error::{Error, Result};
use crate::space::Space;

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::engine(e.to_string()))
}

fn space_from(text: &str) -> PyResult<Space> {
    Space::from_json(text).map_err(to_python)
}

#[pyfunction]
fn resolve_config(text: &str) -> PyResult<String> {
    Ok(SearchConfig::from_json(text).map_err(to_python)?.to_json())
}

#[pyfunction]
fn default_config(space: &str) -> PyResult<String> {
    Ok(SearchConfig::defaults(space).map_err(to_python)?.to_json())
}

#[pyfunction]
fn resolve_space(text: &str) -> PyResult<String> {
    json(&space_from(text)?).map_err(to_python)
}

#[pyfunction]
fn space_edges(space: &str) -> PyResult<Vec<(usize, usize)>> {
    Ok(space_from(space)?.edges().iter().map(|e| (e.from, e.to)).collect())
}

#[pyfunction]
fn space_tables(space: &str) -> PyResult<Vec<&'static str>> {
    Ok(space_from(space)?.tables().to_vec())
}

#[pyfunction]
#[pyo3(signature = (space, alphas, k))]
fn derive(space: &str, alphas: &Bound<'_, PyDict>, k: Option<usize>) -> PyResult<String> {
    let space = space_from(space)?;
    let table = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| -> PyResult<(String, Array2<f64>)> {
        Ok((name.extract()?, value.extract::<PyReadonlyArray2<'_, f64>>()?.as_array().to_owned()))
    };
    let alphas = alphas.iter().map(table).collect::<PyResult<Vec<_>>>()?;
    Ok(crate::arch::derive(&space, &alphas, k).map_err(to_python)?.to_json())
}

#[pyfunction]
fn entropy(alpha: PyReadonlyArray2<'_, f64>) -> f64 {
    crate::arch::entropy(alpha.as_array())
}

#[pyfunction]
fn genotype_from_notation(text: &str) -> PyResult<String> {
    Ok(Genotype::from_notation(text).map_err(to_python)?.to_json())
}

#[pyfunction]
fn genotype_to_notation(text: &str) -> PyResult<String> {
    Ok(Genotype::from_json(text).map_err(to_python)?.to_string())
}

#[pyfunction]
#[pyo3(signature = (text, space))]
fn check_genotype(text: &str, space: Option<&str>) -> PyResult<String> {
    let genotype = Genotype::from_json(text).map_err(to_python)?;
    if let Some(space) = space {
        genotype.validate(&space_from(space)?).map_err(to_python)?;
    }
    Ok(genotype.to_json())
}

#[pyfunction]
fn published_genotypes<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, genotype) in genotype::published() {
        dict.set_item(name, genotype.to_json())?;
    }
    Ok(dict)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(resolve_config, module)?)?;
    module.add_function(wrap_pyfunction!(default_config, module)?)?;
    module.add_function(wrap_pyfunction!(resolve_space, module)?)?;
    module.add_function(wrap_pyfunction!(space_edges, module)?)?;
    module.add_function(wrap_pyfunction!(space_tables, module)?)?;
    module.add_function(wrap_pyfunction!(derive, module)?)?;
    module.add_function(wrap_pyfunction!(entropy, module)?)?;
    module.add_function(wrap_pyfunction!(genotype_from_notation, module)?)?;
    module.add_function(wrap_pyfunction!(genotype_to_notation, module)?)?;
    module.add_function(wrap_pyfunction!(check_genotype, module)?)?;
    module.add_function(wrap_pyfunction!(published_genotypes, module)?)?;
    Ok(())
}
