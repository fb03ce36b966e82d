//! The order of updates, and nothing else: a step moves α on the validation loss, then w on the training loss.
//!
//! A step is a sequence of operations on tensors that stay where they are: it reads nothing on the host, so that it can
//! be recorded once and replayed. What changes from step to step lies in the [`Panel`], and so does what it measured.

use tch::Tensor;

use super::rollback::Undo;
use super::scalars::Panel;
use crate::config::{Method, SearchConfig};
use crate::data::Batch;
use crate::error::Result;
use crate::nn::{By, Mode, Network};
use crate::optim::{Adam, Moments, Sgd};
use crate::search::hypergradient::{ArchGradient, Losses, VirtualStep, arch_gradient};
use crate::space::CellKind;

/// Everything a search moves, except running statistics, which live in the network. Steps write into the tensors, they
/// never put others in their place.
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
    /// What the streams of batches carry.
    pub carried: Carried,
    /// Completed steps.
    pub step: u64,
}

/// What each stream carries from one batch to the next, where batches go on from each other.
#[derive(Debug, Default)]
pub struct Carried {
    /// Left by the latest weight step.
    pub train: Option<Tensor>,
    /// Left by the loss of the latest α step.
    pub valid: Option<Tensor>,
}

impl Carried {
    /// Begins a stream that has not begun yet.
    pub fn begin(&mut self, network: &dyn Network, train: &Batch, valid: Option<&Batch>) -> Result<()> {
        if self.train.is_none() {
            self.train = network.beginning(train)?;
        }
        if let (None, Some(valid)) = (&self.valid, valid) {
            self.valid = network.beginning(valid)?;
        }
        Ok(())
    }

    fn share(&self) -> Carried {
        let same = |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::shallow_clone);
        Carried { train: same(&self.train), valid: same(&self.valid) }
    }
}

/// A batch that goes on from what its stream carries; `keep` is 0 where it begins anew, and 1 elsewhere.
fn going_on(batch: &Batch, carried: Option<&Tensor>, keep: &Tensor) -> Result<Batch> {
    let carried = carried.map(|carried| carried.f_mul(keep)).transpose()?;
    Ok(Batch { carried, ..batch.share() })
}

/// Writes what a batch has left over what its stream carried.
fn hand_on(carried: Option<&mut Tensor>, left: Option<&Tensor>, undo: &mut Undo) -> Result<()> {
    let (Some(carried), Some(left)) = (carried, left) else { return Ok(()) };
    undo.keep([&*carried])?;
    let _guard = tch::no_grad_guard();
    Ok(carried.f_copy_(left)?)
}

impl State {
    /// Before the first step.
    pub fn new(w: Tensor, alpha: Tensor) -> Result<Self> {
        let momentum = w.f_zeros_like()?;
        let moments = Moments::zeros_like(&alpha)?;
        Ok(State { w, alpha, momentum, moments, carried: Carried::default(), step: 0 })
    }

    /// The same tensors.
    pub fn share(&self) -> State {
        let same = Tensor::shallow_clone;
        let Moments { exp_avg, exp_avg_sq, step } = &self.moments;
        State {
            w: same(&self.w),
            alpha: same(&self.alpha),
            momentum: same(&self.momentum),
            moments: Moments { exp_avg: same(exp_avg), exp_avg_sq: same(exp_avg_sq), step: *step },
            carried: self.carried.share(),
            step: self.step,
        }
    }

    /// All of them.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let moved = [&self.w, &self.alpha, &self.momentum, &self.moments.exp_avg, &self.moments.exp_avg_sq];
        moved.into_iter().chain(&self.carried.train).chain(&self.carried.valid).collect()
    }
}

/// Settings of a step that hold for a whole search.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    /// How α's gradient is estimated.
    pub method: Method,
    /// ε of the finite difference, before it is divided by ‖v‖.
    pub epsilon: f64,
    /// Settings of the weight step.
    pub sgd: Sgd,
    /// Settings of the α step.
    pub adam: Adam,
    /// Norm to which the virtual step clips, where it does (recurrent spaces).
    pub virtual_clip: Option<f64>,
}

