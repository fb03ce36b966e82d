//! The Gumbel-softmax (SNAS, Xie et al., 2019): m = softmax((log softmax α + G)/τ) with Gumbel noise G.
//!
//! The logarithm of the softmax adds the same number to a whole row, so J is that of the softmax over τ. Without noise,
//! m = softmax(α), the probabilities with which each candidate has the largest perturbed logit.

use super::{Noise, Relax, TEMPERATURE};
use crate::arch;
use crate::variant::{Spec, Variant};

pub struct Gumbel;

impl Variant for Gumbel {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "gumbel", parameters: &[TEMPERATURE] }
    }
}

impl Relax for Gumbel {
    fn noise(&self) -> Noise {
        Noise::Gumbel
    }

    fn mean(&self, row: &[f64], _values: &[f64]) -> Vec<f64> {
        arch::softmax(row)
    }

    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, at: &super::Inputs) -> crate::error::Result<tch::Tensor> {
        let Some(noise) = at.noise else { return Ok(alpha.f_softmax(-1, None)?) };
        let logits = alpha.f_log_softmax(-1, None)?.f_add(noise)?;
        Ok(logits.f_div(&at.values[0])?.f_softmax(-1, None)?)
    }

    #[cfg(feature = "torch")]
    fn backward(
        &self,
        _alpha: &tch::Tensor,
        m: &tch::Tensor,
        gradient: &tch::Tensor,
        at: &super::Inputs,
    ) -> crate::error::Result<tch::Tensor> {
        let gradient = tch::Tensor::f_internal_softmax_backward_data(gradient, m, -1, m.kind())?;
        Ok(if at.noise.is_some() { gradient.f_div(&at.values[0])? } else { gradient })
    }
}
