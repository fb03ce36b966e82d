//! Unrolled, second order by finite differences: eq. 7 and 8 of the paper.
//!
//! ∂α = ∇_α L_val(w′, α) − ξ·c·(∇_α L_train(w⁺, α) − ∇_α L_train(w⁻, α)) / 2R, with w′ the virtual step,
//! v = ∇_{w′} L_val(w′, α), w± = w ± R·v and R = ε/‖v‖₂. Both training gradients are divided by small numbers
//! afterwards, so they and the virtual step are computed in the exact mode, whatever the precision of the network.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep};
use crate::error::Result;
use crate::nn::By;

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, step: &VirtualStep) -> Result<ArchGradient> {
    let (virtual_w, c) = {
        let _exact = losses.exact()?;
        step.take(w, losses.train(w, alpha, By::Weights)?.w()?)?
    };
    let valid = losses.valid(&virtual_w, alpha, By::Both)?;
    let (first, v) = (valid.alpha()?, valid.w()?);
    let norm = v.f_norm()?;
    // If ‖v‖ = 0, w′ is stationary for L_val and R is undefined. Any other R gives w⁺ = w⁻ = w: the second term
    // vanishes, and the host does not read the norm.
    let radius = norm.f_reciprocal()?.f_mul_scalar(step.epsilon)?.f_masked_fill(&norm.f_eq(0.0)?, 1.0)?;
    let offset = v.f_mul(&radius)?;
    let _exact = losses.exact()?;
    let above = losses.train(&w.f_add(&offset)?, alpha, By::Alpha)?;
    let below = losses.train(&w.f_sub(&offset)?, alpha, By::Alpha)?;
    let difference = above.alpha()?.f_sub(below.alpha()?)?;
    let mut second = difference.f_div(&radius.f_mul_scalar(2.0)?)?;
    if let Some(c) = c {
        second = second.f_mul(&c)?;
    }
    Ok(ArchGradient { gradient: first.f_sub(&second.f_mul(step.xi)?)?, valid_loss: valid.loss })
}
