//! A network of the user: a Python object that computes the loss of a batch from tensors which the engine fills.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::{Device, Kind, Tensor};

use crate::arch::{LogitRow, LogitTable, TableRole};
use crate::config::ArchInit;
use crate::data::{Batch, Layout};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Metrics;
use crate::nn::{
    Along, Arithmetic, Buffers, By, Gradients, Loss, Mode, NamedBuffers, Network, Numbers, Parts, Path, Reach, Role,
};
use crate::params::{Entry, Table, copy};
use crate::py::errors::{from_python, to_python};
use crate::py::tensor::{PyTensor, from_dict, to_dict};
use crate::random;
use crate::search::State;

/// What Python says about a network: `_search/network.py` describes the attributes and methods of the object.
pub struct Definition {
    object: Py<PyAny>,
    weights: Vec<(String, Tensor)>,
    buffers: Vec<(String, Tensor)>,
    /// Each with the initial logits of its rows; None: drawn.
    tables: Vec<(LogitTable, Vec<Option<Tensor>>)>,
    /// When a weight is used, by name; weights that it lacks always are.
    paths: BTreeMap<String, Vec<Path>>,
}

/// A row in Python: its label, its candidates, and its initial logits.
type GivenRow = (String, Vec<String>, Option<PyTensor>);
/// A table in Python: its name, its rows, and the number of candidates that are picked from each.
type GivenTable = (String, Vec<GivenRow>, usize);

impl Definition {
    /// Reads the definition of a Python object, which is also the function.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let tensors = |name: &str| from_dict(object.getattr(name)?.cast::<PyDict>()?);
        let table = |(name, rows, picks): GivenTable| {
            let split = |(label, candidates, initial): GivenRow| {
                (LogitRow { label, candidates: candidates.into() }, initial.map(|tensor| tensor.0))
            };
            let (rows, initial): (Vec<LogitRow>, Vec<_>) = rows.into_iter().map(split).unzip();
            let columns = rows.iter().map(|row| row.candidates.len()).max().unwrap_or(0);
            let groups = (0..rows.len()).map(|row| vec![row]).collect();
            (
                LogitTable {
                    name,
                    rows,
                    columns,
                    groups,
                    picks,
                    unselectable: None,
                    kept: None,
                    least: None,
                    role: TableRole::Candidates,
                },
                initial,
            )
        };
        Ok(Definition {
            weights: tensors("weights")?,
            buffers: tensors("buffers")?,
            tables: object.getattr("tables")?.extract::<Vec<GivenTable>>()?.into_iter().map(table).collect(),
            paths: object.getattr("paths")?.extract()?,
            object: object.clone().unbind(),
        })
    }

    /// The tables of logits.
    pub fn tables(&self) -> Vec<LogitTable> {
        self.tables.iter().map(|(table, _)| table.clone()).collect()
    }

    /// The network and its state before the first step; `samples`: the relaxation samples candidates.
    pub fn start(
        self,
        samples: bool,
        numbers: Numbers,
        device: Device,
        init: ArchInit,
        seed: u64,
    ) -> Result<(PyNetwork, State)> {
        let kind = numbers.kind;
        let shape = |tensor: &Tensor| tensor.size().iter().map(|&n| n as usize).collect();
        let weights = Table::new(self.weights.iter().map(|(name, tensor)| (name.clone(), shape(tensor))));
        let alphas = Table::new(
            self.tables.iter().map(|(table, _)| (table.name.clone(), vec![table.rows.len(), table.columns])),
        );
        let w = weights.pack(&self.weights, kind, device)?;
        let logits: Vec<Tensor> =
            self.tables.iter().map(|(table, rows)| initial(table, rows, init, seed)).collect::<Result<_>>()?;
        let alpha = Tensor::f_cat(&logits, 0)?.f_to_device(device)?.f_to_kind(kind)?;
        let buffers = NamedBuffers::new(&self.buffers, device)?;
        let (w_memory, m_memory) = (copy(&w)?, copy(&alpha)?);
        let bound = Python::attach(|py| -> PyResult<(Vec<PyTensor>, Vec<PyTensor>)> {
            let w = to_dict(py, named_views(&weights, &w_memory).map_err(to_python)?)?;
            let m = to_dict(py, named_views(&alphas, &m_memory).map_err(to_python)?)?;
            self.object.bind(py).call_method1("bind", (w, m, to_dict(py, buffers.live())?, samples))?.extract()
        });
        let (w_leaves, m_leaves) = bound.map_err(from_python)?;
        let always: Vec<Path> = Vec::new();
        let paths = |entry: &Entry| (self.paths.get(&entry.name).unwrap_or(&always).as_slice(), entry.length);
        let reach = samples.then(|| Reach::new(weights.entries().iter().map(paths), device)).transpose()?;
        let network = PyNetwork {
            object: self.object,
            reach: reach.filter(|_| !self.paths.is_empty()),
            weights: Leaves::new(weights, w_memory, w_leaves),
            mixing: Leaves::new(alphas, m_memory, m_leaves),
            buffers,
            kind,
            device,
            arithmetic: Arithmetic::new(numbers),
        };
        Ok((network, State::new(copy(&w)?, copy(&alpha)?)?))
    }
}

