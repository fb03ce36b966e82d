//! One network for inspection, with its weights, losses, gradients and steps: what `Supernet` and `SearchModule` share.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::{Device, Kind, Tensor};

use super::entry;
use super::errors::to_python;
use super::json::value;
use super::tensor::{from_dict, to_dict};
use crate::config::{Estimator, Hypergradient, SearchConfig};
use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::nn::{MatrixPrecision, Mode, Network, Parts, Relaxations, Relaxed, Role};
use crate::params::check_alphas;
use crate::ranks::Ranks;
use crate::relaxation::Restrictions;
use crate::search::hypergradient::{Losses, Probe, VirtualStep, arch_gradient};
use crate::search::{self, FreedMemory, State, StepSettings, Terms, with_estimate};

/// Copies of all weights, then of all buffers, by name.
pub fn named_state(network: &dyn Network, w: &Tensor) -> Result<Vec<(String, Tensor)>> {
    let mut named = network.weights().unpack(w)?;
    named.extend(network.buffers().map(|buffers| buffers.named()).transpose()?.unwrap_or_default());
    Ok(named)
}

/// A network that can be inspected.
pub trait Inspectable: Send {
    /// The network.
    fn network(&self) -> &dyn Network;
}

/// A network with its state.
pub struct Inspected<N> {
    pub network: N,
    pub relaxations: Relaxations,
    pub restrictions: Restrictions,
    pub terms: Terms,
    pub state: State,
    pub config: SearchConfig,
    pub switch: Option<Arc<dyn MatrixPrecision>>,
}

/// The arguments of `arch_gradient` besides the batches.
pub struct Estimate {
    estimator: Estimator,
    xi: f64,
    epsilon: f64,
    momentum: Option<Vec<(String, Tensor)>>,
    probe: bool,
}

/// Cosine and relative error of a gradient to the exact one.
pub type Probed = Option<(f64, f64)>;

impl Estimate {
    /// The arguments as Python gives them.
    pub fn new(
        method: &Bound<'_, PyAny>,
        xi: f64,
        epsilon: f64,
        momentum: Option<&Bound<'_, PyDict>>,
        probe: bool,
    ) -> PyResult<Self> {
        let momentum = momentum.map(from_dict).transpose()?;
        let method = value(ErrorKind::Config, "method", method)?;
        let estimator = Hypergradient::parse("method", &method).map_err(to_python)?.estimator();
        if !(epsilon.is_finite() && epsilon > 0.0 && xi.is_finite() && xi >= 0.0) {
            let text = format!("epsilon is {epsilon} and xi is {xi}; epsilon must be above 0 and xi at least 0");
            return Err(to_python(Error::new(ErrorKind::Config, text)));
        }
        Ok(Estimate { estimator, xi, epsilon, momentum, probe })
    }
}

impl<N: Inspectable> Inspected<N> {
    /// The network.
    pub fn network(&self) -> &dyn Network {
        self.network.network()
    }

