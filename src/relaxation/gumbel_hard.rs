//! The hard Gumbel-softmax with a straight-through gradient (GDAS, Dong & Yang, 2019).
//!
//! m is the one-hot vector of the largest perturbed logit, log softmax α + G, so a candidate is drawn with probability
//! softmax(α) at any temperature. The gradient is that of p̃ = softmax((log softmax α + G)/τ), at the gradient of the hard
//! forward pass. Candidates that did not run have the gradient 0, as in the published code, where they are not computed:
//! ∂L/∂α = J_p̃ᵀ (g ∘ [m ≠ 0]), so a dense and a sparse execution agree.

use super::{Noise, Relax, TEMPERATURE};
use crate::arch;
use crate::variant::{Spec, Variant};

pub struct GumbelHard;

impl Variant for GumbelHard {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "gdas", parameters: &[TEMPERATURE] }
    }
}

impl Relax for GumbelHard {
    fn noise(&self) -> Noise {
        Noise::Gumbel
    }

    fn samples_one(&self) -> bool {
        true
    }

    fn mean(&self, row: &[f64], _values: &[f64]) -> Vec<f64> {
        arch::softmax(row)
    }

    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, at: &super::Inputs) -> crate::error::Result<tch::Tensor> {
        let Some(noise) = at.noise else { return Ok(alpha.f_softmax(-1, None)?) };
        // Not of p̃: at a high temperature its entries round to the same number.
        let largest = alpha.f_log_softmax(-1, None)?.f_add(noise)?.f_argmax(-1, true)?;
        Ok(alpha.f_zeros_like()?.f_scatter_value(-1, &largest, 1.0)?)
    }

    #[cfg(feature = "torch")]
    fn soft(&self, alpha: &tch::Tensor, at: &super::Inputs) -> crate::error::Result<tch::Tensor> {
        let Some(noise) = at.noise else { return self.weights(alpha, at) };
        Ok(alpha.f_log_softmax(-1, None)?.f_add(noise)?.f_div(&at.values[0])?.f_softmax(-1, None)?)
    }

    #[cfg(feature = "torch")]
    fn backward(
        &self,
        alpha: &tch::Tensor,
        m: &tch::Tensor,
        gradient: &tch::Tensor,
        at: &super::Inputs,
    ) -> crate::error::Result<tch::Tensor> {
        let through = |gradient: &tch::Tensor, soft: &tch::Tensor| {
            tch::Tensor::f_internal_softmax_backward_data(gradient, soft, -1, soft.kind())
        };
        if at.noise.is_none() {
            return Ok(through(gradient, m)?);
        }
        let soft = self.soft(alpha, at)?;
        let of_sampled = gradient.f_masked_fill(&m.f_eq(0.0)?, 0.0)?;
        Ok(through(&of_sampled, &soft)?.f_div(&at.values[0])?)
    }
}
