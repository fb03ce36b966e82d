//! `Supernet`: one search network for inspection, with its weights, losses, gradients and steps.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::{Device, Kind, Tensor};

use super::bridges::own_modules;
use super::entry;
use super::errors::to_python;
use super::precision::numbers;
use super::tensor::{PyTensor, device, from_dict, precision_of, to_dict};
use super::values::PyConfig;
use crate::config::{Method, SearchConfig};
use crate::data::{Batch, Expected};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::{
    Draw, MatrixPrecision, Mode, Network, NetworkOptions, Relaxations, Relaxed, Role, SearchNetwork, Statistics,
};
use crate::params::check_alphas;
use crate::plan::Plan;
use crate::relaxation::Restrictions;
use crate::search::hypergradient::{Losses, VirtualStep, arch_gradient};
use crate::search::{self, State, StepSettings, with_estimate};

/// Copies of all weights, then of all buffers, by name.
pub fn named_state(network: &dyn Network, w: &Tensor) -> Result<Vec<(String, Tensor)>> {
    let mut named = network.weights().unpack(w)?;
    named.extend(network.buffers().map(|buffers| buffers.named()).transpose()?.unwrap_or_default());
    Ok(named)
}

struct Inner {
    network: SearchNetwork,
    relaxations: Relaxations,
    restrictions: Restrictions,
    state: State,
    config: SearchConfig,
    expected: Expected,
    switch: Option<Arc<dyn MatrixPrecision>>,
}

impl Inner {
    fn build(config: SearchConfig, options: NetworkOptions) -> Result<Self> {
        let plan = Plan::of_config(&config, options.makers())?;
        let expected = Expected::of_plan(&plan, config.data.bptt, options.numbers.kind, options.device);
        let switch = options.numbers.switch.clone();
        let (network, relaxations, state) = search::start(plan, &config, options)?;
        let restrictions = Restrictions::new(relaxations.tables());
        Ok(Inner { network, relaxations, restrictions, state, config, expected, switch })
    }

    fn batch(&self, (x, y): (Tensor, Tensor), what: &str) -> Result<Batch> {
        self.expected.admit(&x, &y, what)
    }

    fn relaxed(&self) -> Relaxed<'_> {
        let micro_batch = self.config.execution.micro_batch;
        Relaxed { network: &*self.network, relaxations: &self.relaxations, micro_batch }
    }

    fn kind_and_device(&self) -> (Kind, Device) {
        (self.network.kind(), self.network.device())
    }

    /// Adds the estimate for `batch` examples to an out-of-memory error.
    fn explain(&self, error: Error, batch: i64) -> Error {
        with_estimate(error, self.network.peak(self.config.optimisation.hypergradient), batch)
    }

    /// Runs `f`; an out-of-memory error gets the estimate for `batch` examples.
    fn explained<T>(&self, batch: i64, f: impl FnOnce() -> Result<T>) -> Result<T> {
        f().map_err(|error| self.explain(error, batch))
    }
}

type Pair = (PyTensor, PyTensor);

fn tensors(pair: Pair) -> (Tensor, Tensor) {
    (pair.0.0, pair.1.0)
}

/// The locked network for one call. Dropping it restores the user's precision of matrix products.
struct Held<'a>(MutexGuard<'a, Inner>);

impl Deref for Held<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(switch) = &self.0.switch {
            switch.restore();
        }
    }
}

#[pyclass(name = "Supernet", frozen, module = "pydarts._core")]
pub struct PySupernet(Mutex<Inner>);

impl PySupernet {
    /// Ignores poisoning: a thread that panicked leaves every tensor valid, although a step may be half applied.
    fn lock(&self) -> Held<'_> {
        Held(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl PySupernet {
    #[new]
    #[pyo3(signature = (config, dtype, device, operations=None))]
    fn new(
        py: Python<'_>,
        config: &PyConfig,
        dtype: &str,
        device: &str,
        operations: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let config = config.value.clone();
        let device = self::device(device).map_err(to_python)?;
        let precision = precision_of(dtype).map_err(to_python)?;
        let numbers = numbers(precision, device).map_err(to_python)?;
        let own = own_modules(operations);
        let options = NetworkOptions { own, ..NetworkOptions::of_config(&config, numbers, device, None) };
        let inner = entry::engine(py, || Inner::build(config, options))?;
        Ok(PySupernet(Mutex::new(inner)))
    }

    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = entry::engine(py, || {
            let inner = self.lock();
            named_state(&*inner.network, &inner.state.w)
        })?;
        to_dict(py, named)
    }

    fn load_state_dict(&self, py: Python<'_>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let named = from_dict(state)?;
        entry::engine(py, || {
            let mut inner = self.lock();
            let (kind, device) = inner.kind_and_device();
            let of_weights = inner.network.weights();
            let own = inner.network.buffers().map(|buffers| buffers.names()).unwrap_or_default();
            let is_buffer = |(name, _): &(String, Tensor)| {
                of_weights.index(name).is_none() && (Statistics::names(name) || own.contains(name))
            };
            let (buffers, weights): (Vec<_>, Vec<_>) = named.into_iter().partition(is_buffer);
            let w = inner.network.weights().pack(&weights, kind, device)?;
            if let Some(kept) = inner.network.buffers() {
                let is_statistic = |(name, _): &&(String, Tensor)| Statistics::names(name);
                Statistics::check_values(
                    &buffers
                        .iter()
                        .filter(is_statistic)
                        .map(|(n, t)| (n.clone(), t.shallow_clone()))
                        .collect::<Vec<_>>(),
                )?;
                kept.load(&buffers)?;
            }
            inner.state.w = w;
            Ok(())
        })
    }

    fn alphas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = entry::engine(py, || {
            let inner = self.lock();
            inner.network.alphas().unpack(&inner.state.alpha)
        })?;
        to_dict(py, named)
    }

