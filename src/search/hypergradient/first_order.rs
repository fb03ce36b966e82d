//! First order: w approximates w*(α), ξ = 0 in eq. 6 of the paper. Only α's gradient is computed.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep};
use crate::error::Result;
use crate::nn::By;

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, _step: &VirtualStep) -> Result<ArchGradient> {
    let valid = losses.valid(w, alpha, By::Alpha)?;
    Ok(ArchGradient { gradient: valid.alpha()?.shallow_clone(), valid_loss: valid.loss })
}
