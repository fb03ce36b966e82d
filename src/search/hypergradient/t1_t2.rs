//! T1–T2 (Luketina et al., 2016): q = η·v, one step of gradient descent on w, at w itself. η is the learning rate of w.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep, implicit};
use crate::error::Result;

pub fn arch_gradient(losses: &Losses, w: &Tensor, alpha: &Tensor, step: &VirtualStep) -> Result<ArchGradient> {
    implicit::arch_gradient(losses, w, alpha, step, |_, v| Ok(v.f_mul(step.xi)?))
}