    fn set_alphas(&self, py: Python<'_>, alphas: &Bound<'_, PyDict>) -> PyResult<()> {
        let named = from_dict(alphas)?;
        entry::engine(py, move || {
            let mut inner = self.lock();
            let (kind, device) = inner.kind_and_device();
            let alpha = inner.network.alphas().pack(&named, kind, device)?;
            // Padding may be anything: results show NaN there.
            let alpha = alpha.f_masked_fill(&inner.relaxations.masked()?, 0.0)?;
            check_alphas(inner.network.alphas(), &alpha)?;
            inner.state.alpha = alpha;
            Ok(())
        })
    }

    fn logits(&self, py: Python<'_>, x: PyTensor) -> PyResult<PyTensor> {
        let x = x.0;
        entry::engine(py, move || {
            let _guard = tch::no_grad_guard();
            let inner = self.lock();
            let batch = inner.network.examples(&x);
            inner.relaxed().draw(inner.state.step, None, None)?;
            let m = inner.relaxations.weights(&inner.state.alpha, Draw::Part(Role::Weight, 0))?;
            inner.explained(batch, || inner.network.logits(&inner.state.w, &m, &x, Mode::Search))
        })
        .map(PyTensor)
    }

    fn loss(&self, py: Python<'_>, x: PyTensor, y: PyTensor) -> PyResult<f64> {
        self.pass(py, (x, y), Mode::Search).map(|(loss, _)| loss)
    }

    fn evaluate(&self, py: Python<'_>, x: PyTensor, y: PyTensor) -> PyResult<(f64, i64)> {
        self.pass(py, (x, y), Mode::Evaluation)
    }

