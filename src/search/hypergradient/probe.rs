//! How far a hypergradient is from the exact one of the same step.

use tch::Tensor;

use super::{Losses, VirtualStep, unrolled_exact};
use crate::error::Result;

/// A comparison with g*, the gradient by `unrolled_exact` with the same batches, noise and virtual step. Scalars on the
/// device; NaN if a gradient is zero.
#[derive(Debug)]
pub struct Probe {
    /// ⟨g, g*⟩ / (‖g‖·‖g*‖).
    pub cosine: Tensor,
    /// ‖g − g*‖ / ‖g*‖.
    pub error: Tensor,
}

impl Probe {
    /// The names of both in records, in this order.
    pub const NAMES: [&'static str; 2] = ["probe.cosine", "probe.error"];

    /// Compares a gradient that was computed at (w, α). A network without moving buffers in search passes is left as it
    /// was.
    pub fn of(gradient: &Tensor, losses: &Losses, w: &Tensor, alpha: &Tensor, step: &VirtualStep) -> Result<Probe> {
        let exact = unrolled_exact::arch_gradient(losses, w, alpha, step)?.gradient;
        let norm = exact.f_norm()?;
        Ok(Probe {
            cosine: gradient.f_dot(&exact)?.f_div(&norm.f_mul(&gradient.f_norm()?)?)?,
            error: gradient.f_sub(&exact)?.f_norm()?.f_div(&norm)?,
        })
    }
}
