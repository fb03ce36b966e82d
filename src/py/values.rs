//! Configuration, space and genotype as Python classes, and the functions of them.

use std::hash::{DefaultHasher, Hash, Hasher};

use numpy::{PyReadonlyArray2, ndarray::Array2};
use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use serde_json::{Map, Value, json};

use super::errors::to_python;
use super::json::{Lists, dict, object, python, value};
use crate::arch::genotype::{self, Cell, Edge, Genotype};
use crate::arch::selection;
use crate::config::SearchConfig;
use crate::error::{Error, ErrorKind};
use crate::json::Field;
use crate::relaxation;
use crate::space::{Operation, Space};

/// The JSON value of a constructor's arguments: of the one positional argument, or of the keywords.
///
/// The positional argument comes as a tuple, because pyo3 does not distinguish an omitted argument from `None`.
fn given(kind: ErrorKind, base: &Bound<'_, PyTuple>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Value> {
    match base.len() {
        0 => object(kind, fields),
        1 => {
            let base = base.get_item(0)?;
            base.cast::<PyDict>().map_or_else(|_| value(kind, "value", &base), |fields| object(kind, Some(fields)))
        }
        several => Err(PyTypeError::new_err(format!("expected one positional argument, got {several}"))),
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The options of a search. `pydarts.SearchConfig` is its subclass.
#[pyclass(name = "SearchConfig", module = "pydarts._core", frozen, subclass)]
pub struct PyConfig {
    pub value: SearchConfig,
    /// The value as a JSON object, which attributes are read from.
    fields: Map<String, Value>,
}

impl From<SearchConfig> for PyConfig {
    fn from(value: SearchConfig) -> PyConfig {
        PyConfig { fields: value.to_object(), value }
    }
}

#[pymethods]
impl PyConfig {
    #[new]
    #[pyo3(signature = (*base, **fields))]
    fn new(base: &Bound<'_, PyTuple>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let given = given(ErrorKind::Config, base, fields)?;
        Ok(SearchConfig::from_value(&given).map_err(to_python)?.into())
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.fields.get(name) {
            Some(value) => python(py, value, Lists::Tuples),
            None => Err(PyAttributeError::new_err(format!("SearchConfig has no field '{name}'"))),
        }
    }

    /// The space with `nodes` and `operations` applied.
    #[pyo3(name = "_whole_space")]
    fn whole_space(&self) -> PySpace {
        PySpace(self.value.space.clone())
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, &self.fields, Lists::Lists)
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.value == other.value
    }

    fn __hash__(&self) -> u64 {
        hash(&self.value.to_json())
    }
}

/// A search space. `pydarts.Space` is its subclass.
#[pyclass(name = "Space", module = "pydarts._core", frozen, subclass)]
pub struct PySpace(pub Space);

#[pymethods]
impl PySpace {
    #[new]
    #[pyo3(signature = (*base, **fields))]
    fn new(base: &Bound<'_, PyTuple>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let given = given(ErrorKind::Space, base, fields)?;
        Ok(PySpace(Space::from_value(&given).map_err(to_python)?))
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.0.all_fields().get(name) {
            Some(value) => python(py, value, Lists::Tuples),
            None => Err(PyAttributeError::new_err(format!("Space has no field '{name}'"))),
        }
    }

    /// The names of the candidates of each row of a table.
    fn columns<'py>(&self, py: Python<'py>, table: &str) -> PyResult<Bound<'py, PyAny>> {
        let Some(cell) = self.0.cell(table) else {
            let text = format!("no table {table:?}; choose from {}", self.0.tables().join(", "));
            return Err(PyValueError::new_err(text));
        };
        let rows: Vec<_> = (0..cell.edges().len()).map(|row| cell.operations(row)).collect();
        python(py, &json!(rows), Lists::Tuples)
    }

    #[getter]
    fn all_operations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        python(py, &json!(self.0.all_operations()), Lists::Tuples)
    }

    #[getter]
    fn edges<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let edges: Vec<_> = self.0.edges().iter().map(|edge| json!([edge.from, edge.to])).collect();
        python(py, &Value::Array(edges), Lists::Tuples)
    }

    #[getter]
    fn tables<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        python(py, &json!(self.0.tables()), Lists::Tuples)
    }

    #[getter]
    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    #[getter]
    fn edges_kept(&self) -> Option<usize> {
        self.0.kept()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        python(py, &json!(self.0), Lists::Lists)
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn __hash__(&self) -> u64 {
        hash(&json!(self.0).to_string())
    }
}