    #[pyo3(signature = (train, valid, method, xi, epsilon, momentum))]
    #[allow(clippy::too_many_arguments)] // one per argument of the Python method
    fn arch_gradient<'py>(
        &self,
        py: Python<'py>,
        train: Option<Pair>,
        valid: Pair,
        method: &str,
        xi: f64,
        epsilon: f64,
        momentum: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let momentum = momentum.map(from_dict).transpose()?;
        let method = Method::parse("method", method).map_err(to_python)?;
        if !(epsilon.is_finite() && epsilon > 0.0 && xi.is_finite() && xi >= 0.0) {
            let text = format!("epsilon is {epsilon} and xi is {xi}; epsilon must be above 0 and xi at least 0");
            return Err(to_python(Error::new(ErrorKind::Config, text)));
        }
        let (train, valid) = (train.map(tensors), tensors(valid));
        let named = entry::engine(py, || {
            let inner = self.lock();
            let (kind, device) = inner.kind_and_device();
            let examples = inner.network.examples(&valid.0);
            inner.explained(examples, || {
                let carried = &inner.state.carried;
                let with_state = |batch: Batch, carried: &Option<Tensor>| {
                    let carried = carried.as_ref().map(Tensor::shallow_clone);
                    Batch { carried, ..batch }
                };
                let train = train.map(|pair| inner.batch(pair, "the training batch")).transpose()?;
                let train = train.map(|batch| with_state(batch, &carried.train));
                let valid = with_state(inner.batch(valid, "the validation batch")?, &carried.valid);
                let table = inner.network.weights();
                let buffer = momentum.map(|named| table.pack(&named, kind, device)).transpose()?;
                inner.relaxed().draw(inner.state.step, train.as_ref(), Some(&valid))?;
                let losses = Losses { network: inner.relaxed(), train: train.as_ref(), valid: &valid };
                let xi = Tensor::f_full([0i64; 0], xi, (kind, device))?;
                let step = VirtualStep {
                    xi: &xi,
                    momentum: inner.config.optimisation.weight_momentum,
                    buffer: buffer.as_ref(),
                    weight_decay: inner.config.optimisation.weight_decay,
                    clip: StepSettings::new(&inner.config).virtual_clip,
                    epsilon,
                };
                let found = arch_gradient(method, &losses, &inner.state.w, &inner.state.alpha, &step)?;
                inner.network.alphas().unpack(&found.gradient)
            })
        })?;
        to_dict(py, named)
    }

    fn step(&self, py: Python<'_>, train: Pair, valid: Pair) -> PyResult<(f64, f64)> {
        let (train, valid) = (tensors(train), tensors(valid));
        entry::engine(py, || {
            let mut guard = self.lock();
            let inner = &mut *guard;
            let examples = inner.network.examples(&train.0);
            let train = inner.batch(train, "the training batch")?;
            let valid = inner.batch(valid, "the validation batch")?;
            let (settings, lr) = (StepSettings::new(&inner.config), inner.config.optimisation.weight_lr);
            let micro_batch = inner.config.execution.micro_batch;
            let relaxed = Relaxed { network: &*inner.network, relaxations: &inner.relaxations, micro_batch };
            let outcome = search::step(relaxed, &mut inner.state, &train, Some(&valid), &settings, lr)
                .map_err(|error| inner.explain(error, examples))?;
            // Draw the masks of the next step, so that later calls use them.
            inner.network.draw(inner.state.step)?;
            let valid_loss = outcome.valid_loss.ok_or_else(|| Error::engine("the step returned no validation loss"))?;
            Ok((outcome.train_loss, valid_loss))
        })
    }

    fn optimizer_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (momentum, exp_avg, exp_avg_sq, step) = entry::engine(py, || {
            let inner = self.lock();
            let (weights, alphas, state) = (inner.network.weights(), inner.network.alphas(), &inner.state);
            Ok((
                weights.unpack(&state.momentum)?,
                alphas.unpack(&state.moments.exp_avg)?,
                alphas.unpack(&state.moments.exp_avg_sq)?,
                state.moments.step,
            ))
        })?;
        let dict = PyDict::new(py);
        dict.set_item("momentum", to_dict(py, momentum)?)?;
        dict.set_item("exp_avg", to_dict(py, exp_avg)?)?;
        dict.set_item("exp_avg_sq", to_dict(py, exp_avg_sq)?)?;
        dict.set_item("step", step)?;
        Ok(dict)
    }

    /// Applies a decision to the relaxation, as the end of an epoch does.
    fn decide(&self, py: Python<'_>, decision: &str) -> PyResult<()> {
        entry::engine(py, || {
            let decision = serde_json::from_str(decision).map_err(|error| Error::config(error.to_string()))?;
            let mut guard = self.lock();
            let inner = &mut *guard;
            inner.restrictions.apply(&decision)?;
            inner.relaxations.set_states(&inner.restrictions.states)?;
            inner.state.clear(&inner.relaxations.masked()?)
        })
    }

    fn masks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = entry::engine(py, || self.lock().network.masks())?;
        to_dict(py, named)
    }

    fn explain(&self, py: Python<'_>) -> PyResult<String> {
        entry::engine(py, || Ok(self.lock().network.plan().explain()))
    }

    fn cost<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (cost, element, peak, batch) = entry::engine(py, || {
            let inner = self.lock();
            let element = inner.network.kind().elt_size_in_bytes();
            let peak = inner.network.peak(inner.config.optimisation.hypergradient);
            let peak = peak.ok_or_else(|| Error::engine("the plan has no estimate of its memory"))?;
            Ok((inner.network.plan().cost(), element, peak, inner.config.data.batch_size.examples()))
        })?;
        let (arch, weight) = cost.bytes_per_example(element);
        let dict = PyDict::new(py);
        dict.set_item("weights", cost.weights)?;
        dict.set_item("alphas", cost.alphas)?;
        dict.set_item("multiply_adds", cost.multiply_adds)?;
        dict.set_item("flops", 2 * cost.multiply_adds)?;
        dict.set_item("bytes_per_image_arch", arch)?;
        dict.set_item("bytes_per_image_weight", weight)?;
        dict.set_item("bytes_per_image", peak.per_image)?;
        dict.set_item("bytes", peak.of(batch))?;
        Ok(dict)
    }
}

impl PySupernet {
    /// The loss and the number of correct predictions of one batch, without a graph.
    fn pass(&self, py: Python<'_>, pair: Pair, mode: Mode) -> PyResult<(f64, i64)> {
        let pair = tensors(pair);
        entry::engine(py, || {
            let _guard = tch::no_grad_guard();
            let inner = self.lock();
            let examples = inner.network.examples(&pair.0);
            inner.explained(examples, || {
                let batch = inner.batch(pair, "the batch")?;
                inner.relaxed().draw(inner.state.step, Some(&batch), None)?;
                let pass = inner.relaxed().loss(&inner.state.w, &inner.state.alpha, &batch, mode)?;
                let correct = pass.correct.ok_or_else(|| Error::engine("the pass counted no correct predictions"))?;
                Ok((pass.value.f_double_value(&[])?, correct.f_int64_value(&[])?))
            })
        })
    }
}
