//! Unrolled, exact second order: the same one-step unrolling as `unrolled`, with the Hessian-vector product
//! ∇²_{α,w} L_train(w, α)·v instead of a finite difference (eq. 7 of the paper). v is constant, so the product is the
//! gradient with respect to α of one scalar, ∇_w L_train(w, α)·v.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep};
use crate::error::Result;
use crate::nn::By;

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, step: &VirtualStep) -> Result<ArchGradient> {
    let _exact = losses.exact()?;
    let (virtual_w, c) = step.take(w, losses.train(w, alpha, By::Weights)?.w()?)?;
    let valid = losses.valid(&virtual_w, alpha, By::Both)?;
    let mut second = losses.hessian_product(w, alpha, valid.w()?)?.f_mul(step.xi)?;
    if let Some(c) = c {
        second = second.f_mul(&c)?;
    }
    Ok(ArchGradient { gradient: valid.alpha()?.f_sub(&second)?, valid_loss: valid.loss })
}