/// The slices of a vector by name, each a tensor without a graph that shares the memory.
fn named_views(table: &Table, flat: &Tensor) -> Result<Vec<(String, Tensor)>> {
    let names = table.entries().iter().map(|entry| entry.name.clone());
    let views = table.views(flat)?;
    names.zip(views).map(|(name, view)| Ok((name, view.f_detach()?))).collect()
}

/// Initial logits of a table, flat: those of a row, or drawn as for spaces; 0 for padding.
fn initial(table: &LogitTable, rows: &[Option<Tensor>], init: ArchInit, seed: u64) -> Result<Tensor> {
    let columns = table.columns;
    let draw = random::normal(seed, &format!("alpha.{}", table.name), 0, table.rows.len() * columns);
    let mut values: Vec<f64> = draw.into_iter().map(|z| init.logit(z)).collect();
    for (row, given) in rows.iter().enumerate() {
        let (row_values, held) = (&mut values[row * columns..][..columns], table.rows[row].candidates.len());
        if let Some(given) = given {
            let given = Vec::<f64>::try_from(given.f_detach()?.f_to_kind(Kind::Double)?.f_reshape([-1])?)?;
            row_values[..held].copy_from_slice(&given[..held]);
        }
        row_values[held..].fill(0.0);
    }
    Ok(Tensor::f_from_slice(&values)?)
}

/// Memory for a vector whose slices are the tensors that Python computes with: leaves of every graph, so that a
/// gradient is one concatenation.
struct Leaves {
    table: Table,
    memory: Tensor,
    leaves: Vec<Tensor>,
    /// The vector that was copied last, and its version. It is kept so that no other one gets its address.
    held: RefCell<Option<(Tensor, i64)>>,
}

impl Leaves {
    fn new(table: Table, memory: Tensor, leaves: Vec<PyTensor>) -> Self {
        Leaves { table, memory, leaves: leaves.into_iter().map(|leaf| leaf.0).collect(), held: RefCell::new(None) }
    }

    /// Copies a vector into the leaves; `learn` requests their gradients.
    fn set(&self, vector: &Tensor, learn: bool) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let version = vector.f_internal_version()?;
        let mut held = self.held.borrow_mut();
        let same = held.as_ref().is_some_and(|(last, at)| last.data_ptr() == vector.data_ptr() && *at == version);
        if !same {
            self.memory.shallow_clone().f_copy_(vector)?;
            *held = Some((vector.f_detach()?, version));
        }
        for leaf in &self.leaves {
            let _ = leaf.f_set_requires_grad(learn)?;
        }
        Ok(())
    }

    /// The flat gradient from those of the leaves, zero where there is none.
    fn flat(&self, found: &[Tensor]) -> Result<Tensor> {
        let part = |(gradient, leaf): (&Tensor, &Tensor)| match gradient.defined() {
            true => Ok::<_, Error>(gradient.f_detach()?.f_reshape([-1])?),
            false => Ok(leaf.f_zeros_like()?.f_reshape([-1])?),
        };
        let parts = found.iter().zip(&self.leaves).map(part).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&parts, 0)?)
    }
}

