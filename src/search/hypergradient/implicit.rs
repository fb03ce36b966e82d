//! What estimates of the implicit gradient share. At w*(α), where L_train is stationary,
//! dL_val/dα = ∂_α L_val − ∂²_{α,w} L_train · H⁻¹ ∂_w L_val with H = ∇²_w L_train.
//!
//! The estimates take w for w*(α) and differ in q ≈ H⁻¹v, v = ∂_w L_val. The weight step minimises
//! L_train + λ/2 ‖w‖², so its decay adds λ to the diagonal of H; momentum and clipping do not move the minimum and have no
//! part in it. All products see the same training batch, batch statistics and noise, and are exact, in float32 or better.

use tch::Tensor;

use super::{ArchGradient, Losses, VirtualStep};
use crate::error::Result;
use crate::nn::By;

/// H at (w, α).
pub struct Hessian<'a> {
    losses: &'a Losses<'a>,
    w: &'a Tensor,
    alpha: &'a Tensor,
    decay: &'a Tensor,
}

impl Hessian<'_> {
    /// H·direction.
    pub fn times(&self, direction: &Tensor) -> Result<Tensor> {
        let products = self.losses.products(self.w, self.alpha, direction, By::Weights)?;
        Ok(products.w()?.f_add(&direction.f_mul(self.decay)?)?)
    }
}

/// ∂α with the q that `solve` makes of H and v.
pub fn arch_gradient(
    losses: &Losses,
    w: &Tensor,
    alpha: &Tensor,
    step: &VirtualStep,
    solve: impl FnOnce(&Hessian, &Tensor) -> Result<Tensor>,
) -> Result<ArchGradient> {
    let _exact = losses.exact()?;
    let valid = losses.valid(w, alpha, By::Both)?;
    let q = solve(&Hessian { losses, w, alpha, decay: step.weight_decay }, valid.w()?)?;
    let second = losses.products(w, alpha, &q, By::Alpha)?;
    Ok(ArchGradient { gradient: valid.alpha()?.f_sub(second.alpha()?)?, valid_loss: valid.loss })
}
