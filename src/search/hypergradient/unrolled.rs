//! Unrolled, second order by finite differences: eq. 7 and 8 of the paper.
//!
//! ∂α = ∇_α L_val(w′, α) − ξ·c·(∇_α L_train(w⁺, α) − ∇_α L_train(w⁻, α)) / 2R, with w′ the virtual step,
//! v = ∇_{w′} L_val(w′, α), w± = w ± R·v and R = ε/‖v‖₂. Both training gradients are divided by small numbers
//! afterwards, so they and the virtual step are computed exactly, whatever the precision of the rest.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep, gradient, gradients, leaf};
use crate::error::Result;

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, step: &VirtualStep) -> Result<ArchGradient> {
    let (virtual_w, c) = {
        let _exact = losses.exact()?;
        let w_leaf = leaf(w)?;
        let train = losses.train(&w_leaf, alpha)?.value;
        step.take(w, &gradient(&train, &w_leaf)?)?
    };
    let (valid, first, v) = valid_gradients(losses, &virtual_w, alpha)?;
    let norm = v.f_norm()?;
    // ‖v‖ = 0: w′ is stationary for L_val, so the second term vanishes and R has no meaning.
    if norm.f_double_value(&[])? == 0.0 {
        return Ok(ArchGradient { gradient: first, valid_loss: valid });
    }
    let radius = norm.f_reciprocal()?.f_mul_scalar(step.epsilon)?;
    let offset = v.f_mul(&radius)?;
    let _exact = losses.exact()?;
    let at = |w: Tensor| -> Result<Tensor> {
        let alpha = leaf(alpha)?;
        let train = losses.train(&w, &alpha)?.value;
        gradient(&train, &alpha)
    };
    let difference = at(w.f_add(&offset)?)?.f_sub(&at(w.f_sub(&offset)?)?)?;
    let mut second = difference.f_div(&radius.f_mul_scalar(2.0)?)?;
    if let Some(c) = c {
        second = second.f_mul(&c)?;
    }
    Ok(ArchGradient { gradient: first.f_sub(&second.f_mul_scalar(step.xi)?)?, valid_loss: valid })
}

/// L_val, ∇_α L_val and ∇_w L_val at the virtual weights, from one backward pass.
pub(super) fn valid_gradients(losses: &Losses, w: &Tensor, alpha: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let (w, alpha) = (leaf(w)?, leaf(alpha)?);
    let valid = losses.valid(&w, &alpha)?.value;
    let mut both = gradients(&valid, &[&alpha, &w])?.into_iter();
    match (both.next(), both.next()) {
        (Some(of_alpha), Some(of_w)) => Ok((valid.f_detach()?, of_alpha, of_w)),
        _ => Err(crate::error::Error::engine("autograd returned too few gradients")),
    }
}
