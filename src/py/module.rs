//! `SearchModule`: one network of the user for inspection.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::Tensor;

use super::bridges::{Definition, PyNetwork};
use super::entry;
use super::errors::to_python;
use super::inspect::{Estimate, Inspectable, Inspected, Inspector, Probed};
use super::precision::numbers;
use super::tensor::{PyTensor, device, precision_of};
use super::terms::{GivenCost, costs};
use super::values::PyConfig;
use crate::data::{Batch, Expected, Layout};
use crate::error::Result;
use crate::nn::{Mode, Network, Relaxations};
use crate::relaxation::Restrictions;
use crate::search::{State, Terms};

impl Inspectable for PyNetwork {
    fn network(&self) -> &dyn Network {
        self
    }
}

impl Inspected<PyNetwork> {
    fn batch(&self, given: Given) -> Result<Batch> {
        let expected = Expected::Tensors { kind: self.network.kind(), device: self.network.device() };
        let tensors: Vec<Tensor> = given.0.into_iter().map(|tensor| tensor.0).collect();
        expected.gather(&tensors, Layout(Arc::new(given.1)))
    }
}

/// The tensors of a batch and its layout.
type Given = (Vec<PyTensor>, Py<PyAny>);

#[pyclass(name = "SearchModule", frozen, module = "pydarts._core")]
pub struct PySearchModule(Inspector<PyNetwork>);

#[pymethods]
impl PySearchModule {
    #[new]
    #[pyo3(signature = (config, network, dtype, device, given_costs=Vec::new()))]
    fn new(
        py: Python<'_>,
        config: &PyConfig,
        network: &Bound<'_, PyAny>,
        dtype: &str,
        device: &str,
        given_costs: Vec<GivenCost>,
    ) -> PyResult<Self> {
        let config = config.value.clone();
        let device = self::device(device).map_err(to_python)?;
        let numbers = numbers(precision_of(dtype).map_err(to_python)?, device).map_err(to_python)?;
        let definition = Definition::of(network)?;
        let built = entry::engine(py, || {
            let switch = numbers.switch.clone();
            let tables = definition.tables();
            let (network, state): (PyNetwork, State) = {
                let optimisation = &config.optimisation;
                let samples = optimisation.relaxation.rule().samples_one();
                definition.start(samples, numbers, device, optimisation.arch_init, optimisation.seed)?
            };
            let kinds = (network.kind(), network.device());
            let relaxations = Relaxations::of(&config.optimisation, tables, kinds)?;
            let restrictions = Restrictions::new(relaxations.tables());
            let terms = Terms::new(&config, &relaxations, &costs(given_costs))?;
            let mut built = Inspected { network, relaxations, restrictions, terms, state, config, switch };
            built.state.clear(&built.relaxations.masked()?)?;
            Ok(built)
        })?;
        Ok(PySearchModule(Inspector::new(built)))
    }

    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.state_dict(py)
    }

    fn load_state_dict(&self, py: Python<'_>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        // What is no weight is a buffer, or unknown if there are none.
        let is_buffer = |network: &dyn Network, name: &str| {
            let some = network.buffers().is_some_and(|buffers| !buffers.tensors().is_empty());
            some && network.weights().index(name).is_none()
        };
        self.0.load_state_dict(py, state, is_buffer, |_| Ok(()))
    }

    fn alphas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.alphas(py)
    }

    fn set_alphas(&self, py: Python<'_>, alphas: &Bound<'_, PyDict>) -> PyResult<()> {
        self.0.set_alphas(py, alphas)
    }

    fn loss(&self, py: Python<'_>, batch: Given) -> PyResult<f64> {
        self.0.pass(py, (0, Mode::Search), |held| held.batch(batch)).map(|(loss, _)| loss)
    }

    fn evaluate(&self, py: Python<'_>, batch: Given) -> PyResult<(f64, Option<f64>)> {
        self.0.pass(py, (0, Mode::Evaluation), |held| held.batch(batch))
    }

    #[pyo3(signature = (train, valid, method, xi, epsilon, momentum, probe))]
    #[allow(clippy::too_many_arguments)] // one per argument of the Python method
    fn arch_gradient<'py>(
        &self,
        py: Python<'py>,
        train: Option<Given>,
        valid: Given,
        method: &Bound<'_, PyAny>,
        xi: f64,
        epsilon: f64,
        momentum: Option<&Bound<'_, PyDict>>,
        probe: bool,
    ) -> PyResult<(Bound<'py, PyDict>, Probed)> {
        let by = Estimate::new(method, xi, epsilon, momentum, probe)?;
        self.0.arch_gradient(py, 0, by, |held| {
            Ok((train.map(|batch| held.batch(batch)).transpose()?, held.batch(valid)?))
        })
    }

    fn step(&self, py: Python<'_>, train: Given, valid: Given) -> PyResult<(f64, f64)> {
        self.0.step(py, |held| Ok((held.batch(train)?, held.batch(valid)?)))
    }

    fn optimizer_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.optimizer_state(py)
    }

    fn decide(&self, py: Python<'_>, decision: &str) -> PyResult<()> {
        self.0.decide(py, decision)
    }
}