    /// The network with its relaxation.
    pub fn relaxed(&self) -> Relaxed<'_> {
        let micro_batch = self.config.execution.micro_batch;
        Relaxed { network: self.network(), relaxations: &self.relaxations, micro_batch, ranks: Ranks::ALONE }
    }

    fn kind_and_device(&self) -> (Kind, Device) {
        (self.network().kind(), self.network().device())
    }

    /// Adds the estimate for `batch` examples to an out-of-memory error.
    fn explain(&self, error: Error, batch: i64) -> Error {
        with_estimate(error, self.network().peak(self.config.optimisation.largest_method()), batch)
    }

    /// Runs `f`; an out-of-memory error gets the estimate for `batch` examples.
    pub fn explained<T>(&self, batch: i64, f: impl FnOnce() -> Result<T>) -> Result<T> {
        f().map_err(|error| self.explain(error, batch))
    }

    fn load(
        &mut self,
        named: Vec<(String, Tensor)>,
        is_buffer: impl Fn(&dyn Network, &str) -> bool,
        check: impl Fn(&[(String, Tensor)]) -> Result<()>,
    ) -> Result<()> {
        let (kind, device) = self.kind_and_device();
        let network = self.network();
        let (buffers, weights): (Vec<_>, Vec<_>) = named.into_iter().partition(|(name, _)| is_buffer(network, name));
        let w = self.network().weights().pack(&weights, kind, device)?;
        check(&buffers)?;
        if let Some(kept) = self.network().buffers() {
            kept.load(&buffers)?;
        }
        self.state.w = w;
        Ok(())
    }

    fn set_alphas(&mut self, named: &[(String, Tensor)]) -> Result<()> {
        let (kind, device) = self.kind_and_device();
        let alpha = self.network().alphas().pack(named, kind, device)?;
        // Padding may be anything: results show NaN there.
        let alpha = alpha.f_masked_fill(&self.relaxations.masked()?, 0.0)?;
        check_alphas(self.network().alphas(), &alpha)?;
        self.state.alpha = alpha;
        Ok(())
    }

    fn arch_gradient(
        &self,
        train: Option<Batch>,
        valid: Batch,
        by: Estimate,
    ) -> Result<(Vec<(String, Tensor)>, Probed)> {
        let (kind, device) = self.kind_and_device();
        let carried = &self.state.carried;
        let with_state = |batch: Batch, carried: &Option<Tensor>| {
            let carried = carried.as_ref().map(Tensor::shallow_clone);
            Batch { carried, ..batch }
        };
        let train = train.map(|batch| with_state(batch, &carried.train));
        let valid = with_state(valid, &carried.valid);
        let table = self.network().weights();
        let buffer = by.momentum.map(|named| table.pack(&named, kind, device)).transpose()?;
        self.relaxed().draw(self.state.step, train.as_ref(), Some(&valid))?;
        let losses = Losses { network: self.relaxed(), train: train.as_ref(), valid: &valid, valid_role: Role::Alpha };
        let scalar = |number: f64| Tensor::f_full([0i64; 0], number, (kind, device));
        let xi = scalar(by.xi)?;
        let untouched = match &train {
            Some(train) => self.relaxed().untouched(&self.state.alpha, train, Role::Weight)?,
            None => None,
        };
        let step = VirtualStep {
            xi: &xi,
            momentum: self.config.optimisation.weight_momentum,
            buffer: buffer.as_ref(),
            weight_decay: &scalar(self.config.optimisation.weight_decay.at(0, 1))?,
            clip: StepSettings::new(&self.config).virtual_clip,
            epsilon: by.epsilon,
            untouched: untouched.as_ref(),
        };
        let found = arch_gradient(by.estimator, &losses, &self.state.w, &self.state.alpha, &step)?;
        let number = |scalar: Tensor| scalar.f_double_value(&[]);
        let probed = match by.probe {
            true => {
                let probe = Probe::of(&found.gradient, &losses, &self.state.w, &self.state.alpha, &step)?;
                Some((number(probe.cosine)?, number(probe.error)?))
            }
            false => None,
        };
        Ok((self.network().alphas().unpack(&found.gradient)?, probed))
    }

    fn step(&mut self, train: &Batch, valid: &Batch) -> Result<(f64, f64)> {
        let (settings, lr) = (StepSettings::new(&self.config), self.config.optimisation.weight_lr);
        let micro_batch = self.config.execution.micro_batch;
        let relaxed = Relaxed {
            network: self.network.network(),
            relaxations: &self.relaxations,
            micro_batch,
            ranks: Ranks::ALONE,
        };
        let with_terms = (&settings, Some(&self.terms));
        let outcome = search::step_with(relaxed, &mut self.state, (train, Some(valid)), with_terms, lr)
            .map_err(|error| self.explain(error, train.width()))?;
        // Draw the masks of the next step, so that later calls use them.
        self.network().draw(self.state.step, &Parts::default())?;
        let valid_loss = outcome.valid_loss.ok_or_else(|| Error::engine("the step returned no validation loss"))?;
        Ok((outcome.train_loss, valid_loss))
    }
}

/// The locked network for one call. Dropping it restores the user's precision of matrix products.
pub struct Held<'a, N> {
    guard: MutexGuard<'a, Inspected<N>>,
    by: &'a Mutex<Option<ThreadId>>,
}

impl<N> Deref for Held<'_, N> {
    type Target = Inspected<N>;

    fn deref(&self) -> &Inspected<N> {
        &self.guard
    }
}

impl<N> DerefMut for Held<'_, N> {
    fn deref_mut(&mut self) -> &mut Inspected<N> {
        &mut self.guard
    }
}

