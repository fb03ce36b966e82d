//! `Supernet`: one search network of a compiled space for inspection.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::Tensor;

use super::bridges::own_modules;
use super::entry;
use super::errors::to_python;
use super::inspect::{Estimate, Inspectable, Inspected, Inspector, Probed};
use super::precision::numbers;
use super::tensor::{PyTensor, device, precision_of, to_dict};
use super::terms::{GivenCost, costs};
use super::values::PyConfig;
use crate::config::SearchConfig;
use crate::data::{Batch, Expected};
use crate::error::{Error, Result};
use crate::nn::{Draw, Mode, Network, NetworkOptions, Role, SearchNetwork, Statistics};
use crate::plan::Plan;
use crate::relaxation::Restrictions;
use crate::search::{self, Terms};

/// The network of a plan, and what it expects of a batch.
struct Compiled {
    network: SearchNetwork,
    expected: Expected,
}

impl Inspectable for Compiled {
    fn network(&self) -> &dyn Network {
        &*self.network
    }
}

impl Inspected<Compiled> {
    fn build(config: SearchConfig, options: NetworkOptions, given_costs: Vec<GivenCost>) -> Result<Self> {
        let plan = Plan::of_config(&config, options.makers())?;
        let expected = Expected::of_plan(&plan, config.data.bptt, options.numbers.kind, options.device);
        let switch = options.numbers.switch.clone();
        let (network, relaxations, state) = search::start(plan, &config, options)?;
        let restrictions = Restrictions::new(relaxations.tables());
        let terms = Terms::new(&config, &relaxations, &costs(given_costs))?;
        let network = Compiled { network, expected };
        Ok(Inspected { network, relaxations, restrictions, terms, state, config, switch })
    }

    fn batch(&self, (x, y): (Tensor, Tensor), what: &str) -> Result<Batch> {
        self.network.expected.admit(&x, &y, what)
    }
}

type Pair = (PyTensor, PyTensor);

fn tensors(pair: Pair) -> (Tensor, Tensor) {
    (pair.0.0, pair.1.0)
}

#[pyclass(name = "Supernet", frozen, module = "pydarts._core")]
pub struct PySupernet(Inspector<Compiled>);

impl PySupernet {
    /// The number of examples in a tensor of inputs.
    fn examples(&self, py: Python<'_>, x: &Tensor) -> PyResult<i64> {
        let x = x.shallow_clone();
        entry::engine(py, move || Ok(self.0.lock()?.network.network.examples(&x)))
    }

    /// The loss and the number of correct predictions of one batch, without a graph.
    fn pass(&self, py: Python<'_>, pair: Pair, mode: Mode) -> PyResult<(f64, i64)> {
        let pair = tensors(pair);
        let examples = self.examples(py, &pair.0)?;
        let (loss, correct) = self.0.pass(py, (examples, mode), |held| held.batch(pair, "the batch"))?;
        let correct = correct.ok_or_else(|| Error::engine("the pass counted no correct predictions"));
        Ok((loss, correct.map_err(to_python)? as i64))
    }
}