/// The gradients of a loss by leaves, dense; none are defined if it has no graph.
fn differentiate(value: &Tensor, leaves: &[&Tensor], again: bool) -> Result<Vec<Tensor>> {
    let dense = |gradient: Tensor| match gradient.defined() && gradient.is_sparse() {
        true => Ok(gradient.f_to_dense(None, false)?), // of an embedding with sparse gradients
        false => Ok(gradient),
    };
    match value.requires_grad() && !leaves.is_empty() {
        true => Tensor::f_run_backward(&[value], leaves, again, again)?.into_iter().map(dense).collect(),
        false => Ok(leaves.iter().map(|_| Tensor::new()).collect()),
    }
}

/// A Python object with `bind(weights, mixing weights, buffers)`, which returns the leaves, `begin(step)`,
/// `begin_loss(role, part)`, a call (mode, tensors of the batch, its layout, whether it is differentiated twice) -> (loss,
/// number correct or None), `begin_evaluation()` and `measured()`, the metrics by name. It checks what the user's code
/// returns.
pub struct PyNetwork {
    object: Py<PyAny>,
    weights: Leaves,
    mixing: Leaves,
    buffers: NamedBuffers,
    /// Which weights the sampled candidates use.
    reach: Option<Reach>,
    kind: Kind,
    device: Device,
    arithmetic: Arithmetic,
}

impl PyNetwork {
    /// A loss and its gradients by the leaves.
    fn gradients_of(&self, loss: Loss, by: By) -> Result<Gradients> {
        let wanted = [(by.alpha(), &self.mixing), (by.weights(), &self.weights)];
        let wanted = || wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, leaves)| *leaves);
        let inputs: Vec<&Tensor> = wanted().flat_map(|leaves| &leaves.leaves).collect();
        let found = differentiate(&loss.value, &inputs, false)?;
        let mut rest = found.as_slice();
        let mut flat = |leaves: &Leaves| {
            let (own, others) = rest.split_at(leaves.leaves.len());
            rest = others;
            leaves.flat(own)
        };
        let m_gradient = by.alpha().then(|| flat(&self.mixing)).transpose()?;
        let w_gradient = by.weights().then(|| flat(&self.weights)).transpose()?;
        Gradients::new(loss, m_gradient, w_gradient)
    }

    /// The loss of a batch at the values of the leaves.
    fn pass(&self, batch: &Batch, mode: Mode, twice: bool) -> Result<Loss> {
        self.arithmetic.set_switch()?;
        let layout = batch.layout.as_ref().and_then(|Layout(layout)| layout.downcast_ref::<Py<PyAny>>());
        let layout = layout.ok_or_else(|| Error::engine("the batch of a user's network has no layout"))?;
        let mode = match mode {
            Mode::Search => "search",
            Mode::Weights => "weights",
            Mode::Evaluation => "evaluation",
        };
        let call = |py: Python| -> PyResult<(PyTensor, Option<PyTensor>)> {
            let tensors: Vec<_> = batch.tensors().map(|tensor| PyTensor(tensor.shallow_clone())).collect();
            self.object.bind(py).call1((mode, tensors, layout, twice))?.extract()
        };
        let (value, correct) = Python::attach(call).map_err(|error| {
            // The user's code may have changed the leaves.
            for leaves in [&self.weights, &self.mixing] {
                leaves.held.take();
            }
            from_python(error)
        })?;
        Ok(Loss { value: value.0, correct: correct.map(|correct| correct.0), carried: None })
    }
}

impl Network for PyNetwork {
    fn weights(&self) -> &Table {
        &self.weights.table
    }

