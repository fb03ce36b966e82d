//! Unrolled, second order exactly: the same one-step unrolling as `unrolled`, its Hessian-vector product
//! ∇²_{α,w} L_train(w, α)·v by double backward instead of a finite difference (eq. 7 of the paper).

use tch::Tensor;

use super::unrolled::valid_gradients;
use super::{ArchGradient, Losses, VirtualStep, gradient, gradients, leaf};
use crate::error::{Error, Result};

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, step: &VirtualStep) -> Result<ArchGradient> {
    let (w_leaf, alpha_leaf) = (leaf(w)?, leaf(alpha)?);
    let _exact = losses.exact()?;
    let train = losses.train(&w_leaf, &alpha_leaf)?.value;
    let of_w =
        gradients(&train, &[&w_leaf], true)?.pop().ok_or_else(|| Error::engine("autograd returned no gradient"))?;
    let (virtual_w, c) = step.take(w, &of_w.f_detach()?)?;
    let (valid, first, v) = valid_gradients(losses, &virtual_w, alpha)?;
    let product = gradient(&of_w.f_dot(&v)?, &alpha_leaf)?;
    let mut second = product.f_mul_scalar(step.xi)?;
    if let Some(c) = c {
        second = second.f_mul(&c)?;
    }
    Ok(ArchGradient { gradient: first.f_sub(&second)?, valid_loss: valid })
}