#[pymethods]
impl PySupernet {
    #[new]
    #[pyo3(signature = (config, dtype, device, operations=None, given_costs=Vec::new()))]
    fn new(
        py: Python<'_>,
        config: &PyConfig,
        dtype: &str,
        device: &str,
        operations: Option<Py<PyAny>>,
        given_costs: Vec<GivenCost>,
    ) -> PyResult<Self> {
        let config = config.value.clone();
        let device = self::device(device).map_err(to_python)?;
        let precision = precision_of(dtype).map_err(to_python)?;
        let numbers = numbers(precision, device).map_err(to_python)?;
        let own = own_modules(operations);
        let options = NetworkOptions { own, ..NetworkOptions::of_config(&config, numbers, device, None) };
        let built = entry::engine(py, || Inspected::build(config, options, given_costs))?;
        Ok(PySupernet(Inspector::new(built)))
    }

    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.state_dict(py)
    }

    fn load_state_dict(&self, py: Python<'_>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let is_buffer = |network: &dyn Network, name: &str| {
            let own = || network.buffers().is_some_and(|buffers| buffers.holds(name));
            network.weights().index(name).is_none() && (Statistics::names(name) || own())
        };
        self.0.load_state_dict(py, state, is_buffer, Statistics::check_values)
    }

    fn alphas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.alphas(py)
    }

    fn set_alphas(&self, py: Python<'_>, alphas: &Bound<'_, PyDict>) -> PyResult<()> {
        self.0.set_alphas(py, alphas)
    }

    fn logits(&self, py: Python<'_>, x: PyTensor) -> PyResult<PyTensor> {
        let x = x.0;
        entry::engine(py, move || {
            let _guard = tch::no_grad_guard();
            let held = self.0.lock()?;
            let network = &held.network.network;
            let batch = Batch::new(x.shallow_clone(), x.shallow_clone());
            held.relaxed().whole().draw(held.state.step, Some(&batch), None)?;
            let m = held.relaxations.weights(&held.state.alpha, Draw::Part(Role::Weight, 0))?;
            held.explained(network.examples(&x), || network.logits(&held.state.w, &m, &x, Mode::Search))
        })
        .map(PyTensor)
    }

    fn loss(&self, py: Python<'_>, x: PyTensor, y: PyTensor) -> PyResult<f64> {
        self.pass(py, (x, y), Mode::Search).map(|(loss, _)| loss)
    }

    fn evaluate(&self, py: Python<'_>, x: PyTensor, y: PyTensor) -> PyResult<(f64, i64)> {
        self.pass(py, (x, y), Mode::Evaluation)
    }

    #[pyo3(signature = (train, valid, method, xi, epsilon, momentum, probe))]
    #[allow(clippy::too_many_arguments)] // one per argument of the Python method
    fn arch_gradient<'py>(
        &self,
        py: Python<'py>,
        train: Option<Pair>,
        valid: Pair,
        method: &Bound<'_, PyAny>,
        xi: f64,
        epsilon: f64,
        momentum: Option<&Bound<'_, PyDict>>,
        probe: bool,
    ) -> PyResult<(Bound<'py, PyDict>, Probed)> {
        let by = Estimate::new(method, xi, epsilon, momentum, probe)?;
        let (train, valid) = (train.map(tensors), tensors(valid));
        self.0.arch_gradient(py, self.examples(py, &valid.0)?, by, |held| {
            let train = train.map(|pair| held.batch(pair, "the training batch")).transpose()?;
            Ok((train, held.batch(valid, "the validation batch")?))
        })
    }

    fn step(&self, py: Python<'_>, train: Pair, valid: Pair) -> PyResult<(f64, f64)> {
        let (train, valid) = (tensors(train), tensors(valid));
        self.0
            .step(py, |held| Ok((held.batch(train, "the training batch")?, held.batch(valid, "the validation batch")?)))
    }

    fn optimizer_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.optimizer_state(py)
    }

    fn decide(&self, py: Python<'_>, decision: &str) -> PyResult<()> {
        self.0.decide(py, decision)
    }

    fn masks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = entry::engine(py, || self.0.lock()?.network.network.masks())?;
        to_dict(py, named)
    }

    fn explain(&self, py: Python<'_>, full: bool) -> PyResult<String> {
        let text = |plan: &Plan| if full { plan.explain() } else { plan.summary() };
        entry::engine(py, || Ok(text(self.0.lock()?.network.network.plan())))
    }

    fn cost<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (cost, element, peak, batch) = entry::engine(py, || {
            let held = self.0.lock()?;
            let element = held.network().kind().elt_size_in_bytes();
            let peak = held.network().peak(held.config.optimisation.largest_method());
            let peak = peak.ok_or_else(|| Error::engine("the plan has no estimate of its memory"))?;
            let plan = held.network.network.plan();
            Ok((plan.cost(), element, peak, held.config.data.batch_size.examples()))
        })?;
        let (arch, weight) = cost.bytes_per_example(element);
        let dict = PyDict::new(py);
        dict.set_item("weights", cost.weights)?;
        dict.set_item("alphas", cost.alphas)?;
        dict.set_item("multiply_adds", cost.multiply_adds)?;
        dict.set_item("flops", 2 * cost.multiply_adds)?;
        dict.set_item("bytes_per_image_arch", arch)?;
        dict.set_item("bytes_per_image_weight", weight)?;
        dict.set_item("bytes_per_image", peak.per_image + peak.masks)?;
        dict.set_item("bytes", peak.of(batch))?;
        Ok(dict)
    }
}
