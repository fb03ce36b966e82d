//! Estimators of dL_val(w*(α), α)/dα. Each method is one file with one function of the same signature. None owns an
//! optimiser or writes to w or α.

mod conjugate_gradient;
mod first_order;
mod implicit;
mod mixed_level;
mod neumann;
mod probe;
mod single_level;
mod t1_t2;
mod unrolled;
mod unrolled_exact;

use tch::Tensor;

use crate::config::{Estimator, Method};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::{Along, By, Exact, Gradients, Loss, Mode, Relaxed, Role};
use crate::optim::clip_coefficient;

pub use probe::Probe;

/// The two losses of one step, L_train and L_val, as functions of (w, α). All uses of one of them share their noise.
pub struct Losses<'a> {
    /// The network with its relaxation.
    pub network: Relaxed<'a>,
    /// The training batch; None for methods that need none.
    pub train: Option<&'a Batch>,
    /// The validation batch.
    pub valid: &'a Batch,
    /// Whose noise the validation loss has.
    pub valid_role: Role,
}

impl Losses<'_> {
    fn batch(&self) -> Result<&Batch> {
        self.train.ok_or_else(|| Error::data("this hypergradient requires a training batch"))
    }

    /// L_train(w, α) and its gradients, with batch statistics.
    pub fn train(&self, w: &Tensor, alpha: &Tensor, by: By) -> Result<Gradients> {
        self.network.gradients(w, alpha, self.batch()?, (Mode::Search, Role::Weight), by)
    }

    /// ∇²_{α,w} L_train(w, α)·direction, with batch statistics.
    pub fn hessian_product(&self, w: &Tensor, alpha: &Tensor, direction: &Tensor) -> Result<Tensor> {
        self.network.hessian_product(w, alpha, direction, self.batch()?)
    }

    /// The gradients of ∇_w L_train(w, α)·direction, with batch statistics: ∇²_{α,w} L_train·direction and
    /// ∇²_w L_train·direction. Solvers need several of them: their passes keep what they can.
    pub fn products(&self, w: &Tensor, alpha: &Tensor, direction: &Tensor, by: By) -> Result<Gradients> {
        self.network.gradients_along(w, alpha, Along::weights(direction).kept(), self.batch()?, by)
    }

    /// L_val(w, α) and its gradients, with batch statistics.
    pub fn valid(&self, w: &Tensor, alpha: &Tensor, by: By) -> Result<Gradients> {
        self.network.gradients(w, alpha, self.valid, (Mode::Search, self.valid_role), by)
    }

    /// Every product in float32 or better until the guard is dropped.
    pub fn exact(&self) -> Result<Exact<'_>> {
        Exact::enter(self.network.network)
    }
}

/// The virtual step w′ = w − ξ(μ·buf + c·∇_w L_train(w, α) + λw), and ε of the finite difference.
pub struct VirtualStep<'a> {
    /// The length of the virtual step, a scalar on the device; in a search, the learning rate of w.
    pub xi: &'a Tensor,
    /// μ.
    pub momentum: f64,
    /// The momentum buffer; None for zeros.
    pub buffer: Option<&'a Tensor>,
    /// λ, a scalar on the device.
    pub weight_decay: &'a Tensor,
    /// c = min(1, clip / (‖∇L_train‖ + 1e-6)), treated as a constant; c = 1 if None.
    pub clip: Option<f64>,
    /// ε, before it is divided by ‖v‖.
    pub epsilon: f64,
    /// The elements of w that no training loss of the step depends on, which take no virtual step; None if there are none.
    pub untouched: Option<&'a Tensor>,
}

impl VirtualStep<'_> {
    /// w′ and c, from the training gradient at w.
    fn take(&self, w: &Tensor, gradient: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let c = self.clip.map(|clip| clip_coefficient(gradient, clip)).transpose()?;
        let clipped = c.as_ref().map(|c| gradient.f_mul(c)).transpose()?;
        let decay = w.f_mul(self.weight_decay)?;
        let mut direction = clipped.as_ref().unwrap_or(gradient).f_add(&decay)?;
        if let Some(buffer) = self.buffer {
            direction = direction.f_add(&buffer.f_mul_scalar(self.momentum)?)?;
        }
        if let Some(untouched) = self.untouched {
            direction = direction.f_masked_fill(untouched, 0.0)?;
        }
        Ok((w.f_sub(&direction.f_mul(self.xi)?)?, c))
    }
}

/// ∂α and the validation loss at which it was computed (at w or at w′), both on the device.
#[derive(Debug)]
pub struct ArchGradient {
    /// ∂α, flat.
    pub gradient: Tensor,
    /// The validation loss, a scalar, and the hidden state after the batch.
    pub valid_loss: Loss,
}

/// The estimate of a method with its parameters. `w` and `alpha` are detached flat vectors, which are only read.
pub fn arch_gradient(
    estimator: impl Into<Estimator>,
    losses: &Losses,
    w: &Tensor,
    alpha: &Tensor,
    step: &VirtualStep,
) -> Result<ArchGradient> {
    let Estimator { method, values } = estimator.into();
    match method {
        Method::FirstOrder => first_order::arch_gradient(losses, w, alpha, step),
        Method::Unrolled => unrolled::arch_gradient(losses, w, alpha, step),
        Method::UnrolledExact => unrolled_exact::arch_gradient(losses, w, alpha, step),
        Method::SingleLevel => single_level::arch_gradient(losses, w, alpha, step),
        Method::T1T2 => t1_t2::arch_gradient(losses, w, alpha, step),
        Method::Neumann => neumann::arch_gradient(losses, w, alpha, step, values[0] as usize),
        Method::ConjugateGradient => {
            conjugate_gradient::arch_gradient(losses, w, alpha, step, (values[0] as usize, values[1]))
        }
        Method::MixedLevel => mixed_level::arch_gradient(losses, w, alpha, step, values[0]),
    }
}
