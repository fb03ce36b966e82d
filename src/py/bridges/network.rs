//! A network of the user: a Python function of weights and mixing weights by name, and a batch.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::{Device, Kind, Tensor};

use crate::arch::{LogitRow, LogitTable};
use crate::data::Batch;
use crate::error::Result;
use crate::event::Metrics;
use crate::nn::{Arithmetic, Buffers, Loss, Mode, NamedBuffers, Network, Numbers, Role};
use crate::params::{Table, copy};
use crate::py::errors::from_python;
use crate::py::tensor::{PyTensor, from_dict, to_dict};
use crate::random;
use crate::search::State;

/// What Python says about a network: `_search/network.py` has the same fields.
pub struct Definition {
    object: Py<PyAny>,
    weights: Vec<(String, Tensor)>,
    buffers: Vec<(String, Tensor)>,
    /// Each with the initial logits [rows, columns]; None: drawn.
    tables: Vec<(LogitTable, Option<Tensor>)>,
}

/// A table in Python: its name, the label and the candidates of each row, and the initial logits.
type GivenTable = (String, Vec<(String, Vec<String>)>, Option<PyTensor>);

impl Definition {
    /// Reads the definition of a Python object, which is also the function.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let tensors = |name: &str| from_dict(object.getattr(name)?.cast::<PyDict>()?);
        let table = |(name, rows, initial): GivenTable| {
            let rows: Vec<LogitRow> =
                rows.into_iter().map(|(label, candidates)| LogitRow { label, candidates: candidates.into() }).collect();
            let columns = rows.iter().map(|row| row.candidates.len()).max().unwrap_or(0);
            let groups = (0..rows.len()).map(|row| vec![row]).collect();
            let table = LogitTable { name, rows, columns, groups, unselectable: None, kept: None, least: None };
            (table, initial.map(|tensor| tensor.0))
        };
        Ok(Definition {
            weights: tensors("weights")?,
            buffers: tensors("buffers")?,
            tables: object.getattr("tables")?.extract::<Vec<GivenTable>>()?.into_iter().map(table).collect(),
            object: object.clone().unbind(),
        })
    }

    /// The tables of logits.
    pub fn tables(&self) -> Vec<LogitTable> {
        self.tables.iter().map(|(table, _)| table.clone()).collect()
    }

    /// The network and its state before the first step.
    pub fn start(self, numbers: Numbers, device: Device, seed: u64) -> Result<(PyNetwork, State)> {
        let kind = numbers.kind;
        let shape = |tensor: &Tensor| tensor.size().iter().map(|&n| n as usize).collect();
        let weights = Table::new(self.weights.iter().map(|(name, tensor)| (name.clone(), shape(tensor))));
        let alphas = Table::new(
            self.tables.iter().map(|(table, _)| (table.name.clone(), vec![table.rows.len(), table.columns])),
        );
        let logits = |(table, initial): &(LogitTable, Option<Tensor>)| -> Result<Tensor> {
            Ok(match initial {
                Some(initial) => initial.f_detach()?.f_to_device(device)?.f_to_kind(kind)?.f_reshape([-1])?,
                None => Tensor::f_from_slice(&drawn(table, seed))?.f_to_device(device)?.f_to_kind(kind)?,
            })
        };
        let w = weights.pack(&self.weights, kind, device)?;
        let alpha = Tensor::f_cat(&self.tables.iter().map(logits).collect::<Result<Vec<_>>>()?, 0)?;
        let buffers = NamedBuffers::new(&self.buffers, device)?;
        let arithmetic = Arithmetic::new(numbers);
        let network = PyNetwork { object: self.object, weights, alphas, buffers, kind, device, arithmetic };
        Ok((network, State::new(copy(&w)?, copy(&alpha)?)?))
    }
}

/// Initial logits as spaces draw them, 1e-3·N(0, 1); 0 for padding.
fn drawn(table: &LogitTable, seed: u64) -> Vec<f64> {
    let draw = random::normal(seed, &format!("alpha.{}", table.name), 0, table.rows.len() * table.columns);
    let holds = |index: usize| table.holds(index / table.columns, index % table.columns);
    draw.into_iter().enumerate().map(|(index, z)| if holds(index) { 1e-3 * z } else { 0.0 }).collect()
}

/// A Python object, called as (weights, mixing weights, x, y, buffers) -> (loss, number correct or None) with tensors
/// of the graph, with methods `begin(step)`, `begin_loss(role, part)`, `begin_evaluation()` and `measured()`. It checks what the user's function returns.
pub struct PyNetwork {
    object: Py<PyAny>,
    weights: Table,
    alphas: Table,
    buffers: NamedBuffers,
    kind: Kind,
    device: Device,
    arithmetic: Arithmetic,
}

impl PyNetwork {
    /// The slices of a vector by name, as part of its graph.
    fn by_name(table: &Table, flat: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let names = table.entries().iter().map(|entry| entry.name.clone());
        Ok(names.zip(table.views(flat)?).collect())
    }
}

impl Network for PyNetwork {
    fn weights(&self) -> &Table {
        &self.weights
    }

    fn alphas(&self) -> &Table {
        &self.alphas
    }

    fn buffers(&self) -> Option<&dyn Buffers> {
        Some(&self.buffers)
    }

    fn loss(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        self.arithmetic.set_switch()?;
        let (w, m) = (Self::by_name(&self.weights, w)?, Self::by_name(&self.alphas, m)?);
        // Only the weight step may move the buffers.
        let buffers = if mode == Mode::Weights { self.buffers.live() } else { self.buffers.named()? };
        let (x, y) = (batch.inputs.shallow_clone(), batch.targets.shallow_clone());
        let call = |py: Python| -> PyResult<(PyTensor, Option<PyTensor>)> {
            let arguments = (to_dict(py, w)?, to_dict(py, m)?, PyTensor(x), PyTensor(y), to_dict(py, buffers)?);
            self.object.bind(py).call1(arguments)?.extract()
        };
        let (value, correct) = Python::attach(call).map_err(from_python)?;
        Ok(Loss { value: value.0, correct: correct.map(|correct| correct.0), carried: None })
    }

    fn draw(&self, step: u64) -> Result<()> {
        Python::attach(|py| self.object.call_method1(py, "begin", (step,)).map(drop)).map_err(from_python)
    }

    fn begin_loss(&self, role: Role, part: usize) -> Result<()> {
        let begun = Python::attach(|py| self.object.call_method1(py, "begin_loss", (role.name(), part)).map(drop));
        begun.map_err(from_python)
    }

    fn begin_evaluation(&self) -> Result<()> {
        Python::attach(|py| self.object.call_method0(py, "begin_evaluation").map(drop)).map_err(from_python)
    }

    fn measured(&self) -> Result<Metrics> {
        let call = |py: Python| -> PyResult<Metrics> {
            let found = self.object.bind(py).call_method0("measured")?;
            found.cast::<PyDict>()?.iter().map(|(name, value)| Ok((name.extract()?, value.extract()?))).collect()
        };
        Python::attach(call).map_err(from_python)
    }

    fn set_exact(&self, on: bool) -> Result<()> {
        self.arithmetic.set_exact(on)
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn device(&self) -> Device {
        self.device
    }
}
