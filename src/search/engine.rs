//! The order of updates, and nothing else: a step moves α on the validation loss, then w on the training loss.

use tch::Tensor;

use super::hypergradient::{ArchGradient, Losses, VirtualStep, arch_gradient};
use crate::config::{Method, SearchConfig};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::{By, Mode, Network};
use crate::optim::{Adam, Moments, Sgd};
use crate::params::copy;

/// Everything a search moves, except running statistics, which live in the network.
#[derive(Debug)]
pub struct State {
    /// All weights, flat.
    pub w: Tensor,
    /// All mixture logits, flat.
    pub alpha: Tensor,
    /// Momentum of w; zeros before the first step.
    pub momentum: Tensor,
    /// Adam's moments of α.
    pub moments: Moments,
    /// Completed steps.
    pub step: u64,
}

impl State {
    /// Before the first step.
    pub fn new(w: Tensor, alpha: Tensor) -> Result<Self> {
        let momentum = w.f_zeros_like()?;
        let moments = Moments::zeros_like(&alpha)?;
        Ok(State { w, alpha, momentum, moments, step: 0 })
    }
}

/// Settings of a step; `lr` changes with the epoch.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    /// How α's gradient is estimated.
    pub method: Method,
    /// ε of the finite difference, before it is divided by ‖v‖.
    pub epsilon: f64,
    /// Learning rate of w, and ξ of the virtual step.
    pub lr: f64,
    /// Settings of the weight step.
    pub sgd: Sgd,
    /// Settings of the α step.
    pub adam: Adam,
    /// Norm to which the virtual step clips, where it does (recurrent spaces).
    pub virtual_clip: Option<f64>,
}

impl StepSettings {
    /// The settings of a configuration in an epoch of learning rate `lr`.
    pub fn new(config: &SearchConfig, lr: f64) -> Self {
        StepSettings {
            method: config.hypergradient,
            epsilon: config.epsilon,
            lr,
            sgd: Sgd { momentum: config.weight_momentum, weight_decay: config.weight_decay, clip: config.grad_clip },
            adam: Adam { lr: config.arch_lr, betas: config.arch_betas, weight_decay: config.arch_weight_decay },
            virtual_clip: None,
        }
    }

    fn virtual_step<'a>(&self, state: &'a State) -> VirtualStep<'a> {
        VirtualStep {
            xi: self.lr,
            momentum: self.sgd.momentum,
            buffer: Some(&state.momentum),
            weight_decay: self.sgd.weight_decay,
            clip: self.virtual_clip,
            epsilon: self.epsilon,
        }
    }
}

/// What a step saw: losses before its updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOutcome {
    /// L_train before the weight step.
    pub train_loss: f64,
    /// L_val where α's gradient was taken; none while α is frozen.
    pub valid_loss: Option<f64>,
    /// Training examples predicted right.
    pub correct: i64,
    /// Training examples.
    pub examples: i64,
}

/// One search step. Without a validation batch α stays (warm-up). When a loss or gradient is not finite the
/// step is undone and the error names it: the state is the last good one.
pub fn step(
    network: &dyn Network,
    state: &mut State,
    train: &Batch,
    valid: Option<&Batch>,
    settings: &StepSettings,
) -> Result<StepOutcome> {
    let before = (copy(&state.alpha)?, state.moments.copy()?);
    let result = (|| {
        let valid_loss = valid.map(|valid| arch_step(network, state, train, valid, settings)).transpose()?;
        weight_step(network, state, train, settings, valid_loss)
    })();
    match result {
        Ok(_) => state.step += 1,
        Err(_) => (state.alpha, state.moments) = before,
    }
    result
}

fn arch_step(
    network: &dyn Network,
    state: &mut State,
    train: &Batch,
    valid: &Batch,
    settings: &StepSettings,
) -> Result<f64> {
    let losses = Losses { network, train: Some(train), valid };
    let virtual_step = settings.virtual_step(state);
    let ArchGradient { gradient, valid_loss } =
        arch_gradient(settings.method, &losses, &state.w, &state.alpha, &virtual_step)?;
    let loss = finite(&valid_loss, "validation loss", state.step)?;
    finite(&gradient.f_norm()?, "gradient of α", state.step)?;
    settings.adam.step(&mut state.alpha, &mut state.moments, &gradient)?;
    Ok(loss)
}

fn weight_step(
    network: &dyn Network,
    state: &mut State,
    train: &Batch,
    settings: &StepSettings,
    valid_loss: Option<f64>,
) -> Result<StepOutcome> {
    let found = network.gradients(&state.w, &state.alpha, train, Mode::Weights, By::Weights)?;
    let train_loss = finite(&found.loss.value, "training loss", state.step)?;
    finite(&found.w()?.f_norm()?, "gradient of w", state.step)?;
    settings.sgd.step(&mut state.w, &mut state.momentum, found.w()?, settings.lr)?;
    let correct = found.loss.correct.f_int64_value(&[])?;
    Ok(StepOutcome { train_loss, valid_loss, correct, examples: train.targets.size()[0] })
}

fn finite(scalar: &Tensor, what: &str, step: u64) -> Result<f64> {
    let value = scalar.f_double_value(&[])?;
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::numerical(format!(
        "the {what} became {value} at step {step}; the state before that step is kept. Lower weight_lr, arch_lr \
         or grad_clip, or look for extreme values in the data"
    )))
}