/// A genotype. `pydarts.Genotype` is its subclass.
#[pyclass(name = "Genotype", module = "pydarts._core", frozen, subclass)]
pub struct PyGenotype(pub Genotype);

impl PyGenotype {
    fn cell(&self, table: &str) -> Option<&Cell> {
        self.0.cells().into_iter().find(|(name, _)| *name == table).map(|(_, cell)| cell)
    }

    /// The edges into each node of a cell; none for a cell of another kind of genotype.
    fn nodes_of(&self, table: &str) -> PyResult<&[Vec<Edge>]> {
        let known = ["normal", "reduce", "recurrent", "cell"];
        if !known.contains(&table) {
            let text = format!("no cell {table:?}; choose from {}", known.join(", "));
            return Err(PyValueError::new_err(text));
        }
        Ok(self.cell(table).map_or(&[], |cell| &cell.nodes))
    }
}

#[pymethods]
impl PyGenotype {
    #[new]
    #[pyo3(signature = (*base, **fields))]
    fn new(base: &Bound<'_, PyTuple>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let given = given(ErrorKind::Genotype, base, fields)?;
        Ok(PyGenotype(Genotype::from_value(&given).map_err(to_python)?))
    }

    #[staticmethod]
    #[pyo3(name = "_parse_notation")]
    fn parse_notation(text: &str) -> PyResult<Self> {
        Ok(PyGenotype(Genotype::from_notation(text).map_err(to_python)?))
    }

    #[staticmethod]
    #[pyo3(name = "_parse_nasbench201")]
    fn parse_nasbench201(text: &str) -> PyResult<Self> {
        Ok(PyGenotype(Genotype::from_nas_bench_201(text).map_err(to_python)?))
    }

    fn to_nasbench201(&self) -> PyResult<String> {
        self.0.to_nas_bench_201().map_err(to_python)
    }

    #[pyo3(name = "_validate_in")]
    fn validate_in(&self, space: &PySpace) -> PyResult<()> {
        self.0.validate(&space.0).map_err(to_python)
    }

    #[getter]
    fn skip_connections(&self) -> usize {
        self.0.skip_connections()
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind().name()
    }

    #[getter]
    fn dimensions(&self) -> Option<usize> {
        self.0.dimensions()
    }

