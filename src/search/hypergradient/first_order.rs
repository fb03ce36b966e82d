//! First order: w stands for w*(α), ξ = 0 in eq. 6 of the paper. Asks for α's gradient alone.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep, gradient, leaf};
use crate::error::Result;

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, _step: &VirtualStep) -> Result<ArchGradient> {
    let alpha = leaf(alpha)?;
    let valid = losses.valid(w, &alpha)?.value;
    Ok(ArchGradient { gradient: gradient(&valid, &alpha)?, valid_loss: valid.f_detach()? })
}