    fn alphas(&self) -> &Table {
        &self.mixing.table
    }

    fn touched(&self, m: &Tensor) -> Result<Option<Tensor>> {
        self.reach.as_ref().map(|reach| reach.elements(m)).transpose()
    }

    fn buffers(&self) -> Option<&dyn Buffers> {
        Some(&self.buffers)
    }

    /// Without a graph to `w` and `m`: gradients are by the leaves.
    fn loss(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        self.weights.set(w, false)?;
        self.mixing.set(m, false)?;
        self.pass(batch, mode, false)
    }

    fn gradients(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        self.weights.set(w, by.weights())?;
        self.mixing.set(m, by.alpha())?;
        let loss = self.pass(batch, mode, false)?;
        self.gradients_of(loss, by)
    }

    fn gradients_along(&self, w: &Tensor, m: &Tensor, along: Along, batch: &Batch, by: By) -> Result<Gradients> {
        self.weights.set(w, true)?;
        self.mixing.set(m, true)?;
        let loss = self.pass(batch, Mode::Search, true)?.value;
        let parts = [(&self.weights, along.w), (&self.mixing, along.m)];
        let parts: Vec<_> = parts.into_iter().filter_map(|(leaves, part)| Some((leaves, part?))).collect();
        let inputs: Vec<&Tensor> = parts.iter().flat_map(|(leaves, _)| &leaves.leaves).collect();
        let first = differentiate(&loss, &inputs, true).map_err(without_second_derivative)?;
        let directions = parts.iter().map(|(leaves, part)| leaves.table.views(&part.f_detach()?));
        let directions = directions.collect::<Result<Vec<_>>>()?;
        let mut derivative: Option<Tensor> = None;
        for (gradient, direction) in first.iter().zip(directions.iter().flatten()) {
            if gradient.defined() {
                let term = gradient.f_mul(direction)?.f_sum(self.kind)?;
                derivative = Some(match derivative {
                    Some(sum) => sum.f_add(&term)?,
                    None => term,
                });
            }
        }
        let derivative = derivative.map_or_else(|| loss.f_detach()?.f_zeros_like(), Ok)?;
        self.gradients_of(Loss::alone(derivative), by).map_err(without_second_derivative)
    }

    fn draw(&self, step: u64, _parts: &Parts) -> Result<()> {
        Python::attach(|py| self.object.call_method1(py, "begin", (step,)).map(drop)).map_err(from_python)
    }

    fn begin_loss(&self, role: Role, part: usize) -> Result<()> {
        let begun = Python::attach(|py| self.object.call_method1(py, "begin_loss", (role.name(), part)).map(drop));
        begun.map_err(from_python)
    }

    fn begin_evaluation(&self, _step: u64) -> Result<()> {
        Python::attach(|py| self.object.call_method0(py, "begin_evaluation").map(drop)).map_err(from_python)
    }

    fn measured(&self) -> Result<Metrics> {
        measured_by(&self.object)
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

/// What a Python object measured since its evaluation began, by name.
pub fn measured_by(object: &Py<PyAny>) -> Result<Metrics> {
    let call = |py: Python| -> PyResult<Metrics> {
        let found = object.bind(py).call_method0("measured")?;
        found.cast::<PyDict>()?.iter().map(|(name, value)| Ok((name.extract()?, value.extract()?))).collect()
    };
    Python::attach(call).map_err(from_python)
}

/// Names the operation that cannot be differentiated twice.
fn without_second_derivative(error: Error) -> Error {
    let lacks = ["derivative for", "once_differentiable"];
    match lacks.iter().any(|text| error.detail.contains(text)) {
        true => Error::new(
            ErrorKind::Config,
            format!(
                "the search needs second derivatives (of hypergradients such as \"unrolled_exact\", or of `probe_every` \
                 and `curvature_every`), and an operation of the network has none ({}); use hypergradient=\"unrolled\" or \
                 \"first_order\", or write the operation with others that have them",
                error.detail
            ),
        )
        .with_source(error),
        false => error,
    }
}