impl<N> Drop for Held<'_, N> {
    fn drop(&mut self) {
        if let Some(switch) = &self.guard.switch {
            switch.restore();
        }
        *self.by.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The methods of the Python classes.
pub struct Inspector<N> {
    held: Mutex<Inspected<N>>,
    /// The thread that holds it.
    by: Mutex<Option<ThreadId>>,
    /// Last: memory is returned after everything above was dropped.
    freed: FreedMemory,
}

impl<N: Inspectable> Inspector<N> {
    pub fn new(inspected: Inspected<N>) -> Self {
        let freed = FreedMemory::new(inspected.network.network().device());
        Inspector { held: Mutex::new(inspected), by: Mutex::new(None), freed }
    }

    /// Ignores poisoning: a thread that panicked leaves every tensor valid, although a step may be half applied. The user's
    /// code inside a call of this thread would wait for itself, which is an error.
    pub fn lock(&self) -> Result<Held<'_, N>> {
        let here = Some(thread::current().id());
        if *self.by.lock().unwrap_or_else(PoisonError::into_inner) == here {
            return Err(Error::config(
                "this search network is in use by the call that runs this code; its network, operations and loss \
                 cannot call it: pass them what they need, such as a copy of `alphas` from before",
            ));
        }
        let guard = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *self.by.lock().unwrap_or_else(PoisonError::into_inner) = here;
        Ok(Held { guard, by: &self.by })
    }

    pub fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = entry::engine(py, || {
            let held = self.lock()?;
            named_state(held.network(), &held.state.w)
        })?;
        to_dict(py, named)
    }

    /// `is_buffer` tells the names of buffers from those of weights; `check` looks at the values of buffers.
    pub fn load_state_dict(
        &self,
        py: Python<'_>,
        state: &Bound<'_, PyDict>,
        is_buffer: impl Fn(&dyn Network, &str) -> bool + Send,
        check: impl Fn(&[(String, Tensor)]) -> Result<()> + Send,
    ) -> PyResult<()> {
        let named = from_dict(state)?;
        entry::engine(py, move || self.lock()?.load(named, is_buffer, check))
    }

    pub fn alphas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = entry::engine(py, || {
            let held = self.lock()?;
            held.network().alphas().unpack(&held.state.alpha)
        })?;
        to_dict(py, named)
    }

    pub fn set_alphas(&self, py: Python<'_>, alphas: &Bound<'_, PyDict>) -> PyResult<()> {
        let named = from_dict(alphas)?;
        entry::engine(py, move || self.lock()?.set_alphas(&named))
    }

    /// `batches` makes the batches of training and validation, whose first has this many examples.
    pub fn arch_gradient<'py>(
        &self,
        py: Python<'py>,
        examples: i64,
        by: Estimate,
        batches: impl FnOnce(&Inspected<N>) -> Result<(Option<Batch>, Batch)> + Send,
    ) -> PyResult<(Bound<'py, PyDict>, Probed)> {
        let (named, probed) = entry::engine(py, || {
            let held = self.lock()?;
            held.explained(examples, || {
                let (train, valid) = batches(&held)?;
                let found = held.arch_gradient(train, valid, by)?;
                self.freed.keep();
                Ok(found)
            })
        })?;
        Ok((to_dict(py, named)?, probed))
    }

    pub fn step(
        &self,
        py: Python<'_>,
        batches: impl FnOnce(&Inspected<N>) -> Result<(Batch, Batch)> + Send,
    ) -> PyResult<(f64, f64)> {
        entry::engine(py, || {
            let mut held = self.lock()?;
            let (train, valid) = batches(&held)?;
            let losses = held.step(&train, &valid)?;
            self.freed.keep();
            Ok(losses)
        })
    }

    pub fn optimizer_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (momentum, exp_avg, exp_avg_sq, step) = entry::engine(py, || {
            let held = self.lock()?;
            let (weights, alphas, state) = (held.network().weights(), held.network().alphas(), &held.state);
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
    pub fn decide(&self, py: Python<'_>, decision: &str) -> PyResult<()> {
        entry::engine(py, || {
            let decision = serde_json::from_str(decision).map_err(|error| Error::config(error.to_string()))?;
            let mut guard = self.lock()?;
            let held = &mut *guard;
            held.restrictions.apply(&decision)?;
            held.relaxations.set_states(&held.restrictions.states)?;
            held.state.clear(&held.relaxations.masked()?)
        })
    }

    /// The loss and the number of correct predictions of one batch, without a graph.
    pub fn pass(
        &self,
        py: Python<'_>,
        (examples, mode): (i64, Mode),
        batch: impl FnOnce(&Inspected<N>) -> Result<Batch> + Send,
    ) -> PyResult<(f64, Option<f64>)> {
        entry::engine(py, || {
            let _guard = tch::no_grad_guard();
            let held = self.lock()?;
            held.explained(examples, || {
                let batch = batch(&held)?;
                let whole = held.relaxed().whole();
                whole.draw(held.state.step, Some(&batch), None)?;
                let pass = whole.loss(&held.state.w, &held.state.alpha, &batch, mode)?;
                let correct = pass.correct.map(|correct| correct.f_double_value(&[])).transpose()?;
                Ok((pass.value.f_double_value(&[])?, correct))
            })
        })
    }
}