impl StepSettings {
    /// The settings of a configuration.
    pub fn new(config: &SearchConfig) -> Self {
        StepSettings {
            method: config.optimisation.hypergradient,
            epsilon: config.optimisation.epsilon,
            sgd: Sgd {
                momentum: config.optimisation.weight_momentum,
                weight_decay: config.optimisation.weight_decay,
                clip: config.optimisation.grad_clip,
            },
            adam: Adam {
                lr: config.optimisation.arch_lr,
                betas: config.optimisation.arch_betas,
                weight_decay: config.optimisation.arch_weight_decay,
            },
            virtual_clip: (config.space.kind == CellKind::Recurrent).then_some(config.optimisation.grad_clip),
        }
    }
}

/// One search step. Without a validation batch α stays (warm-up). A step whose losses or gradients are not all finite
/// leaves everything as it was, and so do the steps after it until the host has looked; an error does, too.
pub fn step(
    network: &dyn Network,
    state: &mut State,
    panel: &mut Panel,
    (train, valid): (&Batch, Option<&Batch>),
    settings: &StepSettings,
) -> Result<()> {
    let mut undo = Undo::default();
    let done = updates(network, state, panel, (train, valid), settings, &mut undo);
    if done.is_err() {
        // The first error is the one to tell.
        let _ = undo.all();
    }
    done
}

fn updates(
    network: &dyn Network,
    state: &mut State,
    panel: &mut Panel,
    (train, valid): (&Batch, Option<&Batch>),
    settings: &StepSettings,
    undo: &mut Undo,
) -> Result<()> {
    if let Some(statistics) = network.statistics() {
        undo.keep(statistics.vectors())?;
    }
    let [keep_train, keep_valid] = panel.keep()?;
    let train = &going_on(train, state.carried.train.as_ref(), &keep_train)?;
    let valid = valid.map(|valid| going_on(valid, state.carried.valid.as_ref(), &keep_valid)).transpose()?;
    let of_alpha =
        valid.as_ref().map(|valid| arch_step(network, state, panel, (train, valid), settings, undo)).transpose()?;
    let found = network.gradients(&state.w, &state.alpha, train, Mode::Weights, By::Weights)?;
    undo.keep([&state.w, &state.momentum])?;
    settings.sgd.step(&mut state.w, &mut state.momentum, found.w()?, &panel.lr()?)?;
    hand_on(state.carried.train.as_mut(), found.loss.carried.as_ref(), undo)?;
    let of_alpha = of_alpha.as_ref().map(|(loss, norm)| [loss, norm]);
    let good = panel.conclude(of_alpha, [&found.loss.value, &found.w()?.f_norm()?], &found.loss.correct)?;
    undo.unless(&good)
}

/// Returns the validation loss and the norm of α's gradient.
fn arch_step(
    network: &dyn Network,
    state: &mut State,
    panel: &Panel,
    (train, valid): (&Batch, &Batch),
    settings: &StepSettings,
    undo: &mut Undo,
) -> Result<(Tensor, Tensor)> {
    let losses = Losses { network, train: Some(train), valid };
    let virtual_step = VirtualStep {
        xi: &panel.lr()?,
        momentum: settings.sgd.momentum,
        buffer: Some(&state.momentum),
        weight_decay: settings.sgd.weight_decay,
        clip: settings.virtual_clip,
        epsilon: settings.epsilon,
    };
    let ArchGradient { gradient, valid_loss } =
        arch_gradient(settings.method, &losses, &state.w, &state.alpha, &virtual_step)?;
    hand_on(state.carried.valid.as_mut(), valid_loss.carried.as_ref(), undo)?;
    undo.keep([&state.alpha, &state.moments.exp_avg, &state.moments.exp_avg_sq])?;
    let (rate, root) = panel.adam()?;
    settings.adam.step(&mut state.alpha, &mut state.moments, &gradient, &rate, &root)?;
    Ok((valid_loss.value, gradient.f_norm()?))
}
