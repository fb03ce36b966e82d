//! The Neumann series (Lorraine et al., 2020): q = η·Σ_{k=0..K} (I − ηH)^k v, with K products with H.
//!
//! η is the learning rate of w. The series converges to H⁻¹v if every eigenvalue of H is between 0 and 2/η; with larger
//! ones its terms grow. With K = 0 it is T1–T2.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep, implicit};
use crate::error::Result;

pub fn arch_gradient(
    losses: &Losses,
    w: &Tensor,
    alpha: &Tensor,
    step: &VirtualStep,
    products: usize,
) -> Result<ArchGradient> {
    implicit::arch_gradient(losses, w, alpha, step, |hessian, v| {
        let (mut term, mut sum) = (v.shallow_clone(), v.shallow_clone());
        for _ in 0..products {
            term = term.f_sub(&hessian.times(&term)?.f_mul(step.xi)?)?;
            sum = sum.f_add(&term)?;
        }
        Ok(sum.f_mul(step.xi)?)
    })
}
