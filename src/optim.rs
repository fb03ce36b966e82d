//! Optimisers and schedules as functions on flat vectors, which they update in place.

use tch::Tensor;

use crate::error::Result;

/// The settings of stochastic gradient descent with momentum on w.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// μ.
    pub momentum: f64,
    /// The largest Euclidean norm of the gradient of all weights; None: any.
    pub clip: Option<f64>,
    /// Whether the step looks ahead along the buffer (Nesterov's momentum).
    pub nesterov: bool,
}

impl Sgd {
    /// g ← clip(∇L); d ← g + λw; b ← μb + d; w ← w − lr·b, or with `nesterov` w − lr·(d + μb). The buffer starts at zero,
    /// so that b = d in the first step. `lr` and λ, `decay`, are scalars on the device.
    pub fn step(
        &self,
        w: &mut Tensor,
        buffer: &mut Tensor,
        gradient: &Tensor,
        [lr, decay]: [&Tensor; 2],
    ) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let decay = w.f_mul(decay)?;
        let direction = match self.clip {
            Some(clip) => gradient.f_mul(&clip_coefficient(gradient, clip)?)?.f_add_(&decay)?,
            None => gradient.f_add(&decay)?,
        };
        let _ = buffer.f_mul_scalar_(self.momentum)?.f_add_(&direction)?;
        let change = match self.nesterov {
            true => direction.f_add(&buffer.f_mul_scalar(self.momentum)?)?.f_mul(lr)?,
            false => buffer.f_mul(lr)?,
        };
        let _ = w.f_sub_(&change)?;
        Ok(())
    }
}

/// min(1, clip / (‖g‖ + 1e-6)), on the device.
pub fn clip_coefficient(gradient: &Tensor, clip: f64) -> Result<Tensor> {
    let norm = gradient.f_norm()?;
    Ok(norm.f_add_scalar(1e-6)?.f_reciprocal()?.f_mul_scalar(clip)?.f_clamp_max(1.0)?)
}

/// The settings of Adam on α, with weight decay added to the gradient (coupled).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// The decay rates of the two moments.
    pub betas: (f64, f64),
    /// The factor of the parameter that is added to the gradient.
    pub weight_decay: f64,
}

/// Adam's moments and the number of steps.
#[derive(Debug)]
pub struct Moments {
    /// The running mean of the gradient.
    pub exp_avg: Tensor,
    /// The running mean of its square.
    pub exp_avg_sq: Tensor,
    /// The number of steps.
    pub step: u64,
}

impl Moments {
    /// The moments before the first step.
    pub fn zeros_like(parameter: &Tensor) -> Result<Self> {
        Ok(Moments { exp_avg: parameter.f_zeros_like()?, exp_avg_sq: parameter.f_zeros_like()?, step: 0 })
    }
}

impl Adam {
    const EPS: f64 = 1e-8;

    /// The bias corrections of step `n`, counted from 1: lr / (1 − β₁ⁿ) and √(1 − β₂ⁿ).
    pub fn corrections(&self, n: u64) -> (f64, f64) {
        let (b1, b2) = self.betas;
        (self.lr / (1.0 - b1.powf(n as f64)), (1.0 - b2.powf(n as f64)).sqrt())
    }

    /// Kingma and Ba, algorithm 1, in the order of operations of PyTorch's implementation. `rate` and `root` are the
    /// [`Adam::corrections`] of this step as scalars on the device. The caller counts the step.
    pub fn step(
        &self,
        parameter: &mut Tensor,
        moments: &mut Moments,
        gradient: &Tensor,
        rate: &Tensor,
        root: &Tensor,
    ) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let (b1, b2) = self.betas;
        let gradient = gradient.f_add(&parameter.f_mul_scalar(self.weight_decay)?)?;
        let _ = moments.exp_avg.f_mul_scalar_(b1)?.f_add_(&gradient.f_mul_scalar(1.0 - b1)?)?;
        let square = gradient.f_square()?.f_mul_scalar(1.0 - b2)?;
        let _ = moments.exp_avg_sq.f_mul_scalar_(b2)?.f_add_(&square)?;
        let denominator = moments.exp_avg_sq.f_sqrt()?.f_div(root)?.f_add_scalar(Self::EPS)?;
        let change = moments.exp_avg.f_div(&denominator)?.f_mul(rate)?;
        let _ = parameter.f_sub_(&change)?;
        Ok(())
    }
}

/// Plain gradient descent on α, with weight decay added to the gradient.
pub fn descend(parameter: &mut Tensor, gradient: &Tensor, lr: f64, weight_decay: f64) -> Result<()> {
    let _guard = tch::no_grad_guard();
    let change = gradient.f_add(&parameter.f_mul_scalar(weight_decay)?)?.f_mul_scalar(lr)?;
    let _ = parameter.f_sub_(&change)?;
    Ok(())
}

/// Cosine decay from `high` at the time 0 to `low` at `epochs`; the time is counted in epochs.
pub fn cosine(high: f64, low: f64, time: f64, epochs: usize) -> f64 {
    let turn = std::f64::consts::PI * time / epochs as f64;
    low + (high - low) * (1.0 + turn.cos()) / 2.0
}
