//! ∇²_α L, the Hessian of a loss by α, as a function from vectors to products.
//!
//! L(w, α) = ℓ(w, R(α)) has ∇_α L = J_Rᵀ g with g = ∇_m ℓ, so its derivative along u is J_Rᵀ (∇²_m ℓ · J_R u) plus the
//! derivative of J_Rᵀ g along u at fixed g. The product with ∇²_m ℓ is exact. The derivatives of R along u are central
//! differences in float64, whatever the dtype of the network: R is smooth and costs next to nothing, and their relative
//! error is about 1e-10.

use tch::{Kind, Tensor};

use super::{Draw, Relaxed, Role};
use crate::data::Batch;
use crate::error::Result;
use crate::nn::{Along, By, Gradients, Mode};

/// The length of the steps by which R is differentiated: about the cube root of the precision of float64.
const STEP: f64 = 1e-5;

/// ∇²_α L at (w, α) on a batch, with batch statistics and the mean of the mixing weights, so that it is defined for
/// relaxations that draw. Masked and frozen entries do not move, so their rows and columns are 0.
pub struct ArchHessian<'a> {
    relaxed: Relaxed<'a>,
    w: &'a Tensor,
    batch: &'a Batch,
    /// In float64.
    alpha: Tensor,
    /// R(α), in float64.
    m: Tensor,
    /// ∇_m ℓ, in float64.
    gradient: Tensor,
}

impl<'a> ArchHessian<'a> {
    /// Computes what all products share.
    pub fn new(relaxed: Relaxed<'a>, w: &'a Tensor, alpha: &Tensor, batch: &'a Batch) -> Result<Self> {
        let alpha = alpha.f_detach()?.f_to_kind(Kind::Double)?;
        let m = relaxed.mean(&alpha)?;
        let in_network = m.f_to_kind(w.f_kind()?)?;
        let found = relaxed.over_parts(batch, None, |batch, part| {
            relaxed.network.begin_loss(Role::Alpha, part)?;
            relaxed.network.gradients(w, &in_network, batch, Mode::Search, By::Alpha)
        })?;
        let gradient = found.alpha()?.f_to_kind(Kind::Double)?;
        Ok(ArchHessian { relaxed, w, batch, alpha, m, gradient })
    }

    /// ∇²_α L·u, flat; `u` and the product are in float64.
    pub fn times(&self, u: &Tensor) -> Result<Tensor> {
        let relaxations = self.relaxed.relaxations;
        let u = u.f_masked_fill(relaxations.fixed(), 0.0)?;
        let length = u.f_norm()?.f_clamp_min(f64::MIN_POSITIVE)?;
        // α moves by STEP, however long u is.
        let offset = u.f_mul_scalar(STEP)?.f_div(&length)?;
        let sides = [self.alpha.f_add(&offset)?, self.alpha.f_sub(&offset)?];
        let ms = [self.relaxed.mean(&sides[0])?, self.relaxed.mean(&sides[1])?];
        let slope = |ends: [Tensor; 2]| ends[0].f_sub(&ends[1])?.f_mul(&length)?.f_div_scalar(2.0 * STEP);
        let product = self.product(&slope([ms[0].shallow_clone(), ms[1].shallow_clone()])?)?;
        let back = |alpha: &Tensor, m: &Tensor, g: &Tensor| relaxations.backward(alpha, m, g, Draw::Mean);
        let by_m = back(&self.alpha, &self.m, &product)?;
        let by_relaxation =
            slope([back(&sides[0], &ms[0], &self.gradient)?, back(&sides[1], &ms[1], &self.gradient)?])?;
        Ok(by_m.f_add(&by_relaxation)?)
    }

    /// ∇²_m ℓ·direction.
    fn product(&self, direction: &Tensor) -> Result<Tensor> {
        let (network, kind) = (self.relaxed.network, self.w.f_kind()?);
        let (m, direction) = (self.m.f_to_kind(kind)?, direction.f_to_kind(kind)?);
        let found: Gradients = self.relaxed.over_parts(self.batch, None, |batch, part| {
            network.begin_loss(Role::Alpha, part)?;
            network.gradients_along(self.w, &m, Along::mixing(&direction), batch, By::Alpha)
        })?;
        Ok(found.alpha()?.f_to_kind(Kind::Double)?)
    }
}
