//! Conjugate gradients on (H + δI)·q = v from q = 0, at most K steps with one product each.
//!
//! H is indefinite in general. The iteration ends at the first direction p with pᵀ(H + δI)p ≤ 0, and keeps the q before
//! it: 0, and with it the first order, if that is the first direction. The host does not read this: later steps select
//! the old values. A direction of zero length, after exact convergence, ends it in the same way.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep, implicit};
use crate::error::Result;

pub fn arch_gradient(
    losses: &Losses,
    w: &Tensor,
    alpha: &Tensor,
    step: &VirtualStep,
    (products, damping): (usize, f64),
) -> Result<ArchGradient> {
    implicit::arch_gradient(losses, w, alpha, step, |hessian, v| {
        let mut q = v.f_zeros_like()?;
        let (mut residual, mut direction) = (v.shallow_clone(), v.shallow_clone());
        let mut square = residual.f_dot(&residual)?;
        let mut ended = square.f_eq(0.0)?;
        for number in 0..products {
            let product = hessian.times(&direction)?.f_add(&direction.f_mul_scalar(damping)?)?;
            let curvature = direction.f_dot(&product)?;
            // NaN is not ≤ 0: it stays, and fails the step.
            ended = ended.f_logical_or(&curvature.f_le(0.0)?)?;
            let length = square.f_div(&curvature)?;
            q = q.f_where_self(&ended, &q.f_add(&direction.f_mul(&length)?)?)?;
            if number + 1 == products {
                break;
            }
            residual = residual.f_sub(&product.f_mul(&length)?)?;
            let next = residual.f_dot(&residual)?;
            direction = residual.f_add(&direction.f_mul(&next.f_div(&square)?)?)?;
            square = next;
        }
        Ok(q)
    })
}
