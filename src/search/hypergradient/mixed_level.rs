//! Mixed level (MiLeNAS, He et al., 2020): ∂α = ∇_α L_val + μ·∇_α L_train, both at w; the training batch is that of the
//! weight step.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep};
use crate::error::Result;
use crate::nn::By;

pub fn arch_gradient(
    losses: &Losses,
    w: &Tensor,
    alpha: &Tensor,
    _step: &VirtualStep,
    weight: f64,
) -> Result<ArchGradient> {
    let valid = losses.valid(w, alpha, By::Alpha)?;
    let train = losses.train(w, alpha, By::Alpha)?;
    let gradient = valid.alpha()?.f_add(&train.alpha()?.f_mul_scalar(weight)?)?;
    Ok(ArchGradient { gradient, valid_loss: valid.loss })
}
