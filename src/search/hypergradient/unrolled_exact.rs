//! Unrolled, second order exactly: the same one-step unrolling as `unrolled`, its Hessian-vector product
//! ∇²_{α,w} L_train(w, α)·v without a finite difference (eq. 7 of the paper): v is fixed by then, so it is the gradient
//! by α of one number, the slope ∇_w L_train(w, α)·v.

use tch::Tensor;

use super::unrolled::valid_gradients;
use super::{ArchGradient, Losses, VirtualStep, gradient, leaf};
use crate::error::Result;

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, step: &VirtualStep) -> Result<ArchGradient> {
    let _exact = losses.exact()?;
    let (virtual_w, c) = {
        let w_leaf = leaf(w)?;
        let train = losses.train(&w_leaf, alpha)?.value;
        step.take(w, &gradient(&train, &w_leaf)?)?
    };
    let (valid, first, v) = valid_gradients(losses, &virtual_w, alpha)?;
    let alpha = leaf(alpha)?;
    let slope = losses.slope(w, &alpha, &v)?;
    let mut second = gradient(&slope, &alpha)?.f_mul_scalar(step.xi)?;
    if let Some(c) = c {
        second = second.f_mul(&c)?;
    }
    Ok(ArchGradient { gradient: first.f_sub(&second)?, valid_loss: valid })
}