    #[getter]
    fn tables<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let names: Vec<&str> = self.0.cells().into_iter().map(|(name, _)| name).collect();
        python(py, &json!(names), Lists::Tuples)
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, &self.0.to_object(), Lists::Lists)
    }

    /// The views of the published notation: flat lists of edges, and output nodes. A cell of another kind is empty. A flat
    /// list cannot express a node without edges.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let (table, is_concat) = match name {
            "normal" | "reduce" | "recurrent" | "cell" => (name, false),
            "normal_concat" => ("normal", true),
            "reduce_concat" => ("reduce", true),
            "concat" => ("recurrent", true),
            "cell_concat" => ("cell", true),
            _ => return Err(PyAttributeError::new_err(format!("Genotype has no field '{name}'"))),
        };
        let view = match self.cell(table) {
            None => json!([]),
            Some(cell) if !is_concat && cell.empty_node().is_some() => {
                let node = cell.empty_node().unwrap_or(0) + self.0.inputs();
                return Err(to_python(Error::genotype(format!(
                    "cell `{table}`: node {node} has no edges, which a list of the edges of all nodes cannot express; \
                     use nodes({table:?}) or edges({table:?})"
                ))));
            }
            Some(cell) if is_concat => json!(cell.concat),
            Some(cell) => cell.edges().map(|edge| json!([edge.operation, edge.source])).collect(),
        };
        python(py, &view, Lists::Tuples)
    }

    /// (operation, source, target) of the edges of a cell, node by node.
    fn edges<'py>(&self, py: Python<'py>, table: &str) -> PyResult<Bound<'py, PyAny>> {
        let nodes = self.nodes_of(table)?;
        let into = |(target, edges): (usize, &Vec<Edge>)| -> Vec<Value> {
            edges.iter().map(|edge| json!([edge.operation, edge.source, target])).collect()
        };
        let edges = (self.0.inputs()..).zip(nodes).flat_map(into).collect();
        python(py, &Value::Array(edges), Lists::Tuples)
    }

    /// For each node of a cell, the (operation, source) of its edges.
    fn nodes<'py>(&self, py: Python<'py>, table: &str) -> PyResult<Bound<'py, PyAny>> {
        let into =
            |edges: &Vec<Edge>| -> Value { edges.iter().map(|edge| json!([edge.operation, edge.source])).collect() };
        let nodes = self.nodes_of(table)?.iter().map(into).collect();
        python(py, &Value::Array(nodes), Lists::Tuples)
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn __hash__(&self) -> u64 {
        hash(&self.0.to_json())
    }
}

/// Tables by name, as arrays.
fn tables(given: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Array2<f64>)>> {
    let table = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| -> PyResult<(String, Array2<f64>)> {
        Ok((name.extract()?, value.extract::<PyReadonlyArray2<'_, f64>>()?.as_array().to_owned()))
    };
    given.iter().map(table).collect()
}

/// The variant that a name or a dictionary gives.
pub fn variant<T>(name: &str, given: &Bound<'_, PyAny>, read: fn(&Field) -> crate::error::Result<T>) -> PyResult<T> {
    let value = value(ErrorKind::Config, name, given)?;
    read(&Field { kind: ErrorKind::Config, name, value: &value }).map_err(to_python)
}

#[pyfunction]
fn derive(
    space: &PySpace,
    alphas: &Bound<'_, PyDict>,
    relaxation: &Bound<'_, PyAny>,
    selection: &Bound<'_, PyAny>,
) -> PyResult<PyGenotype> {
    let relaxation = variant("relaxation", relaxation, relaxation::read)?;
    let selection = variant("selection", selection, selection::read)?;
    let genotype = relaxation::derive(&space.0, &tables(alphas)?, &relaxation, &selection);
    Ok(PyGenotype(genotype.map_err(to_python)?))
}

/// The genotype of strengths, in which NaN marks what may not be selected.
#[pyfunction]
fn select(space: &PySpace, strengths: &Bound<'_, PyDict>, selection: &Bound<'_, PyAny>) -> PyResult<PyGenotype> {
    let selection = variant("selection", selection, selection::read)?;
    Ok(PyGenotype(selection::genotype(&space.0, &tables(strengths)?, &selection).map_err(to_python)?))
}

/// Checks the name of a user-defined operation; from now on names of operations include it.
#[pyfunction]
fn own_operation(name: &str) -> PyResult<()> {
    Operation::own(name).map(drop).map_err(to_python)
}

#[pyfunction]
fn published_genotypes<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, genotype) in genotype::published() {
        dict.set_item(name, PyGenotype(genotype.clone()))?;
    }
    Ok(dict)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyConfig>()?;
    module.add_class::<PySpace>()?;
    module.add_class::<PyGenotype>()?;
    module.add_function(wrap_pyfunction!(own_operation, module)?)?;
    module.add_function(wrap_pyfunction!(derive, module)?)?;
    module.add_function(wrap_pyfunction!(select, module)?)?;
    module.add_function(wrap_pyfunction!(published_genotypes, module)?)?;
    Ok(())
}
